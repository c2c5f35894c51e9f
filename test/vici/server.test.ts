/** The server against streams in memory whose peers ask, stall, lie and die. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { Refusal, succeeded, type Handlers } from '../../src/vici/command.ts'
import { CLIENTS_MAX } from '../../src/vici/limits.ts'
import { section, sectionOf, textOf, type ViciSection } from '../../src/vici/message.ts'
import type { Operations } from '../../src/vici/operations.ts'
import type { Packet } from '../../src/vici/packet.ts'
import { ViciServer } from '../../src/vici/server.ts'
import { FakeStream, settled } from './fake-stream.ts'

interface Place {
  readonly server: ViciServer
  readonly troubles: { readonly sentence: string; readonly isDefect: boolean }[]
  readonly connect: () => FakeStream
}

function place(commands: Handlers = {}): Place {
  const troubles: Place['troubles'] = []
  const server = new ViciServer({
    commands: { echo: (asked) => succeeded(['asked', asked]), ...commands },
    // The handlers of these tests ask nothing of the daemon.
    operations: {} as Operations,
    nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
    onTrouble: (sentence, isDefect) => troubles.push({ sentence, isDefect }),
  })
  return {
    server,
    troubles,
    connect() {
      const stream = new FakeStream()
      stream.ears = server.accept(stream)
      return stream
    },
  }
}

const request = (name: string, message: ViciSection = section()): Packet => ({ kind: 'request', name, message })
const register = (name: string): Packet => ({ kind: 'register', name })
const unregister = (name: string): Packet => ({ kind: 'unregister', name })
const kinds = (packets: readonly Packet[]): string[] => packets.map(({ kind }) => kind)
const numbered = (number: number, size = 0): ViciSection => section(['number', String(number)], ['filling', 'x'.repeat(size)])
const numbersOf = (packets: readonly Packet[]): (string | null)[] =>
  packets.map((packet) => ('message' in packet ? textOf(packet.message, 'number') : null))
function responseOf(packets: readonly Packet[]): ViciSection {
  const [packet] = packets
  assert.ok(packet?.kind === 'response' && packets.length === 1, `one response, not ${kinds(packets).join()}`)
  return packet.message
}

/** A handler that waits until it is told to go on. */
function gate(): { readonly handlers: Handlers; readonly open: () => void; readonly signals: AbortSignal[] } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const signals: AbortSignal[] = []
  return {
    handlers: {
      async wait(_request, { signal }) {
        signals.push(signal)
        await opened
        return succeeded()
      },
    },
    open,
    signals,
  }
}

