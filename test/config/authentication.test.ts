/** Rounds of authentication and authorities in swanctl.conf: what they name is read, and what is wrong is told with file, line and key. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { NO_CONSTRAINTS, parseConstraints } from '../../src/auth/constraints.ts'
import { formatIdentity, parseIdentityPattern, type IdentityPattern } from '../../src/auth/identity.ts'
import { toHex } from '../../src/base/bytes.ts'
import { loadConfiguration, type Configuration, type Loaded } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { DEFAULT_LOCAL, DEFAULT_REMOTE, type Connection } from '../../src/ike/connection.ts'
import { subjectOf } from '../../src/pki/certificate.ts'
import { keyPair, makeCa, makeCertificate } from '../support/pki.ts'
import { memoryFiles } from './memory-files.ts'

const CA = makeCa('C=CH, CN=CA')
const MOON = makeCertificate({ subject: 'C=CH, CN=moon', issuer: CA, san: ['dns:moon.example.org'] })
const SUN = makeCertificate({ subject: 'C=CH, CN=sun', issuer: CA, key: 'ed25519' })
const KEY = keyPair('p256', 'raw')

const FILES = {
  '/s/x509/moon.pem': MOON.pem,
  '/s/x509/sun.der': SUN.der,
  '/s/x509/chain.pem': `${MOON.pem}${CA.pem}`,
  '/s/x509/nonsense.pem': 'nonsense',
  '/s/x509/forbidden.pem': new Error("EACCES: permission denied, open '/s/x509/forbidden.pem'"),
  '/s/x509ca/ca.pem': CA.pem,
  '/s/x509ca/moon.pem': MOON.pem,
  '/s/pubkey/raw.pem': KEY.publicPem,
  '/elsewhere/sun.pem': SUN.pem,
}

function load(text: string): Loaded {
  const files = memoryFiles({ ...FILES, '/s/swanctl.conf': text })
  return loadConfiguration({ strongswanConf: '/strongswan.conf', swanctlDir: '/s', files })
}

function taken(text: string, warnings: readonly string[] = []): Configuration {
  const loaded = load(text)
  assert.deepEqual(loaded.errors.map(formatProblem), [])
  // Those of the files above that cannot be read are told of in any case.
  assert.deepEqual(
    loaded.warnings.map(formatProblem).filter((line) => line.startsWith('/s/swanctl.conf')),
    warnings,
  )
  return loaded.configuration!
}

/** The connection that has these lines, the first of which is line 3. */
const connection = (lines: string): string => `connections {\nc {\n${lines}\n}\n}`
const rounds = (lines: string): Pick<Connection, 'local' | 'remote'> => taken(connection(lines)).connections[0]!
const errors = (lines: string): readonly string[] => load(connection(lines)).errors.map(formatProblem)
const pattern = (id: IdentityPattern): string =>
  id.kind === 'any' ? '%any' : id.kind === 'exact' ? formatIdentity(id.identity) : id.text

