/** The addon of native/ itself: what it takes, what it throws, and what it leaves behind. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

import { native, type NativeSocket, type NativeSocketOptions } from '../../src/edge/native.ts'
import { openUdpSocket, type UdpSocket } from '../../src/edge/udp.ts'
import { compile, endpoint, preloading, scenario } from './udp-support.ts'

const ignore = (): void => {}
const open = (options: object = {}): NativeSocket => new native.UdpSocket({ family: 4, port: 0, ...options }, ignore, ignore)

/** A batch of one record, as native/src/batch.h draws it. */
function batch(fields: { family?: number; port?: number; offset?: number; length?: number }, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(48 + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, fields.offset ?? 48)
  view.setUint32(4, fields.length ?? payload.length)
  view.setUint16(8, fields.port ?? 500)
  view.setUint8(10, fields.family ?? 4)
  bytes.set([127, 0, 0, 1], 16)
  bytes.set(payload, 48)
  return bytes
}

test('options of the wrong type or range are refused by name', () => {
  const wrong: [object | null, string, RegExp][] = [
    [null, 'TypeError', /options must be an object/],
    [{ family: 5 }, 'RangeError', /family must be 4 or 6/],
    [{ family: undefined }, 'RangeError', /family must be 4 or 6/],
    [{ port: 65536 }, 'RangeError', /port must be an integer from 0 to 65535/],
    [{ port: '500' }, 'TypeError', /port must be a number/],
    [{ udpEncap: 1 }, 'TypeError', /udpEncap must be a boolean/],
    [{ udpGro: null }, 'TypeError', /udpGro must be a boolean/],
    [{ bypassPolicy: 'yes' }, 'TypeError', /bypassPolicy must be a boolean/],
    [{ reusePort: {} }, 'TypeError', /reusePort must be a boolean/],
    [{ mark: -1 }, 'RangeError', /mark must be an integer from 0 to 4294967295/],
    [{ mark: 2 ** 32 }, 'RangeError', /mark must be/],
    [{ mark: 1.5 }, 'RangeError', /mark must be/],
    [{ mark: NaN }, 'RangeError', /mark must be/],
    [{ receiveBufferBytes: 2 ** 31 }, 'RangeError', /receiveBufferBytes must be/],
    [{ dscp: 64 }, 'RangeError', /dscp must be an integer from 0 to 63/],
    [{ maximumBytes: 65536 }, 'RangeError', /maximumBytes must be an integer from 0 to 65535/],
  ]
  for (const [options, name, message] of wrong) {
    const whole = options === null ? null : { family: 4, port: 0, ...options }
    assert.throws(() => new native.UdpSocket(whole as never, ignore, ignore), { name, message })
  }
  const getter = {
    family: 4,
    get port(): number {
      throw new Error('the getter')
    },
  }
  assert.throws(() => new native.UdpSocket(getter as never, ignore, ignore), { message: 'the getter' })
  assert.throws(() => new native.UdpSocket({ family: 4, port: 0 }, ignore, undefined as never), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => (native.UdpSocket as unknown as () => void)(), { code: 'ERR_CONSTRUCT_CALL_REQUIRED' })
})

test('methods called on anything else throw', () => {
  const methods = native.UdpSocket.prototype
  for (const receiver of [undefined, null, 1, {}, native.UdpSocket.prototype, Object.create(native.UdpSocket.prototype)]) {
    assert.throws(() => methods.close.call(receiver as never), TypeError)
    assert.throws(() => methods.counters.call(receiver as never), TypeError)
    assert.throws(() => methods.send.call(receiver as never, new Uint8Array(0), 0), TypeError)
  }
})

test('a batch that points outside of itself is refused as a whole', () => {
  const socket = open()
  const payload = Uint8Array.of(1, 2, 3)
  const outside = { code: 'ERR_OUT_OF_RANGE' }
  assert.throws(() => socket.send(batch({ length: 4 }, payload), 1), outside)
  assert.throws(() => socket.send(batch({ offset: 49 }, payload), 1), outside)
  assert.throws(() => socket.send(batch({ offset: 0xffffffff, length: 2 }, payload), 1), outside)
  assert.throws(() => socket.send(batch({ offset: 0xffffffff, length: 0xffffffff }, payload), 1), outside)
  assert.throws(() => socket.send(batch({ offset: 0, length: 65536 }, new Uint8Array(70000)), 1), outside)
  assert.throws(() => socket.send(batch({}, payload), 2), outside)
  assert.throws(() => socket.send(batch({}, payload), 0xffffffff), outside)
  assert.throws(() => socket.send(new Uint8Array(0), 1), outside)
  assert.throws(() => socket.send(new Uint16Array(100) as never, 1), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => socket.send([] as never, 1), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => socket.send(batch({}, payload), undefined as never), { code: 'ERR_NODE_API' })
  assert.equal(socket.send(batch({}, payload), 0), undefined)
  assert.equal(socket.counters().sent, 0)
  socket.close()
})

