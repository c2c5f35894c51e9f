/** The client against our own server, and against a daemon that is none. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import type { ByteStream, StreamEars } from '../../src/ports.ts'
import { Disconnected, UnknownToDaemon, ViciClient } from '../../src/vici/client.ts'
import { succeeded, type Handlers } from '../../src/vici/command.ts'
import { section, textOf, type ViciSection } from '../../src/vici/message.ts'
import type { Operations } from '../../src/vici/operations.ts'
import { ViciServer } from '../../src/vici/server.ts'
import { FakeStream, settled } from './fake-stream.ts'

const numbered = (number: number): ViciSection => section(['number', String(number)])
const numberOf = (message: ViciSection): number => Number(textOf(message, 'number'))

/** One end of a stream whose other end is in memory too; bytes take a turn of the event loop. */
class Pipe implements ByteStream {
  readonly backlog = 0
  isPaused = false
  readonly #waiting: Uint8Array[] = []
  other: Pipe | null = null
  ears: StreamEars | null = null
  #isOpen = true

  write(bytes: Uint8Array): void {
    setImmediate(() => this.other?.arrive(bytes))
  }
  arrive(bytes: Uint8Array): void {
    if (!this.#isOpen) return
    if (this.isPaused) this.#waiting.push(bytes)
    else this.ears!.onBytes(bytes)
  }
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
    for (const bytes of this.#waiting.splice(0)) this.arrive(bytes)
  }
  end(): void {
    setImmediate(() => {
      for (const side of [this, this.other!]) side.closed()
    })
  }
  destroy(): void {
    this.end()
  }
  closed(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.ears!.onClosed(null)
  }
}

function connected(commands: Handlers): { client: ViciClient; server: ViciServer; ownEnd: Pipe } {
  const server = new ViciServer({
    commands,
    operations: {} as Operations,
    nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
    onTrouble: (sentence) => assert.fail(sentence),
  })
  const [near, far] = [new Pipe(), new Pipe()]
  near.other = far
  far.other = near
  far.ears = server.accept(far)
  const client = new ViciClient((ears) => {
    near.ears = ears
    return near
  })
  return { client, server, ownEnd: near }
}

const LIST: Handlers = {
  async list(request, context) {
    const count = numberOf(request)
    for (let i = 0; i < count; i++) await context.stream('list-sa', numbered(i))
    return succeeded(['count', String(count)])
  },
  echo: (request) => request,
}

async function collected(stream: AsyncGenerator<ViciSection, ViciSection>): Promise<{ events: number[]; response: ViciSection }> {
  const events: number[] = []
  for (;;) {
    const { value, done } = await stream.next()
    if (done === true) return { events, response: value }
    events.push(numberOf(value))
  }
}

describe('with a daemon', () => {
  test('commands asked for at the same time are answered each with its own response', async () => {
    const { client } = connected(LIST)
    const responses = await Promise.all([1, 2, 3].map((number) => client.call('echo', numbered(number))))
    assert.deepEqual(responses.map(numberOf), [1, 2, 3])
  })

  test('a command the daemon does not know is said to be', async () => {
    const { client } = connected(LIST)
    await assert.rejects(client.call('nothing'), new UnknownToDaemon('command nothing'))
    assert.equal(numberOf(await client.call('echo', numbered(4))), 4)
  })

  test('a stream gives the events one by one, and its response in the end', async () => {
    const { client, server } = connected(LIST)
    const { events, response } = await collected(client.stream('list', numbered(100), 'list-sa'))
    assert.deepEqual(
      events,
      Array.from({ length: 100 }, (_, i) => i),
    )
    assert.equal(textOf(response, 'count'), '100')
    await settled()
    assert.equal(server.isWanted('list-sa'), false)
  })

  test('a consumer that leaves early leaves the connection usable', async () => {
    const { client, server } = connected(LIST)
    for await (const message of client.stream('list', numbered(1000), 'list-sa')) if (numberOf(message) === 3) break
    assert.equal(numberOf(await client.call('echo', numbered(5))), 5)
    assert.equal(server.isWanted('list-sa'), false)
  })

  test('a slow consumer of a long stream makes the daemon wait, and misses nothing', async () => {
    const { client, ownEnd } = connected(LIST)
    const stream = client.stream('list', numbered(15_000), 'list-sa')
    await stream.next()
    await new Promise<void>((resolve) => {
      const look = (): void => void (ownEnd.isPaused ? resolve() : setImmediate(look))
      look()
    })
    const { events } = await collected(stream)
    assert.deepEqual(
      events,
      Array.from({ length: 14_999 }, (_, i) => i + 1),
    )
  })

  test('a stream of a command or an event that the daemon does not know fails', async () => {
    const { client } = connected(LIST)
    await assert.rejects(collected(client.stream('nothing', section(), 'list-sa')), new UnknownToDaemon('command nothing'))
    await assert.rejects(collected(client.stream('list', numbered(1), 'nothing')), new UnknownToDaemon('event nothing'))
  })

  test('events come from the registration on, beside commands; leaving the loop ends it', async () => {
    const { client, server } = connected(LIST)
    const events = await client.register('ike-updown')
    server.raise('ike-updown', () => numbered(1))
    assert.equal(numberOf(await client.call('echo', numbered(6))), 6)
    server.raise('ike-updown', () => numbered(2))
    const seen: number[] = []
    for await (const event of events) {
      seen.push(numberOf(event))
      if (seen.length === 2) break
    }
    assert.deepEqual(seen, [1, 2])
    assert.equal(server.isWanted('ike-updown'), false)
    await assert.rejects(client.register('nothing'), new UnknownToDaemon('event nothing'))
  })

  test('events that nobody takes are not kept without end', async () => {
    const { client, server } = connected(LIST)
    const events = await client.register('log')
    for (let i = 0; i < 10_001; i++) server.raise('log', () => numbered(i))
    await settled()
    let taken = 0
    await assert.rejects(
      async () => {
        for await (const event of events) taken += event.size
      },
      { code: 'VICI_EVENTS_UNREAD' },
    )
    assert.equal(taken, 10_000)
  })

  test('closing rejects what is awaited and what comes after', async () => {
    const { client } = connected({ wait: () => new Promise(() => {}) })
    const events = await client.register('log')
    const answer = client.call('wait')
    const next = events.next()
    await settled()
    client.close()
    await assert.rejects(answer, Disconnected)
    await assert.rejects(next, Disconnected)
    await assert.rejects(client.call('echo'), Disconnected)
  })

  test('a daemon that ends is told from one that refuses', async () => {
    const { client, server } = connected({ wait: () => new Promise(() => {}) })
    const answer = client.call('wait')
    await settled()
    server.close()
    await assert.rejects(answer, new Disconnected('the daemon closed the connection'))
  })
})

describe('with something else', () => {
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ['no VICI', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), /is no VICI/],
    ['what a client sends', Uint8Array.of(0, 0, 0, 3, 3, 1, 97), /only a client sends \(register\)/],
    ['an answer of another kind', Uint8Array.of(0, 0, 0, 1, 5), /answered a command with event-confirm/],
  ]
  for (const [what, bytes, reason] of cases) {
    test(`${what} ends the connection with the reason`, async () => {
      const stream = new FakeStream()
      const client = new ViciClient((ears) => {
        stream.ears = ears
        return stream
      })
      const answer = client.call('version')
      await settled()
      stream.sayBytes(bytes)
      await assert.rejects(answer, (error) => error instanceof Disconnected && reason.test(error.message))
      assert.equal(stream.state, 'ended')
    })
  }

  test('an answer that nobody asked for ends the connection', async () => {
    const stream = new FakeStream()
    const client = new ViciClient((ears) => {
      stream.ears = ears
      return stream
    })
    stream.say({ kind: 'response', message: section() })
    await assert.rejects(client.call('version'), /nothing was asked/)
  })
})
