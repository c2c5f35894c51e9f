/**
 * Events of the core in words. The words, and the order in which an exchange says them, are strongSwan's where it has
 * any, so that whoever reads, or searches, its log finds the same here; what is said beyond them comes behind, or in
 * lines of its own. Wording lives here, in message.ts and in the sentences of errors, and nowhere else.
 *
 * Of the lines of an event one carries the event's name and its facts as fields. Secrets are no part of any event.
 */
import type { Lease } from '../address/leases.ts'
import { formatIdentity, type Identity } from '../auth/identity.ts'
import type { SecretKind } from '../auth/secrets.ts'
import type { Means } from '../auth/signature.ts'
import { unreachable } from '../base/assert.ts'
import { type EspalierError, messageOf } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'
import { schemeName } from '../crypto/signature-scheme.ts'
import { AuthMethod, ProtocolId } from '../iana/ikev2.ts'
import { trafficOfPacket } from '../ike/asked-traffic.ts'
import { isShunt } from '../ike/connection.ts'
import type { DropReason, IkeEvent, RoamFinding, UpdateFailure } from '../ike/events.ts'
import { isPeerSilent } from '../ike/exchange.ts'
import { NoProposalChosen } from '../ike/failure.ts'
import type { ChildSa, IkeSa } from '../ike/sa.ts'
import type { KernelEvent } from '../kernel/vocabulary.ts'
import { formatGateway } from '../message/ikev2/redirect.ts'
import { encapsulates } from '../nat/detection.ts'
import type { Way } from '../nat/path.ts'
import { formatProposal, groupName, type SuiteProposal } from '../negotiate/proposals.ts'
import { formatSelector } from '../negotiate/selectors.ts'
import { nameText, subjectOf } from '../pki/certificate.ts'
import { healthSentence } from './health.ts'
import type { Level, Line, LogGroup, Loudness } from './line.ts'
import { messageSummary } from './message.ts'

/** Who hears the lines, and is asked first whether anybody wants them. */
export interface Audience {
  wants(group: LogGroup, loudness: Loudness, level: Level): boolean
  write(line: Line): void
}

type Fields = Readonly<Record<string, unknown>>

/** Says the lines of one event that somebody wants. `more` goes with the facts. */
class Speaker {
  readonly #audience: Audience
  readonly #event: string
  readonly #sa: IkeSa | null
  readonly #more: Fields

  constructor(audience: Audience, event: string, sa: IkeSa | null, more: Fields) {
    this.#audience = audience
    this.#event = event
    this.#sa = sa
    this.#more = more
  }

  /** The line with the facts. */
  tell(group: LogGroup, loudness: Loudness, words: () => string, facts: () => Fields = () => ({}), level?: Level): void {
    this.#say(group, loudness, words, () => ({ event: this.#event, ...facts(), ...this.#more }), level)
  }

  /** A line that goes with it. */
  add(group: LogGroup, loudness: Loudness, words: () => string): void {
    this.#say(group, loudness, words, () => ({}))
  }

  #say(
    group: LogGroup,
    loudness: Loudness,
    words: () => string,
    facts: () => Fields,
    level: Level = loudness <= 1 ? 'info' : 'debug',
  ): void {
    if (!this.#audience.wants(group, loudness, level)) return
    const sa = this.#sa
    const ike = sa === null ? null : { name: connectionName(sa), uniqueId: sa.uniqueId }
    const about = sa === null ? {} : { ike: sa.uniqueId, connection: sa.connection?.name ?? null }
    this.#audience.write({ group, loudness, level, message: words(), ike, fields: { ...about, ...facts() } })
  }
}

function wordAcquire(speaker: Speaker, { packet, reqid, sequence }: Extract<KernelEvent, { event: 'acquire' }>): void {
  const { local, remote } = trafficOfPacket(packet)
  const [from, to] = [formatSelector(local), formatSelector(remote)]
  speaker.tell(
    'knl',
    1,
    () => `creating acquire job for policy ${from} === ${to} with reqid {${reqid}}, seq {${sequence}}`,
    () => ({ reqid, sequence, from, to }),
  )
}

/** strongSwan: which of the two it was, each in its line. */
function wordMove(speaker: Speaker, { from, to, cause }: Event<'endpoints-moved'>): void {
  const told = (way: Way): Fields => ({ local: way.local.toString(), remote: way.remote.toString() })
  const facts = (): Fields => ({ ...told(to), from: told(from), cause })
  const hasLocal = !to.local.equals(from.local)
  const local = (): string => `local endpoint changed from ${from.local.toString()} to ${to.local.toString()}`
  if (to.remote.equals(from.remote)) return speaker.tell('ike', 1, local, facts)
  if (hasLocal) speaker.add('ike', 1, local)
  speaker.tell('ike', 1, () => `remote endpoint changed from ${from.remote.toString()} to ${to.remote.toString()}`, facts)
}

