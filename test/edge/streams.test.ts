import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import type { StreamAddress } from '../../src/config/stream-address.ts'
import { connect, listen, type Listener } from '../../src/edge/streams.ts'
import type { ByteStream, StreamEars } from '../../src/ports.ts'

function pathIn(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-streams-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return join(directory, 'vici')
}

const failOnTrouble = (sentence: string): never => assert.fail(sentence)

/** Sends back what it gets. */
function echo(stream: ByteStream): StreamEars {
  return { onBytes: (bytes) => stream.write(bytes), onDrained: () => {}, onClosed: () => {} }
}

/** What came on a stream, and that it was closed. */
async function opened(
  address: StreamAddress,
): Promise<{ stream: ByteStream; bytes(): Promise<Buffer>; closed: Promise<Error | null> }> {
  let arrived: ((bytes: Buffer) => void) | null = null
  const pieces: Buffer[] = []
  let close: (error: Error | null) => void
  const closed = new Promise<Error | null>((resolve) => (close = resolve))
  const stream = (await connect(address))({
    onBytes: (bytes) => {
      pieces.push(Buffer.from(bytes))
      arrived?.(Buffer.concat(pieces.splice(0)))
    },
    onDrained: () => {},
    onClosed: (error) => close(error),
  })
  const bytes = (): Promise<Buffer> => new Promise((resolve) => (arrived = resolve))
  return { stream, bytes, closed }
}

async function listening(t: TestContext, address: StreamAddress, accept = echo): Promise<Listener> {
  const listener = await listen(address, accept, failOnTrouble)
  t.after(() => listener.close())
  return listener
}

describe('a path', () => {
  test('carries bytes both ways, for its user and group alone', async (t) => {
    const path = pathIn(t)
    const { address } = await listening(t, { kind: 'unix', path })
    assert.equal(statSync(path).mode & 0o777, 0o660)
    const client = await opened(address)
    const answer = client.bytes()
    client.stream.write(Buffer.from('hello'))
    assert.equal((await answer).toString(), 'hello')
    client.stream.end()
    assert.equal(await client.closed, null)
  })

  test('is gone when nobody listens any more', async (t) => {
    const path = pathIn(t)
    const listener = await listen({ kind: 'unix', path }, echo, failOnTrouble)
    await listener.close()
    assert.equal(existsSync(path), false)
    await assert.rejects(connect({ kind: 'unix', path }), { code: 'DAEMON_NOT_REACHABLE', message: /no daemon listens there$/ })
  })

  test('that a daemon listens on stays its own', async (t) => {
    const path = pathIn(t)
    const { address } = await listening(t, { kind: 'unix', path })
    await assert.rejects(listen(address, echo, failOnTrouble), {
      code: 'CONTROL_SOCKET_REFUSED',
      message: /another daemon listens there; stop it .*charon\.plugins\.vici\.socket/,
    })
    await opened(address)
  })

  test('that a daemon left behind is taken over', async (t) => {
    const path = pathIn(t)
    // Under another name than it was bound to, it stays when its listener goes.
    const server = createServer().listen(`${path}-first`)
    await new Promise((resolve) => server.once('listening', resolve))
    renameSync(`${path}-first`, path)
    await new Promise((resolve) => server.close(resolve))
    assert.ok(statSync(path).isSocket())
    await assert.rejects(connect({ kind: 'unix', path }), { message: /no daemon listens there$/ })
    const { address } = await listening(t, { kind: 'unix', path })
    await opened(address)
  })

  test('that is a file is left alone', async (t) => {
    const path = pathIn(t)
    writeFileSync(path, 'precious')
    await assert.rejects(listen({ kind: 'unix', path }, echo, failOnTrouble), {
      code: 'CONTROL_SOCKET_REFUSED',
      message: /no socket/,
    })
    assert.ok(statSync(path).isFile())
  })

  test('in a directory that does not exist is refused with the reason', async (t) => {
    const path = join(pathIn(t), 'missing/vici')
    await assert.rejects(listen({ kind: 'unix', path }, echo, failOnTrouble), {
      code: 'CONTROL_SOCKET_REFUSED',
      message: /its directory is missing/,
    })
  })
})

describe('a port', () => {
  for (const host of ['127.0.0.1', '::1']) {
    test(`of ${host} carries bytes both ways`, async (t) => {
      const { address } = await listening(t, { kind: 'tcp', address: host, port: 0 })
      const client = await opened(address)
      const answer = client.bytes()
      client.stream.write(Buffer.from('hello'))
      assert.equal((await answer).toString(), 'hello')
    })
  }

  test('that is taken is refused with the reason', async (t) => {
    const { address } = await listening(t, { kind: 'tcp', address: '127.0.0.1', port: 0 })
    await assert.rejects(listen(address, echo, failOnTrouble), {
      code: 'CONTROL_SOCKET_REFUSED',
      message: /another daemon listens there/,
    })
  })
})

describe('a stream', () => {
  test('counts what the other side does not read, and tells when it is gone', async (t) => {
    const own = Promise.withResolvers<ByteStream>()
    const drained = Promise.withResolvers<void>()
    const { address } = await listening(t, { kind: 'unix', path: pathIn(t) }, (stream) => {
      stream.write(new Uint8Array(4 << 20))
      own.resolve(stream)
      return { onBytes: () => {}, onDrained: drained.resolve, onClosed: () => {} }
    })
    const client = await connect(address)
    const reader = client({ onBytes: () => {}, onDrained: () => {}, onClosed: () => {} })
    reader.pause()
    const stream = await own.promise
    assert.ok(stream.backlog > 1 << 20)
    reader.resume()
    await drained.promise
    assert.equal(stream.backlog, 0)
  })

  test('of a listener that closes still gets what was written to it', async (t) => {
    const path = pathIn(t)
    const listener = await listen(
      { kind: 'unix', path },
      (stream) => {
        stream.write(Buffer.from('farewell'))
        return { onBytes: () => {}, onDrained: () => {}, onClosed: () => {} }
      },
      failOnTrouble,
    )
    const client = await opened(listener.address)
    assert.equal((await client.bytes()).toString(), 'farewell')
    await listener.close()
    assert.equal(await client.closed, null)
  })

  test('of a client that never reads does not keep a listener from closing', async (t) => {
    const path = pathIn(t)
    const accepted = Promise.withResolvers<void>()
    const listener = await listen(
      { kind: 'unix', path },
      (stream) => {
        stream.write(new Uint8Array(4 << 20))
        accepted.resolve()
        return { onBytes: () => {}, onDrained: () => {}, onClosed: () => {} }
      },
      failOnTrouble,
    )
    const client = await opened(listener.address)
    client.stream.pause()
    await accepted.promise
    await listener.close()
    client.stream.destroy()
  })
})
