import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { ExchangeType, NotifyType } from '../../src/iana/ikev2.ts'
import type { CloseReason, DropReason, IkeEvent } from '../../src/ike/events.ts'
import { NoProposalChosen, refusedByPeer } from '../../src/ike/failure.ts'
import { IkeSa } from '../../src/ike/sa.ts'
import { KernelError } from '../../src/kernel/vocabulary.ts'
import { notify } from '../../src/message/ikev2/find.ts'
import type { Payload, WireProposal } from '../../src/message/ikev2/payload.ts'
import { NO_NAT_TRAVERSAL, type NatFacts } from '../../src/nat/detection.ts'
import { parseProposal, toWire } from '../../src/negotiate/proposals.ts'
import { messageSummary } from '../../src/report/message.ts'
import { linesOf, type Line } from '../../src/report/report.ts'
import { connection } from '../simulation/configuration.ts'

const LOCAL = new Endpoint(IpAddress.parse('203.0.113.1'), 500)
const REMOTE = new Endpoint(IpAddress.parse('198.51.100.7'), 30_000)

function ikeSa(): IkeSa {
  const sa = new IkeSa(7, 'responder', 1n, connection({ connection: 'home' }), LOCAL, REMOTE, 0)
  sa.localId = parseIdentity('moon.example.org')
  sa.remoteId = parseIdentity('carol@example.org')
  return sa
}

/** `[IKE] words` of each line. */
function wordsOf(event: IkeEvent): string[] {
  return linesOf(event).map(({ group, message }) => `[${group.toUpperCase()}] ${message}`)
}

/** The line that has the facts. */
function lineOf(event: IkeEvent): Line {
  const lines = linesOf(event).filter(({ fields }) => fields['event'] === event.event)
  assert.equal(lines.length, 1, `${event.event} has one line with its facts`)
  return lines[0]!
}

const ERROR = new EspalierError('policy', 'SOME_CODE', 'something is forbidden')
const summaryOf = (...payloads: readonly Payload[]): string =>
  messageSummary({ exchangeType: ExchangeType.IKE_AUTH, isResponse: false, messageId: 1, payloads })

test('a line of an IKE_SA knows whose it is and has the facts beside the words', () => {
  const line = lineOf({ event: 'ike-established', sa: ikeSa() })
  assert.equal(line.message, 'IKE_SA home[7] established between 203.0.113.1[moon.example.org]...198.51.100.7[carol@example.org]')
  assert.deepEqual([line.group, line.loudness, line.level], ['ike', 0, 'info'])
  assert.deepEqual(line.ike, { name: 'home', uniqueId: 7 })
  assert.equal(line.fields['ike'], 7)
  assert.equal(line.fields['connection'], 'home')
  assert.equal(line.fields['remoteId'], 'carol@example.org')
})

test('an IKE_SA whose peer is not known yet has no name of its own', () => {
  const line = lineOf({ event: 'ike-responding', sa: new IkeSa(8, 'responder', 1n, null, LOCAL, REMOTE, 0) })
  assert.equal(line.message, '198.51.100.7 is initiating an IKE_SA')
  assert.deepEqual(line.ike, { name: '(unnamed)', uniqueId: 8 })
})

test('a message is told with its way, its size and its payloads, in the order in which it is made and taken apart', () => {
  const payloads = [notify(NotifyType.NAT_DETECTION_SOURCE_IP), { kind: 'Nonce', data: new Uint8Array(32) } as const]
  const facts = { sa: ikeSa(), exchangeType: ExchangeType.IKE_SA_INIT, messageId: 0, local: LOCAL, remote: REMOTE, payloads }
  const [isRetransmission, length] = [false, 240]
  const [whole, isReassembled] = [{ fragmentLengths: null }, false]
  assert.deepEqual(wordsOf({ event: 'message-sent', ...facts, ...whole, isResponse: false, isRetransmission, length }), [
    '[ENC] generating IKE_SA_INIT request 0 [ N(NATD_S_IP) No ]',
    '[NET] sending packet: from 203.0.113.1[500] to 198.51.100.7[30000] (240 bytes)',
  ])
  assert.deepEqual(wordsOf({ event: 'message-received', ...facts, isReassembled, isResponse: true, isRetransmission, length }), [
    '[NET] received packet: from 198.51.100.7[30000] to 203.0.113.1[500] (240 bytes)',
    '[ENC] parsed IKE_SA_INIT response 0 [ N(NATD_S_IP) No ]',
  ])
  const again = { ...facts, isRetransmission: true, length, payloads: [] }
  assert.deepEqual(wordsOf({ event: 'message-sent', ...again, ...whole, isResponse: true }), [
    '[NET] sending packet: from 203.0.113.1[500] to 198.51.100.7[30000] (240 bytes)',
  ])
  assert.equal(
    wordsOf({ event: 'message-received', ...again, isReassembled, isResponse: false }).at(-1),
    '[IKE] received retransmit of request with ID 0, retransmitting response',
  )
})

