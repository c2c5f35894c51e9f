import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { SECOND } from '../../src/base/time.ts'
import { ExchangeType } from '../../src/iana/ikev2.ts'
import type { DropReason, IkeEvent, MessageFacts } from '../../src/ike/events.ts'
import { IkeSa, type Role } from '../../src/ike/sa.ts'
import { LogHub, loudnesses, Reporter, type Line } from '../../src/report/report.ts'
import { connection } from '../simulation/configuration.ts'

const LOCAL = new Endpoint(IpAddress.parse('203.0.113.1'), 500)
const REMOTE = new Endpoint(IpAddress.parse('198.51.100.7'), 30_000)

function ikeSa(role: Role = 'responder'): IkeSa {
  return new IkeSa(7, role, 1n, connection({ connection: 'home' }), LOCAL, REMOTE, 0)
}

/** An IKE_SA_INIT, of no IKE_SA unless one is given. */
function message(event: 'message-sent' | 'message-received', changes: Partial<MessageFacts> = {}): IkeEvent {
  return {
    sa: null,
    exchangeType: ExchangeType.IKE_SA_INIT,
    isResponse: event === 'message-sent',
    messageId: 0,
    payloads: [],
    length: 36,
    local: LOCAL,
    remote: REMOTE,
    isRetransmission: false,
    ...changes,
    ...(event === 'message-sent' ? { event, fragmentLengths: null } : { event, isReassembled: false }),
  }
}

/** The events that the lines with facts are about. */
function toldOf(lines: readonly Line[]): unknown[] {
  return lines.flatMap(({ fields }) => (fields['event'] === undefined ? [] : [fields['event']]))
}

const ERROR = new EspalierError('policy', 'SOME_CODE', 'something is forbidden')

/** A reporter on a clock of ours. */
function reporter(): { readonly lines: Line[]; at: number; readonly handle: (event: IkeEvent) => void } {
  const lines: Line[] = []
  const self = { lines, at: 0, handle: (event: IkeEvent): void => instance.handle(event) }
  const hub = new LogHub()
  hub.listen(loudnesses(3), (line) => void lines.push(line))
  const instance = new Reporter(() => self.at, hub)
  return self
}

test('what strangers cause is told once in ten seconds for each reason, with how often it was', () => {
  const report = reporter()
  const drop = (reason: DropReason): void =>
    report.handle({ event: 'datagram-dropped', remote: REMOTE, local: LOCAL, reason, header: null })
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
    report.lines.filter(({ fields }) => 'event' in fields).map(({ level, fields }) => [level, fields['event']]),
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
    report.lines.filter(({ fields }) => 'event' in fields).map(({ level, fields }) => [level, fields['code']]),
    [
      ['info', 'KE_GROUP_MISMATCH'],
      ['warn', 'NO_PROPOSAL_CHOSEN'],
    ],
  )
})

test('what happens to an IKE_SA is always told', () => {
  const report = reporter()
  for (let i = 0; i < 5; i++) report.handle({ event: 'retransmitting', sa: ikeSa(), messageId: 1, attempt: i, isProbing: false })
  assert.equal(report.lines.length, 5)
})

test('a message of a stranger and the answer to it are told with what became of it, and as seldom', () => {
  const report = reporter()
  const exchange = (): void => {
    report.handle(message('message-received'))
    report.handle({ event: 'cookie-demanded', remote: REMOTE })
    report.handle(message('message-sent'))
  }
  exchange()
  assert.deepEqual(toldOf(report.lines), ['message-received', 'cookie-demanded', 'message-sent'])
  const before = report.lines.length
  for (let i = 0; i < 100; i++) exchange()
  assert.equal(report.lines.length, before)
})

test('a request that comes again and again is told once in ten seconds, and so is the answer that goes out again', () => {
  const report = reporter()
  const sa = ikeSa()
  for (let i = 0; i < 100; i++) {
    report.handle(message('message-received', { sa, isRetransmission: true }))
    report.handle(message('message-sent', { sa, isRetransmission: true }))
  }
  assert.deepEqual(toldOf(report.lines), ['message-received', 'message-sent'])
})

test('our own retransmissions are told one by one', () => {
  const report = reporter()
  const sa = ikeSa('initiator')
  for (let i = 0; i < 5; i++) report.handle(message('message-sent', { sa, isResponse: false, isRetransmission: true }))
  assert.equal(report.lines.length, 5)
})

test('of a flood of IKE_SAs some are told from the beginning, the others once they stand, and how many were not', () => {
  const report = reporter()
  const all = Array.from({ length: 5000 }, () => ikeSa())
  for (const sa of all) {
    report.handle(message('message-received', { sa }))
    report.handle({ event: 'ike-responding', sa })
  }
  const told = toldOf(report.lines).filter((event) => event === 'ike-responding').length
  assert.ok(told > 0 && told <= 100, `${told} told`)
  report.handle({ event: 'ike-failed', sa: all.at(-1)!, error: ERROR })
  assert.ok(!toldOf(report.lines).includes('ike-failed'))
  report.handle({ event: 'ike-established', sa: all.at(-1)! })
  report.handle({ event: 'keepalive-sent', sa: all.at(-1)! })
  assert.deepEqual(toldOf(report.lines).slice(-2), ['ike-established', 'keepalive-sent'])
  report.at = 10 * SECOND
  report.handle(message('message-received', { sa: ikeSa() }))
  assert.equal(report.lines.find(({ fields }) => fields['event'] === 'openings-untold')!.fields['count'], 5000 - told)
})

test('nothing is put into words that nobody wants to hear', () => {
  const reporter = new Reporter(() => 0, new LogHub())
  const sa = ikeSa()
  const unspeakable = { toString: () => assert.fail('it was put into words') } as unknown as Endpoint
  sa.remote = unspeakable
  reporter.handle({ event: 'keepalive-sent', sa })
  reporter.handle(message('message-sent', { sa, local: unspeakable, remote: unspeakable, isResponse: false }))
})
