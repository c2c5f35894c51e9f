import assert from 'node:assert/strict'
import { test } from 'node:test'

import { LogHub, loudnesses, type Level, type Line, type LogGroup, type Loudness } from '../../src/report/report.ts'

const line = (group: LogGroup, loudness: Loudness, level: Level = 'info'): Line => ({
  group,
  loudness,
  level,
  message: `${group} ${loudness} ${level}`,
  ike: null,
  fields: {},
})

test('nobody listens: nothing is wanted and nothing happens', () => {
  const hub = new LogHub()
  assert.equal(hub.wants('ike', 0, 'error'), false)
  hub.write(line('ike', 0, 'error'))
})

test('each listener hears its groups up to its loudness; what anyone wants is wanted', () => {
  const hub = new LogHub()
  const [log, client]: [string[], string[]] = [[], []]
  hub.listen(loudnesses(1), ({ message }) => log.push(message))
  hub.listen(loudnesses(-1, { ike: 2, net: 0 }), ({ message }) => client.push(message))
  assert.ok(hub.wants('ike', 2, 'debug'))
  assert.ok(hub.wants('net', 1, 'info'))
  assert.ok(!hub.wants('net', 2, 'debug'))
  for (const [group, loudness] of [
    ['ike', 2],
    ['net', 1],
    ['net', 0],
    ['enc', 1],
    ['enc', 2],
  ] as const)
    hub.write(line(group, loudness))
  assert.deepEqual(log, ['net 1 info', 'net 0 info', 'enc 1 info'])
  assert.deepEqual(client, ['ike 2 info', 'net 0 info'])
})

test('a listener may ask for the least of levels besides', () => {
  const hub = new LogHub()
  const heard: string[] = []
  hub.listen(loudnesses(1), ({ message }) => heard.push(message), { least: 'warn' })
  assert.ok(!hub.wants('ike', 0, 'info'))
  assert.ok(hub.wants('ike', 1, 'warn'))
  hub.write(line('ike', 0, 'info'))
  hub.write(line('ike', 1, 'error'))
  assert.deepEqual(heard, ['ike 1 error'])
})

test('who has stopped listening hears nothing more, and nothing is wanted on its behalf', () => {
  const hub = new LogHub()
  const heard: string[] = []
  const stop = hub.listen(loudnesses(3), ({ message }) => heard.push(message))
  hub.write(line('ike', 1))
  stop()
  hub.write(line('ike', 1))
  assert.deepEqual(heard, ['ike 1 info'])
  assert.ok(!hub.wants('ike', 1, 'info'))
})