test('a message in fragments is told with each of them, and with its payloads once', () => {
  const { way, inward } = {
    way: 'from 203.0.113.1[500] to 198.51.100.7[30000]',
    inward: 'from 198.51.100.7[30000] to 203.0.113.1[500]',
  }
  const auth = { kind: 'AUTH', method: 2, data: new Uint8Array(32) } as const
  const [exchangeType, messageId] = [ExchangeType.IKE_AUTH, 1]
  const facts = { sa: ikeSa(), exchangeType, messageId, local: LOCAL, remote: REMOTE, isRetransmission: false }
  const sent = { event: 'message-sent', ...facts, isResponse: false, payloads: [auth], fragmentLengths: [544, 380] } as const
  assert.deepEqual(wordsOf({ ...sent, length: 860 }), [
    '[ENC] generating IKE_AUTH request 1 [ AUTH ]',
    '[ENC] splitting IKE message (860 bytes) into 2 fragments',
    `[NET] sending packet: ${way} (544 bytes)`,
    `[NET] sending packet: ${way} (380 bytes)`,
  ])
  assert.deepEqual(wordsOf({ ...sent, length: 860, isRetransmission: true, payloads: [] }), [
    `[NET] sending packet: ${way} (544 bytes)`,
    `[NET] sending packet: ${way} (380 bytes)`,
  ])
  const fragment = (fragmentNumber: number, wholeLength: number | null): readonly string[] => {
    const [totalFragments, rest] = [2, { body: new Uint8Array(), bodyOffset: 36 }]
    const payloads = [{ kind: 'SKF', innerFirst: 39, fragmentNumber, totalFragments, ...rest } as const]
    const event = { event: 'fragment-received', fragmentNumber, totalFragments, wholeLength } as const
    return wordsOf({ ...event, ...facts, isResponse: true, payloads, length: 544 })
  }
  assert.deepEqual(fragment(2, null), [
    `[NET] received packet: ${inward} (544 bytes)`,
    '[ENC] parsed IKE_AUTH response 1 [ EF(2/2) ]',
    '[ENC] received fragment #2 of 2, waiting for complete IKE message',
  ])
  assert.equal(fragment(1, 860).at(-1), '[ENC] received fragment #1 of 2, reassembled fragmented IKE message (860 bytes)')
  const whole = { event: 'message-received', ...facts, isResponse: true, payloads: [auth], isReassembled: true } as const
  assert.deepEqual(wordsOf({ ...whole, length: 860 }), ['[ENC] parsed IKE_AUTH response 1 [ AUTH ]'])
})

test('payloads are abbreviated as strongSwan abbreviates them', () => {
  const identification = { idType: 2, data: new Uint8Array() }
  assert.equal(
    summaryOf(
      { kind: 'IDi', ...identification },
      notify(NotifyType.INITIAL_CONTACT),
      { kind: 'IDr', ...identification },
      { kind: 'AUTH', method: 2, data: new Uint8Array() },
      { kind: 'CP', cpType: 1, attributes: [1, 3, 25, 99].map((type) => ({ type, value: new Uint8Array() })) },
      { kind: 'EAP', data: new Uint8Array(), code: 2, identifier: 1, eapType: 26 },
      notify(NotifyType.MOBIKE_SUPPORTED),
      notify(40_000),
      { kind: 'Unknown', payloadType: 200, critical: false, data: new Uint8Array() },
    ),
    'IKE_AUTH request 1 [ IDi N(INIT_CONTACT) IDr AUTH CPRQ(ADDR DNS DOMAIN (99)) EAP/RES/MSCHAPV2 N(MOBIKE_SUP) N((40000)) UNKN(200) ]',
  )
  assert.equal(summaryOf(), 'IKE_AUTH request 1 [ ]')
})

test('every notify that we know has an abbreviation, and no two the same', () => {
  // Of documents that strongSwan does not follow.
  const strange = new Set([45, 46, 49, 16415 + 17, 16433, 16434, 16439, 16440, 16443, 16445, 16446])
  const known = Object.values(NotifyType).filter((type) => !strange.has(type))
  const summaries = known.map((type) => summaryOf(notify(type)))
  for (const summary of summaries) assert.match(summary, /^IKE_AUTH request 1 \[ N\([A-Za-z0-9_]+\) \]$/)
  assert.equal(new Set(summaries).size, known.length)
})

