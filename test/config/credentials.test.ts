/** Certificates and keys in swanctl's directories. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import type { ConfigurationFiles } from '../../src/config/files.ts'
import { loadConfiguration, type Configuration, type Loaded } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { subjectOf } from '../../src/pki/certificate.ts'
import { makeAttributeCertificate } from '../support/attribute-certificates.ts'
import { keyPair, makeCa, makeCertificate, pem, type TestKey } from '../support/pki.ts'
import { makeCrl } from '../support/revocation.ts'
import { memoryFiles } from './memory-files.ts'

const CA = makeCa('CN=CA')
const MIDDLE = makeCa('CN=middle', { issuer: CA })
const MOON = makeCertificate({ subject: 'CN=moon', issuer: MIDDLE, key: 'rsa-2048' })
const SUN = makeCertificate({ subject: 'CN=sun', issuer: CA, key: 'ed25519' })
const SIGNER = makeCertificate({ subject: 'CN=signer', issuer: CA, extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'] })
const KEY = keyPair('p256', 'raw')

type Table = Readonly<Record<string, string | Uint8Array | Error>>

function load(table: Table, swanctl = '', files: ConfigurationFiles = filesOf(table, swanctl)): Loaded {
  return loadConfiguration({ strongswanConf: '/strongswan.conf', swanctlDir: '/s', files })
}
function filesOf(table: Table, swanctl: string): ConfigurationFiles {
  return memoryFiles({ ...table, '/s/swanctl.conf': swanctl })
}
const warnings = (loaded: Loaded): string[] => loaded.warnings.map(formatProblem)

function taken(table: Table, swanctl = ''): Configuration['credentials'] {
  const loaded = load(table, swanctl)
  assert.deepEqual([...loaded.errors.map(formatProblem), ...warnings(loaded)], [])
  return loaded.configuration!.credentials
}
const ids = ({ privateKeys }: Configuration['credentials']): string[] =>
  privateKeys.map(({ publicKey }) => toHex(publicKey.fingerprint))
const idOf = (key: TestKey): string => toHex(key.privateKey.publicKey.fingerprint)
const encrypted = (key: TestKey, passphrase: string): string =>
  key.object.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase })

test('certificates by their directories, in the order of their names, and what they say of themselves', () => {
  const { certificates } = taken({
    '/s/x509/b.pem': MOON.pem,
    '/s/x509/a.der': SUN.der,
    '/s/x509/c-is-a-ca.pem': MIDDLE.pem,
    '/s/x509/d-signs-ocsp.pem': SIGNER.pem,
    '/s/x509ca/ca.pem': CA.pem,
    '/s/x509ocsp/signer.pem': SUN.pem,
    '/s/x509aa/aa.pem': SUN.pem,
  })
  assert.deepEqual(
    certificates.map(({ certificate, flag }) => `${subjectOf(certificate)} ${flag}`),
    ['CN=sun NONE', 'CN=moon NONE', 'CN=middle CA', 'CN=signer OCSP', 'CN=CA CA', 'CN=sun OCSP', 'CN=sun AA'],
  )
})

test('what stands behind the first certificate of a file goes with it', () => {
  const { certificates } = taken({ '/s/x509/chain.pem': `${MOON.pem}\n${MIDDLE.pem}${CA.pem}` })
  assert.deepEqual(
    certificates.map(({ certificate, flag, chain }) => [subjectOf(certificate), flag, chain.map(subjectOf)]),
    [['CN=moon', 'NONE', ['CN=middle', 'CN=CA']]],
  )
})

test('attribute certificates, several in a file', () => {
  const [one, other] = ['staff', 'sales'].map((group) => makeAttributeCertificate({ holder: MOON, issuer: SUN, groups: [group] }))
  const { attributeCertificates } = taken({
    '/s/x509ac/both.pem': pem('ATTRIBUTE CERTIFICATE', one!) + pem('ATTRIBUTE CERTIFICATE', other!),
    '/s/x509ac/one.der': one!,
  })
  assert.deepEqual(
    attributeCertificates.map(({ der }) => toHex(der)),
    [one!, other!, one!].map((der) => toHex(der)),
  )
})

test('public keys, revocation lists, private keys of every directory', () => {
  const loaded = taken({
    '/s/pubkey/raw.pem': KEY.publicPem,
    '/s/x509crl/ca.crl': makeCrl({ issuer: CA }),
    '/s/private/moon.pem': MOON.key.pem,
    '/s/rsa/sun.der': SUN.key.pkcs8,
    '/s/ecdsa/raw.pem': KEY.object.export({ type: 'sec1', format: 'pem' }),
    '/s/pkcs8/ca.der': CA.key.pkcs8,
  })
  assert.deepEqual(ids(loaded), [MOON.key, SUN.key, KEY, CA.key].map(idOf))
  assert.deepEqual(
    loaded.publicKeys.map(({ spki }) => toHex(spki)),
    [toHex(KEY.spki)],
  )
  assert.deepEqual(
    loaded.crls.map(({ issuer }) => toHex(issuer)),
    [toHex(CA.name)],
  )
})

test('a broken file is told of with its name and the reason, and the others are loaded', () => {
  const loaded = load({
    '/s/x509/a.pem': 'nonsense',
    '/s/x509/b.pem': MOON.pem,
    '/s/x509/huge.pem': new Uint8Array(2 ** 20 + 1),
    '/s/x509/secret.pem': new Error("EACCES: permission denied, open '/s/x509/secret.pem'"),
    '/s/x509ca/moon.pem': MOON.pem,
    '/s/x509ac/ac.pem': 'x',
    '/s/x509crl/a.crl': MOON.der,
    '/s/pubkey/a.pem': 'x',
    '/s/private/a.pem': 'x',
    '/s/private/b.pem': MOON.key.pem,
    '/s/private/locked.pem': encrypted(SUN.key, 'open sesame'),
    '/s/pkcs12/a.p12': 'x',
  })
  assert.deepEqual(loaded.errors, [])
  const told = warnings(loaded)
  assert.deepEqual(
    told.map((line) => line.split(': ').slice(0, 2).join(': ')),
    [
      ...['x509/a.pem', 'x509/huge.pem', 'x509/secret.pem', 'x509ca/moon.pem', 'x509ac/ac.pem', 'x509crl/a.crl'],
      ...['pubkey/a.pem', 'private/a.pem', 'private/locked.pem', 'pkcs12/a.p12'],
    ].map((path) => `/s/${path}: not loaded`),
  )
  assert.match(told[1]!, /has more than 1048576 octets$/)
  assert.match(told[2]!, /EACCES/)
  assert.match(told[3]!, /ca certificate lacks CA basic constraint, rejected$/)
  assert.match(told[4]!, /the file holds no attribute certificate, neither PEM nor DER$/)
  assert.match(told[8]!, /there is no passphrase for it$/)
  const { credentials } = loaded.configuration!
  assert.deepEqual(
    credentials.certificates.map(({ certificate }) => subjectOf(certificate)),
    ['CN=moon'],
  )
  assert.deepEqual(ids(credentials), [idOf(MOON.key)])
})

describe('passphrases', () => {
  const TABLE = { '/s/private/sun.pem': encrypted(SUN.key, 'open sesame'), '/s/rsa/sun.pem': encrypted(SUN.key, '0x41') }

  test('are by directory and file name, whatever its case, several to be tried, and are the text itself', () => {
    const secrets = `secrets {
      private-sun { file = SUN.pem\n secret-1 = wrong\n secret-2 = "open sesame" }
      rsa-sun { file = sun.pem\n secret = 0x41 }
    }`
    assert.deepEqual(ids(taken(TABLE, secrets)), [SUN.key, SUN.key].map(idOf))
  })

  test('a wrong one, one for no file and one without a file', () => {
    const told = warnings(
      load(
        TABLE,
        'secrets {\n private-sun { file = sun.pem\n secret = wrong\n }\n private-moon {\n file = moon.pem\n secret = x\n }\n}',
      ),
    )
    assert.match(told.join('\n'), /^\/s\/swanctl\.conf:6: secrets\.private-moon\.file: there is no such file in \/s\/private\/$/m)
    assert.match(told.join('\n'), /^\/s\/private\/sun\.pem: not loaded: the passphrase does not open the private key$/m)
    const { errors } = load({}, 'secrets {\n rsa {\n secret = x\n }\n}')
    assert.deepEqual(errors.map(formatProblem), [
      '/s/swanctl.conf:2: secrets.rsa: there is no file in it: the name of one in rsa',
    ])
  })

  test('tokens are refused, with the reason', () => {
    const { errors } = load({}, 'secrets {\n token-1 {\n handle = 0a\n pin = 1234\n }\n}')
    assert.deepEqual(errors.map(formatProblem), [
      '/s/swanctl.conf:2: secrets.token-1: not supported: keys and certificates on tokens are not read',
    ])
  })

  test('nobody sees one, nor the bytes of a key, when they have been read', () => {
    const handedOut: Uint8Array[] = []
    const inner = filesOf(TABLE, 'secrets {\n private-sun { file = sun.pem\n secret = "open sesame"\n }\n}')
    const files: ConfigurationFiles = {
      ...inner,
      readBytes(path, maximum) {
        const bytes = inner.readBytes(path, maximum)
        if (bytes !== null) handedOut.push(bytes)
        return bytes
      },
    }
    const loaded = load({}, '', files)
    assert.equal(ids(loaded.configuration!.credentials).length, 1)
    assert.equal(handedOut.length, 2)
    for (const bytes of handedOut) assert.ok(bytes.every((byte) => byte === 0))
    assert.doesNotMatch(JSON.stringify([loaded.configuration!.credentials.privateKeys, loaded.warnings]), /sesame|PRIVATE/)
  })
})
