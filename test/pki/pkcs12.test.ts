import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { verify } from '../../src/crypto/public-key.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { readCertificate, subjectOf } from '../../src/pki/certificate.ts'
import { readPkcs12, type Pkcs12 } from '../../src/pki/pkcs12.ts'
import { FILES } from './pkcs12-files.ts'

const open = (name: keyof typeof FILES, passphrase: string | null): Pkcs12 =>
  readPkcs12(Buffer.from(FILES[name], 'base64'), passphrase === null ? null : new Secret(new Uint8Array(Buffer.from(passphrase))))

const failsWith =
  (code: string, message: RegExp) =>
  (error: unknown): boolean =>
    error instanceof EspalierError && error.code === code && message.test(error.message)

test('keys and certificates come out of every form that OpenSSL writes', () => {
  const opened: [keyof typeof FILES, string | null, string[]][] = [
    ['pbes2', 'geheim', ['C=CH, O=strongSwan, CN=moon', 'CN=x']],
    ['tripleDes', 'gehäim😀', ['C=CH, O=strongSwan, CN=moon']],
    ['rc2', 'geheim', ['C=CH, O=strongSwan, CN=moon']],
    ['empty', '', ['C=CH, O=strongSwan, CN=moon']],
    ['empty', null, ['C=CH, O=strongSwan, CN=moon']],
    ['plain', 'geheim', ['C=CH, O=strongSwan, CN=moon']],
    ['aes128', 'geheim', ['C=CH, O=strongSwan, CN=moon']],
  ]
  const scheme = { key: 'ecdsa', hash: 'sha256', pss: false } as const
  for (const [name, passphrase, subjects] of opened) {
    const { keys, certificates } = open(name, passphrase)
    const read = certificates.map(readCertificate)
    assert.deepEqual(read.map(subjectOf), subjects, name)
    assert.deepEqual(keys.map(String), ['private key, ecdsa 256'], name)
    const data = Buffer.from('signed')
    assert(verify(read[0]!.publicKey, scheme, data, keys[0]!.sign(scheme, data)), name)
  }
})

test('a passphrase that is missing or wrong is told from a file that is broken', () => {
  for (const name of ['pbes2', 'tripleDes', 'rc2', 'plain', 'aes128'] as const) {
    assert.throws(() => open(name, null), failsWith('KEY_NEEDS_PASSPHRASE', /there is no passphrase/), name)
    for (const wrong of ['falsch', '', 'geheim ']) assert.throws(() => open(name, wrong), failsWith('KEY_PASSPHRASE_WRONG', /does not open/), name) // prettier-ignore
  }
  assert.throws(() => open('empty', 'geheim'), failsWith('KEY_PASSPHRASE_WRONG', /does not open/))
  const bytes = Buffer.from(FILES.pbes2, 'base64')
  for (let length = 0; length < bytes.length; length += 7)
    assert.throws(() => readPkcs12(bytes.subarray(0, length), null), failsWith('PKCS12_MALFORMED', /malformed at byte/))
})

test('what is not understood is named, and so is the way to convert it', () => {
  assert.throws(() => open('withoutMac', 'geheim'), failsWith('KEY_UNSUPPORTED', /without a MAC .*openssl pkcs12/))
})