test('a peer that sends more payloads than anyone wants to read gets a line that ends', () => {
  const many = Array.from({ length: 5000 }, () => notify(NotifyType.NO_ADDITIONAL_ADDRESSES))
  assert.ok(summaryOf(...many).length < 2000)
  const wire: WireProposal = { ...toWire(parseProposal('aes128-sha256-x25519', 'ike'), 1, new Uint8Array()) }
  const error = new NoProposalChosen('received proposals unacceptable', Array(200).fill(wire), [])
  for (const line of wordsOf({ event: 'request-refused', remote: REMOTE, local: LOCAL, error })) assert.ok(line.length < 2000)
})

test('where no proposal fits, both sides are listed before it is said', () => {
  const received = [toWire(parseProposal('aes128-sha256-x25519', 'ike'), 1, new Uint8Array())]
  const error = new NoProposalChosen('received proposals unacceptable', received, [parseProposal('aes256-sha384-ecp384', 'ike')])
  assert.deepEqual(wordsOf({ event: 'request-refused', remote: REMOTE, local: LOCAL, error }), [
    '[IKE] 198.51.100.7 is initiating an IKE_SA',
    '[CFG] received proposals: IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519',
    '[CFG] configured proposals: IKE:AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_384',
    '[IKE] received proposals unacceptable',
  ])
})

test('errors are told at level error, with their code and whose doing they are', () => {
  const failed = lineOf({ event: 'ike-failed', sa: ikeSa(), error: ERROR })
  assert.deepEqual([failed.level, failed.loudness, failed.message], ['error', 1, 'something is forbidden'])
  assert.deepEqual([failed.fields['code'], failed.fields['accused']], ['SOME_CODE', 'policy'])
  const said = lineOf({ event: 'ike-failed', sa: ikeSa(), error: refusedByPeer(NotifyType.AUTHENTICATION_FAILED) })
  assert.match(said.message, /^received AUTHENTICATION_FAILED notify error: the peer does not accept our identity/)
  const started = lineOf({ event: 'not-initiated', connection: 'home', error: ERROR })
  assert.deepEqual([started.level, started.message], ['error', 'something is forbidden'])
  const broken = lineOf({ event: 'broken', sa: ikeSa(), error: new Error('ours') })
  assert.match(broken.message, /internal error, giving this IKE_SA up: ours/)
  assert.match(String(broken.fields['stack']), /wording\.test\.ts/)
  const refused = lineOf({ event: 'kernel-refused', error: new KernelError('KERNEL_REFUSED', 'do it', 22, 'EINVAL', 'because') })
  assert.deepEqual(
    [refused.group, refused.level, refused.message, refused.fields['errno']],
    ['knl', 'error', 'the kernel refused to do it: EINVAL (because)', 22],
  )
})

test('a CHILD_SA that comes to nothing leaves the IKE_SA, and both is said', () => {
  assert.deepEqual(wordsOf({ event: 'child-failed', sa: ikeSa(), name: 'net', error: ERROR }), [
    '[IKE] something is forbidden',
    '[IKE] failed to establish CHILD_SA, keeping IKE_SA',
  ])
})

test('every reason to close has words, and says IKE_SA deleted only of one that stood', () => {
  const closes: Readonly<Record<CloseReason, RegExp>> = {
    'deleted-by-us': /^IKE_SA deleted$/,
    'deleted-by-peer': /^destroying IKE_SA home\[7\]$/,
    'shutdown': /^IKE_SA deleted$/,
    'rekeyed': /^IKE_SA deleted$/,
    'half-open-timeout': /^deleting half open IKE_SA with 198\.51\.100\.7 after timeout$/,
    'peer-silent': /^destroying IKE_SA home\[7\]$/,
    'failed': /^destroying IKE_SA home\[7\]$/,
    'replaced': /^destroying duplicate IKE_SA for peer 'carol@example\.org', received INITIAL_CONTACT$/,
  }
  const stood = ikeSa()
  stood.established = 5
  for (const [reason, words] of Object.entries(closes) as [CloseReason, RegExp][])
    assert.match(lineOf({ event: 'ike-closed', sa: stood, reason }).message, words)
  assert.equal(
    lineOf({ event: 'ike-closed', sa: ikeSa(), reason: 'shutdown' }).message,
    'destroying IKE_SA in state CONNECTING without notification',
  )
})

