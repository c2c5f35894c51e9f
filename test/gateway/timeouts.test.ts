/** Waiting within limits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { TIMED_OUT, Timeouts } from '../../src/gateway/timeouts.ts'

function timeouts(): { readonly waits: Timeouts; readonly armed: number[]; readonly pass: (to: number) => void } {
  let now = 100
  const armed: number[] = []
  const waits = new Timeouts(
    () => now,
    (at) => armed.push(at),
  )
  const pass = (to: number): void => {
    now = to
    waits.handleDue()
  }
  return { waits, armed, pass }
}

test('what comes in time is had, and its limit is forgotten', async () => {
  const { waits, armed } = timeouts()
  assert.equal(await waits.within(50, Promise.resolve('here')), 'here')
  assert.deepEqual([armed, waits.next(), waits.size], [[150], null, 0])
})

test('what does not is given up when its time has come, and not before', async () => {
  const { waits, pass } = timeouts()
  const late = Promise.withResolvers<string>()
  let outcome: unknown = 'waiting'
  const waiting = waits.within(50, late.promise).then((found) => (outcome = found))
  assert.equal(waits.next(), 150)
  pass(149)
  await new Promise(setImmediate)
  assert.equal(outcome, 'waiting')
  pass(150)
  await waiting
  assert.equal(outcome, TIMED_OUT)
  assert.equal(waits.next(), null)
  late.resolve('too late')
  await new Promise(setImmediate)
  assert.equal(outcome, TIMED_OUT)
})

test('what fails in time fails', async () => {
  const { waits } = timeouts()
  await assert.rejects(waits.within(50, Promise.reject(new Error('no'))), /no/)
  assert.equal(waits.size, 0)
})

test('everything that is due ends, the rest waits on', async () => {
  const { waits, pass } = timeouts()
  const never = new Promise<never>(() => {})
  const both = Promise.all([waits.within(10, never), waits.within(20, never)])
  void waits.within(30, never)
  pass(120)
  assert.deepEqual(await both, [TIMED_OUT, TIMED_OUT])
  assert.equal(waits.next(), 130)
})