function wordMobike(
  speaker: Speaker,
  event: Event<'path-checked' | 'mobike-supported' | 'peer-addresses-told' | 'roamed' | 'mapping-changed' | 'update-failed'>,
): void {
  const { sa } = event
  switch (event.event) {
    case 'path-checked': {
      const [local, remote] = [event.local.toString(), event.remote.toString()]
      const facts = (): Fields => ({ local, remote })
      return speaker.tell('ike', 1, () => `checking path ${local} - ${remote}`, facts)
    }
    case 'mobike-supported':
      return speaker.tell('ike', 1, () => `peer supports MOBIKE${event.isRefused ? ', but disabled in config' : ''}`)
    case 'peer-addresses-told': {
      const [current, ...others] = event.addresses.map((address) => address.toString())
      for (const address of others) speaker.add('ike', 2, () => `got additional MOBIKE peer address: ${address}`)
      return speaker.tell(
        'ike',
        2,
        () => `the peer can be reached at ${[current, ...others].join(', ')}`,
        () => ({ addresses: event.addresses.map(String) }),
      )
    }
    case 'mapping-changed':
      return speaker.tell(
        'ike',
        1,
        () => 'detected changes in NAT mappings, initiating MOBIKE update',
        () => endpoints(sa),
      )
    case 'roamed': {
      const { finding } = event
      return speaker.tell(
        'ike',
        finding === 'path-kept' ? 2 : 1,
        () => wordRoam(sa, finding),
        () => ({ ...endpoints(sa), finding }),
      )
    }
    case 'update-failed':
      return speaker.tell(
        'ike',
        1,
        () => UPDATE_FAILURES[event.why],
        () => ({ ...endpoints(sa), why: event.why }),
        'warn',
      )
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordRedirect(
  speaker: Speaker,
  event: Event<'redirected' | 'redirect-failed' | 'redirect-ignored' | 'redirecting' | 'redirect-impossible' | 'came-redirected'>,
): void {
  switch (event.event) {
    case 'redirected':
    case 'redirecting': {
      const gateway = formatGateway(event.gateway)
      const words = event.event === 'redirected' ? `redirected to ${gateway}` : `redirecting peer to ${gateway}`
      return speaker.tell(
        'ike',
        1,
        () => words,
        () => ({ gateway }),
      )
    }
    case 'came-redirected': {
      const from = formatGateway(event.from)
      return speaker.tell(
        'ike',
        1,
        () => `client got redirected from ${from}`,
        () => ({ from }),
      )
    }
    case 'redirect-failed': {
      const { code, accused, message } = event.error
      return speaker.tell(
        'ike',
        1,
        () => message,
        () => ({ code, accused }),
        'warn',
      )
    }
    case 'redirect-ignored':
    case 'redirect-impossible':
      return speaker.tell(
        'ike',
        1,
        () => UNREDIRECTED[event.why],
        () => ({ why: event.why }),
      )
    default:
      unreachable(event, 'every event has its words')
  }
}

/** Most are strongSwan's. */
const UNREDIRECTED: Readonly<Record<Event<'redirect-ignored' | 'redirect-impossible'>['why'], string>> = {
  'malformed': 'received invalid REDIRECT notify',
  'gateway': 'ignoring REDIRECT: it is for the gateway to send its clients elsewhere',
  'busy': 'unable to handle redirect while the IKE_SA is being replaced, or has ended',
  'initiator': 'unable to redirect IKE_SA as initiator',
  'unsupported': 'client does not support IKE redirection',
  'not-established': 'unable to redirect an IKE_SA that is not established',
}

function wordContinuation(speaker: Speaker, event: Event<'ike-left' | 'ike-resumed' | 'child-resumed'>): void {
  const { sa } = event
  switch (event.event) {
    case 'ike-left':
      return speaker.tell('ike', 1, () => `leaving IKE_SA ${saName(sa)} as it is to the program that takes over`)
    case 'ike-resumed':
      return speaker.tell(
        'ike',
        1,
        () => `going on with IKE_SA ${saName(sa)} between ${sa.local.toString()} and ${sa.remote.toString()}`,
        () => endpoints(sa),
      )
    case 'child-resumed': {
      const { child, isLost } = event
      const goesOn = `going on with CHILD_SA ${childName(child)}`
      return speaker.tell(
        'ike',
        1,
        () => (isLost ? `CHILD_SA ${childName(child)} is not in the kernel any more` : `${goesOn} and TS ${traffic(child)}`),
        () => ({ child: childFields(child), isLost }),
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordRoam(sa: IkeSa, finding: RoamFinding): string {
  switch (finding) {
    case 'path-kept':
      return `keeping connection path ${sa.local.address.toString()} - ${sa.remote.address.toString()}`
    case 'path-checked':
      return 'checking if current path still works using DPD'
    case 'addresses-told':
      return 'sending address list update using MOBIKE'
    case 'path-lost':
      return 'old path is not available anymore, try to find another'
    case 'no-route':
      return `no route found to reach ${sa.remote.address.toString()}, MOBIKE update deferred`
    case 'update-wanted':
      return 'requesting address change using MOBIKE'
    case 'list-wanted':
      return 'sending address list update using MOBIKE, implicitly requesting an address change'
    case 'reauthentication-wanted':
      return 'reauthenticating IKE_SA due to address change'
    default:
      unreachable(finding, 'every finding has its words')
  }
}

/** The first is strongSwan's. */
const UPDATE_FAILURES: Readonly<Record<UpdateFailure, string>> = {
  'cookie-mismatch': 'COOKIE2 mismatch, closing IKE_SA',
  'unacceptable': 'the peer does not accept our new addresses (UNACCEPTABLE_ADDRESSES)',
  'unexpected-nat': 'there is a NAT on the way, which is not allowed (UNEXPECTED_NAT_DETECTED)',
  'not-initiator': 'refusing UPDATE_SA_ADDRESSES: it is the original initiator that says which addresses are used',
  'nat-on-the-way': 'refusing UPDATE_SA_ADDRESSES: the peer allows no NAT, and there is one on the way',
  'nat-forbidden': 'refusing UPDATE_SA_ADDRESSES: there is a NAT on the way, and the connection refuses NATs',
}

function wordPolicies(speaker: Speaker, event: Event<'policies-changed' | 'policies-failed' | 'acquire-ignored'>): void {
  if (event.event === 'acquire-ignored') {
    const { reqid, why } = event
    const words =
      why === 'unknown'
        ? `trap not found, unable to acquire reqid ${reqid}`
        : `ignoring acquire for reqid ${reqid}, connection attempt pending`
    return speaker.tell(
      'cfg',
      1,
      () => words,
      () => ({ reqid }),
    )
  }
  const { connection, child } = event
  const kind = isShunt(child) ? `shunt ${child.mode.toUpperCase()} policy` : 'trap'
  const facts = (): Fields => ({ connection, child: child.name, mode: child.mode })
  if (event.event === 'policies-failed')
    return speaker.tell('cfg', 1, () => `installing ${kind} '${child.name}' failed: ${event.error.message}`, facts, 'warn')
  const words = {
    installed: `installing '${child.name}'`,
    replaced: isShunt(child) ? `updating ${kind} '${child.name}'` : `updating already routed CHILD_SA '${child.name}'`,
    removed: `uninstalling '${child.name}'`,
  }
  speaker.tell(
    'cfg',
    1,
    () => words[event.change],
    () => ({ ...facts(), change: event.change }),
  )
}

/** Tells an event to `audience`, line by line. */
export function word(event: IkeEvent, audience: Audience, more: Fields = {}): void {
  const speaker = new Speaker(audience, event.event, 'sa' in event ? event.sa : null, more)
  switch (event.event) {
    case 'message-sent':
    case 'message-received':
      return wordMessage(speaker, event)
    case 'fragment-received':
      return wordFragment(speaker, event)
    case 'ike-initiating':
    case 'ike-responding':
    case 'initiating-again':
    case 'initiation-overtaken':
    case 'nat-detected':
    case 'floated':
    case 'cookie-returned':
    case 'key-exchange-retry':
    case 'proposal-selected':
    case 'peer-identified':
    case 'authenticating':
    case 'peer-authenticated':
      return wordNegotiation(speaker, event)
    case 'certificate-received':
    case 'certificate-sent':
    case 'attribute-certificate-received':
    case 'attribute-certificate-sent':
    case 'certificate-ignored':
    case 'certificate-requested':
    case 'certificate-request-sent':
      return wordCertificates(speaker, event)
    case 'peer-trusted':
      return wordTrust(speaker, event)
    case 'connection-refused':
    case 'connection-switched':
    case 'duplicate-found':
    case 'both-initiated':
      return wordSelection(speaker, event)
    case 'address-answered':
      return wordAddress(speaker, event)
    case 'virtual-address-installed':
      return speaker.tell(
        'ike',
        1,
        () => `installing new virtual IP ${event.address.toString()}`,
        () => ({ address: event.address.toString() }),
      )
    case 'name-server-changed': {
      const { address, change, place, refused } = event
      const words = `${change} DNS server ${address.toString()} ${change === 'removing' ? place.replace(/^to /, 'from ') : place}`
      return speaker.tell(
        'ike',
        1,
        () => (refused === null ? words : `${words} failed: ${refused}`),
        () => ({ address: address.toString(), change }),
        refused === null ? 'info' : 'warn',
      )
    }
    case 'script-said':
      return speaker.tell(
        'chd',
        1,
        () => `updown: ${event.line}`,
        () => ({ child: event.child }),
      )
    case 'script-trouble':
      return speaker.tell(
        'chd',
        1,
        () => event.sentence,
        () => ({ child: event.child }),
        'warn',
      )
    case 'route-installed':
      return speaker.tell('knl', 2, () => `installing route: ${event.text}`)
    case 'network-refused':
      return speaker.tell('knl', 1, () => event.sentence, undefined, 'warn')
    case 'endpoints-moved':
      return wordMove(speaker, event)
    case 'path-checked':
    case 'mobike-supported':
    case 'peer-addresses-told':
    case 'roamed':
    case 'mapping-changed':
    case 'update-failed':
      return wordMobike(speaker, event)
    case 'retransmitting':
      return speaker.tell(
        'ike',
        1,
        () =>
          event.isProbing
            ? `path probing attempt ${event.attempt}`
            : `retransmit ${event.attempt} of request with message ID ${event.messageId}`,
        () => ({ messageId: event.messageId, attempt: event.attempt }),
      )
    case 'request-given-up':
      return speaker.tell(
        'ike',
        1,
        () => `giving up after ${event.retransmissions} ${event.isProbing ? 'path probings' : 'retransmits'}`,
        () => ({ messageId: event.messageId, retransmissions: event.retransmissions }),
      )
    case 'ike-left':
    case 'ike-resumed':
    case 'child-resumed':
      return wordContinuation(speaker, event)
    case 'redirected':
    case 'redirect-failed':
    case 'redirect-ignored':
    case 'redirecting':
    case 'redirect-impossible':
    case 'came-redirected':
      return wordRedirect(speaker, event)
    case 'ike-established':
    case 'ike-failed':
    case 'ike-closed':
    case 'not-initiated':
    case 'broken':
      return wordIkeSa(speaker, event)
    case 'ike-rekeyed':
    case 'ike-rekey-failed':
    case 'child-rekeyed':
    case 'child-activated':
    case 'child-rekey-failed':
    case 'rekey-collision':
    case 'follow-up-missing':
    case 'create-refused':
      return wordRekey(speaker, event)
    case 'lifetime-set':
    case 'auth-lifetime-received':
    case 'ike-expired':
    case 'reauthenticating':
    case 'reauthentication-failed':
    case 'child-recreating':
    case 'child-idle':
      return wordLife(speaker, event)
    case 'child-establishing':
    case 'child-established':
    case 'child-failed':
    case 'child-closed':
      return wordChildSa(speaker, event)
    case 'delete-sent':
    case 'delete-received':
      return wordDelete(speaker, event)
    case 'keepalive-sent':
      return speaker.tell(
        'ike',
        1,
        () => `sending keep alive to ${event.sa.remote.toString()}`,
        () => endpoints(event.sa),
      )
    case 'keepalive-suppressed':
      return speaker.tell(
        'ike',
        2,
        () => `no keep alive to ${event.sa.remote.toString()}: other packets have left`,
        () => endpoints(event.sa),
      )
    case 'mapping-probed': {
      const { survived, lifetime } = event
      const seconds = Math.floor(event.gap / SECOND)
      return speaker.tell(
        'ike',
        1,
        () => `NAT ${survived ? 'kept' : 'changed'} the port of a probe after ${seconds}s without a packet`,
        () => ({ gapSeconds: seconds, survived, lifetimeSeconds: lifetime === null ? null : Math.floor(lifetime / SECOND) }),
      )
    }
    case 'keepalive-late': {
      const seconds = Math.floor(event.silence / SECOND)
      return speaker.tell(
        'ike',
        1,
        () => `sending DPD instead of keep alive ${seconds}s after last outbound message`,
        () => ({ ...endpoints(event.sa), silenceSeconds: seconds }),
      )
    }
    case 'health-changed':
    case 'child-repairing':
    case 'encapsulation-mismatch':
      return wordHealth(speaker, event)
    case 'kernel-refused': {
      const { message, code, errno } = event.error
      return speaker.tell(
        'knl',
        1,
        () => message,
        () => ({ code, errno }),
        'error',
      )
    }
    case 'liveness-checked':
      return speaker.tell('ike', 1, () => 'sending DPD request')
    case 'initiating-later':
      return speaker.tell(
        'ike',
        1,
        () => `${event.error.message}, retrying in ${Math.round(event.retryIn / SECOND)}s`,
        () => ({ connection: event.connection, code: event.error.code, retryIn: event.retryIn }),
        'warn',
      )
    case 'child-duplicate':
      return speaker.tell(
        'ike',
        1,
        () =>
          `not establishing CHILD_SA ${event.child.connection.name} due to existing duplicate {${event.child.uniqueId}} with SPIs ${spi(event.child.inboundSpi)}_i ${spi(event.child.outboundSpi)}_o and TS ${traffic(event.child)}`,
        () => ({ child: childFields(event.child) }),
      )
    case 'child-restarting':
      return speaker.tell(
        'ike',
        1,
        () => `restarting CHILD_SA ${event.child.connection.name}`,
        () => ({ child: childFields(event.child) }),
      )
    case 'policies-changed':
    case 'policies-failed':
    case 'acquire-ignored':
      return wordPolicies(speaker, event)
    case 'kernel-event': {
      const { news } = event
      if (news.event === 'acquire') return wordAcquire(speaker, news)
      if (news.event === 'expire') {
        return speaker.tell(
          'knl',
          1,
          () =>
            `creating ${news.hard ? 'delete' : 'rekey'} job for CHILD_SA ESP/0x${spi(news.id.spi)}/${news.id.destination.toString()}`,
          () => ({ spi: spi(news.id.spi), hard: news.hard }),
        )
      }
      if (news.event === 'mapping') {
        const { destination, from, to } = news
        return speaker.tell(
          'knl',
          1,
          () =>
            `NAT mappings of CHILD_SA ESP/0x${spi(news.spi)}/${destination.toString()} changed to ${to.toString()}, queuing update job`,
          () => ({ spi: spi(news.spi), from: from.toString(), to: to.toString() }),
        )
      }
      return speaker.tell('knl', 2, () => `the kernel tells of ${news.event}`)
    }
    case 'configuration-changed':
      return wordConfigured(speaker, event)
    case 'configuration-warning':
      return speaker.tell('cfg', 1, () => event.sentence, undefined, 'warn')
    case 'cookie-demanded':
    case 'request-refused':
    case 'datagram-dropped':
      return wordStranger(speaker, event)
    default:
      unreachable(event, 'every event has its words')
  }
}

type Event<Name extends IkeEvent['event']> = Extract<IkeEvent, { event: Name }>

function wordMessage(speaker: Speaker, event: Event<'message-sent' | 'message-received'>): void {
  const { local, remote, length, messageId, isRetransmission } = event
  const facts = (): Fields => ({ local: local.toString(), remote: remote.toString(), messageId, length })
  if (event.event === 'message-sent') {
    if (!isRetransmission) speaker.add('enc', 1, () => `generating ${messageSummary(event)}`)
    const sending = (octets: number): string =>
      `sending packet: from ${local.toString()} to ${remote.toString()} (${octets} bytes)`
    const { fragmentLengths } = event
    if (fragmentLengths === null) return speaker.tell('net', 1, () => sending(length), facts)
    const total = fragmentLengths.length
    if (!isRetransmission) speaker.add('enc', 1, () => `splitting IKE message (${length} bytes) into ${total} fragments`)
    for (const [i, octets] of fragmentLengths.entries()) {
      if (i === total - 1) speaker.tell('net', 1, () => sending(octets), facts)
      else speaker.add('net', 1, () => sending(octets))
    }
    return
  }
  if (event.isReassembled) {
    speaker.tell('enc', 1, () => `parsed ${messageSummary(event)}`, facts)
  } else {
    speaker.tell('net', 1, () => `received packet: from ${remote.toString()} to ${local.toString()} (${length} bytes)`, facts)
    speaker.add('enc', 1, () => `parsed ${messageSummary(event)}`)
  }
  if (isRetransmission)
    speaker.add('ike', 1, () => `received retransmit of request with ID ${messageId}, retransmitting response`)
}

function wordFragment(speaker: Speaker, event: Event<'fragment-received'>): void {
  const { local, remote, length, messageId, fragmentNumber, totalFragments, wholeLength } = event
  speaker.add('net', 1, () => `received packet: from ${remote.toString()} to ${local.toString()} (${length} bytes)`)
  speaker.add('enc', 1, () => `parsed ${messageSummary(event)}`)
  const outcome =
    wholeLength === null ? 'waiting for complete IKE message' : `reassembled fragmented IKE message (${wholeLength} bytes)`
  speaker.tell(
    'enc',
    1,
    () => `received fragment #${fragmentNumber} of ${totalFragments}, ${outcome}`,
    () => ({ local: local.toString(), remote: remote.toString(), messageId, length, fragmentNumber, totalFragments }),
  )
}

function wordNegotiation(
  speaker: Speaker,
  event: Event<
    | 'ike-initiating'
    | 'ike-responding'
    | 'initiating-again'
    | 'initiation-overtaken'
    | 'nat-detected'
    | 'floated'
    | 'cookie-returned'
    | 'key-exchange-retry'
    | 'proposal-selected'
    | 'peer-identified'
    | 'authenticating'
    | 'peer-authenticated'
  >,
): void {
  const { sa } = event
  const where = (): Fields => endpoints(sa)
  switch (event.event) {
    case 'ike-initiating':
      return speaker.tell('ike', 0, () => `initiating IKE_SA ${saName(sa)} to ${sa.remote.address.toString()}`, where)
    case 'ike-responding':
      return speaker.tell('ike', 0, () => `${sa.remote.address.toString()} is initiating an IKE_SA`, where)
    case 'initiating-again': {
      const { attempt, tries } = event
      return speaker.tell(
        'ike',
        1,
        () => `peer not responding, trying again (${attempt}/${tries})`,
        () => ({ attempt, tries }),
      )
    }
    case 'initiation-overtaken':
      return speaker.tell(
        'ike',
        1,
        () => `IKE_SA ${saName(event.other)} was set up meanwhile, giving up this one`,
        () => ({ other: event.other.uniqueId }),
      )
    case 'nat-detected':
      return wordNat(speaker, sa)
    case 'floated': {
      const { from } = event
      speaker.add('ike', 2, () => `local endpoint changed from ${from.local.toString()} to ${sa.local.toString()}`)
      return speaker.tell(
        'ike',
        2,
        () => `remote endpoint changed from ${from.remote.toString()} to ${sa.remote.toString()}`,
        () => ({ ...where(), from: { local: from.local.toString(), remote: from.remote.toString() } }),
      )
    }
    case 'cookie-returned':
      return speaker.tell('ike', 1, () => 'received COOKIE notify, sending it back')
    case 'key-exchange-retry': {
      const { refused, group } = event
      return speaker.tell(
        'ike',
        1,
        () => `peer didn't accept key exchange method ${groupName(refused)}, it requested ${groupName(group)}`,
        () => ({ refused, group }),
      )
    }
    case 'proposal-selected': {
      const { proposal } = event
      return speaker.tell('cfg', 1, () => `selected proposal: ${formatProposal(proposal)}`)
    }
    case 'peer-identified': {
      const { local, remote, remoteId, requestedId, connection } = event
      const us = (): string => (requestedId === null ? '%any' : formatIdentity(requestedId))
      speaker.tell(
        'cfg',
        1,
        () =>
          `looking for peer configs matching ${local.address.toString()}[${us()}]...${remote.address.toString()}[${formatIdentity(remoteId)}]`,
        () => ({ local: local.toString(), remote: remote.toString(), remoteId: formatIdentity(remoteId) }),
      )
      if (connection !== null) speaker.add('cfg', 1, () => `selected peer config '${connection.name}'`)
      return
    }
    case 'authenticating':
      return speaker.tell('ike', 1, () => {
        const by = event.by === 'pre-shared key' ? event.by : `${means(event.by)} successful`
        return `authentication of '${formatIdentity(event.id)}' (myself) with ${by}`
      })
    case 'peer-authenticated':
      return speaker.tell('ike', 1, () => `authentication of '${formatIdentity(event.id)}' with ${means(event.by)} successful`)
    default:
      unreachable(event, 'every event has its words')
  }
}

/** A signature by RFC 7427 has the name of its scheme, one before that the name of its method (strongSwan). */
function means(by: Means): string {
  if (by === 'pre-shared key') return by
  return by.method === AuthMethod.DIGITAL_SIGNATURE
    ? schemeName(by.scheme)
    : (CLASSIC_METHODS[by.method] ?? schemeName(by.scheme))
}

const CLASSIC_METHODS: Readonly<Record<number, string>> = {
  [AuthMethod.RSA_DIGITAL_SIGNATURE]: 'RSA signature',
  [AuthMethod.ECDSA_SHA256_P256]: 'ECDSA-256 signature',
  [AuthMethod.ECDSA_SHA384_P384]: 'ECDSA-384 signature',
  [AuthMethod.ECDSA_SHA512_P521]: 'ECDSA-521 signature',
}

function wordCertificates(
  speaker: Speaker,
  event: Event<
    | 'certificate-received'
    | 'certificate-sent'
    | 'attribute-certificate-received'
    | 'attribute-certificate-sent'
    | 'certificate-ignored'
    | 'certificate-requested'
    | 'certificate-request-sent'
  >,
): void {
  switch (event.event) {
    case 'certificate-received':
    case 'certificate-sent': {
      const verb = event.event === 'certificate-sent' ? 'sending' : 'received'
      const what = event.isLeaf ? 'end entity' : 'issuer'
      return speaker.tell('ike', 1, () => `${verb} ${what} cert "${subjectOf(event.certificate)}"`)
    }
    case 'attribute-certificate-received':
    case 'attribute-certificate-sent': {
      const verb = event.event === 'attribute-certificate-sent' ? 'sending' : 'received'
      return speaker.tell('ike', 1, () => `${verb} attribute certificate issued by "${nameText(event.certificate.issuer)}"`)
    }
    case 'certificate-ignored':
      return speaker.tell('ike', 1, () => event.sentence)
    case 'certificate-requested': {
      for (const ca of event.known) speaker.add('ike', 1, () => `received cert request for "${subjectOf(ca)}"`)
      const { unknown } = event
      if (unknown > 0) speaker.add('ike', 1, () => `received ${unknown} cert requests for an unknown ca`)
      return speaker.tell(
        'ike',
        2,
        () => 'received certificate request',
        () => ({ known: event.known.length, unknown }),
      )
    }
    case 'certificate-request-sent': {
      const named = event.authorities.slice(0, AUTHORITIES_SAID_MAX)
      for (const ca of named) speaker.add('ike', 1, () => `sending cert request for "${subjectOf(ca)}"`)
      const count = event.authorities.length
      return speaker.tell(
        'ike',
        2,
        () => `sending certificate request for ${count} CAs`,
        () => ({ count }),
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

/** Our limit: CAs in one round of lines. */
const AUTHORITIES_SAID_MAX = 20

function wordTrust(speaker: Speaker, { trust, revocation }: Event<'peer-trusted'>): void {
  const { path, isAnchored, key } = trust
  const [leaf, ...above] = path
  const facts = (): Fields => ({ subject: leaf === undefined ? null : subjectOf(leaf), key: key.toString(), isAnchored })
  if (leaf === undefined) return speaker.tell('cfg', 1, () => '  using trusted public key', facts)
  if (!isAnchored) return speaker.tell('cfg', 1, () => `  using trusted certificate "${subjectOf(leaf)}"`, facts)
  speaker.add('cfg', 1, () => `  using certificate "${subjectOf(leaf)}"`)
  for (const [i, ca] of above.entries()) {
    const isLast = i === above.length - 1
    speaker.add('cfg', 1, () => `  using ${isLast ? 'trusted ca' : 'untrusted intermediate'} certificate "${subjectOf(ca)}"`)
  }
  speaker.tell('cfg', 1, () => `  reached self-signed root ca with a path length of ${path.length - 2}`, facts)
  for (const { certificate, status, sentence } of revocation) {
    speaker.add('cfg', 1, () => `checking certificate status of "${subjectOf(certificate)}"`)
    speaker.add('cfg', 1, () => (status === 'good' ? 'certificate status is good' : sentence))
  }
}

function wordSelection(
  speaker: Speaker,
  event: Event<'connection-refused' | 'connection-switched' | 'duplicate-found' | 'both-initiated'>,
): void {
  switch (event.event) {
    case 'connection-refused': {
      const { connection, reason, sentence, isLast } = event
      // strongSwan looks for another one when a constraint fails, and not when the proof does.
      const loudness = reason === 'not proven' ? 2 : 1
      speaker.add('cfg', loudness, () => sentence)
      speaker.tell(
        'cfg',
        loudness,
        () => `selected peer config '${connection.name}' unacceptable: ${reason}`,
        () => ({ reason, sentence }),
      )
      if (isLast) speaker.add('cfg', loudness, () => 'no alternative config found')
      return
    }
    case 'connection-switched':
      return speaker.tell('cfg', 1, () => `switching to peer config '${event.to.name}'`)
    case 'duplicate-found': {
      const peer = event.old.remoteId === null ? '%any' : formatIdentity(event.old.remoteId)
      const doing = event.isLater ? 'schedule delete of' : 'deleting'
      const why = `due to uniqueness policy${event.isLater ? ' and suspected reauthentication' : ''}`
      return speaker.tell(
        'ike',
        1,
        () => `${doing} duplicate IKE_SA for peer '${peer}' ${why}`,
        () => ({ old: event.old.uniqueId }),
      )
    }
    case 'both-initiated':
      return speaker.tell(
        'ike',
        1,
        () => `two IKE_SAs have been set up at once, ${saName(event.old)} is to be deleted, ${saName(event.sa)} stays`,
        () => ({ old: event.old.uniqueId }),
      )
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordNat(speaker: Speaker, sa: IkeSa): void {
  const { supported, here, there, faked, outside } = sa.nat
  const facts = (): Fields => ({ ...endpoints(sa), nat: sa.nat })
  if (!supported) return speaker.tell('ike', 1, () => 'the peer does no NAT detection: no NAT traversal', facts)
  if (outside !== undefined) speaker.add('ike', 1, () => `the peer knows us as ${outside.toString()} (public_addrs)`)
  if (faked) return speaker.tell('ike', 1, () => 'faking NAT situation to enforce UDP encapsulation', facts)
  if (!here && !there) return speaker.tell('ike', 2, () => 'no NAT between local and remote host', facts)
  if (here && there) speaker.add('ike', 1, () => 'local host is behind NAT, sending keep alives')
  speaker.tell('ike', 1, () => (there ? 'remote host is behind NAT' : 'local host is behind NAT, sending keep alives'), facts)
}

function wordIkeSa(
  speaker: Speaker,
  event: Event<'ike-established' | 'ike-failed' | 'ike-closed' | 'not-initiated' | 'broken'>,
): void {
  switch (event.event) {
    case 'ike-established': {
      const { sa } = event
      return speaker.tell(
        'ike',
        0,
        () => `IKE_SA ${saName(sa)} established between ${ends(sa)}`,
        () => ({
          ...endpoints(sa),
          localId: identity(sa.localId),
          remoteId: identity(sa.remoteId),
          proposal: sa.proposal === null ? null : formatProposal(sa.proposal),
          role: sa.role,
          nat: sa.nat,
        }),
      )
    }
    case 'ike-failed': {
      const { sa, error } = event
      wordProposals(speaker, error)
      return speaker.tell(
        'ike',
        1,
        () => (isPeerSilent(error) ? `establishing IKE_SA failed, ${error.message}` : error.message),
        () => ({ code: error.code, accused: error.accused, ...endpoints(sa) }),
        'error',
      )
    }
    case 'not-initiated': {
      const { connection, error } = event
      return speaker.tell(
        'ike',
        1,
        () => error.message,
        () => ({ connection, code: error.code, accused: error.accused }),
        'error',
      )
    }
    case 'ike-closed':
      return wordClosed(speaker, event)
    case 'broken': {
      const { error } = event
      return speaker.tell(
        'ike',
        1,
        () => `internal error, giving this IKE_SA up: ${messageOf(error)}`,
        () => ({ stack: error instanceof Error ? error.stack : null }),
        'error',
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordClosed(speaker: Speaker, { sa, reason }: Event<'ike-closed'>): void {
  const facts = (): Fields => ({ reason })
  switch (reason) {
    case 'deleted-by-us':
    case 'rekeyed':
    case 'shutdown':
      if (sa.established !== null) return speaker.tell('ike', 0, () => 'IKE_SA deleted', facts)
      return speaker.tell('ike', 1, () => 'destroying IKE_SA in state CONNECTING without notification', facts)
    case 'half-open-timeout':
      return speaker.tell('job', 1, () => `deleting half open IKE_SA with ${sa.remote.address.toString()} after timeout`, facts)
    case 'replaced':
      return speaker.tell(
        'ike',
        1,
        () => `destroying duplicate IKE_SA for peer '${identity(sa.remoteId)}', received INITIAL_CONTACT`,
        facts,
      )
    case 'deleted-by-peer':
    case 'peer-silent':
    case 'failed':
      // Why has been told before.
      return speaker.tell('ike', 2, () => `destroying IKE_SA ${saName(sa)}`, facts)
    default:
      unreachable(reason, 'every reason has its words')
  }
}

function wordChildSa(
  speaker: Speaker,
  event: Event<'child-establishing' | 'child-established' | 'child-failed' | 'child-closed'>,
): void {
  const { sa } = event
  switch (event.event) {
    case 'child-establishing':
      return speaker.tell('ike', 0, () => `establishing CHILD_SA ${event.name}{${event.uniqueId}}`)
    case 'child-established': {
      const { child } = event
      speaker.tell(
        'ike',
        0,
        () =>
          `CHILD_SA ${childName(child)} established with SPIs ${spi(child.inboundSpi)}_i ${spi(child.outboundSpi)}_o and TS ${traffic(child)}`,
        () => ({ ...endpoints(sa), child: childFields(child) }),
      )
      const how = child.encapsulated ? `in UDP ${sa.local.port} - ${sa.remote.port}` : 'without UDP'
      return speaker.add('chd', 2, () => `CHILD_SA ${childName(child)} in ${child.mode} mode, ESP ${how}`)
    }
    case 'child-failed': {
      const { error } = event
      wordProposals(speaker, error)
      speaker.tell(
        'ike',
        1,
        () => error.message,
        () => ({ child: event.name, code: error.code, accused: error.accused }),
        'error',
      )
      return speaker.add('ike', 1, () => 'failed to establish CHILD_SA, keeping IKE_SA')
    }
    case 'child-closed': {
      const { child, reason, usage } = event
      const carried = (bytes: bigint | undefined): string => (bytes === undefined ? '' : ` (${bytes} bytes)`)
      // With the IKE_SA go its CHILD_SAs; strongSwan has a word for those only that go by themselves.
      return speaker.tell(
        'ike',
        sa.state === 'closed' ? 2 : 0,
        () =>
          `closing CHILD_SA ${childName(child)} with SPIs ${spi(child.inboundSpi)}_i${carried(usage?.in.bytes)} ${spi(child.outboundSpi)}_o${carried(usage?.out.bytes)} and TS ${traffic(child)}`,
        () => ({ reason, child: childFields(child) }),
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordLife(
  speaker: Speaker,
  event: Event<
    | 'lifetime-set'
    | 'auth-lifetime-received'
    | 'ike-expired'
    | 'reauthenticating'
    | 'reauthentication-failed'
    | 'child-recreating'
    | 'child-idle'
  >,
): void {
  const { sa } = event
  const seconds = (time: number): number => Math.round(time / SECOND)
  switch (event.event) {
    case 'lifetime-set': {
      const { rekeyAt, reauthAt, established } = sa
      const after = (at: number): number => seconds(at - (established ?? at))
      if (rekeyAt !== null) speaker.add('ike', 1, () => `scheduling rekeying in ${after(rekeyAt)}s`)
      if (reauthAt !== null) speaker.add('ike', 1, () => `scheduling reauthentication in ${after(reauthAt)}s`)
      return speaker.tell(
        'ike',
        1,
        () => `maximum IKE_SA lifetime ${seconds(event.over)}s`,
        () => ({
          rekeySeconds: rekeyAt === null ? null : after(rekeyAt),
          reauthSeconds: reauthAt === null ? null : after(reauthAt),
          overSeconds: seconds(event.over),
        }),
      )
    }
    case 'auth-lifetime-received': {
      const { lifetime, reauthIn, isSooner } = event
      const doing = isSooner ? 'scheduling reauthentication' : 'reauthentication already scheduled'
      return speaker.tell(
        'ike',
        1,
        () => `received AUTH_LIFETIME of ${seconds(lifetime)}s, ${doing} in ${seconds(reauthIn)}s`,
        () => ({ lifetimeSeconds: seconds(lifetime), reauthSeconds: seconds(reauthIn) }),
      )
    }
    case 'ike-expired':
      return speaker.tell('ike', 1, () => `IKE_SA ${saName(sa)} has reached its maximum lifetime, deleting it`)
    case 'reauthenticating':
      return speaker.tell('ike', 0, () => `reauthenticating IKE_SA ${saName(sa)}`)
    case 'reauthentication-failed': {
      const { why, retryIn } = event
      const delay = retryIn === null ? '' : `, delaying for ${seconds(retryIn)}s`
      const sentence = {
        busy: `unable to reauthenticate while SAs are being changed${delay}`,
        childless: 'unable to reauthenticate IKE_SA, no CHILD_SA to recreate',
        asymmetric: `initiator did not reauthenticate as requested, IKE_SA ${saName(sa)} will time out`,
        failed: `reauthenticating IKE_SA failed${delay}`,
      }
      return speaker.tell(
        'ike',
        1,
        () => sentence[why],
        () => ({ why, retryIn }),
      )
    }
    case 'child-recreating':
      return speaker.tell(
        'ike',
        1,
        () => `queue CHILD_SA recreate after hard expire`,
        () => ({ child: childFields(event.child) }),
      )
    case 'child-idle': {
      const { child, closesIkeSa } = event
      const idle = seconds(child.connection.inactivity)
      return speaker.tell(
        'job',
        1,
        () =>
          closesIkeSa
            ? `deleting IKE_SA after ${idle} seconds of CHILD_SA inactivity`
            : `deleting CHILD_SA after ${idle} seconds of inactivity`,
        () => ({ child: childFields(child) }),
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordRekey(
  speaker: Speaker,
  event: Event<
    | 'ike-rekeyed'
    | 'ike-rekey-failed'
    | 'child-rekeyed'
    | 'child-activated'
    | 'child-rekey-failed'
    | 'rekey-collision'
    | 'follow-up-missing'
    | 'create-refused'
  >,
): void {
  const { sa } = event
  const seconds = (retryIn: number): number => Math.round(retryIn / SECOND)
  const failure = ({ error }: { readonly error: EspalierError }): Fields => ({ code: error.code, accused: error.accused })
  const keyed = (child: ChildSa): string =>
    `CHILD_SA ${childName(child)} established with SPIs ${spi(child.inboundSpi)}_i ${spi(child.outboundSpi)}_o and TS ${traffic(child)}`
  switch (event.event) {
    case 'ike-rekeyed':
      return speaker.tell(
        'ike',
        0,
        () => `IKE_SA ${saName(sa)} rekeyed between ${ends(sa)}`,
        () => ({ ...endpoints(sa), old: event.old.uniqueId }),
      )
    case 'ike-rekey-failed':
      wordProposals(speaker, event.error)
      speaker.add('ike', 1, () => event.error.message)
      return speaker.tell(
        'ike',
        1,
        () =>
          event.retryIn === null
            ? 'IKE_SA rekeying failed, but the peer has replaced the IKE_SA, beginning anew'
            : `IKE_SA rekeying failed, trying again in ${seconds(event.retryIn)} seconds`,
        () => failure(event),
        'warn',
      )
    case 'child-rekeyed': {
      const { child, old } = event
      speaker.tell(
        'ike',
        0,
        () => `inbound ${keyed(child)}`,
        () => ({ ...endpoints(sa), child: childFields(child), old: old.uniqueId }),
      )
      if (child.installed.outboundHalf === 'installed') speaker.add('ike', 0, () => `outbound ${keyed(child)}`)
      return
    }
    case 'child-activated':
      return speaker.tell(
        'ike',
        0,
        () => `outbound ${keyed(event.child)}`,
        () => ({ child: childFields(event.child) }),
      )
    case 'child-rekey-failed':
      wordProposals(speaker, event.error)
      speaker.add('ike', 1, () => event.error.message)
      return speaker.tell(
        'ike',
        1,
        () => `CHILD_SA rekeying failed, trying again in ${seconds(event.retryIn)} seconds`,
        () => ({ child: childFields(event.child), ...failure(event) }),
        'warn',
      )
    case 'rekey-collision': {
      const what = event.child === null ? 'IKE_SA' : 'CHILD_SA'
      const how = event.isLost ? 'lost, abort incomplete' : 'won, continue with'
      return speaker.tell(
        'ike',
        1,
        () => `${what} rekey collision ${how} multi-KE rekeying`,
        () => ({ ...(event.child === null ? {} : { child: childFields(event.child) }), isLost: event.isLost }),
      )
    }
    case 'follow-up-missing':
      return speaker.tell(
        'ike',
        1,
        () => `peer did not go on with IKE_FOLLOWUP_KE for ${seconds(event.patience)} seconds, forgetting what it began`,
        () => ({ patience: event.patience }),
        'warn',
      )
    case 'create-refused':
      wordProposals(speaker, event.error)
      return speaker.tell(
        'ike',
        1,
        () => event.error.message,
        () => failure(event),
      )
    default:
      unreachable(event, 'every event has its words')
  }
}

function wordDelete(speaker: Speaker, { event, sa, child }: Event<'delete-sent' | 'delete-received'>): void {
  const deleting = (): string => `deleting IKE_SA ${saName(sa)} between ${ends(sa)}`
  if (event === 'delete-sent') {
    if (child !== null) return speaker.tell('ike', 1, () => `sending DELETE for ESP CHILD_SA with SPI ${spi(child.inboundSpi)}`)
    speaker.add('ike', 0, deleting)
    return speaker.tell('ike', 1, () => `sending DELETE for IKE_SA ${saName(sa)}`)
  }
  if (child !== null) return speaker.tell('ike', 1, () => `received DELETE for ESP CHILD_SA with SPI ${spi(child.outboundSpi)}`)
  speaker.tell('ike', 1, () => `received DELETE for IKE_SA ${saName(sa)}`)
  speaker.add('ike', 0, deleting)
  // Said before the answer leaves.
  speaker.add('ike', 0, () => 'IKE_SA deleted')
}

function wordHealth(speaker: Speaker, event: Event<'health-changed' | 'child-repairing' | 'encapsulation-mismatch'>): void {
  if (event.event === 'encapsulation-mismatch') {
    const { count, suspects } = event
    return speaker.tell(
      'knl',
      1,
      () =>
        `the kernel has dropped ${count} ESP packets that came in UDP for a bare SA, or bare for an SA in UDP (XfrmInStateMismatch); which CHILD_SA they are of cannot be told`,
      () => ({ count, suspects }),
      'warn',
    )
  }
  const { sa, child } = event
  const { health } = child
  if (event.event === 'child-repairing') {
    const form = encapsulates(sa.nat) ? 'ESP in UDP' : 'bare ESP'
    const words = {
      rekeyed: `rekeying CHILD_SA ${childName(child)} to repair it`,
      switched: `rekeying CHILD_SA ${childName(child)} with ${form}, as the peer seems to send it`,
      reverted: `rekeying CHILD_SA ${childName(child)} with ${form} again, the other was no better`,
    }
    return speaker.tell(
      'ike',
      1,
      () => words[event.repair],
      () => ({ child: childFields(child), repair: event.repair, reason: health.reason }),
    )
  }
  // It was entered at the very moment that it is told of.
  const fares = health.state === 'good' ? 'works again: packets come in' : healthSentence(sa, child, health.since)
  const isNews = health.state === 'failing' || (health.state === 'suspect' && health.heardAt !== null)
  speaker.tell(
    'ike',
    1,
    () => `CHILD_SA ${childName(child)} ${fares}`,
    () => ({
      child: childFields(child),
      health: health.state,
      reason: health.reason,
      was: event.was,
      sentInVain: health.sentInVain,
      refused: health.refused,
    }),
    isNews ? 'warn' : 'info',
  )
}

function wordStranger(speaker: Speaker, event: Event<'cookie-demanded' | 'request-refused' | 'datagram-dropped'>): void {
  const who = event.remote.address.toString()
  switch (event.event) {
    case 'cookie-demanded':
      return speaker.tell(
        'net',
        1,
        () => `sending COOKIE notify to ${who}: too many half-open IKE_SAs`,
        () => ({ remote: event.remote.toString() }),
      )
    case 'request-refused': {
      const { error, local, remote } = event
      speaker.add('ike', 0, () => `${who} is initiating an IKE_SA`)
      wordProposals(speaker, error)
      return speaker.tell(
        'ike',
        1,
        () => error.message,
        () => ({ remote: remote.toString(), local: local.toString(), code: error.code }),
        // Another group is asked for in the ordinary course of things (RFC 7296 1.2).
        error.code === 'KE_GROUP_MISMATCH' ? 'info' : 'warn',
      )
    }
    case 'datagram-dropped': {
      const { reason, local, remote, header } = event
      const { group, loudness, words } = DROPS[reason]
      return speaker.tell(
        group,
        loudness,
        () => words(who, header),
        () => ({ remote: remote.toString(), local: local.toString(), reason }),
      )
    }
    default:
      unreachable(event, 'every event has its words')
  }
}

type DropHeader = Event<'datagram-dropped'>['header']
interface Drop {
  readonly group: LogGroup
  readonly loudness: Loudness
  readonly words: (who: string, header: DropHeader) => string
}

const DROPS: Readonly<Record<DropReason, Drop>> = {
  'not-ike': { group: 'net', loudness: 2, words: (who) => `received packet from ${who} that is no IKE message - ignored` },
  'marker-on-ike-port': {
    group: 'net',
    loudness: 1,
    words: (who) =>
      `received IKE message with non-ESP marker from ${who} on our IKE port - ignored: the peer's remote_port has to be our charon.port_nat_t, not charon.port`,
  },
  'keepalive': {
    group: 'net',
    loudness: 2,
    words: (who) => `received keep alive from ${who} - ignored: the kernel takes those on the NAT-T port`,
  },
  'malformed': { group: 'net', loudness: 1, words: (who) => `received invalid IKE header from ${who} - ignored: malformed` },
  'unknown-spi': { group: 'net', loudness: 2, words: (who) => `received packet from ${who} for no IKE_SA of ours - ignored` },
  'version': {
    group: 'net',
    loudness: 1,
    words: (who, header) =>
      `received unsupported IKE version ${header === null ? '?' : `${header.majorVersion}.${header.minorVersion}`} from ${who}`,
  },
  'not-authentic': {
    group: 'ike',
    loudness: 1,
    words: (who, header) => `integrity check failed, message ID ${header?.messageId ?? '?'} from ${who} ignored`,
  },
  'out-of-window': {
    group: 'ike',
    loudness: 1,
    words: (who, header) => `received message ID ${header?.messageId ?? '?'} from ${who}, not the one expected, ignored`,
  },
  'queue-full': {
    group: 'ike',
    loudness: 1,
    words: (who) => `received packet from ${who} - ignored: too many are waiting for this IKE_SA`,
  },
  'half-open-limit': {
    group: 'net',
    loudness: 1,
    words: (who) => `ignoring IKE_SA setup from ${who}, half-open IKE_SA limit reached`,
  },
  'job-load': { group: 'net', loudness: 1, words: (who) => `ignoring IKE_SA setup from ${who}, job load exceeds limit` },
  'ike-sa-limit': { group: 'mgr', loudness: 1, words: (who) => `ignoring IKE_SA_INIT from ${who}, hitting IKE_SA limit` },
  'blocked': {
    group: 'net',
    loudness: 1,
    words: (who) => `ignoring IKE_SA setup from ${who}, per-IP half-open IKE_SA limit reached and its cookie is none of ours`,
  },
  'fragment-known': {
    group: 'enc',
    loudness: 1,
    words: (who, header) => `received duplicate fragment of message ID ${header?.messageId ?? '?'} from ${who}`,
  },
  'fragment-limit': {
    group: 'enc',
    loudness: 1,
    words: (who, header) => `fragmented IKE message is too large, message ID ${header?.messageId ?? '?'} from ${who} ignored`,
  },
  'being-answered': {
    group: 'mgr',
    loudness: 1,
    words: (_who, header) => `ignoring request with ID ${header?.messageId ?? '?'}, already processing`,
  },
  'unexpected': { group: 'net', loudness: 2, words: (who) => `received packet from ${who} that is not expected now - ignored` },
}

/** Before a refusal, what was compared. */
function wordProposals(speaker: Speaker, error: unknown): void {
  if (!(error instanceof NoProposalChosen)) return
  speaker.add('cfg', 1, () => `received proposals: ${listed(error.received.map(suiteOfWire))}`)
  speaker.add('cfg', 1, () => `configured proposals: ${listed(error.configured)}`)
}

/** A stranger decides how much it proposes, not how long our lines are. */
const PROPOSALS_MAX = 8
const TRANSFORMS_MAX = 40

function listed(proposals: readonly SuiteProposal[]): string {
  const texts = proposals
    .slice(0, PROPOSALS_MAX)
    .map((proposal) => formatProposal({ ...proposal, transforms: proposal.transforms.slice(0, TRANSFORMS_MAX) }))
  return `${texts.join(', ')}${proposals.length > PROPOSALS_MAX ? ', ...' : ''}`
}

function suiteOfWire({ protocol, transforms }: NoProposalChosen['received'][number]): SuiteProposal {
  return { protocol: protocol === ProtocolId.IKE ? 'ike' : 'esp', transforms }
}

function connectionName(sa: IkeSa): string {
  return sa.connection?.name ?? '(unnamed)'
}

function saName(sa: IkeSa): string {
  return `${connectionName(sa)}[${sa.uniqueId}]`
}

function childName(child: ChildSa): string {
  return `${child.connection.name}{${child.uniqueId}}`
}

function endpoints(sa: IkeSa): Record<string, string> {
  return { local: sa.local.toString(), remote: sa.remote.toString() }
}

/** strongSwan: `10.0.0.1[moon.example.org]...10.0.0.2[carol@example.org]`. */
function ends(sa: IkeSa): string {
  return `${sa.local.address.toString()}[${identity(sa.localId)}]...${sa.remote.address.toString()}[${identity(sa.remoteId)}]`
}

function identity(id: Identity | null): string {
  return id === null ? '%any' : formatIdentity(id)
}

function traffic(child: ChildSa): string {
  return `${child.localSelectors.map(formatSelector).join(' ')} === ${child.remoteSelectors.map(formatSelector).join(' ')}`
}

function childFields(child: ChildSa): Fields {
  return {
    name: child.connection.name,
    id: child.uniqueId,
    mode: child.mode,
    reqid: child.reqid,
    spiIn: spi(child.inboundSpi),
    spiOut: spi(child.outboundSpi),
    localSelectors: child.localSelectors.map(formatSelector),
    remoteSelectors: child.remoteSelectors.map(formatSelector),
    proposal: formatProposal(child.proposal),
    encapsulated: child.encapsulated,
  }
}

function spi(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function wordAddress(speaker: Speaker, { sa, requested, lease }: Event<'address-answered'>): void {
  const peer = sa.remoteId === null ? '%any' : formatIdentity(sa.remoteId)
  const asked = requested.isAny ? (requested.family === 4 ? '%any' : '%any6') : requested.toString()
  speaker.add('ike', 1, () => `peer requested virtual IP ${asked}`)
  if (lease !== null) speaker.add('cfg', 1, () => leaseSentence(lease))
  speaker.tell(
    'ike',
    1,
    () =>
      lease === null
        ? `no virtual IP found for ${asked} requested by '${peer}'`
        : `assigning virtual IP ${lease.address.toString()} to peer '${peer}'`,
    () => ({ requested: asked, address: lease?.address.toString() ?? null, pool: lease?.pool ?? null }),
  )
}

function leaseSentence({ origin, holder }: Lease): string {
  switch (origin) {
    case 'new':
      return `assigning new lease to '${holder.name}'`
    case 'returned':
      return `reassigning offline lease to '${holder.name}'`
    case 'shared':
      return `reassigning online lease to '${holder.name}'`
    default:
      return `reassigning existing offline lease by '${origin.takenFrom.name}' to '${holder.name}'`
  }
}

function wordConfigured(speaker: Speaker, event: Event<'configuration-changed'>): void {
  const { what, name, change, secret } = event
  speaker.tell(
    'cfg',
    1,
    () => {
      const done = change === 'removed' ? 'unloaded' : 'loaded'
      if (what === 'certificate') return `${done} certificate '${name}'`
      if (what === 'crl') return `${done} CRL of '${name}'`
      if (what === 'public-key') return `${done} public key with id ${name}`
      if (what === 'private-key') return `${done} private key with id ${name}`
      if (secret === null) return `${change} vici ${what}: ${name}`
      if (change === 'removed') return `unloaded shared key with id '${name}'`
      const owners = secret.owners.length === 0 ? '%any' : secret.owners.map(formatIdentity).join("', '")
      return `loaded ${SECRET_NAMES[secret.kind]} shared key with id '${name}' for: '${owners}'`
    },
    () => ({ what, name, change }),
  )
}

/** strongSwan: shared_key_type_names. */
const SECRET_NAMES: Readonly<Record<SecretKind, string>> = { ike: 'IKE', eap: 'EAP', ntlm: 'NTLM', ppk: 'PPK' }
