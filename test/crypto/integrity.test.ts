import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import { createIntegrity } from '../../src/crypto/integrity.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { IntegId } from '../../src/iana/transforms.ts'

const {
  AUTH_HMAC_SHA1_96,
  AUTH_HMAC_SHA2_256_128,
  AUTH_HMAC_SHA2_384_192,
  AUTH_HMAC_SHA2_512_256,
  AUTH_AES_XCBC_96,
  AUTH_AES_CMAC_96,
} = IntegId
const text = (words: string): string => toHex(new TextEncoder().encode(words))
const HI_THERE = text('Hi There')
const NOTHING = text('what do ya want for nothing?')
const XCBC_KEY = '000102030405060708090a0b0c0d0e0f'
const CMAC_KEY = '2b7e151628aed2a6abf7158809cf4f3c'
const COUNTING = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021'
const CMAC_DATA =
  '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710'

/** Title, algorithm, key, data, ICV. */
const VECTORS: readonly (readonly [string, number, string, string, string])[] = [
  ['RFC 2404 over RFC 2202 3 case 1', AUTH_HMAC_SHA1_96, '0b'.repeat(20), HI_THERE, 'b617318655057264e28bc0b6'],
  ['RFC 2404 over RFC 2202 3 case 3', AUTH_HMAC_SHA1_96, 'aa'.repeat(20), 'dd'.repeat(50), '125d7342b9ac11cd91a39af4'],
  ['RFC 4868 2.7.2.1 AUTH256-1', AUTH_HMAC_SHA2_256_128, '0b'.repeat(32), HI_THERE, '198a607eb44bfbc69903a0f1cf2bbdc5'],
  ['RFC 4868 2.7.2.1 AUTH256-2', AUTH_HMAC_SHA2_256_128, text('Jefe'.repeat(8)), NOTHING, '167f928588c5cc2eef8e3093caa0e87c'],
  ['RFC 4868 2.7.2.1 AUTH256-3', AUTH_HMAC_SHA2_256_128, 'aa'.repeat(32), 'dd'.repeat(50), 'cdcb1220d1ecccea91e53aba3092f962'],
  [
    'RFC 4868 2.7.2.2 AUTH384-1',
    AUTH_HMAC_SHA2_384_192,
    '0b'.repeat(48),
    HI_THERE,
    'b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973',
  ],
  [
    'RFC 4868 2.7.2.2 AUTH384-2',
    AUTH_HMAC_SHA2_384_192,
    text('Jefe'.repeat(12)),
    NOTHING,
    '2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d',
  ],
  [
    'RFC 4868 2.7.2.3 AUTH512-1',
    AUTH_HMAC_SHA2_512_256,
    '0b'.repeat(64),
    HI_THERE,
    '637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8',
  ],
  [
    'RFC 4868 2.7.2.3 AUTH512-2',
    AUTH_HMAC_SHA2_512_256,
    text('Jefe'.repeat(16)),
    NOTHING,
    'cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454',
  ],
  ['RFC 3566 4.6 case 1', AUTH_AES_XCBC_96, XCBC_KEY, '', '75f0251d528ac01c4573dfd5'],
  ['RFC 3566 4.6 case 2', AUTH_AES_XCBC_96, XCBC_KEY, COUNTING.slice(0, 6), '5b376580ae2f19afe7219cee'],
  ['RFC 3566 4.6 case 3', AUTH_AES_XCBC_96, XCBC_KEY, COUNTING.slice(0, 32), 'd2a246fa349b68a79998a439'],
  ['RFC 3566 4.6 case 4', AUTH_AES_XCBC_96, XCBC_KEY, COUNTING.slice(0, 40), '47f51b4564966215b8985c63'],
  ['RFC 3566 4.6 case 5', AUTH_AES_XCBC_96, XCBC_KEY, COUNTING.slice(0, 64), 'f54f0ec8d2b9f3d36807734b'],
  ['RFC 3566 4.6 case 6', AUTH_AES_XCBC_96, XCBC_KEY, COUNTING, 'becbb3bccdb518a30677d548'],
  ['RFC 3566 4.6 case 7', AUTH_AES_XCBC_96, XCBC_KEY, '00'.repeat(1000), 'f0dafee895db30253761103b'],
  ['RFC 4494 4 case 1', AUTH_AES_CMAC_96, CMAC_KEY, '', 'bb1d6929e95937287fa37d12'],
  ['RFC 4494 4 case 2', AUTH_AES_CMAC_96, CMAC_KEY, CMAC_DATA.slice(0, 32), '070a16b46b4d4144f79bdd9d'],
  ['RFC 4494 4 case 3', AUTH_AES_CMAC_96, CMAC_KEY, CMAC_DATA.slice(0, 80), 'dfa66747de9ae63030ca3261'],
  ['RFC 4494 4 case 4', AUTH_AES_CMAC_96, CMAC_KEY, CMAC_DATA, '51f0bebf7e3b9d92fc497417'],
]

for (const [title, id, key, data, expected] of VECTORS) {
  test(`integrity algorithm ${id}: ${title}`, () => {
    const secret = new Secret(fromHex(key))
    const integrity = createIntegrity(id, secret)
    const bytes = fromHex(data)
    assert.equal(toHex(integrity.compute(bytes)), expected)
    assert.equal(toHex(integrity.compute(bytes.subarray(0, 17), bytes.subarray(17))), expected, 'in two parts')
    assert.equal(integrity.icvLength, expected.length / 2)
  })
}
