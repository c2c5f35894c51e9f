import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { Deadlines } from '../../src/ike/deadlines.ts'
import type { Environment } from '../../src/ike/environment.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import { IkeSa } from '../../src/ike/sa.ts'
import { Session } from '../../src/ike/session.ts'

const MISTAKE = new Error('a belief that did not hold')

/** A session that does nothing by itself, and what it reported. */
function idleSession(): { session: Session; events: IkeEvent[] } {
  const events: IkeEvent[] = []
  const here = new Endpoint(IpAddress.parse('192.0.2.1'), 500)
  const sa = new IkeSa(1, 'initiator', 7n, null, here, here, 0)
  // Of the environment an idle session needs nothing but somebody to report to.
  const env = { report: (event: IkeEvent) => events.push(event) } as unknown as Environment
  const keeper = {
    successorOf: () => assert.fail('nothing is rekeyed here'),
    initiateAnew: () => assert.fail('nothing is reauthenticated here'),
    initiateRedirected: () => assert.fail('nobody is sent elsewhere here'),
    initiateElsewhere: () => assert.fail('nothing is restarted here'),
    childLost: () => assert.fail('nothing is deleted here'),
    foundMalformed: () => assert.fail('no request of ours is malformed here'),
    peerLost: () => assert.fail('no peer is silent here'),
    twinsOf: () => [],
    siblingsOf: () => [],
    runMobike: () => assert.fail('there is no MOBIKE here'),
    wayFound: () => assert.fail('there is one way here'),
    heard: () => null,
    arrived: () => assert.fail('nothing comes too early here'),
    connected: () => undefined,
    disconnected: () => undefined,
    mappingLearnt: () => undefined,
    closed: () => undefined,
    childAdopted: () => undefined,
    childDropped: () => undefined,
  }
  return { session: new Session(sa, env, new Deadlines(() => undefined), keeper), events }
}

const names = (events: readonly IkeEvent[]): string[] => events.map(({ event }) => event)

test('a piece of work that throws costs its IKE_SA, is reported, and keeps nobody waiting', async () => {
  const { session, events } = idleSession()
  await session.run(() => {
    throw MISTAKE
  })
  await session.run(() => undefined)
  assert.equal(session.sa.state, 'closed')
  assert.deepEqual(names(events), ['broken', 'ike-closed'])
})

test('an own exchange that throws costs its IKE_SA, is reported, and keeps nobody waiting', async () => {
  const { session, events } = idleSession()
  const order: string[] = []
  const first = session.runExchange(() => Promise.reject(MISTAKE)).then(() => order.push('first'))
  const second = session.runExchange(() => Promise.resolve()).then(() => order.push('second'))
  await Promise.all([first, second])
  assert.deepEqual(order, ['first', 'second'])
  assert.equal(session.sa.state, 'closed')
  assert.deepEqual(names(events), ['broken', 'ike-closed'])
})

for (const [task, isLeaving] of [
  ['delete-ike', true],
  // It may be rekeyed before it is its turn.
  ['expire-ike', false],
] as const) {
  test(`an IKE_SA is ${isLeaving ? '' : 'not '}leaving from the moment on that its end is planned: ${task}`, async () => {
    const { session } = idleSession()
    const other = Promise.withResolvers<void>()
    const before = session.runExchange(() => other.promise)
    assert.equal(session.isLeaving, false)
    const end = session.runExchange(() => Promise.resolve(), task)
    assert.equal(session.isLeaving, isLeaving)
    other.resolve()
    await Promise.all([before, end])
  })
}