test('every reason to drop a datagram has words of its own, and names who sent it', () => {
  const drops: DropReason[] = [
    'keepalive',
    'not-ike',
    'marker-on-ike-port',
    'malformed',
    'unknown-spi',
    'version',
    'not-authentic',
    'out-of-window',
    'queue-full',
    'half-open-limit',
    'job-load',
    'ike-sa-limit',
    'blocked',
    'unexpected',
    'fragment-known',
    'fragment-limit',
  ]
  const sentences = drops.map(
    (reason) => lineOf({ event: 'datagram-dropped', remote: REMOTE, local: LOCAL, reason, header: null }).message,
  )
  for (const sentence of sentences) assert.match(sentence, /198\.51\.100\.7(?!.*undefined)/)
  assert.equal(new Set(sentences).size, drops.length)
})

test('the NAT facts are said in the words of strongSwan, each in a line of its own', () => {
  const said = (changes: Partial<NatFacts>): string[] => {
    const sa = ikeSa()
    sa.nat = { ...NO_NAT_TRAVERSAL, supported: true, ...changes }
    return wordsOf({ event: 'nat-detected', sa })
  }
  assert.deepEqual(said({ here: true }), ['[IKE] local host is behind NAT, sending keep alives'])
  assert.deepEqual(said({ there: true }), ['[IKE] remote host is behind NAT'])
  assert.deepEqual(said({ here: true, there: true }), [...said({ here: true }), ...said({ there: true })])
  assert.deepEqual(said({ faked: true }), ['[IKE] faking NAT situation to enforce UDP encapsulation'])
  // Ours alone.
  const outside = IpAddress.parse('203.0.113.5')
  assert.deepEqual(said({ outside, there: true }), [
    '[IKE] the peer knows us as 203.0.113.5 (public_addrs)',
    '[IKE] remote host is behind NAT',
  ])
  assert.deepEqual(said({ supported: false }), ['[IKE] the peer does no NAT detection: no NAT traversal'])
  const [line] = linesOf({ event: 'nat-detected', sa: Object.assign(ikeSa(), { nat: { ...NO_NAT_TRAVERSAL, supported: true } }) })
  assert.equal(line!.loudness, 2, 'strongSwan says nothing where there is no NAT')
})

test('what strongSwan asks of a search in its log is there to be found', () => {
  const sa = ikeSa()
  const endpoint = { sa, local: LOCAL, remote: REMOTE }
  const said = (event: IkeEvent): string => wordsOf(event).join('\n')
  assert.equal(said({ event: 'ike-initiating', sa }), '[IKE] initiating IKE_SA home[7] to 198.51.100.7')
  assert.equal(said({ event: 'keepalive-sent', sa }), '[IKE] sending keep alive to 198.51.100.7[30000]')
  assert.equal(
    said({ event: 'retransmitting', sa, messageId: 3, attempt: 1, isProbing: false }),
    '[IKE] retransmit 1 of request with message ID 3',
  )
  assert.equal(
    said({ event: 'request-given-up', sa, messageId: 3, retransmissions: 5, isProbing: false }),
    '[IKE] giving up after 5 retransmits',
  )
  assert.equal(said({ event: 'initiating-again', sa, attempt: 2, tries: 3 }), '[IKE] peer not responding, trying again (2/3)')
  assert.equal(
    said({ event: 'key-exchange-retry', sa, refused: 31, group: 20 }),
    "[IKE] peer didn't accept key exchange method CURVE_25519, it requested ECP_384",
  )
  const remoteId = parseIdentity('carol@example.org')
  assert.equal(
    said({ event: 'peer-identified', ...endpoint, remoteId, requestedId: null, connection: sa.connection }),
    "[CFG] looking for peer configs matching 203.0.113.1[%any]...198.51.100.7[carol@example.org]\n[CFG] selected peer config 'home'",
  )
  assert.equal(
    said({ event: 'authenticating', sa, id: parseIdentity('moon.example.org'), by: 'pre-shared key' }),
    "[IKE] authentication of 'moon.example.org' (myself) with pre-shared key",
  )
  assert.equal(
    said({ event: 'peer-authenticated', sa, id: remoteId, by: 'pre-shared key' }),
    "[IKE] authentication of 'carol@example.org' with pre-shared key successful",
  )
  const between = '203.0.113.1[moon.example.org]...198.51.100.7[carol@example.org]'
  assert.equal(
    said({ event: 'delete-sent', sa, child: null }),
    `[IKE] deleting IKE_SA home[7] between ${between}\n[IKE] sending DELETE for IKE_SA home[7]`,
  )
  assert.equal(
    said({ event: 'delete-received', sa, child: null }),
    `[IKE] received DELETE for IKE_SA home[7]\n[IKE] deleting IKE_SA home[7] between ${between}\n[IKE] IKE_SA deleted`,
  )
})
