/**
 * What is said of a kernel that lacks something, by kernels in memory that refuse as Linux does.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { MemoryKernel } from '../../src/edge/memory-kernel.ts'
import { lackOfXfrm, probeKernel } from '../../src/kernel/check.ts'
import type { Operation } from '../../src/kernel/vocabulary.ts'
import { CountingEntropy, HandClock } from './fixtures.ts'

const GCM = { encryption: { id: 20, keyLength: 256 }, integrity: null }
const CHACHA = { encryption: { id: 28, keyLength: null }, integrity: null }
const CBC = { encryption: { id: 12, keyLength: 128 }, integrity: 2 }

function refusing(refuse: (operation: Operation) => number | null): MemoryKernel {
  return new MemoryKernel({ clock: new HandClock(), entropy: new CountingEntropy(), onEvent: () => undefined, refuse })
}

test('edge case 61: no ESP for IPv6 is one sentence with the remedy, and IPv4 still counts', async () => {
  const kernel = refusing((operation) => (operation.op === 'add-state' && operation.state.source.family === 6 ? 93 : null))
  assert.deepEqual(await probeKernel(kernel, [GCM, CBC]), {
    missing: ['This kernel has no ESP for IPv6: load the module esp6 (modprobe esp6) or use a kernel with CONFIG_INET6_ESP.'],
    families: [4],
    movesStates: true,
  })
  assert.deepEqual([kernel.states(), kernel.reservations()], [[], []])
})

test('whether a state can be had elsewhere at once is tried, too, and nothing is left of it', async () => {
  for (const movesStates of [false, true]) {
    const performed: Operation[] = []
    const refuse = (operation: Operation): null => (performed.push(operation), null)
    const kernel = new MemoryKernel({
      clock: new HandClock(),
      entropy: new CountingEntropy(),
      onEvent: () => undefined,
      refuse,
      movesStates,
    })
    assert.deepEqual(await probeKernel(kernel, [GCM]), { missing: [], families: [4, 6], movesStates })
    assert.deepEqual([kernel.states(), kernel.policies(), kernel.reservations()], [[], [], []])
    assert.equal(performed.filter(({ op }) => op === 'move-state').length, 1)
  }
})

test('no CAP_NET_ADMIN is all there is to say', async () => {
  const { missing, families } = await probeKernel(
    refusing(() => 1),
    [GCM],
  )
  assert.equal(missing.length, 1)
  assert.match(missing[0]!, /CAP_NET_ADMIN/)
  assert.deepEqual(families, [])
})

test("a missing algorithm is named once, with the kernel's words, and the others count", async () => {
  const kernel = refusing((operation) => (operation.op === 'add-state' && operation.state.encryption.id === 28 ? 38 : null))
  assert.deepEqual(await probeKernel(kernel, [GCM, CHACHA, CBC]), {
    missing: [
      'This kernel has no ESP with rfc7539esp(chacha20,poly1305) (it says: refused for a test): load its crypto modules or take the algorithm out of esp_proposals.',
    ],
    families: [4, 6],
    movesStates: true,
  })
})

test('that the plainest algorithm is missing matters only to who configured it', async () => {
  const withoutSha2 = (operation: Operation): number | null =>
    operation.op === 'add-state' && operation.state.integrity?.id === 12 ? 38 : null
  assert.deepEqual(await probeKernel(refusing(withoutSha2), [GCM]), { missing: [], families: [4, 6], movesStates: false })
})

test('any other refusal is told as it came, and what cannot be tried is not called usable', async () => {
  const { missing, families } = await probeKernel(
    refusing((operation) => (operation.op === 'allocate-spi' ? 12 : null)),
    [],
  )
  assert.deepEqual(missing, [
    'The kernel cannot be used for IPsec: the kernel refused to allocate an SPI for ESP from 192.0.2.1 to 192.0.2.2: ENOMEM (refused for a test).',
    'The kernel cannot be used for IPsec: the kernel refused to allocate an SPI for ESP from 2001:db8::1 to 2001:db8::2: ENOMEM (refused for a test).',
  ])
  assert.deepEqual(families, [])
})

test('edge case 61: no XFRM is a sentence with the remedy', () => {
  assert.equal(
    lackOfXfrm('socket failed: EPROTONOSUPPORT'),
    'This kernel has no XFRM netlink (socket failed: EPROTONOSUPPORT): load the module xfrm_user (modprobe xfrm_user) or use a kernel with CONFIG_XFRM_USER.',
  )
})
