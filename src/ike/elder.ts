/**
 * An IKE_SA that the peer has put in the place of another one, while that is not deleted: perhaps the peer does not have
 * our answer, and nobody at the other end knows the keys that we speak with. If a NAT's mapping or an address is lost in
 * that moment, it asks again where we are not. The elder one is what both have: there it hears where we are.
 */
import { ExchangeType, NotifyType } from '../iana/ikev2.ts'
import { notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { told } from './failure.ts'
import { ownAddressList } from './mobike-answer.ts'
import type { Session } from './session.ts'

/** For one whose peer is being looked for. Nothing happens where none is needed. */
export function tellInElder({ sa, elder }: Session): void {
  if (elder === null || elder.sa.state !== 'rekeyed' || sa.role !== 'responder' || elder.tasks.running !== null) return
  void elder.runExchange(tell)
}

async function tell(elder: Session): Promise<void> {
  if (elder.sa.state !== 'rekeyed') return
  await elder.exchanges.request(ExchangeType.INFORMATIONAL, whereabouts(elder)).catch(told)
}

/** Without MOBIKE any message tells. Hashes would be those of one way of several; an update in the new one has them. */
function whereabouts(session: Session): readonly Payload[] {
  const { mobike, originalRole } = session.sa
  if (mobike === null) return []
  return originalRole === 'initiator' ? [notify(NotifyType.UPDATE_SA_ADDRESSES)] : ownAddressList(session)
}
