import assert from 'node:assert/strict'
import { setImmediate as turnOfEvents } from 'node:timers/promises'
import { test } from 'node:test'

import { Turns } from '../../src/ike/turns.ts'

test('a piece begins when the one before it has ended', async () => {
  const turns = new Turns()
  const heard: string[] = []
  let release = (): void => undefined
  turns.enqueue(async () => {
    heard.push('first begins')
    await new Promise<void>((resolve) => {
      release = resolve
    })
    heard.push('first ends')
  })
  turns.enqueue(() => void heard.push('second'))
  await turnOfEvents()
  assert.deepEqual(heard, ['first begins'])
  assert.equal(turns.waiting, 1)
  release()
  await turnOfEvents()
  assert.deepEqual(heard, ['first begins', 'first ends', 'second'])
  assert.equal(turns.waiting, 0)
})

test('plain pieces are done at once, in order, within the call', () => {
  const turns = new Turns()
  const heard: number[] = []
  turns.enqueue(() => {
    heard.push(1)
    // What a piece adds comes after it.
    turns.enqueue(() => void heard.push(3))
    heard.push(2)
  })
  assert.deepEqual(heard, [1, 2, 3])
})

test('a piece that drives an exchange ends when the exchange parks', async () => {
  const turns = new Turns()
  const heard: string[] = []
  let answer = (): void => undefined
  turns.enqueue(() =>
    turns.drive(() => {
      void (async () => {
        heard.push('asks')
        const waiting = new Promise<void>((resolve) => {
          answer = resolve
        })
        turns.park()
        await waiting
        heard.push('goes on')
        await turnOfEvents()
        heard.push('ends')
        turns.park()
      })()
    }),
  )
  turns.enqueue(() => void heard.push('other work while it waits'))
  await turnOfEvents()
  assert.deepEqual(heard, ['asks', 'other work while it waits'])
  turns.enqueue(() => turns.drive(() => answer()))
  turns.enqueue(() => void heard.push('after the exchange'))
  await turnOfEvents()
  await turnOfEvents()
  assert.deepEqual(heard, ['asks', 'other work while it waits', 'goes on', 'ends', 'after the exchange'])
})

test('parking without anybody driving is harmless', async () => {
  const turns = new Turns()
  turns.park()
  let isDone = false
  turns.enqueue(() => turns.drive(() => turns.park()))
  turns.enqueue(() => {
    isDone = true
  })
  await turnOfEvents()
  assert.equal(isDone, true)
})