test('a record of the other family is refused before anything is sent', () => {
  const socket = open()
  const two = new Uint8Array(97)
  two.set(batch({ offset: 96, length: 1 }, new Uint8Array(0)))
  two.set(batch({ offset: 96, length: 1, family: 6 }, new Uint8Array(0)), 48)
  assert.throws(() => socket.send(two, 2), { code: 'EAFNOSUPPORT', errno: -constants.errno.EAFNOSUPPORT, syscall: 'sendmmsg' })
  assert.throws(() => socket.send(batch({ family: 0 }, Uint8Array.of(1)), 1), { code: 'EAFNOSUPPORT' })
  assert.equal(socket.counters().sent, 0)
  socket.close()
})

test('a closed socket closes again, counts, and refuses to send', () => {
  const socket = open()
  socket.close()
  socket.close()
  assert.throws(() => socket.send(batch({}, Uint8Array.of(1)), 1), { code: 'ERR_SOCKET_CLOSED' })
  assert.deepEqual(socket.counters(), { received: 0, discarded: 0, sent: 0, failed: 0, dropped: 0, queued: 0 })
})

test('sourceAddress refuses what is no address and says that connect failed where there is no route', () => {
  assert.throws(() => native.sourceAddress(new Uint8Array(5), 0, false, false), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => native.sourceAddress('127.0.0.1' as never, 0, false, false), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => native.sourceAddress(new Uint8Array(4), 'mark' as never, false, false), { code: 'ERR_NODE_API' })
  assert.deepEqual([...native.sourceAddress(Uint8Array.of(127, 1, 2, 3), 0, false, false)], [127, 0, 0, 1])
  const linkLocal = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
  assert.throws(() => native.sourceAddress(linkLocal, 0, false, false), { syscall: 'connect', code: 'EINVAL' })
})

