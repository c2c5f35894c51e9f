import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DEFAULT_IKE_SETTINGS } from '../../src/ike/connection.ts'
import { waitAfter } from '../../src/ike/retransmission.ts'

const waits = (changes: Partial<typeof DEFAULT_IKE_SETTINGS> = {}, random = 0): readonly (number | null)[] =>
  Array.from({ length: 7 }, (_, sent) => waitAfter(sent, { ...DEFAULT_IKE_SETTINGS, ...changes }, random))

test('the defaults wait 4, 7.2, 12.96, 23.3, 42 and 75.6 seconds, 165 in all, and then give up', () => {
  assert.deepEqual(waits(), [4000, 7200, 12960, 23328, 41990, 75583, null])
  assert.equal(
    waits().reduce<number>((sum, wait) => sum + (wait ?? 0), 0),
    165_061,
  )
})

test('timeout, base and tries are what strongswan.conf says', () => {
  assert.deepEqual(waits({ retransmitTimeout: 1000, retransmitBase: 1, retransmitTries: 2 }), [
    1000,
    1000,
    1000,
    null,
    null,
    null,
    null,
  ])
  assert.deepEqual(waits({ retransmitTries: 0 }), [4000, null, null, null, null, null, null])
})

test('the limit caps each wait', () => {
  assert.deepEqual(waits({ retransmitLimit: 10_000 }).slice(0, 4), [4000, 7200, 10_000, 10_000])
})

test('jitter takes away up to its percentage', () => {
  assert.equal(waits({ retransmitJitter: 20 }, 0)[0], 4000)
  assert.equal(waits({ retransmitJitter: 20 }, 255)[0], 3200)
  assert.equal(waits({ retransmitJitter: 20, retransmitLimit: 10_000 }, 255)[3], 8000)
})
