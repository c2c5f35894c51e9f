/**
 * How a CHILD_SA fares, in a sentence: what is known is said to be so, what is only likely is not.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import { hasAnswered } from '../ike/health.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'

/** Without its subject: `may not work: 12 packets were sent in 63s, and none came back; the peer answers IKE`. */
export function healthSentence(sa: IkeSa, child: ChildSa, now: Milliseconds): string {
  const { health } = child
  const { reason, sentInVain, inVainSince, refused, strangeSource } = health
  switch (reason) {
    case 'no-return': {
      const sent = `${sentInVain} packets were sent in ${seconds(now - (inVainSince ?? now))}s`
      const none = health.heardAt === null ? 'and none ever came back' : 'and none came back'
      const ike = hasAnswered(sa, child) ? 'the peer answers IKE' : 'by IKE the peer was not heard since, either'
      return `may not work: ${sent}, ${none}; ${ike}`
    }
    case 'encap-mismatch': {
      const isBare = child.installed.inbound.encapsulation === null
      const forms = isBare ? 'comes in UDP, for an SA that is bare' : 'comes bare, for an SA that is in UDP'
      const stays = !isBare && (sa.nat.here || sa.nat.there) ? '; through a NAT it stays in UDP' : ''
      return `may not work: the kernel drops ESP that ${forms}, and nothing else comes in${stays}`
    }
    case 'not-authentic':
      return `does not work: ${refused} packets came in and failed their integrity check, none passed it`
    case 'replayed':
      return `does not work: ${refused} packets came in that are old or repeated, and none that is new`
    case 'mapping-ignored':
      return `does not work: the peer sends from ${strangeSource?.to.toString() ?? 'elsewhere'}, and what is sent to it goes to ${sa.remote.toString()}`
    case null:
      return health.state === 'untested' ? 'has let nothing in yet' : 'works'
  }
}

function seconds(duration: Milliseconds): number {
  return Math.floor(duration / SECOND)
}
