/**
 * The usable MTU of tunnels: by the layout of ESP, and as Linux has it (the lab asks real kernels: test/lab/health.test.ts).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { ALGORITHMS } from '../../src/crypto/algorithms.ts'
import { EncrId, IntegId } from '../../src/iana/transforms.ts'
import { innerMtu, type TunnelShape } from '../../src/nat/mtu.ts'

const GCM: TunnelShape = {
  mode: 'tunnel',
  family: 4,
  encapsulated: false,
  encryption: EncrId.ENCR_AES_GCM_16,
  integrity: null,
}
const CBC = { ...GCM, encryption: EncrId.ENCR_AES_CBC, integrity: IntegId.AUTH_HMAC_SHA2_256_128 }

for (const [what, shape, mtu] of [
  // 1500 - 20 - 8 - 8 - 16 = 1448, which is a multiple of 4, less the trailer.
  ['AES-GCM', GCM, 1446],
  ['AES-GCM in UDP', { ...GCM, encapsulated: true }, 1438],
  ['AES-GCM over IPv6', { ...GCM, family: 6 }, 1426],
  ['AES-GCM in transport mode', { ...GCM, mode: 'transport' }, 1466],
  ['AES-GCM with an ICV of 8', { ...GCM, encryption: EncrId.ENCR_AES_GCM_8 }, 1454],
  // 1500 - 20 - 8 - 16 - 16 = 1440 = 90 * 16.
  ['AES-CBC with HMAC-SHA-256', CBC, 1438],
  // 1432 = 89 * 16 + 8.
  ['AES-CBC with HMAC-SHA-256 in UDP', { ...CBC, encapsulated: true }, 1422],
  ['AES-CBC with HMAC-SHA-512', { ...CBC, integrity: IntegId.AUTH_HMAC_SHA2_512_256 }, 1422],
  ['ChaCha20-Poly1305 in UDP', { ...GCM, encapsulated: true, encryption: EncrId.ENCR_CHACHA20_POLY1305 }, 1438],
  ['no encryption', { ...CBC, encryption: EncrId.ENCR_NULL }, 1454],
] as const satisfies readonly (readonly [string, TunnelShape, number])[]) {
  test(`of 1500 octets outside, ${what} leaves ${mtu} inside`, () => assert.equal(innerMtu(1500, shape), mtu))
}

test('IPv6 has its 1280 octets, whatever is outside', () => assert.equal(innerMtu(1280, { ...GCM, family: 6 }), 1280))

test('nothing fits into nothing, and of what is unknown nothing is said', () => {
  assert.equal(innerMtu(50, GCM), null)
  assert.equal(innerMtu(1500, { ...GCM, encryption: 9999 }), null)
  assert.equal(innerMtu(1500, { ...CBC, integrity: 9999 }), null)
})

test('what fits is protected into no more than the way allows, and one octet more is not', () => {
  const shapes = fc.record({
    mode: fc.constantFrom('tunnel', 'transport'),
    family: fc.constantFrom(4, 6),
    encapsulated: fc.boolean(),
    cipher: fc.constantFrom(...ALGORITHMS.encr),
    hash: fc.constantFrom(...ALGORITHMS.integ),
  })
  fc.assert(
    fc.property(shapes, fc.integer({ min: 1400, max: 9000 }), ({ cipher, hash, ...rest }, outerMtu) => {
      const integrity = cipher.icvLength > 0 ? null : hash
      const shape = { ...rest, encryption: cipher.id, integrity: integrity?.id ?? null } as TunnelShape
      const ip = shape.family === 4 ? 20 : 40
      // From the packet outwards, where the function goes from the outside inwards.
      const onTheWire = (inner: number): number => {
        const block = Math.max(4, cipher.blockSize)
        const plain = Math.ceil(((shape.mode === 'tunnel' ? inner : inner - ip) + 2) / block) * block
        return ip + (shape.encapsulated ? 8 : 0) + 8 + cipher.ivLength + plain + cipher.icvLength + (integrity?.icvLength ?? 0)
      }
      const inner = innerMtu(outerMtu, shape)
      assert.ok(inner !== null)
      assert.ok(onTheWire(inner) <= outerMtu)
      assert.ok(onTheWire(inner + 1) > outerMtu)
    }),
  )
})
