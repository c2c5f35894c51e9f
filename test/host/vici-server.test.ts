/**
 * The control socket of a running daemon: Debian's swanctl, our own client, and clients that misbehave, over real
 * sockets.
 */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, statSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { release } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import packageJson from '../../package.json' with { type: 'json' }
import { connectControl } from '../../src/daemon/connect.ts'
import { section, textOf } from '../../src/vici/message.ts'
import { writePacket, type Packet } from '../../src/vici/packet.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { tryRun } from '../lab/support/process.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const NOTHING = 'connections {\n}\n'

async function daemon(t: TestContext): Promise<Espalier> {
  const lab = new Lab(t)
  return Espalier.start(await lab.host('gateway'), { kernel: 'memory', configuration: NOTHING })
}

const pathOf = (espalier: Espalier): string => espalier.uri.slice('unix://'.length)

async function connected(espalier: Espalier): Promise<Socket> {
  const socket = createConnection(pathOf(espalier))
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}
const say = (socket: Socket, ...packets: Packet[]): void => packets.forEach((packet) => void socket.write(writePacket(packet)))
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => resolve())
    socket.resume()
  })

async function assertServes(espalier: Espalier): Promise<void> {
  const client = await connectControl(espalier.uri)
  assert.equal(textOf(await client.call('version'), 'daemon'), 'espalier')
  client.close()
}

describe('swanctl', () => {
  test('--version --daemon shows who is there, plain, raw and pretty', async (t) => {
    const { uri } = await daemon(t)
    const asked = async (...args: string[]): Promise<string> => {
      const { stdout, stderr, status } = await tryRun('swanctl', ['--version', '--daemon', '--uri', uri, ...args])
      assert.equal(status, 0, stderr)
      return stdout
    }
    const { version } = packageJson
    assert.match(await asked(), new RegExp(`^strongSwan ${version} espalier \\(Linux, ${release()}, \\w+\\)\n$`))
    assert.match(
      await asked('--raw'),
      new RegExp(`^version reply \\{daemon=espalier version=${version} sysname=Linux release=${release()} machine=\\w+\\}\n$`),
    )
    assert.match(await asked('--pretty'), /^version reply \{\n {2}daemon = espalier\n/)
  })

  test('--stats --raw is a message swanctl understands', async (t) => {
    const { uri } = await daemon(t)
    const { stdout, stderr, status } = await tryRun('swanctl', ['--stats', '--raw', '--uri', uri])
    assert.equal(status, 0, stderr)
    assert.match(stdout, /^stats reply \{uptime \{running=/)
  })

  test('--reload-settings reads strongswan.conf anew', async (t) => {
    const espalier = await daemon(t)
    const { stdout, stderr, status } = await tryRun('swanctl', ['--reload-settings', '--raw', '--uri', espalier.uri])
    assert.equal(status, 0, stderr)
    assert.match(stdout, /success=yes/)
    await espalier.event('settings-reloaded')
  })

  test('a hundred clients at once are all answered', async (t) => {
    const espalier = await daemon(t)
    const clients = await Promise.all(Array.from({ length: 100 }, () => connectControl(espalier.uri)))
    const answers = await Promise.all(clients.map((client) => client.call('version')))
    for (const answer of answers) assert.equal(textOf(answer, 'daemon'), 'espalier')
    for (const client of clients) client.close()
  })
})

describe('clients that misbehave', () => {
  test('what is no VICI is cut off with a line; the daemon serves on', async (t) => {
    const espalier = await daemon(t)
    const socket = await connected(espalier)
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await closed(socket)
    assert.match((await espalier.event('control-trouble')).msg, /^VICI client 1 sent what is no packet and was cut off/)
    await assertServes(espalier)
  })

  test('one that asks for much and never reads is not answered further, and nobody else waits', async (t) => {
    const espalier = await daemon(t)
    const socket = await connected(espalier)
    socket.pause()
    const question: Packet = { kind: 'request', name: 'version', message: section() }
    for (let i = 0; i < 50_000; i++) say(socket, question)
    for (let i = 0; i < 20; i++) await assertServes(espalier)
    socket.destroy()
    await assertServes(espalier)
  })

  test('one that dies amid a request leaves nothing behind', async (t) => {
    const espalier = await daemon(t)
    const socket = await connected(espalier)
    socket.write(Uint8Array.of(0, 0, 1, 0, 0))
    socket.destroy()
    await assertServes(espalier)
    assert.deepEqual(espalier.events('control-trouble'), [])
  })
})

describe('the socket', () => {
  test("is its owner's and group's alone, and gone after the daemon", async (t) => {
    const espalier = await daemon(t)
    assert.equal(statSync(pathOf(espalier)).mode & 0o777, 0o660)
    await espalier.stop()
    assert.equal(existsSync(pathOf(espalier)), false)
  })

  test('that a killed daemon left behind is taken over by the next', async (t) => {
    const espalier = await daemon(t)
    await espalier.daemon.stop('SIGKILL')
    assert.ok(existsSync(pathOf(espalier)))
    chmodSync(pathOf(espalier), 0o600)
    const next = await Espalier.start(espalier.host, { kernel: 'memory', configuration: NOTHING })
    assert.equal(next.uri, espalier.uri)
    assert.equal(statSync(pathOf(next)).mode & 0o777, 0o660)
    await assertServes(next)
  })

  test('that another daemon listens on keeps a second one from starting, and keeps working', async (t) => {
    const espalier = await daemon(t)
    const elsewhere = await espalier.host.lab.host('elsewhere')
    const { status, stdout } = await elsewhere.tryRun(process.execPath, [main, 'daemon', '--kernel', 'memory'], {
      env: { SWANCTL_DIR: join(espalier.directory, 'swanctl'), STRONGSWAN_CONF: join(espalier.directory, 'strongswan.conf') },
    })
    assert.equal(status, 1)
    assert.match(stdout, /cannot be listened on: another daemon listens there/)
    await assertServes(espalier)
  })

  test('charon.plugins.vici.load = no has none', async (t) => {
    const lab = new Lab(t)
    const espalier = await Espalier.start(await lab.host('gateway'), {
      kernel: 'memory',
      configuration: NOTHING,
      settings: 'plugins { vici { load = no } }',
    })
    assert.equal((await espalier.event('started'))['control'], null)
    assert.equal(existsSync(pathOf(espalier)), false)
  })

  test('the goodbye of a daemon that stops reaches its clients', async (t) => {
    const espalier = await daemon(t)
    const client = await connectControl(espalier.uri)
    const events = await client.register('ike-updown')
    const parted = assert.rejects(events.next(), { message: 'the daemon closed the connection' })
    await espalier.stop()
    await parted
  })
})
