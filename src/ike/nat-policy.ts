/**
 * NATs that a connection does not want (`nat = refuse`, ours alone). Where the hashes of IKE_SA_INIT show one there is no
 * IKE_SA; where none shows, the words of RFC 4555 3.9 still forbid it: NO_NATS_ALLOWED has the addresses of a message
 * as its sender sees them, in whatever may move an IKE_SA, and a peer that sees others says UNEXPECTED_NAT_DETECTED.
 * From peers both are heeded whatever the connection says.
 */
import { assert } from '../base/assert.ts'
import { Endpoint } from '../base/ip.ts'
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { findErrorNotify, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { claimed, type NatFacts } from '../nat/detection.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure, refusedByPeer } from './failure.ts'
import { meetsForbiddenNat, noNatsAllowed } from './mobike-payloads.ts'
import type { Session } from './session.ts'

/** Whether this connection wants no such NAT. */
export function forbids({ sa: { connection } }: Session, { here, there }: NatFacts): boolean {
  return connection?.natPolicy === 'refuse' && (here || there)
}

/** For an initiator, after IKE_SA_INIT. Throws where there is a NAT, and the peer hears why nothing comes any more. */
export function refuseFoundNat(session: Session): void {
  if (!forbids(session, session.sa.nat)) return
  // It has proved nothing yet, and does not get to know who we are. Nothing but a notify makes no IKE_SA of any peer's.
  session.exchanges.request(ExchangeType.IKE_AUTH, [notify(NotifyType.UNEXPECTED_NAT_DETECTED)]).catch(() => {
    // Closing the IKE_SA abandons the request at once; that is meant.
  })
  throw unwantedNat(session, session.sa.nat)
}

/** For a responder, of an IKE_AUTH request: the initiator found a NAT that it does not want, and says just that. */
export function heedRefusal({ payloads }: Received): void {
  if (findErrorNotify(payloads)?.notifyType === NotifyType.UNEXPECTED_NAT_DETECTED)
    throw refusedByPeer(NotifyType.UNEXPECTED_NAT_DETECTED)
}

/** For a responder that knows whom it talks to, and by that what both want. Throws UNEXPECTED_NAT_DETECTED. */
export function checkNatPolicy(session: Session, request: Received): void {
  if (forbids(session, session.sa.nat)) throw unwantedNat(session, session.sa.nat)
  if (!meetsForbiddenNat(request.payloads, request, session.sa.connection?.publicAddresses ?? [])) return
  const { local, remote } = request
  throw new ExchangeFailure(
    'policy',
    'NAT_FORBIDDEN_BY_PEER',
    `the peer allows no NAT between us, and sent from or to another address than is seen, ${remote.toString()} to ${local.toString()}`,
    NotifyType.UNEXPECTED_NAT_DETECTED,
  )
}

/** For a request that may move the IKE_SA. */
export function forbidNats({ sa: { connection, local, remote, nat } }: Session): Payload[] {
  if (connection?.natPolicy !== 'refuse') return []
  const own = claimed(local, connection.publicAddresses)
  const seen = own.find(({ address }) => nat.outside?.equals(address) === true) ?? own[0]!
  return [noNatsAllowed({ local: new Endpoint(seen.address, local.port), remote })]
}

export function unwantedNat({ sa: { connection, local } }: Session, nat: NatFacts): ExchangeFailure {
  assert(connection !== null, 'the wishes of a connection are checked when it is known')
  const found = [
    ...(nat.here
      ? [
          `local host is behind NAT, the peer does not know us as ${local.address.toString()} (the outside address of a 1:1 NAT can be told, by public_addrs)`,
        ]
      : []),
    ...(nat.there ? ['remote host is behind NAT, or pretends to be (encap = yes)'] : []),
  ].join('; ')
  return new ExchangeFailure(
    'policy',
    'UNEXPECTED_NAT_DETECTED',
    `unexpected NAT detected, which connection ${connection.name} refuses (nat = refuse): ${found}`,
    NotifyType.UNEXPECTED_NAT_DETECTED,
  )
}