describe('rounds', () => {
  test('nothing said is a public key on our side, and whatever the peer has', () => {
    const { local, remote } = rounds('')
    assert.deepEqual(local, [{ ...DEFAULT_LOCAL, method: 'any' }])
    assert.deepEqual(remote, [{ ...DEFAULT_REMOTE, method: 'any' }])
    assert.deepEqual(rounds('local {\n}\nremote {\n}'), { ...rounds(''), local, remote })
  })

  test('come in the order of `round`, then of the file', () => {
    const { local, remote } = rounds(
      [
        'local-c { id = c\nround = 7\n}',
        'local-a { id = a\n}',
        'local-b { id = b\n}',
        'remote2 { id = y\nround = 2\n}',
        'REMOTE1 { id = x\nround = 1\n}',
      ].join('\n'),
    )
    assert.deepEqual(
      local.map(({ id }) => formatIdentity(id!)),
      ['a', 'b', 'c'],
    )
    assert.deepEqual(
      remote.map(({ id }) => pattern(id)),
      ['x', 'y'],
    )
  })

  test('every key has its field', () => {
    const { local, remote } = rounds(
      [
        'local { auth = pubkey-sha384-sha256\ncerts = moon.pem, /elsewhere/sun.pem\nid = moon.example.org\n}',
        'remote { auth = rsa-3072-ecdsa-256\nid = "C=CH, CN=*"\ncerts = sun.der\ncacerts = ca.pem\nca_id = "C=CH, CN=CA"',
        'cert_policy = 1.3.6.1.4.1.36906.1, 2.5.29.32.0\nrevocation = STRICT\npubkeys = raw.pem\n}',
      ].join('\n'),
    )
    assert.equal(local.length, 1)
    assert.equal(local[0]!.method, 'pubkey')
    assert.deepEqual(local[0]!.certificates.map(subjectOf), ['C=CH, CN=moon', 'C=CH, CN=sun'])
    assert.equal(formatIdentity(local[0]!.id!), 'moon.example.org')
    assert.deepEqual(local[0]!.constraints, parseConstraints('pubkey-sha384-sha256'))
    const [round] = remote
    assert.deepEqual(round!.constraints, parseConstraints('rsa-3072-ecdsa-256'))
    assert.deepEqual(round!.id, parseIdentityPattern('C=CH, CN=*'))
    assert.deepEqual(round!.certificates.map(subjectOf), ['C=CH, CN=sun'])
    assert.deepEqual(round!.caCertificates.map(subjectOf), ['C=CH, CN=CA'])
    assert.deepEqual(round!.caId, parseIdentityPattern('C=CH, CN=CA'))
    assert.deepEqual(round!.certificatePolicies, ['1.3.6.1.4.1.36906.1', '2.5.29.32.0'])
    assert.equal(round!.revocation, 'strict')
    assert.deepEqual(
      round!.publicKeys.map(({ spki }) => toHex(spki)),
      [toHex(KEY.spki)],
    )
  })

  test('certificates in sections, in base64 and in hexadecimal', () => {
    const { local } = rounds(
      [
        `local { certs = 0s${Buffer.from(SUN.der).toString('base64')}, 0x${toHex(MOON.der)}`,
        'cert-b { file = /s/x509/moon.pem\n}\ncert-a { file = /elsewhere/sun.pem\n}\n}',
      ].join('\n'),
    )
    assert.deepEqual(
      local[0]!.certificates.map((certificate) => subjectOf(certificate).slice(-4).trim()),
      ['=sun', 'moon', 'moon', '=sun'],
    )
  })

  test('without an id it is the subject of the first certificate, or the key', () => {
    const { local, remote } = rounds('local { certs = sun.der, moon.pem\n}\nremote { certs = moon.pem\n}')
    assert.deepEqual([formatIdentity(local[0]!.id!), pattern(remote[0]!.id)], ['C=CH, CN=sun', 'C=CH, CN=moon'])
    const keys = rounds('local { pubkeys = raw.pem\n}\nremote { pubkeys = raw.pem\n}')
    const keyId = `@#${toHex(KEY.privateKey.publicKey.spkiFingerprint)}`
    assert.deepEqual([formatIdentity(keys.local[0]!.id!), pattern(keys.remote[0]!.id)], [keyId, keyId])
    // %any says as much as nothing.
    assert.equal(formatIdentity(rounds('local { certs = sun.der\nid = %any\n}').local[0]!.id!), 'C=CH, CN=sun')
  })

  test('psk has no constraints, and goes together with a public key on the other side', () => {
    const { local, remote } = rounds('local { auth = PSK\n}\nremote { auth = pubkey\n}')
    assert.deepEqual([local[0]!.method, remote[0]!.method], ['psk', 'pubkey'])
    assert.equal(local[0]!.constraints, NO_CONSTRAINTS)
  })

  test('a file elsewhere with several certificates is the first of them, with a warning', () => {
    const { connections } = taken(connection('local { certs = /s/x509/chain.pem\n}'), [
      '/s/swanctl.conf:3: connections.c.local.certs: there are 2 certificates in one file: only the first counts, as with strongSwan',
    ])
    assert.deepEqual(connections[0]!.local[0]!.certificates.map(subjectOf), ['C=CH, CN=moon'])
    // One in the directory is loaded whole.
    taken(connection('local { certs = chain.pem\n}'))
  })

  const wrong: readonly (readonly [lines: string, error: string | RegExp])[] = [
    ['local {\ncerts = nofile.pem\n}', '/s/swanctl.conf:4: connections.c.local.certs: /s/x509/nofile.pem: there is no such file'],
    [
      'local {\ncerts = moon.pem, nonsense.pem\n}',
      /^\/s\/swanctl\.conf:4: connections\.c\.local\.certs: \/s\/x509\/nonsense\.pem: /,
    ],
    [
      'remote {\ncerts = forbidden.pem\n}',
      /^\/s\/swanctl\.conf:4: connections\.c\.remote\.certs: \/s\/x509\/forbidden\.pem: EACCES/,
    ],
    ['remote {\ncacerts = moon.pem\n}', /:4: connections\.c\.remote\.cacerts: this is no certificate of an authority/],
    [
      'remote {\npubkeys = moon.pem\n}',
      '/s/swanctl.conf:4: connections.c.remote.pubkeys: /s/pubkey/moon.pem: there is no such file',
    ],
    ['local {\ncert {\n}\n}', '/s/swanctl.conf:4: connections.c.local.cert: handle or file path missing: cert'],
    [
      'local {\ncert-1 {\nfile = /no\n}\n}',
      '/s/swanctl.conf:5: connections.c.local.cert-1.file: unable to load certificate: cert-1: /no: there is no such file',
    ],
    [
      'remote {\ncacert-1 {\nhandle = 0a\n}\n}',
      '/s/swanctl.conf:5: connections.c.remote.cacert-1.handle: not supported: certificates on tokens are not read',
    ],
    [
      'remote {\ncacert-1 {\nhandle = 0a\nfile = /x\n}\n}',
      '/s/swanctl.conf:4: connections.c.remote.cacert-1: handle and file path given: cacert-1',
    ],
    [
      'local {\ncert-1 {\nfile = /elsewhere/sun.pem\nslott = 1\n}\n}',
      /:6: connections\.c\.local\.cert-1\.slott: unknown key 'slott'; did you mean 'slot'\?/,
    ],
    ['remote {\nrevocation = soft\n}', /:4: connections\.c\.remote\.revocation: expected strict, ifuri or relaxed, not 'soft'/],
    ['remote {\ncert_policy = moon\n}', /:4: connections\.c\.remote\.cert_policy: expected an object identifier/],
    ['remote {\nround = first\n}', /:4: connections\.c\.remote\.round: expected a whole number/],
    ['remote {\nca_id = @\n}', /:4: connections\.c\.remote\.ca_id: '@' is no identity/],
    ['local {\nauth = rsa-2048-sha257\n}', /:4: connections\.c\.local\.auth: 'sha257' is no hash/],
    ['local {\ncerts = 0xzz\n}', /:4: connections\.c\.local\.certs: expected hexadecimal digits/],
  ]
  for (const [lines, error] of wrong) {
    test(`error: ${lines.replaceAll('\n', ' ')}`, () => {
      const [first, ...more] = errors(lines)
      if (typeof error === 'string') assert.equal(first, error)
      else assert.match(first!, error)
      assert.deepEqual(more, [])
    })
  }
})

