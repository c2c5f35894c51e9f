/**
 * REDIRECT in the life of an IKE_SA (RFC 5685 4, 5): the gateway tells its client in an INFORMATIONAL that it is to go
 * elsewhere. The client makes an IKE_SA with the same CHILD_SAs there, and deletes this one when that stands; the
 * gateway waits for that as long as for a half-open IKE_SA, and deletes it then (strongSwan).
 *
 *            <--  HDR, SK { N(REDIRECT, New_GW_ID) }
 *   HDR, SK { }  -->
 */
import { EspalierError } from '../base/errors.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { findNotify, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { readRedirect, writeRedirect, type GatewayIdentity } from '../message/ikev2/redirect.ts'
import { deleteIkeSa } from './delete.ts'
import { isPeerSilent } from './exchange.ts'
import { makeAnew } from './reauthenticate.ts'
import { isStanding, type ChildSa } from './sa.ts'
import type { Session } from './session.ts'

/** At a client: goes where an authentic INFORMATIONAL says, if it does. What comes of it is reported. */
export function heedRedirect(session: Session, request: readonly Payload[]): void {
  const { sa, env } = session
  const found = findNotify(request, NotifyType.REDIRECT)
  if (found === null) return
  const told = readRedirect(found.data)
  const ignore = (why: 'malformed' | 'gateway' | 'busy'): void => env.report({ event: 'redirect-ignored', sa, why })
  if (told === null) return ignore('malformed')
  if (sa.originalRole !== 'initiator') return ignore('gateway')
  if (sa.state !== 'established' || session.isReauthenticating) return ignore('busy')
  env.report({ event: 'redirected', sa, gateway: told.gateway })
  session.isReauthenticating = true
  session.heir = moveTo(session, told.gateway, sa.children.filter(isStanding))
}

/** Resolves to the IKE_SA at the other gateway; null if that did not come about, and the old one stays as long as it may. */
async function moveTo(session: Session, gateway: GatewayIdentity, children: readonly ChildSa[]): Promise<Session | null> {
  const renewed = await makeAnew(session, children, (child, asked) => session.initiateRedirected(gateway, child, asked))
  const old = session.last
  if (renewed === null) {
    old.isReauthenticating = false
    old.heir = null
    return null
  }
  void old.runExchange((current) => deleteIkeSa(current, 'deleted-by-us'), 'delete-ike')
  return renewed
}

/** At a gateway: why a client cannot be sent elsewhere; null if it can. */
export function whyNotRedirected({ sa }: Session): 'initiator' | 'unsupported' | 'not-established' | null {
  if (sa.state !== 'established') return 'not-established'
  if (sa.originalRole === 'initiator') return 'initiator'
  return sa.takesRedirect ? null : 'unsupported'
}

/** At a gateway: an own exchange that sends the client elsewhere. What it cannot do, or what comes of it, is reported. */
export async function redirectPeer(session: Session, gateway: GatewayIdentity): Promise<void> {
  const { sa, env, exchanges } = session
  const why = whyNotRedirected(session)
  if (why !== null) return env.report({ event: 'redirect-impossible', sa, why })
  env.report({ event: 'redirecting', sa, gateway })
  try {
    await exchanges.request(ExchangeType.INFORMATIONAL, [notify(NotifyType.REDIRECT, writeRedirect(gateway))])
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    if (isPeerSilent(error)) await session.losePeer()
    return
  }
  const until = env.clock.now() + env.settings().halfOpenTimeout
  const over = session.deadlines.over?.at ?? Infinity
  if (until < over) session.setDeadline('over', until)
}