describe('commands', () => {
  test('a request is answered; an unknown one is said to be', async () => {
    const client = place().connect()
    client.say(request('echo', section(['a', '1'])))
    await settled()
    const response = responseOf(client.heard())
    assert.equal(textOf(response, 'success'), 'yes')
    assert.equal(textOf(sectionOf(response, 'asked')!, 'a'), '1')
    client.say(request('no-such-command'), request('toString'))
    await settled()
    assert.deepEqual(kinds(client.heard()), ['command-unknown', 'command-unknown'])
  })

  test('a refusal, and any error of ours that accuses, is success=no with its sentence', async () => {
    const { connect, troubles } = place({
      refuse: () => {
        throw new Refusal('not today')
      },
      accuse: () => Promise.reject(new EspalierError('kernel', 'X', 'the kernel would not')),
    })
    const client = connect()
    client.say(request('refuse'), request('accuse'))
    await settled()
    const responses = client.heard().map((packet) => responseOf([packet]))
    assert.deepEqual(
      responses.map((response) => [...response.keys()]),
      [
        ['success', 'errmsg'],
        ['success', 'errmsg'],
      ],
    )
    assert.deepEqual(
      responses.map((response) => textOf(response, 'success')),
      ['no', 'no'],
    )
    assert.deepEqual(
      responses.map((response) => textOf(response, 'errmsg')),
      ['not today', 'the kernel would not'],
    )
    assert.deepEqual(troubles, [])
  })

  test('a defect of ours is logged with its trace and tells the client nothing of it', async () => {
    const { connect, troubles } = place({ stumble: () => (undefined as unknown as { x: { y: never } }).x.y })
    const client = connect()
    client.say(request('stumble'), request('echo'))
    await settled()
    const [response, next] = client.heard()
    assert.equal(textOf(responseOf([response!]), 'errmsg'), 'internal error')
    assert.equal(textOf(responseOf([next!]), 'success'), 'yes')
    assert.equal(troubles.length, 1)
    assert.equal(troubles[0]!.isDefect, true)
    assert.match(troubles[0]!.sentence, /^VICI command stumble failed by a defect of ours: TypeError.*\n.*server\.test\.ts/s)
  })

  test('a response too large for VICI is success=no and not silence', async () => {
    const { connect } = place({
      much: () => section(...Array.from({ length: 9 }, (_, i): [string, string] => [`${i}`, 'x'.repeat(65_000)])),
    })
    const client = connect()
    client.say(request('much'))
    await settled()
    assert.match(textOf(responseOf(client.heard()), 'errmsg') ?? '', /larger than the 524288/)
  })

  test('pipelined requests are answered one after the other, in their order, registrations among them', async () => {
    const { handlers, open } = gate()
    const client = place(handlers).connect()
    client.say(request('wait'), request('echo'), register('log'), request('unknown'), unregister('log'))
    await settled()
    assert.deepEqual(client.heard(), [])
    open()
    await settled()
    assert.deepEqual(kinds(client.heard()), ['response', 'response', 'event-confirm', 'command-unknown', 'event-confirm'])
  })

  test('a client that asks faster than it is answered is not read from until there is room', async () => {
    const { handlers, open } = gate()
    const client = place(handlers).connect()
    client.say(request('wait'))
    const large = request('echo', section(['a', new Uint8Array(60_000)]))
    for (let i = 0; i < 8; i++) client.say(large)
    assert.equal(client.isPaused, false)
    client.say(large)
    assert.equal(client.isPaused, true)
    open()
    await settled()
    assert.equal(client.isPaused, false)
    assert.equal(client.heard().length, 10)
  })

  test('a client that asks and never reads gets no further answers, and keeps nobody else waiting', async () => {
    let asked = 0
    const { connect } = place({ large: () => (asked++, section(['a', new Uint8Array(60_000)])) })
    const [deaf, other] = [connect(), connect()]
    deaf.stopReading()
    for (let i = 0; i < 1000; i++) deaf.say(request('large'))
    other.say(request('echo'))
    await settled()
    assert.equal(asked, 5, 'five answers are more than 256 KiB')
    assert.equal(other.heard().length, 1)
    deaf.readOn()
    await settled()
    assert.ok(asked > 5)
  })

  test('ten thousand requests at once leave others their turn', async () => {
    const { connect } = place()
    const [greedy, other] = [connect(), connect()]
    for (let i = 0; i < 10_000; i++) greedy.say(request('echo'))
    other.say(request('echo'))
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(other.heard().length, 1)
    assert.ok(greedy.heard().length < 200)
  })
})

