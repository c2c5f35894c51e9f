/**
 * An initiation from nothing to an IKE_SA with its first CHILD_SA: where the peer is, IKE_SA_INIT, IKE_AUTH, and again
 * while the peer is silent and tries are left.
 */
import { EspalierError, messageOf } from '../base/errors.ts'
import { Endpoint, type IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import { formatGateway, type GatewayIdentity } from '../message/ikev2/redirect.ts'
import type { Way } from '../nat/path.ts'
import { initialLocalPort } from '../nat/ports.ts'
import { initiateAuth } from './auth.ts'
import type { AskedTraffic } from './asked-traffic.ts'
import type { AddressPattern, ChildConnection, Connection } from './connection.ts'
import { addChild, tryCreateChild } from './create-child.ts'
import type { Environment } from './environment.ts'
import { isPeerSilent, SA_CLOSED } from './exchange.ts'
import { NotInitiated, REFUSED_FOR_NAT, told } from './failure.ts'
import { initiateInit } from './init.ts'
import { initiateIntermediate } from './intermediate.ts'
import { startKeepalives } from './keepalive.ts'
import {
  addressPatternOf,
  NOT_REDIRECTED,
  Redirected,
  REDIRECTED_PORT,
  redirectionsOf,
  type Redirections,
} from './redirection.ts'
import type { Session } from './session.ts'

/** What an initiation needs of the shard: a new IKE_SA of the connection, entered in the table. */
export type OpenSession = (local: Endpoint, remote: Endpoint, redirections: Redirections) => Session

export interface InitiationOptions {
  /** The two ends, whatever the connection says; or if it names nobody, or nobody who is found. */
  readonly between?: Way
  readonly otherwise?: Way
  /** How it comes to be begun there. */
  readonly redirections?: Redirections
  /** Unless it is what the child is configured with. */
  readonly asked?: AskedTraffic
  /** An IKE_SA that the peer has begun with us along this way, if it has what is to be made; asked before another try. */
  readonly standIn?: (way: Way) => Session | null
  /** One that was brought up since then, and that does as well; asked before IKE_AUTH (ties.ts). */
  readonly overtaking?: (session: Session, since: Milliseconds) => Session | null
}

/**
 * Brings a connection up with one child. Resolves to its session once the IKE_SA is established (its CHILD_SA may have
 * failed, which is reported); rejects with an EspalierError after everything of it is gone.
 */
export async function initiate(
  env: Environment,
  open: OpenSession,
  connection: Connection,
  child: ChildConnection | null,
  isStopping: () => boolean,
  options: InitiationOptions = {},
): Promise<Session> {
  let found = options.otherwise ?? null
  let redirections = options.redirections ?? NOT_REDIRECTED
  let redirectedTo: Way | null = null
  let natsMet = 0
  const since = env.clock.now()
  for (let attempt = 1; ;) {
    found = redirectedTo ?? options.between ?? (await endpointsOf(env, connection, found))
    const { local, remote } = found
    // Looking up addresses takes its time; whoever stopped the gateway meanwhile believes that all IKE_SAs are known.
    if (isStopping())
      throw new NotInitiated(
        'caller',
        'SHUTTING_DOWN',
        `connection ${connection.name} is not initiated: the gateway is shutting down`,
      )
    const session = open(local, remote, redirections)
    const failure = await attemptOnce(session, child, since, options)
    if (failure === null) return session
    if (failure instanceof Overtaken) return takeOther(failure.other, child, options.asked)
    if (failure instanceof Redirected) {
      redirections = redirectionsOf(session)
      redirectedTo = await wayTo(env, connection, failure.gateway)
      continue
    }
    // One packet that was changed on the way looks like a NAT, too (RFC 4555 3.9).
    if (failure.code === REFUSED_FOR_NAT && natsMet++ < env.settings().retransmitTries && !isStopping()) continue
    const isLast = connection.keyingTries !== 0 && attempt >= connection.keyingTries
    if (!isPeerSilent(failure) || isLast || isStopping()) throw failure
    const other = options.standIn?.(found) ?? null
    if (other !== null) return other
    // Where we were sent nobody answers: back to the beginning (strongSwan).
    redirectedTo = null
    redirections = options.redirections ?? NOT_REDIRECTED
    env.report({ event: 'initiating-again', sa: session.sa, attempt: ++attempt, tries: connection.keyingTries })
  }
}

/** Another one was brought up, which is enough. */
class Overtaken extends EspalierError {
  override readonly name = 'Overtaken'
  readonly other: Session
  constructor(other: Session) {
    super('caller', 'OVERTAKEN', `${other.toString()} was brought up meanwhile`)
    this.other = other
  }
}

/** What is to be made is made in what was brought up, unless it is there. */
async function takeOther(other: Session, child: ChildConnection | null, asked: AskedTraffic | undefined): Promise<Session> {
  if (child !== null) await addChild(other, child, asked).catch(told)
  return other
}

/** All exchanges once; null when the IKE_SA stands, else why it does not, with everything of it gone. */
async function attemptOnce(
  session: Session,
  child: ChildConnection | null,
  since: Milliseconds,
  { asked, overtaking }: InitiationOptions,
): Promise<EspalierError | null> {
  const { env, sa } = session
  let failure: EspalierError | null = null
  await session.runExchange(async () => {
    try {
      env.report({ event: 'ike-initiating', sa })
      await initiateInit(session)
      await initiateIntermediate(session)
      const other = overtaking?.(session, since) ?? null
      if (other !== null) throw new Overtaken(other)
      const hasDealtWithChild = await initiateAuth(session, child, asked)
      startKeepalives(session)
      if (!hasDealtWithChild && child !== null) await tryCreateChild(session, child, asked)
    } catch (error) {
      if (!(error instanceof EspalierError)) {
        failure = new EspalierError('system', 'INTERNAL', `an internal error: ${messageOf(error)}`, { cause: error })
        throw error
      }
      failure = error
      if (error instanceof Overtaken) env.report({ event: 'initiation-overtaken', sa, other: error.other.sa })
      else if (error instanceof Redirected) env.report({ event: 'redirected', sa, gateway: error.gateway })
      else if (error.code !== SA_CLOSED) env.report({ event: 'ike-failed', sa, error })
      await session.close(isPeerSilent(error) ? 'peer-silent' : 'failed')
    }
  }, 'initiation')
  return failure
}

/** The ends of an IKE_SA with the gateway that another one sends us to. Throws NotInitiated. */
export async function wayTo(
  env: Pick<Environment, 'network' | 'host' | 'ports'>,
  connection: Connection,
  gateway: GatewayIdentity,
): Promise<Way> {
  try {
    const there = { ...connection, remoteAddresses: [addressPatternOf(gateway)], remotePort: REDIRECTED_PORT }
    return await endpointsOf(env, there, null)
  } catch (error) {
    if (!(error instanceof NotInitiated)) throw error
    throw new NotInitiated(
      'peer-incompatible',
      error.code,
      `unable to resolve gateway ID '${formatGateway(gateway)}', or to reach it: redirect failed`,
      { cause: error },
    )
  }
}

/** The ends of an IKE_SA to come; throws NotInitiated. `before`: where it went the last time, to go there again if nothing better is found (strongSwan). */
export async function endpointsOf(
  env: Pick<Environment, 'network' | 'host' | 'ports'>,
  connection: Connection,
  before: Way | null,
): Promise<Way> {
  const candidates = await addressesOf(env, connection.remoteAddresses)
  if (candidates.length === 0) {
    if (before !== null) return before
    throw new NotInitiated(
      'caller',
      'NO_REMOTE_ADDRESS',
      `connection ${connection.name} cannot be initiated: remote_addrs names no single address, or its host name has none`,
    )
  }
  const ownAddresses = await addressesOf(env, connection.localAddresses)
  const port = initialLocalPort(connection.localPort, connection.remotePort, env.ports)
  for (const remote of candidates) {
    const local =
      ownAddresses.find((address) => address.family === remote.family) ??
      (ownAddresses.length === 0 ? await env.network.sourceFor(remote) : null)
    if (local !== null && !env.host.isIgnored(local))
      return { local: new Endpoint(local, port), remote: new Endpoint(remote, connection.remotePort) }
  }
  if (before !== null) return before
  throw new NotInitiated(
    'system',
    'NO_ROUTE',
    `connection ${connection.name} cannot be initiated: there is no route, or no address of ours, to reach ${candidates.join(', ')}`,
  )
}

/** The single addresses among the patterns, host names resolved; ranges and %any name nobody in particular. */
async function addressesOf(
  env: Pick<Environment, 'network'>,
  patterns: readonly AddressPattern[],
): Promise<readonly IpAddress[]> {
  const addresses: IpAddress[] = []
  for (const pattern of patterns) {
    if (pattern.kind === 'host') addresses.push(...(await env.network.resolve(pattern.name)))
    else if (pattern.kind === 'range' && pattern.range.first.equals(pattern.range.last)) addresses.push(pattern.range.first)
  }
  return addresses
}
