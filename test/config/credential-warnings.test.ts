/** What is told of certificates and keys that can be read and will not work. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { credentialWarnings } from '../../src/config/credential-warnings.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { makeAttributeCertificate } from '../support/attribute-certificates.ts'
import { keyPair, makeCa, makeCertificate } from '../support/pki.ts'
import { memoryFiles } from './memory-files.ts'

const NOW = Date.UTC(2026, 10, 22)
const CA = makeCa('CN=CA')
const MOON = makeCertificate({ subject: 'CN=moon', issuer: CA, serial: 1 })
const SUN = makeCertificate({ subject: 'CN=sun', issuer: CA, serial: 2 })
const RAW = keyPair('ed25519', 'raw')

function warnings(swanctl: string, files: Readonly<Record<string, string | Uint8Array>>): readonly string[] {
  const { configuration, errors } = loadConfiguration({
    strongswanConf: '/strongswan.conf',
    swanctlDir: '/s',
    files: memoryFiles({ ...files, '/s/swanctl.conf': swanctl }),
  })
  assert.deepEqual(errors.map(formatProblem), [])
  return credentialWarnings(configuration!, NOW)
}

test('our own certificates and public keys without their private keys, but for pre-shared keys', () => {
  const files = {
    '/s/x509/moon.pem': MOON.pem,
    '/s/x509/sun.pem': SUN.pem,
    '/s/pubkey/raw.pem': RAW.publicPem,
    '/s/private/moon.pem': MOON.key.pem,
  }
  const swanctl = `connections {
    home { local { certs = moon.pem, sun.pem }
      remote { certs = sun.pem } }
    keys { local { pubkeys = raw.pem } }
    other { local { auth = psk
      certs = sun.pem } }
  }`
  assert.deepEqual(warnings(swanctl, files), [
    "connections.home: there is no private key for certificate 'CN=sun' (serial 02) until one is loaded",
    `connections.keys: there is no private key for the public key ${toHex(RAW.privateKey.publicKey.fingerprint)} until one is loaded`,
  ])
})

test('certificates that are out of date, or soon will be, each once', () => {
  const DAY = 86_400_000
  const cert = (name: string, serial: number, notBefore: number, notAfter: number): string =>
    makeCertificate({ subject: `CN=${name}`, issuer: CA, serial, notBefore, notAfter }).pem
  const old = makeCa('CN=old', { serial: 9, notAfter: NOW - DAY })
  assert.deepEqual(
    warnings('authorities { a { cacert = old.pem } }', {
      '/s/x509/a.pem': cert('expired', 3, 0, NOW - 1),
      '/s/x509/b.pem': cert('soon', 4, 0, NOW + 29 * DAY),
      '/s/x509/c.pem': cert('fine', 5, 0, NOW + 31 * DAY),
      '/s/x509/d.pem': cert('tomorrow', 6, NOW + DAY, NOW + 90 * DAY),
      '/s/x509ca/old.pem': old.pem,
    }),
    [
      "certificate 'CN=expired' (serial 03) expired on 2026-11-21",
      "certificate 'CN=soon' (serial 04) expires on 2026-12-21",
      "certificate 'CN=tomorrow' (serial 06) is not valid before 2026-11-23",
      "certificate 'CN=old' (serial 09) expired on 2026-11-21",
    ],
  )
})

test('attribute certificates that are out of date, not those that will be soon', () => {
  const DAY = 86_400_000
  const attributes = (serial: number, notBefore: number, notAfter: number): Uint8Array =>
    makeAttributeCertificate({ holder: MOON, issuer: CA, groups: ['staff'], serial, notBefore, notAfter })
  assert.deepEqual(
    warnings('', {
      '/s/x509ac/a.der': attributes(7, 0, NOW - 1000),
      '/s/x509ac/b.der': attributes(8, 0, NOW + DAY),
      '/s/x509ac/c.der': attributes(9, NOW + DAY, NOW + 2 * DAY),
    }),
    [
      "attribute certificate by 'CN=CA' (serial 07) expired on 2026-11-21",
      "attribute certificate by 'CN=CA' (serial 09) is not valid before 2026-11-23",
    ],
  )
})