describe('authorities', () => {
  const authority = (lines: string): string => `authorities {\nca {\n${lines}\n}\n}`

  test('every key has its field', () => {
    const { authorities } = taken(
      authority('cacert = ca.pem\ncrl_uris = http://a/b.crl, file:///c.crl\nocsp_uris = http://ocsp.example.org:8880'),
    ).credentials
    const [{ cacert, ...others }] = authorities as [(typeof authorities)[number]]
    assert.equal(subjectOf(cacert), 'C=CH, CN=CA')
    assert.deepEqual(others, {
      name: 'ca',
      crlUris: ['http://a/b.crl', 'file:///c.crl'],
      ocspUris: ['http://ocsp.example.org:8880'],
      certUriBase: null,
    })
    assert.equal(subjectOf(taken(authority('file = /s/x509ca/ca.pem')).credentials.authorities[0]!.cacert), 'C=CH, CN=CA')
  })

  const wrong: readonly (readonly [lines: string, error: string])[] = [
    ['crl_uris = http://a/', '/s/swanctl.conf:2: authorities.ca: CA certificate missing: ca'],
    ['cacert = nofile.pem', '/s/swanctl.conf:3: authorities.ca.cacert: /s/x509ca/nofile.pem: there is no such file'],
    ['file = /no.pem', '/s/swanctl.conf:3: authorities.ca.file: CA certificate missing: ca: /no.pem: there is no such file'],
    ['cacert = moon.pem', '/s/swanctl.conf:3: authorities.ca.cacert: certificate without CA flag, rejected'],
    ['handle = 0a', '/s/swanctl.conf:3: authorities.ca.handle: not supported: certificates on tokens are not read'],
    [
      'cacert = ca.pem\ncrl_uri = http://a/',
      "/s/swanctl.conf:4: authorities.ca.crl_uri: unknown key 'crl_uri'; did you mean 'crl_uris'?",
    ],
  ]
  for (const [lines, error] of wrong)
    test(`error: ${lines.replace('\n', ' ')}`, () => assert.deepEqual(load(authority(lines)).errors.map(formatProblem), [error]))
})
