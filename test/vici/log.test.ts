import assert from 'node:assert/strict'
import { test } from 'node:test'

import { LogHub, type Line } from '../../src/report/report.ts'
import type { EventName } from '../../src/vici/event-names.ts'
import { controlLogEvent, raiseLog } from '../../src/vici/log.ts'
import type { ViciSection } from '../../src/vici/message.ts'

const LINE: Line = {
  group: 'ike',
  loudness: 0,
  level: 'info',
  message: 'IKE_SA home[7] established between ...',
  ike: { name: 'home', uniqueId: 7 },
  fields: {},
}

/** A server of whom only the events are looked at. */
function server(): {
  readonly events: (readonly [EventName, ViciSection])[]
  want: (wanted: boolean) => void
  raise: (event: EventName, message: () => ViciSection) => void
  watch: (event: EventName, watcher: (wanted: boolean) => void) => void
} {
  const self = {
    events: [] as (readonly [EventName, ViciSection])[],
    want: (_wanted: boolean): void => assert.fail('nobody watches'),
    raise: (event: EventName, message: () => ViciSection) => void self.events.push([event, message()]),
    watch: (event: EventName, watcher: (wanted: boolean) => void) => {
      assert.equal(event, 'log')
      self.want = watcher
    },
  }
  return self
}

test('a line is an event with the keys of strongSwan, in its order', () => {
  const sink = server()
  const hub = new LogHub()
  raiseLog(sink, hub)
  sink.want(true)
  hub.write(LINE)
  hub.write({ ...LINE, group: 'net', loudness: 1, ike: null, message: 'received packet: ...' })
  assert.deepEqual(
    sink.events.map(([event, message]) => [event, [...message]]),
    [
      [
        'log',
        [
          ['group', 'IKE'],
          ['level', '0'],
          ['thread', '0'],
          ['ikesa-name', 'home'],
          ['ikesa-uniqueid', '7'],
          ['msg', LINE.message],
        ],
      ],
      [
        'log',
        [
          ['group', 'NET'],
          ['level', '1'],
          ['thread', '0'],
          ['msg', 'received packet: ...'],
        ],
      ],
    ],
  )
  assert.deepEqual([...controlLogEvent(LINE).keys()], ['group', 'level', 'ikesa-name', 'ikesa-uniqueid', 'msg'])
})

test('the log is listened to only while a client wants it, and no louder than strongSwan tells it', () => {
  const sink = server()
  const hub = new LogHub()
  raiseLog(sink, hub)
  assert.ok(!hub.wants('ike', 0, 'info'))
  sink.want(true)
  assert.ok(hub.wants('enc', 1, 'info'))
  assert.ok(!hub.wants('ike', 2, 'debug'))
  sink.want(false)
  assert.ok(!hub.wants('ike', 0, 'info'))
  hub.write(LINE)
  assert.deepEqual(sink.events, [])
})
