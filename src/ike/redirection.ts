/**
 * Being sent elsewhere by a gateway (RFC 5685), as far as the exchanges are concerned that begin an IKE_SA:
 *
 *   HDR(A,0), SAi1, KEi, Ni, N(REDIRECT_SUPPORTED)  -->
 *                <--  HDR(A,0), N(REDIRECT, New_GW_ID, Ni)
 *   HDR(A,0), SAi1, KEi, Ni, N(REDIRECTED_FROM, Orig_GW_ID)  -->   to the new one
 *
 * or, when the gateway has authenticated, in the answer to IKE_AUTH. What an IKE_SA that stands is told is followed in
 * redirect.ts.
 */
import { equalBytes } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import { IpRange, type IpAddress } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { NotifyType } from '../iana/ikev2.ts'
import { findNotify, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { formatGateway, readRedirect, writeRedirect, type GatewayIdentity } from '../message/ikev2/redirect.ts'
import type { AddressPattern } from './connection.ts'
import type { Environment } from './environment.ts'
import { misbehaved } from './failure.ts'
import type { IkeSa } from './sa.ts'

/** RFC 5685 3: MAX_REDIRECTS within REDIRECT_LOOP_DETECT_PERIOD. */
const REDIRECTS_MAX = 5
const LOOP_DETECT_PERIOD: Milliseconds = 300 * SECOND

/** RFC 7296: a gateway is told of by address alone, so that it is asked where every IKE daemon is. */
export const REDIRECTED_PORT = 500

/** How an IKE_SA came to be where it is. */
export interface Redirections {
  /** The gateway that sent us here; null if none did. */
  readonly from: IpAddress | null
  /** When we were sent elsewhere, by this gateway and by those before it. */
  readonly times: readonly Milliseconds[]
}

/** What is asked of the session of an IKE_SA. */
interface Redirectable {
  readonly sa: IkeSa
  readonly env: Environment
  readonly redirections: Redirections
}

export const NOT_REDIRECTED: Redirections = { from: null, times: [] }

/** The gateway has sent us elsewhere: this IKE_SA is over, and another begins there. */
export class Redirected extends EspalierError {
  override readonly name = 'Redirected'
  readonly gateway: GatewayIdentity
  constructor(gateway: GatewayIdentity) {
    super('peer-incompatible', 'REDIRECTED', `redirected to ${formatGateway(gateway)}`)
    this.gateway = gateway
  }
}

/** What an initiator says of it in IKE_SA_INIT: where it comes from, or that it can be sent elsewhere. */
export function redirectSupport({ env, redirections }: Pick<Redirectable, 'env' | 'redirections'>): readonly Payload[] {
  if (!env.settings().followRedirects) return []
  const { from } = redirections
  if (from === null) return [notify(NotifyType.REDIRECT_SUPPORTED)]
  return [notify(NotifyType.REDIRECTED_FROM, writeRedirect({ kind: 'address', address: from }))]
}

/** At a responder: whether the initiator of this IKE_SA_INIT can be sent elsewhere; tells where it comes from. */
export function takesRedirect({ sa, env }: Pick<Redirectable, 'sa' | 'env'>, request: readonly Payload[]): boolean {
  const from = findNotify(request, NotifyType.REDIRECTED_FROM)
  if (from === null) return findNotify(request, NotifyType.REDIRECT_SUPPORTED) !== null
  const told = readRedirect(from.data)
  if (told !== null) env.report({ event: 'came-redirected', sa, from: told.gateway })
  return true
}

/**
 * Throws Redirected if the answer sends us elsewhere. That to IKE_SA_INIT is not authentic: the nonce of our request
 * shows that whoever sent it has seen that (RFC 5685 10). `nonce` is null of an answer to IKE_AUTH, whose AUTH was right.
 * Throws ExchangeFailure for a notify that is none.
 */
export function throwIfRedirected(answer: readonly Payload[], nonce: Uint8Array | null): void {
  const found = findNotify(answer, NotifyType.REDIRECT)
  if (found === null) return
  const told = readRedirect(found.data)
  if (told === null) throw misbehaved('received invalid REDIRECT notify')
  if (nonce !== null && !equalBytes(told.nonce, nonce))
    throw misbehaved('received invalid REDIRECT notify: it does not have the nonce of our request')
  throw new Redirected(told.gateway)
}

/**
 * What `session` was sent elsewhere with, for the IKE_SA there. Throws an EspalierError when that is not to be followed:
 * nobody asked for it, or too often.
 */
export function redirectionsOf({ sa, env, redirections }: Redirectable): Redirections {
  if (!env.settings().followRedirects)
    throw new EspalierError('policy', 'REDIRECT_UNWANTED', 'server sent REDIRECT even though we disabled it')
  const now = env.clock.now()
  const recent = redirections.times.filter((time) => now - time < LOOP_DETECT_PERIOD)
  if (recent.length >= REDIRECTS_MAX)
    throw new EspalierError(
      'peer-misbehaved',
      'REDIRECT_LOOP',
      `only ${REDIRECTS_MAX} redirects are allowed within ${LOOP_DETECT_PERIOD / SECOND} seconds`,
    )
  return { from: sa.remote.address, times: [...recent, now] }
}

/** Where that is, as an entry of remote_addrs. */
export function addressPatternOf(gateway: GatewayIdentity): AddressPattern {
  return gateway.kind === 'host'
    ? { kind: 'host', name: gateway.name }
    : { kind: 'range', range: new IpRange(gateway.address, gateway.address) }
}
