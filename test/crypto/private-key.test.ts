import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { toHex } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { readPrivateKey } from '../../src/crypto/private-key.ts'
import { verify } from '../../src/crypto/public-key.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { algorithmOf, schemeOfAlgorithm, schemesFor } from '../../src/crypto/signature-scheme.ts'
import { keyPair, type TestKeyType } from '../support/pki.ts'

const TYPES: TestKeyType[] = ['rsa-1024', 'rsa-2048', 'p256', 'p384', 'p521', 'ed25519', 'ed448']
const DATA = Buffer.from('the bytes that are signed')
const secret = (text: string): Secret => new Secret(new Uint8Array(Buffer.from(text)))
const failsWith =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof EspalierError && error.code === code && error.message.length > 20

interface Form {
  readonly name: string
  readonly bytes: Uint8Array
  readonly isEncrypted: boolean
}

/** A key as it may lie in a file. */
function formsOf(type: TestKeyType): Form[] {
  const { object } = keyPair(type)
  const forms: Form[] = []
  const traditional = type.startsWith('rsa') ? 'pkcs1' : type.startsWith('p') ? 'sec1' : null
  const passphrase = 'geheim'
  for (const format of ['pem', 'der'] as const) {
    const plain = object.export(format === 'pem' ? { format, type: 'pkcs8' } : { format, type: 'pkcs8' })
    forms.push({ name: `PKCS#8 ${format}`, bytes: Buffer.from(plain), isEncrypted: false })
    for (const cipher of ['aes-256-cbc', 'des-ede3-cbc']) {
      const sealed = object.export({ format: format as 'pem', type: 'pkcs8', cipher, passphrase })
      forms.push({ name: `PKCS#8 ${cipher} ${format}`, bytes: Buffer.from(sealed), isEncrypted: true })
    }
    if (traditional === null) continue
    const old = object.export({ format: format as 'pem', type: traditional })
    forms.push({ name: `${traditional} ${format}`, bytes: Buffer.from(old), isEncrypted: false })
  }
  if (traditional !== null) {
    const sealed = object.export({ format: 'pem', type: traditional, cipher: 'aes-128-cbc', passphrase })
    forms.push({ name: `${traditional} aes-128-cbc pem`, bytes: Buffer.from(sealed), isEncrypted: true })
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    if (type === 'p256') {
      const old = object.export({ format: 'pem', type: 'sec1' })
      forms.push({ name: 'with EC PARAMETERS', bytes: Buffer.from(`${parameters}${old}`), isEncrypted: false })
    }
  }
  return forms
}

test('keys are read from every form they come in, and need their passphrase', () => {
  for (const type of TYPES) {
    for (const { name, bytes, isEncrypted } of formsOf(type)) {
      const what = `${type} ${name}`
      const key = readPrivateKey(bytes, isEncrypted ? secret('geheim') : null)
      assert.equal(toHex(key.publicKey.spki), toHex(keyPair(type).spki), what)
      // A passphrase that a plain key does not need does no harm.
      if (!isEncrypted)
        assert.equal(toHex(readPrivateKey(bytes, secret('unused')).publicKey.spki), toHex(key.publicKey.spki), what)
      if (!isEncrypted) continue
      assert.throws(() => readPrivateKey(bytes, null), failsWith('KEY_NEEDS_PASSPHRASE'), what)
      assert.throws(() => readPrivateKey(bytes, secret('falsch')), failsWith('KEY_PASSPHRASE_WRONG'), what)
    }
  }
})

test('a key signs with every scheme it has, at once and in a thread', async () => {
  for (const type of TYPES) {
    const key = keyPair(type).privateKey
    const schemes = schemesFor(key.publicKey, new Set([1, 2, 3, 4, 5]), { rsaPss: type !== 'rsa-1024' })
    assert(schemes.length > 0)
    for (const scheme of schemes) {
      assert(verify(key.publicKey, schemeOfAlgorithm(algorithmOf(scheme))!, DATA, key.sign(scheme, DATA)), type)
      assert(verify(key.publicKey, scheme, DATA, await key.signInThread(scheme, DATA)), type)
    }
  }
})

test('a key too short for its hash fails by name, at once and in a thread', async () => {
  const key = keyPair('rsa-1024').privateKey
  const scheme = { key: 'rsa', hash: 'sha512', pss: true } as const
  // 64 + 64 + 2 bytes do not go into 128.
  assert.throws(() => key.sign(scheme, DATA), failsWith('SIGNING_FAILED'))
  await assert.rejects(async () => await key.signInThread(scheme, DATA), failsWith('SIGNING_FAILED'))
})

test('a key prints as what it is, and never itself', () => {
  const key = keyPair('p256').privateKey
  for (const text of [String(key), JSON.stringify({ key }), inspect(key), inspect({ key }, { showHidden: true, depth: 9 })])
    assert.match(text, /private key, ecdsa 256/)
  assert(!inspect(key, { showHidden: true, depth: 9 }).includes('KeyObject'))
})

test('what is no key, or none of ours, is refused with the reason', () => {
  const bad: [string | Uint8Array, string][] = [
    ['', 'KEY_MALFORMED'],
    ['hello', 'KEY_MALFORMED'],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'KEY_MALFORMED'],
    ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'KEY_MALFORMED'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n', 'KEY_UNSUPPORTED'],
    [keyPair('p256').pkcs8.subarray(0, 60), 'KEY_MALFORMED'],
    [keyPair('p256').spki, 'KEY_MALFORMED'],
    [keyPair('rsa-512').pkcs8, 'KEY_WEAK'],
    [Buffer.from(keyPair('rsa-768').pem), 'KEY_WEAK'],
  ]
  for (const [file, code] of bad)
    assert.throws(() => readPrivateKey(Buffer.from(file), null), failsWith(code), String(file).slice(0, 60))
})

test('the bytes that were read are left to the caller, who zeroes them', () => {
  const bytes = Buffer.from(keyPair('p256').pkcs8)
  const before = toHex(bytes)
  const key = readPrivateKey(bytes, null)
  assert.equal(toHex(bytes), before)
  bytes.fill(0)
  const scheme = { key: 'ecdsa', hash: 'sha256', pss: false } as const
  assert(verify(key.publicKey, scheme, DATA, key.sign(scheme, DATA)))
})

const hasPki = spawnSync('pki', ['--gen', '--type', 'ed25519']).status === 0

test("the files of strongSwan's pki --gen are read", { skip: hasPki ? false : 'there is no pki' }, () => {
  for (const [type, size, text] of [
    ['rsa', '1024', 'rsa 1024'],
    ['ecdsa', '384', 'ecdsa 384'],
    ['ed25519', '', 'ed25519 256'],
  ]) {
    // prettier-ignore
    for (const format of ['der', 'pem']) {
      const { stdout } = spawnSync('pki', ['--gen', '--type', type!, ...(size === '' ? [] : ['--size', size!]), '--outform', format])
      assert.equal(String(readPrivateKey(stdout, null)), `private key, ${text}`)
    }
  }
})