describe('events', () => {
  test('known ones are confirmed, others not; who did not register cannot unregister', async () => {
    const client = place().connect()
    client.say(register('log'), register('log'), register('no-such-event'), unregister('log'), unregister('log'), unregister('x'))
    await settled()
    assert.deepEqual(kinds(client.heard()), [
      'event-confirm',
      'event-confirm',
      'event-unknown',
      'event-confirm',
      'event-unknown',
      'event-unknown',
    ])
  })

  test('an event goes to those who registered for it, once, and is put in words only if there is one', async () => {
    const { server, connect } = place()
    const [a, b, c] = [connect(), connect(), connect()]
    a.say(register('log'), register('log'))
    b.say(register('log'), register('alert'))
    await settled()
    for (const client of [a, b, c]) client.heard()
    let worded = 0
    const word = (): ViciSection => (worded++, numbered(1))
    server.raise('log', word)
    server.raise('ike-updown', word)
    assert.equal(worded, 1)
    assert.deepEqual(
      [a, b, c].map((client) => kinds(client.heard())),
      [['event'], ['event'], []],
    )
    a.say(unregister('log'))
    await settled()
    server.raise('log', word)
    assert.deepEqual(kinds(a.heard()), ['event-confirm'])
    assert.deepEqual(kinds(b.heard()), ['event'])
  })

  test('an event reaches a client while its command is under way', async () => {
    const { handlers, open } = gate()
    const { server, connect } = place(handlers)
    const client = connect()
    client.say(register('control-log'), request('wait'))
    await settled()
    server.raise('control-log', () => numbered(7))
    open()
    await settled()
    assert.deepEqual(kinds(client.heard()), ['event-confirm', 'event', 'response'])
  })

  test('a watcher hears of the first client that wants an event and of the last that does not any more', async () => {
    const { server, connect } = place()
    const heard: boolean[] = []
    server.watch('log', (wanted) => heard.push(wanted))
    const [a, b] = [connect(), connect()]
    a.say(register('log'))
    b.say(register('log'), register('log'))
    await settled()
    assert.deepEqual(heard, [true])
    a.say(unregister('log'))
    await settled()
    assert.deepEqual(heard, [true])
    assert.equal(server.isWanted('log'), true)
    b.leave()
    assert.deepEqual(heard, [true, false])
    assert.equal(server.isWanted('log'), false)
  })

  test('a client that does not read its events is cut off with a line; the others go on', async () => {
    const { server, troubles, connect } = place()
    const [deaf, other] = [connect(), connect()]
    for (const client of [deaf, other]) client.say(register('log'))
    await settled()
    other.heard()
    deaf.stopReading()
    for (let i = 0; i < 100; i++) server.raise('log', () => numbered(i, 60_000))
    assert.equal(deaf.state, 'destroyed')
    assert.ok(deaf.backlog <= 2 * 1024 * 1024 && deaf.backlog > 1_900_000, `${deaf.backlog} bytes are kept`)
    assert.equal(server.clients, 1)
    assert.equal(other.heard().length, 100)
    assert.deepEqual(
      troubles.map(({ isDefect }) => isDefect),
      [false],
    )
    assert.match(troubles[0]!.sentence, /^VICI client 1 does not read .* cut off with \d+ bytes unread$/)
  })

  test('an event too large for VICI is left out with a line', async () => {
    const { server, troubles, connect } = place()
    const client = connect()
    client.say(register('log'))
    await settled()
    client.heard()
    server.raise('log', () => section(['msg', 'x'.repeat(70_000)]))
    server.raise('log', () => numbered(2))
    assert.deepEqual(numbersOf(client.heard()), ['2'])
    assert.match(troubles[0]!.sentence, /event log cannot be sent/)
  })
})

/** Streams `count` events of `size` bytes. */
function lister(
  count: number,
  size: number,
): { readonly handlers: Handlers; readonly progress: { sent: number; ended: string } } {
  const progress = { sent: 0, ended: '' }
  return {
    progress,
    handlers: {
      async list(_request, context) {
        try {
          for (let i = 0; i < count; i++) {
            await context.stream('list-sa', numbered(i, size))
            progress.sent++
          }
        } catch (error) {
          progress.ended = (error as Error).name
          throw error
        }
        progress.ended = 'well'
        return section()
      },
    },
  }
}

describe('streamed responses', () => {
  test('all events come before the response, to the one who asked and to nobody else', async () => {
    const { handlers } = lister(100, 10)
    const { connect } = place(handlers)
    const [client, other] = [connect(), connect()]
    for (const each of [client, other]) each.say(register('list-sa'))
    client.say(request('list'))
    await settled()
    const [, ...packets] = client.heard()
    assert.deepEqual(
      numbersOf(packets.slice(0, -1)),
      Array.from({ length: 100 }, (_, i) => String(i)),
    )
    assert.equal(packets.at(-1)?.kind, 'response')
    assert.deepEqual(kinds(other.heard()), ['event-confirm'])
  })

  test('who did not register gets the response alone', async () => {
    const { handlers } = lister(100, 10)
    const client = place(handlers).connect()
    client.say(request('list'))
    await settled()
    assert.deepEqual(kinds(client.heard()), ['response'])
  })

  test('a client that stalls makes its own command wait, with a bounded backlog; it goes on when it reads again', async () => {
    const { handlers, progress } = lister(100, 60_000)
    const { server, connect, troubles } = place(handlers)
    const [slow, other] = [connect(), connect()]
    slow.say(register('list-sa'))
    await settled()
    slow.stopReading()
    slow.say(request('list'))
    other.say(request('echo'))
    await settled()
    assert.equal(progress.sent, 4, 'the fifth waits for room')
    assert.ok(slow.backlog < 400_000)
    assert.equal(other.heard().length, 1)
    assert.equal(server.clients, 2)
    for (let i = 0; i < 30 && progress.ended === ''; i++) {
      slow.readOn()
      slow.stopReading()
      await settled()
    }
    assert.equal(progress.ended, 'well')
    assert.equal(slow.heard().length, 102)
    assert.deepEqual(troubles, [])
  })

  test('one that dies amid the events ends the command; nobody else notices', async () => {
    const { handlers, progress } = lister(100, 60_000)
    const { server, connect, troubles } = place(handlers)
    const [dying, other] = [connect(), connect()]
    dying.say(register('list-sa'))
    dying.stopReading()
    dying.say(request('list'))
    await settled()
    dying.leave(new Error('read ECONNRESET'))
    await settled()
    assert.equal(progress.ended, 'ClientGone')
    assert.equal(server.clients, 1)
    other.say(request('echo'))
    await settled()
    assert.equal(other.heard().length, 1)
    assert.deepEqual(troubles, [])
  })

  test('five thousand events leave others their turn', async () => {
    const { handlers, progress } = lister(5000, 10)
    const client = place(handlers).connect()
    client.say(register('list-sa'), request('list'))
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(progress.sent > 0 && progress.sent < 200, `${progress.sent} were sent in one turn`)
  })
})

