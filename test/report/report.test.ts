import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import type { CloseReason, DropReason, IkeEvent } from '../../src/ike/events.ts'
import { IkeSa } from '../../src/ike/sa.ts'
import { KernelError } from '../../src/kernel/vocabulary.ts'
import { NO_NAT_TRAVERSAL, type NatFacts } from '../../src/nat/detection.ts'
import { lineOf, natSentence, Reporter, type Line } from '../../src/report/report.ts'
import { connection } from '../simulation/configuration.ts'

const LOCAL = new Endpoint(IpAddress.parse('203.0.113.1'), 500)
const REMOTE = new Endpoint(IpAddress.parse('198.51.100.7'), 30_000)

function ikeSa(): IkeSa {
  const sa = new IkeSa(7, 'responder', 1n, connection({ connection: 'home' }), LOCAL, REMOTE, 0)
  sa.localId = parseIdentity('moon.example.org')
  sa.remoteId = parseIdentity('carol@example.org')
  return sa
}

const ERROR = new EspalierError('policy', 'SOME_CODE', 'something is forbidden')

test('a line of an IKE_SA begins with its name and has the facts beside the sentence', () => {
  const line = lineOf({ event: 'ike-established', sa: ikeSa() })
  assert.equal(line.level, 'info')
  assert.equal(
    line.message,
    'home[7]: IKE_SA established between moon.example.org at 203.0.113.1[500] and carol@example.org at 198.51.100.7[30000]',
  )
  assert.equal(line.fields['event'], 'ike-established')
  assert.equal(line.fields['ike'], 7)
  assert.equal(line.fields['connection'], 'home')
  assert.equal(line.fields['remoteId'], 'carol@example.org')
})

test('an IKE_SA whose peer is not known yet has no name of its own', () => {
  const sa = new IkeSa(8, 'responder', 1n, null, LOCAL, REMOTE, 0)
  assert.equal(lineOf({ event: 'ike-responding', sa }).message, '(unnamed)[8]: 198.51.100.7[30000] is initiating an IKE_SA')
})

test('errors are told at level error, with their code and whose doing they are', () => {
  const failed = lineOf({ event: 'ike-failed', sa: ikeSa(), error: ERROR })
  assert.deepEqual([failed.level, failed.message], ['error', 'home[7]: IKE_SA failed: something is forbidden'])
  assert.deepEqual([failed.fields['code'], failed.fields['accused']], ['SOME_CODE', 'policy'])
  const started = lineOf({ event: 'not-initiated', connection: 'home', error: ERROR })
  assert.deepEqual([started.level, started.message], ['error', 'something is forbidden'])
  const broken = lineOf({ event: 'broken', sa: ikeSa(), error: new Error('ours') })
  assert.match(broken.message, /internal error, giving this IKE_SA up: ours/)
  assert.match(String(broken.fields['stack']), /report\.test\.ts/)
  const refused = lineOf({ event: 'kernel-refused', error: new KernelError('KERNEL_REFUSED', 'do it', 22, 'EINVAL', 'because') })
  assert.deepEqual(
    [refused.level, refused.message, refused.fields['errno']],
    ['error', 'the kernel refused to do it: EINVAL (because)', 22],
  )
})

test('every reason has words', () => {
  const closes: CloseReason[] = [
    'deleted-by-us',
    'deleted-by-peer',
    'half-open-timeout',
    'peer-silent',
    'failed',
    'replaced',
    'shutdown',
  ]
  for (const reason of closes)
    assert.match(lineOf({ event: 'ike-closed', sa: ikeSa(), reason }).message, /^home\[7\]: IKE_SA closed: [a-z ,]+$/)
  const drops: DropReason[] = [
    'not-ike',
    'malformed',
    'unknown-spi',
    'version',
    'not-authentic',
    'out-of-window',
    'queue-full',
    'half-open-limit',
    'unexpected',
  ]
  const sentences = drops.map((reason) => lineOf({ event: 'datagram-dropped', remote: REMOTE, local: LOCAL, reason }).message)
  for (const sentence of sentences) assert.match(sentence, /^dropping a datagram from 198\.51\.100\.7\[30000\]: (?!undefined)/)
  assert.equal(new Set(sentences).size, drops.length)
})

test('the NAT facts are said as a person says them', () => {
  const facts = (changes: Partial<NatFacts>): string => natSentence({ ...NO_NAT_TRAVERSAL, supported: true, ...changes })
  assert.equal(natSentence(NO_NAT_TRAVERSAL), 'the peer does no NAT detection: no NAT traversal')
  assert.equal(facts({}), 'no NAT between us')
  assert.equal(facts({ here: true }), 'we are behind a NAT')
  assert.equal(facts({ there: true }), 'the peer is behind a NAT')
  assert.equal(facts({ here: true, there: true }), 'both sides are behind a NAT')
  assert.match(facts({ faked: true }), /encap = yes/)
})

/** A reporter on a clock of ours. */
function reporter(): { readonly lines: Line[]; at: number; readonly handle: (event: IkeEvent) => void } {
  const lines: Line[] = []
  const self = { lines, at: 0, handle: (event: IkeEvent): void => instance.handle(event) }
  const instance = new Reporter(
    () => self.at,
    (line) => lines.push(line),
  )
  return self
}

test('what strangers cause is told once in ten seconds for each reason, with how often it was', () => {
  const report = reporter()
  const drop = (reason: DropReason): void => report.handle({ event: 'datagram-dropped', remote: REMOTE, local: LOCAL, reason })
  for (let i = 0; i < 500; i++) drop('malformed')
  drop('unknown-spi')
  assert.deepEqual(
    report.lines.map(({ fields }) => [fields['reason'], fields['count']]),
    [
      ['malformed', 1],
      ['unknown-spi', 1],
    ],
  )
  report.at = 10 * SECOND - 1
  drop('malformed')
  assert.equal(report.lines.length, 2)
  report.at = 10 * SECOND
  drop('malformed')
  assert.deepEqual(report.lines.at(-1)!.fields['count'], 501)
})

test('refused requests and demanded cookies are limited as well, each by itself', () => {
  const report = reporter()
  for (let i = 0; i < 50; i++) {
    report.handle({ event: 'request-refused', remote: REMOTE, local: LOCAL, error: ERROR })
    report.handle({ event: 'cookie-demanded', remote: REMOTE })
  }
  assert.deepEqual(
    report.lines.map(({ level, fields }) => [level, fields['event']]),
    [
      ['warn', 'request-refused'],
      ['info', 'cookie-demanded'],
    ],
  )
})

test('a request refused in the ordinary course of things hides none that is refused for good', () => {
  const report = reporter()
  for (const code of ['KE_GROUP_MISMATCH', 'NO_PROPOSAL_CHOSEN', 'KE_GROUP_MISMATCH', 'NO_PROPOSAL_CHOSEN']) {
    const error = new EspalierError('peer-incompatible', code, 'it does not fit')
    report.handle({ event: 'request-refused', remote: REMOTE, local: LOCAL, error })
  }
  assert.deepEqual(
    report.lines.map(({ level, fields }) => [level, fields['code']]),
    [
      ['debug', 'KE_GROUP_MISMATCH'],
      ['warn', 'NO_PROPOSAL_CHOSEN'],
    ],
  )
})

test('what happens to an IKE_SA is always told', () => {
  const report = reporter()
  for (let i = 0; i < 5; i++) report.handle({ event: 'retransmitting', sa: ikeSa(), messageId: 1, attempt: i })
  assert.equal(report.lines.length, 5)
})
