/** src/edge/udp.ts over real sockets of this machine's loopback interface. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { constants } from 'node:os'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { IpAddress } from '../../src/base/ip.ts'
import { openUdpSocket, UdpNetwork, type UdpError } from '../../src/edge/udp.ts'
import { endpoint, marked, TestNetwork } from './udp-support.ts'

const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const
const ANY = { 4: '0.0.0.0', 6: '::' } as const

test('a datagram arrives with the address it was sent to and the one it was sent from', async () => {
  using a = new TestNetwork()
  using b = new TestNetwork()
  a.network.send(Uint8Array.of(1, 2, 3), endpoint('127.0.0.3', a.network.port), endpoint('127.0.0.2', b.network.port))
  const [v4] = await b.take(1)
  assert.deepEqual([...v4!.bytes], [1, 2, 3])
  assert.equal(v4!.local.toString(), `127.0.0.2[${b.network.port}]`)
  assert.equal(v4!.remote.toString(), `127.0.0.3[${a.network.port}]`)

  a.network.send(Uint8Array.of(4), endpoint('::1', a.network.portNatT), endpoint('::1', b.network.portNatT))
  const [v6] = await b.take(1)
  assert.equal(v6!.local.toString(), `::1[${b.network.portNatT}]`)
  assert.equal(v6!.remote.toString(), `::1[${a.network.portNatT}]`)
})

test('what is heard can be answered by turning its addresses round', async () => {
  using a = new TestNetwork()
  using b = new TestNetwork()
  a.network.send(Uint8Array.of(1), endpoint('127.0.0.3', a.network.port), endpoint('127.0.0.2', b.network.portNatT))
  const [request] = await b.take(1)
  b.network.send(Uint8Array.of(2), request!.local, request!.remote)
  const [response] = await a.take(1)
  assert.ok(response!.local.equals(request!.remote))
  assert.ok(response!.remote.equals(request!.local))
})

test('the unspecified address leaves the source to the kernel', async () => {
  using a = new TestNetwork()
  for (const family of [4, 6] as const) {
    const to = endpoint(LOOPBACK[family], a.network.port)
    a.network.send(Uint8Array.of(1), endpoint(ANY[family], a.network.portNatT), to)
    const [datagram] = await a.take(1)
    assert.equal(datagram!.remote.toString(), `${LOOPBACK[family]}[${a.network.portNatT}]`)
  }
})

test('a thousand datagrams of one turn arrive complete and in order, each in memory of its own', async () => {
  using a = new TestNetwork({ receiveBufferBytes: 4 << 20 })
  const self = endpoint('127.0.0.1', a.network.port)
  for (let at = 0; at < 1000; at++) {
    const bytes = new Uint8Array(1 + (at % 1400)).fill(at & 0xff)
    a.network.send(bytes, self, self)
    // send() copies: the caller may do with its bytes what it likes.
    bytes.fill(0)
  }
  const datagrams = await a.take(1000)
  datagrams.forEach(({ bytes }, at) => {
    assert.deepEqual(bytes, new Uint8Array(1 + (at % 1400)).fill(at & 0xff))
    assert.equal(bytes.buffer.byteLength, bytes.length)
  })
  assert.equal(a.network.counters().sent, 1000)
  assert.equal(a.network.counters().received, 1000)
})

test('the empty datagram and the largest arrive, one larger is refused', async () => {
  using a = new TestNetwork()
  for (const family of [4, 6] as const) {
    const self = endpoint(LOOPBACK[family], a.network.port)
    // 65535 less the headers that count: UDP's 8, and IPv4's 20.
    const largest = family === 4 ? 65535 - 8 - 20 : 65535 - 8
    a.network.send(new Uint8Array(0), self, self)
    a.network.send(new Uint8Array(largest), self, self)
    a.network.send(new Uint8Array(largest + 1), self, self)
    const datagrams = await a.take(2)
    assert.deepEqual(
      datagrams.map(({ bytes }) => bytes.length),
      [0, largest],
    )
  }
  assert.deepEqual(
    [...a.network.errorTotals],
    [
      ['EMSGSIZE 4', 1],
      ['EMSGSIZE 6', 1],
    ],
  )
  // This one no socket even tries.
  a.network.send(new Uint8Array(65536), endpoint('::', a.network.port), endpoint('::1', a.network.port))
  assert.equal(a.network.errorTotals.get('EMSGSIZE 6'), 2)
})

test('with encapsulation the kernel keeps ESP and keepalives on the NAT-T port and leaves us the rest', async () => {
  // BEHAVIOUR 5: one byte FF is dropped; up to 8 bytes, or a first word of zero, come to us; the rest is ESP.
  const esp = Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 1, 9, 9, 9, 9)
  const short = esp.subarray(0, 8)
  const keepalive = Uint8Array.of(0xff)
  using sender = new TestNetwork()
  using plain = new TestNetwork({ encapsulation: false })
  using encapsulating = new TestNetwork({ encapsulation: true })
  for (const family of [4, 6] as const) {
    const from = endpoint(LOOPBACK[family], sender.network.port)
    const received = async (test: TestNetwork, port: number, count: number): Promise<number[][]> => {
      const to = endpoint(LOOPBACK[family], port)
      for (const bytes of [esp, keepalive, short, marked(1)]) sender.network.send(bytes, from, to)
      return (await test.take(count)).map(({ bytes }) => [...bytes])
    }
    // Loopback keeps the order: what the last one overtook was swallowed.
    assert.deepEqual(await received(encapsulating, encapsulating.network.portNatT, 2), [[...short], [...marked(1)]])
    const all = [esp, keepalive, short, marked(1)].map((bytes) => [...bytes])
    assert.deepEqual(await received(encapsulating, encapsulating.network.port, 4), all)
    assert.deepEqual(await received(plain, plain.network.portNatT, 4), all)
  }
})

test('a datagram the kernel refuses is reported and does not hold up those around it', async () => {
  using a = new TestNetwork()
  const self = endpoint('127.0.0.1', a.network.port)
  a.network.send(Uint8Array.of(1), self, self)
  // Broadcast without SO_BROADCAST.
  a.network.send(Uint8Array.of(2), endpoint('0.0.0.0', a.network.port), endpoint('255.255.255.255', 500))
  a.network.send(Uint8Array.of(3), self, self)
  // Not an address of ours.
  a.network.send(Uint8Array.of(4), endpoint('192.0.2.77', a.network.port), self)
  a.network.send(Uint8Array.of(5), self, self)
  const datagrams = await a.take(3)
  assert.deepEqual(
    datagrams.map(({ bytes }) => bytes[0]),
    [1, 3, 5],
  )
  assert.equal(a.errors.length, 2)
  const { code, errno, syscall, message } = a.errors[0]!.error
  assert.deepEqual({ code, errno, syscall }, { code: 'EACCES', errno: -constants.errno.EACCES, syscall: 'sendmmsg' })
  assert.equal(message, 'EACCES: permission denied, sendmmsg')
  assert.equal((a.errors[0]!.error as { address?: string }).address, '255.255.255.255')
  assert.equal((a.errors[0]!.error as { port?: number }).port, 500)
  // Kernels differ in how they call it.
  assert.match(a.errors[1]!.error.code, /^(ENETUNREACH|EINVAL)$/)
  const { sent, failed } = a.network.counters()
  assert.deepEqual({ sent, failed }, { sent: 3, failed: 2 })
})

test('errors of a kind are counted, and reported when their number passes a power of two', async () => {
  using a = new TestNetwork()
  const refused = (): void =>
    a.network.send(Uint8Array.of(2), endpoint('0.0.0.0', a.network.port), endpoint('255.255.255.255', 500))
  for (let at = 0; at < 9; at++) {
    refused()
    await turn()
  }
  assert.deepEqual(
    a.errors.map(({ total }) => total),
    [1, 2, 4, 8],
  )
  for (let at = 0; at < 100; at++) refused()
  await turn()
  assert.equal(a.network.errorTotals.get('EACCES 4'), 109)
  // Batches of 32 crossed 16 with 41, 64 with 73.
  assert.deepEqual(
    a.errors.map(({ total }) => total),
    [1, 2, 4, 8, 41, 73],
  )
})

test('sending from a port that is not ours, or between families, is an error that is reported and nothing else', () => {
  using a = new TestNetwork({ families: [4] })
  const self = endpoint('127.0.0.1', a.network.port)
  a.network.send(Uint8Array.of(1), endpoint('127.0.0.1', 1), self)
  a.network.send(Uint8Array.of(1), endpoint('::1', a.network.port), endpoint('::1', a.network.port))
  a.network.send(Uint8Array.of(1), endpoint('::1', a.network.port), self)
  assert.deepEqual([...a.network.errorTotals.keys()], ['ERR_NO_SOCKET 4', 'ERR_NO_SOCKET 6', 'EAFNOSUPPORT 4'])
})

test('an address of the other family is refused by a socket before anything is sent', () => {
  const socket = openUdpSocket(
    { family: 6, port: 0 },
    () => {},
    () => {},
  )
  const v4 = endpoint('127.0.0.1', 500)
  const v6 = endpoint('::1', 500)
  assert.throws(() => socket.send(Uint8Array.of(1), v6.address, v4), { code: 'EAFNOSUPPORT' })
  assert.throws(() => socket.send(Uint8Array.of(1), v4.address, v6), { code: 'EAFNOSUPPORT' })
  socket.close()
  assert.equal(socket.counters().sent, 0)
})

test('closing sends what was collected, frees the ports, and happens once', async () => {
  using b = new TestNetwork()
  const a = new TestNetwork()
  const { port, portNatT } = a.network
  a.network.send(Uint8Array.of(1), endpoint('127.0.0.1', port), endpoint('127.0.0.1', b.network.port))
  a.network.close()
  a.network.close()
  assert.equal((await b.take(1))[0]!.bytes[0], 1)
  using again = new TestNetwork({ port, portNatT })
  assert.deepEqual([again.network.port, again.network.portNatT], [port, portNatT])
})

test('after closing, sending is counted and nothing else; a single socket says so', () => {
  const a = new TestNetwork()
  const self = endpoint('127.0.0.1', a.network.port)
  a.network.close()
  a.network.send(Uint8Array.of(1), self, self)
  a.network.send(Uint8Array.of(1), self, self)
  assert.deepEqual(a.network.counters(), {
    received: 0,
    discarded: 0,
    sent: 0,
    failed: 0,
    dropped: 0,
    queued: 0,
    sentAfterClose: 2,
  })
  assert.deepEqual(a.errors, [])

  const socket = openUdpSocket(
    { family: 4, port: 0 },
    () => {},
    () => {},
  )
  assert.equal(socket.closed, false)
  socket.close()
  socket.close()
  assert.equal(socket.closed, true)
  assert.throws(() => socket.send(Uint8Array.of(1), self.address, self), { code: 'ERR_SOCKET_CLOSED' })
})

test('closing from inside onDatagram delivers nothing more of the batch', async () => {
  const seen: number[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const options = { port: 0, portNatT: 0, families: [4 as const], encapsulation: false, bypassPolicy: false, mark: 0 }
  const network: UdpNetwork = new UdpNetwork(
    { ...options, receiveBufferBytes: 0, reusePort: false, dscp: 0 },
    ({ bytes }) => {
      seen.push(bytes[0]!)
      network.close()
      resolve()
    },
    assert.ifError,
  )
  const self = endpoint('127.0.0.1', network.port)
  for (let at = 1; at <= 3; at++) network.send(Uint8Array.of(at), self, self)
  await promise
  await turn()
  assert.deepEqual(seen, [1])
})

test('a port in use is an error of bind, unless both sides share it', () => {
  using a = new TestNetwork({ families: [4] })
  const { port } = a.network
  assert.throws(
    () => new TestNetwork({ families: [4], port }),
    (error: UdpError) => error.code === 'EADDRINUSE' && error.syscall === 'bind' && error.errno === -constants.errno.EADDRINUSE,
  )
  using shared = new TestNetwork({ reusePort: true })
  const { port: sharedPort, portNatT } = shared.network
  using second = new TestNetwork({ reusePort: true, port: sharedPort, portNatT })
  assert.equal(second.network.port, sharedPort)
})

test('the IKE port and the NAT-T port cannot be the same', () => {
  assert.throws(() => new TestNetwork({ port: 500, portNatT: 500 }), { code: 'same-ports', accused: 'caller' })
})

test('IPv6 sockets leave IPv4 alone', async () => {
  using v6 = new TestNetwork({ families: [6] })
  using v4 = new TestNetwork({ families: [4], port: v6.network.port, portNatT: v6.network.portNatT })
  const sender = createSocket('udp4')
  sender.send(Uint8Array.of(1), v6.network.port, '127.0.0.1')
  const [datagram] = await v4.take(1)
  assert.equal(datagram!.local.address.family, 4)
  sender.close()
  await once(sender, 'close')
})

test('the probe port is a third one of each family, opened when it is first asked for', async () => {
  using a = new TestNetwork()
  using b = new TestNetwork()
  for (const family of [4, 6] as const) {
    const port = a.network.probePort(family)
    assert.ok(port !== null && port !== a.network.port && port !== a.network.portNatT)
    assert.equal(a.network.probePort(family), port)
    a.network.send(Uint8Array.of(0, 0, 0, 0, 7), endpoint(LOOPBACK[family], port), endpoint(LOOPBACK[family], b.network.portNatT))
    const [probe] = await b.take(1)
    assert.equal(probe!.remote.port, port)
    b.network.send(Uint8Array.of(0, 0, 0, 0, 8), probe!.local, probe!.remote)
    const [answer] = await a.take(1)
    assert.deepEqual([answer!.local.port, [...answer!.bytes]], [port, [0, 0, 0, 0, 8]])
  }
  assert.deepEqual([...a.errors, ...b.errors], [])
  using closed = new TestNetwork()
  closed.network.close()
  assert.equal(closed.network.probePort(4), null)
})

test('sourceFor gives our address on the way, or null when there is none', async () => {
  using a = new TestNetwork()
  const source = async (text: string): Promise<string | undefined> =>
    (await a.network.sourceFor(IpAddress.parse(text)))?.toString()
  assert.equal(await source('127.8.8.8'), '127.0.0.1')
  assert.equal(await source('::1'), '::1')
  assert.equal(await source('0.0.0.0'), undefined)
  assert.equal(await source('::'), undefined)
  // Without its interface a link-local address has no route.
  assert.equal(await source('fe80::1'), undefined)
  assert.deepEqual(a.errors, [])
})

test('resolve gives the addresses of a name, of an address the address itself, and of nothing nothing', async () => {
  using a = new TestNetwork()
  const texts = async (host: string): Promise<string[]> => (await a.network.resolve(host)).map(String)
  const loopback = await texts('localhost')
  assert.ok(loopback.includes('127.0.0.1') || loopback.includes('::1'), String(loopback))
  assert.deepEqual(await texts('192.0.2.1'), ['192.0.2.1'])
  assert.deepEqual(await texts('2001:db8::1'), ['2001:db8::1'])
  assert.deepEqual(await texts('no such name'), [])
})