describe('clients', () => {
  const HOSTILE: readonly [string, Uint8Array][] = [
    ['a packet of an unknown type', Uint8Array.of(0, 0, 0, 1, 99)],
    ['an empty packet', Uint8Array.of(0, 0, 0, 0)],
    ['a message that ends too early', Uint8Array.of(0, 0, 0, 4, 0, 1, 97, 1)],
    ['a packet of 4 GiB', Uint8Array.of(255, 255, 255, 255)],
    ['an answer', Uint8Array.of(0, 0, 0, 1, 1)],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
  ]
  for (const [what, bytes] of HOSTILE) {
    test(`who sends ${what} is cut off with a line, nobody else`, async () => {
      const { server, troubles, connect } = place()
      const [bad, good] = [connect(), connect()]
      bad.say(register('log'))
      bad.sayBytes(bytes)
      bad.sayBytes(bytes)
      await settled()
      assert.equal(bad.state, 'destroyed')
      assert.equal(server.clients, 1)
      assert.equal(server.isWanted('log'), false)
      assert.equal(troubles.length, 1)
      assert.match(troubles[0]!.sentence, /^VICI client 1 .*cut off/)
      good.say(request('echo'))
      await settled()
      assert.equal(good.heard().length, 1)
    })
  }

  test('a client that leaves aborts its command', async () => {
    const { handlers, open, signals } = gate()
    const { server, connect } = place(handlers)
    const client = connect()
    client.say(request('wait'), request('echo'))
    await settled()
    assert.equal(signals[0]?.aborted, false)
    client.leave()
    assert.equal(signals[0]?.aborted, true)
    assert.equal(server.clients, 0)
    open()
    await settled()
    assert.deepEqual(client.heard(), [])
  })

  test('a hundred at once are all served', async () => {
    const { server, connect } = place()
    const clients = Array.from({ length: 100 }, connect)
    for (const [i, client] of clients.entries()) client.say(register('log'), request('echo', numbered(i)))
    await settled()
    server.raise('log', () => numbered(5))
    for (const [i, client] of clients.entries()) {
      const [confirmed, response, event, ...rest] = client.heard()
      assert.deepEqual([confirmed?.kind, event?.kind, rest], ['event-confirm', 'event', []])
      assert.equal(textOf(sectionOf(responseOf([response!]), 'asked')!, 'number'), String(i))
    }
  })

  test('more than the limit are turned away, with one line, until there is room', () => {
    const { server, troubles, connect } = place()
    const clients = Array.from({ length: CLIENTS_MAX }, connect)
    const [first, second] = [connect(), connect()]
    assert.deepEqual([first.state, second.state], ['destroyed', 'destroyed'])
    assert.equal(server.clients, CLIENTS_MAX)
    assert.equal(troubles.length, 1)
    clients[0]!.leave()
    assert.equal(connect().state, 'open')
    assert.equal(connect().state, 'destroyed')
    assert.equal(troubles.length, 2)
  })

  test('the bytes of a request are overwritten once it is answered', async () => {
    const kept: Uint8Array[] = []
    const { connect } = place({
      keep: (asked) => {
        kept.push(asked.get('secret') as Uint8Array)
        return succeeded()
      },
    })
    const client = connect()
    client.say(request('keep', section(['secret', 'hush'])))
    await settled()
    assert.deepEqual(kept, [new Uint8Array(4)])
  })

  test('closing parts with all in good order', async () => {
    const { handlers, signals } = gate()
    const { server, connect } = place(handlers)
    const [a, b] = [connect(), connect()]
    a.say(request('wait'))
    await settled()
    server.close()
    assert.deepEqual([a.state, b.state, server.clients], ['ended', 'ended', 0])
    assert.equal(signals[0]?.aborted, true)
  })
})