test('datagrams larger than the maximum are discarded and counted, those behind them arrive', async () => {
  const seen: number[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const socket: UdpSocket = openUdpSocket(
    { family: 4, port: 0, maximumBytes: 100 },
    (bytes) => {
      seen.push(bytes.length)
      if (seen.length === 2) resolve()
    },
    assert.ifError,
  )
  const self = endpoint('127.0.0.1', socket.port)
  for (const length of [100, 101, 5000, 99]) socket.send(new Uint8Array(length), self.address, self)
  await promise
  socket.close()
  assert.deepEqual(seen, [100, 99])
  assert.equal(socket.counters().discarded, 2)
})

for (const [family, address] of [
  [4, '127.0.0.1'],
  [6, '::1'],
] as const) {
  test(`datagrams the kernel joined (UDP_GRO) are split again: IPv${family}`, async () => {
    const segments = compile('udp-segments')
    const seen: Uint8Array[] = []
    let wake = ignore
    const onArrival = (bytes: Uint8Array): void => {
      seen.push(bytes)
      wake()
    }
    const receive = async (maximumBytes: number, size: number, total: number, count: number) => {
      const socket = openUdpSocket({ family, port: 0, udpGro: true, maximumBytes }, onArrival, assert.ifError)
      execFileSync(segments, [address, String(socket.port), String(size), String(total)])
      while (seen.length < count) await new Promise<void>((resolve) => (wake = resolve))
      socket.close()
      return { discarded: socket.counters().discarded, received: seen.splice(0) }
    }
    const whole = Uint8Array.from({ length: 60000 }, (_, at) => at % 251)
    const cut = (size: number, total: number): Uint8Array[] =>
      Array.from({ length: Math.ceil(total / size) }, (_, at) => whole.slice(at * size, Math.min((at + 1) * size, total)))

    assert.deepEqual(await receive(65535, 1000, 3500, 4), { discarded: 0, received: cut(1000, 3500) })
    assert.deepEqual(await receive(65535, 1000, 3000, 3), { discarded: 0, received: cut(1000, 3000) })
    assert.deepEqual(await receive(65535, 1200, 60000, 50), { discarded: 0, received: cut(1200, 60000) })
    assert.deepEqual(await receive(65535, 1000, 999, 1), { discarded: 0, received: cut(1000, 999) })
    // Each datagram is measured for itself: only the rest is small enough.
    assert.deepEqual(await receive(600, 1000, 3500, 1), { discarded: 3, received: [whole.slice(3000, 3500)] })
  })
}

/** Constants of <sys/socket.h>, <netinet/in.h> and <netinet/udp.h> on Linux. */
const SOCKET_OPTIONS = [
  { family: 4, set: { reusePort: true }, level: 1, name: 15, option: 'SO_REUSEPORT' },
  { family: 4, set: { receiveBufferBytes: 65536 }, level: 1, name: 33, option: 'SO_RCVBUFFORCE' },
  { family: 4, set: { mark: 1 }, level: 1, name: 36, option: 'SO_MARK' },
  { family: 4, set: { udpEncap: true }, level: 17, name: 100, option: 'UDP_ENCAP' },
  { family: 6, set: { udpEncap: true }, level: 17, name: 100, option: 'UDP_ENCAP' },
  { family: 4, set: { udpGro: true }, level: 17, name: 104, option: 'UDP_GRO' },
  { family: 4, set: { bypassPolicy: true }, level: 0, name: 17, option: 'IP_XFRM_POLICY' },
  { family: 6, set: { bypassPolicy: true }, level: 41, name: 35, option: 'IPV6_XFRM_POLICY' },
  { family: 4, set: {}, level: 0, name: 8, option: 'IP_PKTINFO' },
  { family: 4, set: {}, level: 0, name: 10, option: 'IP_MTU_DISCOVER' },
  { family: 4, set: {}, level: 0, name: 1, option: 'IP_TOS' },
  { family: 6, set: {}, level: 41, name: 26, option: 'IPV6_V6ONLY' },
  { family: 6, set: {}, level: 41, name: 49, option: 'IPV6_RECVPKTINFO' },
  { family: 6, set: {}, level: 41, name: 23, option: 'IPV6_MTU_DISCOVER' },
  { family: 6, set: {}, level: 41, name: 67, option: 'IPV6_TCLASS' },
] as const

test('every socket option that fails is named by its error', async () => {
  const shim = preloading(compile('udp-shim', '-shared', '-fPIC'))
  const { ENOPROTOOPT } = constants.errno
  await Promise.all(
    SOCKET_OPTIONS.map(async ({ family, set, level, name, option }) => {
      const env = { ...shim, SHIM_SETSOCKOPT: `${level},${name},${ENOPROTOOPT}` }
      assert.deepEqual(await scenario('open', { env }, { family, port: 0, ...set }), {
        code: 'ENOPROTOOPT',
        errno: -ENOPROTOOPT,
        syscall: 'setsockopt',
        option,
        message: `ENOPROTOOPT: protocol not available, setsockopt ${option}`,
      })
    }),
  )
})

test('without privilege the bypass policy and the mark are EPERM, UDP_ENCAP and a receive buffer are not', async (t) => {
  // The user stays: another one may not be able to read this checkout. A mark may be set with either capability.
  const unprivileged = ['setpriv', '--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw']
  const under = process.getuid!() === 0 ? unprivileged : []
  try {
    execFileSync(under[0] ?? 'true', [...under.slice(1), process.execPath, '--version'])
  } catch {
    t.skip('needs setpriv, which gives up capabilities')
    return
  }
  const { EPERM } = constants.errno
  const refused = (options: Omit<NativeSocketOptions, 'port'>) => scenario('open', { under }, { port: 0, ...options })
  const permission = (option: string) => ({
    code: 'EPERM',
    errno: -EPERM,
    syscall: 'setsockopt',
    option,
    message: `EPERM: operation not permitted, setsockopt ${option}`,
  })
  assert.deepEqual(await refused({ family: 4, bypassPolicy: true }), permission('IP_XFRM_POLICY'))
  assert.deepEqual(await refused({ family: 6, bypassPolicy: true }), permission('IPV6_XFRM_POLICY'))
  assert.deepEqual(await refused({ family: 4, mark: 1 }), permission('SO_MARK'))
  const fine = { udpEncap: true, udpGro: true, reusePort: true, receiveBufferBytes: 1 << 29, dscp: 46 }
  assert.deepEqual(await refused({ family: 4, ...fine }), { opened: true })
  assert.deepEqual(await refused({ family: 6, ...fine }), { opened: true })
})

test('without IPv6 the network goes on with IPv4 and says so; without the only family it does not', async () => {
  const { EAFNOSUPPORT } = constants.errno
  const env = { ...preloading(compile('udp-shim', '-shared', '-fPIC')), SHIM_SOCKET: `10,${EAFNOSUPPORT}` }
  const message = 'EAFNOSUPPORT: address family not supported, socket'
  const error = { code: 'EAFNOSUPPORT', errno: -EAFNOSUPPORT, syscall: 'socket', message }
  const open = await scenario('network', { env }, {})
  assert.deepEqual(open, { families: [4], open: true, errors: [error], failure: null, leaked: 0 })
  const { failure, leaked } = await scenario('network', { env }, { families: [6] })
  assert.deepEqual({ failure, leaked }, { failure: error, leaked: 0 })
})

test('a network that cannot open all its sockets leaves none open', async () => {
  const { EINVAL } = constants.errno
  const env = { ...preloading(compile('udp-shim', '-shared', '-fPIC')), SHIM_SETSOCKOPT: `17,104,${EINVAL}` }
  const { failure, leaked } = await scenario('network', { env }, { encapsulation: true })
  assert.equal(failure?.option, 'UDP_GRO')
  assert.equal(leaked, 0)
})

test('receiving goes on after recvmmsg failed', async () => {
  const { ECONNREFUSED } = constants.errno
  const env = { ...preloading(compile('udp-shim', '-shared', '-fPIC')), SHIM_RECVMMSG: String(ECONNREFUSED) }
  const { bytes, errors } = await scenario('failing receive', { env })
  assert.deepEqual(bytes, [0, 1, 2])
  assert.deepEqual(errors[0], {
    code: 'ECONNREFUSED',
    errno: -ECONNREFUSED,
    syscall: 'recvmmsg',
    message: 'ECONNREFUSED: connection refused, recvmmsg',
  })
})

test('what a callback throws becomes an uncaughtException and costs no datagram', async () => {
  assert.deepEqual(await scenario('throwing', {}), { uncaught: ['the second'], seen: [1, 2, 3, 4] })
  assert.deepEqual(await scenario('throwing below', {}), ['call 1', 'call 2'])
})

test('the process may end from inside a callback with all sockets open', async () => {
  assert.deepEqual(await scenario('exit while delivering', {}), { delivered: true })
})

test('thousands of sockets opened and closed leave no descriptor and no memory behind', async () => {
  const nodeFlags = ['--expose-gc']
  const { most, after, inExistence } = await scenario('churn', { nodeFlags }, 4000)
  assert.deepEqual({ after, inExistence }, { after: 0, inExistence: 0 })
  // The one it sends to.
  assert.equal(most, 1)
  assert.deepEqual(await scenario('failing churn', { nodeFlags }, 2000), { failed: 2000, after: 0, inExistence: 0 })
})

test('a worker thread has sockets of its own, and they end with it', async () => {
  const code = `
    import { parentPort, workerData } from 'node:worker_threads'
    const { openUdpSocket } = await import(workerData.udp)
    const { Endpoint } = await import(workerData.ip)
    const socket = openUdpSocket({ family: 4, port: 0 }, (bytes, local, remote) => {
      socket.send(bytes.map((byte) => byte + 1), local.address, remote)
      socket.close()
    }, (error) => { throw error })
    parentPort.postMessage(socket.port)`
  const modules = {
    udp: new URL('../../src/edge/udp.ts', import.meta.url).href,
    ip: new URL('../../src/base/ip.ts', import.meta.url).href,
  }
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: modules })
  const [port, answer] = await new Promise<[number, number]>((resolve, reject) => {
    worker.on('error', reject)
    worker.on('message', (at: number) => {
      const here: UdpSocket = openUdpSocket(
        { family: 4, port: 0 },
        (bytes) => resolve([here.port, (here.close(), bytes[0]!)]),
        reject,
      )
      const to = endpoint('127.0.0.1', at)
      here.send(Uint8Array.of(41), to.address, to)
    })
  })
  assert.ok(port > 0)
  assert.equal(answer, 42)
  // It closed its socket, so nothing keeps it: it ends by itself.
  assert.equal(await new Promise((resolve) => worker.on('exit', resolve)), 0)
  assert.deepEqual(await scenario('workers end', { nodeFlags: ['--expose-gc'] }, 8), { ports: 8, inExistence: 0 })
})

test('without the built addon, importing says what to do', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const folder = mkdtempSync(join(tmpdir(), 'espalier-unbuilt-'))
  try {
    const load = (): string => {
      const code = `import('./src/edge/udp.ts').catch((error) => console.log(error.code, error.message))`
      return execFileSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8' })
    }
    cpSync(join(root, 'src/base'), join(folder, 'src/base'), { recursive: true })
    for (const file of ['udp.ts', 'native.ts']) cpSync(join(root, 'src/edge', file), join(folder, 'src/edge', file))
    cpSync(join(root, 'package.json'), join(folder, 'package.json'))
    assert.match(load(), /^native-addon-missing .*native\/build\/espalier_udp\.node is not there: run scripts\/setup/)
    mkdirSync(join(folder, 'native/build'), { recursive: true })
    cpSync(join(root, 'package.json'), join(folder, 'native/build/espalier_udp.node'))
    assert.match(load(), /^native-addon-unusable .*does not load: run scripts\/setup to build it again \(/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
