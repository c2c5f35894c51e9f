/** The UDP sockets where loopback is not enough: in network namespaces of their own, linked by a veth pair. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants } from 'node:os'
import { test } from 'node:test'

import { lacksNamespaces, scenario } from './udp-support.ts'

const skip = lacksNamespaces() ?? false
const under = ['unshare', '-n']

/** SEND_QUEUE_DATAGRAMS and SEND_QUEUE_BYTES of native/src/socket.h. */
const QUEUE_DATAGRAMS = 1024
const QUEUE_BYTES = 4 * 1024 * 1024

test('when the send buffer is full datagrams wait in order, up to a bound, and leave when there is room', { skip }, async () => {
  const count = 3000
  const { full, empty, numbers, errors, totals } = await scenario('full send buffer', { under }, count, 100)
  assert.equal(full.queued, QUEUE_DATAGRAMS)
  assert.ok(full.sent > 0, 'the kernel took some before its buffer was full')
  assert.equal(full.dropped, count - full.sent - QUEUE_DATAGRAMS)
  assert.ok(full.dropped > 0, 'and could not take all')
  // One more, sent before the loop saw that there was room again, found the queue still full.
  assert.deepEqual(empty, { ...full, queued: 0, sent: full.sent + QUEUE_DATAGRAMS, dropped: full.dropped + 1 })
  assert.deepEqual(
    numbers,
    Array.from({ length: empty.sent }, (_, at) => at),
  )
  const { ENOBUFS } = constants.errno
  const { code, errno, syscall, address } = errors[0]!
  assert.deepEqual(
    { code, errno, syscall, address },
    { code: 'ENOBUFS', errno: -ENOBUFS, syscall: 'sendmmsg', address: '192.0.2.2' },
  )
  assert.deepEqual(totals, { 'ENOBUFS 4': empty.dropped })
})

test('a datagram sent when there is room again does not overtake those that wait', { skip }, async () => {
  const count = 1000
  const { full, empty, numbers } = await scenario('full send buffer', { under }, count, 100)
  assert.ok(full.queued > 0)
  assert.equal(empty.sent, count + 1)
  assert.deepEqual(
    numbers,
    Array.from({ length: count + 1 }, (_, at) => at),
  )
})

test('large datagrams are bounded by their bytes', { skip }, async () => {
  const size = 50000
  const { full, empty, numbers } = await scenario('full send buffer', { under }, 300, size)
  assert.equal(full.queued, Math.floor(QUEUE_BYTES / size))
  assert.equal(full.sent + full.queued + full.dropped, 300)
  assert.ok(full.dropped > 0)
  assert.deepEqual(
    numbers,
    Array.from({ length: empty.sent }, (_, at) => at),
  )
})

test('what waits when a socket is closed is dropped and counted', { skip }, async () => {
  const { before, after } = await scenario('close while full', { under }, 1000)
  assert.ok(before.queued > 0)
  assert.deepEqual(after, { ...before, queued: 0, dropped: before.dropped + before.queued })
})

test('link-local peers are reached through the interface they were heard on, or the one with our address', { skip }, async () => {
  const { first, heard, second, errors } = await scenario('link local', { under })
  assert.deepEqual(first, [1])
  assert.deepEqual(heard, { local: 'fe80::1', remote: 'fe80::3', bytes: [0, 0, 0, 2] })
  assert.deepEqual(second, [3])
  assert.equal(errors, 0)
})

test('a random port is one that is free in both families', { skip }, async () => {
  const { found, none } = await scenario('port collision', { under })
  assert.deepEqual(found, [40001])
  assert.deepEqual({ code: none?.code, syscall: none?.syscall }, { code: 'EADDRINUSE', syscall: 'bind' })
})

test('a socket that was aborted from outside reports it and goes on', { skip }, async (t) => {
  const found = await scenario('aborted', { under })
  if (found === null) {
    t.skip('needs ss, and a kernel with CONFIG_INET_DIAG_DESTROY')
    return
  }
  const { ECONNABORTED } = constants.errno
  assert.deepEqual(found.bytes, [7])
  const { code, errno, syscall } = found.errors[0]!
  assert.deepEqual({ code, errno, syscall }, { code: 'ECONNABORTED', errno: -ECONNABORTED, syscall: 'poll' })
})

test("mark and DSCP are on every datagram, and don't-fragment is not", { skip }, async (t) => {
  try {
    execFileSync('nft', ['--version'])
  } catch {
    t.skip('needs nft')
    return
  }
  // IPv4: marked and EF, don't-fragment; IPv6: marked and EF, not marked.
  assert.deepEqual(await scenario('on the wire', { under }), [2, 0, 2, 0])
})

for (const family of [4, 6] as const) {
  test(`the bypass policy goes past policies that block, out and in: IPv${family}`, { skip }, async () => {
    const { numbers, sources, blocked, bypassing } = await scenario('past policies', { under }, family)
    assert.deepEqual(numbers, [1])
    assert.deepEqual(sources, { bypassing: family === 4 ? '192.0.2.1' : '2001:db8::1' })
    assert.deepEqual({ failed: blocked.failed, received: blocked.received }, { failed: 1, received: 0 })
    assert.equal(blocked.errors, 1)
    assert.deepEqual(
      { sent: bypassing.sent, received: bypassing.received, errors: bypassing.errors },
      { sent: 1, received: 1, errors: 0 },
    )
  })
}
