import assert from 'node:assert/strict'
import { after, test } from 'node:test'

import { createKeyExchange, InvalidKeyExchange } from '../../src/crypto/key-exchange.ts'
import { systemEntropy } from '../../src/edge/entropy.ts'
import { SystemKeyExchanges } from '../../src/edge/key-exchanges.ts'
import { KeId } from '../../src/iana/transforms.ts'

const exchanges = new SystemKeyExchanges()
after(() => exchanges.close())

const GROUPS = { CURVE25519: KeId.CURVE25519, ECP_384: KeId.ECP_384, MODP_3072: KeId.MODP_3072 }
/** On the spot, in the worker, and a KEM. */
const ANSWERED = { ...GROUPS, ML_KEM_768: KeId.ML_KEM_768 }

for (const [name, group] of Object.entries(GROUPS)) {
  test(`${name}: both ends come to the same secret`, async () => {
    const ours = await exchanges.generate(group)
    const theirs = createKeyExchange(group, systemEntropy)
    assert.equal(ours.group, group)
    const secret = await ours.agree(theirs.publicValue)
    assert.ok(secret.equals(theirs.agree(ours.publicValue)))
    ours.destroy()
    ours.destroy()
  })

  test(`${name}: a value that is none of the group is refused, and the next exchange is none the worse`, async () => {
    const ours = await exchanges.generate(group)
    await assert.rejects(ours.agree(new Uint8Array(ours.publicValue.length)), InvalidKeyExchange)
    await assert.rejects(ours.agree(new Uint8Array(1)), InvalidKeyExchange)
    const theirs = createKeyExchange(group, systemEntropy)
    assert.ok((await ours.agree(theirs.publicValue)).equals(theirs.agree(ours.publicValue)))
    ours.destroy()
  })
}

for (const [name, group] of Object.entries(ANSWERED)) {
  test(`${name}: who answers comes to the same secret, and refuses what is none of the group`, async () => {
    const ours = await exchanges.generate(group)
    // A point of small order or none, or coefficients that are not reduced.
    const none = group === KeId.ML_KEM_768 ? 0xff : 0
    const { publicValue, secret } = await exchanges.answer(group, ours.publicValue)
    assert.ok((await ours.agree(publicValue)).equals(secret))
    ours.destroy()
    await assert.rejects(exchanges.answer(group, new Uint8Array(ours.publicValue.length).fill(none)), InvalidKeyExchange)
    await assert.rejects(exchanges.answer(group, new Uint8Array(1)), InvalidKeyExchange)
  })
}

test('many at once are not mixed up', async () => {
  const pairs = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const [a, b] = await Promise.all([exchanges.generate(KeId.ECP_384), exchanges.generate(KeId.ECP_384)])
      const [ofA, ofB] = await Promise.all([a.agree(b.publicValue), b.agree(a.publicValue)])
      a.destroy()
      b.destroy()
      return ofA.equals(ofB)
    }),
  )
  assert.ok(pairs.every(Boolean))
})

test('slow groups do not keep the event loop: it turns while one is worked on', async () => {
  let turns = 0
  let isDone = false
  const turn = (): void => {
    turns++
    if (!isDone) setImmediate(turn)
  }
  setImmediate(turn)
  const ours = await exchanges.generate(KeId.MODP_8192)
  isDone = true
  assert.ok(turns > 1, `${turns} turns of the event loop`)
  ours.destroy()
})

test('a worker that ends refuses who waits for it, and is started anew', async () => {
  const mine = new SystemKeyExchanges()
  const first = await mine.generate(KeId.MODP_3072)
  const peer = createKeyExchange(KeId.MODP_3072, systemEntropy)
  const waiting = assert.rejects(first.agree(peer.publicValue), /the thread that does slow key exchanges failed/)
  await mine.close()
  await waiting
  await assert.rejects(first.agree(peer.publicValue), /it is gone/)
  first.destroy()
  const again = await mine.generate(KeId.MODP_3072)
  assert.ok((await again.agree(peer.publicValue)).equals(peer.agree(again.publicValue)))
  again.destroy()
  await mine.close()
})
