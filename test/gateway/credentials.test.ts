/** The store of certificates and keys: where they come from, what is the same, what connections name, how many there may be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { flagged, NOTHING_LOADED, type LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import { toHex } from '../../src/base/bytes.ts'
import { CredentialStore } from '../../src/gateway/credentials.ts'
import { DEFAULT_LOCAL, DEFAULT_REMOTE, type Connection } from '../../src/ike/connection.ts'
import type { IkeEvent } from '../../src/ike/events.ts'
import type { Authority } from '../../src/pki/authority.ts'
import { subjectOf, type Certificate } from '../../src/pki/certificate.ts'
import { readCrl } from '../../src/pki/crl.ts'
import { configuration } from '../simulation/configuration.ts'
import { keyPair, makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'
import { HOUR, makeCrl, NOW } from '../support/revocation.ts'

const CA = makeCa('CN=CA')
const OTHER_CA = makeCa('CN=other')
const MOON = makeCertificate({ subject: 'CN=moon', issuer: CA })
const SUN = makeCertificate({ subject: 'CN=sun', issuer: CA, key: 'ed25519' })
const SIGNER = makeCertificate({ subject: 'CN=signer', issuer: CA, extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'] })
const KEY = keyPair('p256', 'raw').privateKey

const entry = ({ certificate }: TestCertificate, ...chain: TestCertificate[]): NonNullable<ReturnType<typeof flagged>> =>
  flagged(
    certificate,
    'NONE',
    chain.map((link) => link.certificate),
  )!
const loaded = (some: Partial<LoadedCredentials>): LoadedCredentials => ({ ...NOTHING_LOADED, ...some })
const names = (certificates: readonly Certificate[]): string[] => certificates.map(subjectOf)
const authority = (name: string, { certificate }: TestCertificate, crlUris: string[] = []): Authority => ({
  name,
  cacert: certificate,
  crlUris,
  ocspUris: [],
  certUriBase: null,
})

interface Place {
  readonly store: CredentialStore
  readonly told: string[]
  connections: readonly Connection[]
}

function place(files: Partial<LoadedCredentials> = {}): Place {
  const told: string[] = []
  const report = (event: IkeEvent): void => {
    told.push(
      event.event === 'configuration-changed'
        ? `${event.what} ${event.name} ${event.change}`
        : event.event === 'configuration-warning'
          ? event.sentence
          : event.event,
    )
  }
  const made: Place = { store: new CredentialStore(loaded(files), () => made.connections, report), told, connections: [] }
  return made
}

function connection(rounds: Partial<Pick<Connection, 'local' | 'remote'>>): Connection {
  const [base] = configuration([{ name: 'home' }]).connections
  return { ...base!, ...rounds }
}

test('what is loaded is found by what it is for, the newest first', () => {
  const { store } = place({
    certificates: [entry(MOON), entry(CA), entry(SIGNER)],
    privateKeys: [MOON.key.privateKey],
    publicKeys: [KEY.publicKey],
  })
  store.loadCertificate(entry(SUN))
  assert.deepEqual(names(store.certificates()), ['CN=sun', 'CN=signer', 'CN=moon'])
  assert.deepEqual(names(store.authorities()), ['CN=CA'])
  assert.deepEqual(names(store.ocspSigners()), ['CN=signer'])
  assert.deepEqual(store.rawPublicKeys(), [KEY.publicKey])
  assert.equal(store.privateKeyFor(MOON.certificate.publicKey)?.type, 'ecdsa')
  assert.equal(store.privateKeyFor(SUN.certificate.publicKey), null)
  assert.equal(store.certificates(), store.certificates(), 'a list is made once')
})

test('what is loaded already changes nothing, and is told of once', () => {
  const { store, told } = place()
  for (let i = 0; i < 2; i++) {
    store.loadCertificate(entry(MOON))
    store.loadPrivateKey(MOON.key.privateKey)
    store.loadPublicKey(KEY.publicKey)
    store.loadAuthority(authority('ca', CA))
    store.loadCrl(readCrl(makeCrl({ issuer: CA })))
  }
  const id = toHex(MOON.key.privateKey.publicKey.fingerprint)
  assert.deepEqual(told, [
    'certificate CN=moon added',
    `private-key ${id} added`,
    `public-key ${toHex(KEY.publicKey.fingerprint)} added`,
    'authority ca added',
    'crl CN=CA added',
  ])
  assert.deepEqual(store.privateKeyIds(), [id])
})

test('what came from files goes with them, what a client loaded stays, and what is in both is the files’', () => {
  const { store, told } = place({ certificates: [entry(MOON)], privateKeys: [MOON.key.privateKey] })
  store.loadCertificate(entry(SUN))
  store.loadCertificate(entry(MOON))
  store.loadPrivateKey(SUN.key.privateKey)
  store.replaceAll(loaded({ certificates: [entry(CA), entry(SUN)], authorities: [authority('ca', CA)] }))
  assert.deepEqual(names(store.certificates()), ['CN=sun'])
  assert.deepEqual(names(store.authorities()), ['CN=CA'])
  assert.deepEqual(store.privateKeyIds(), [toHex(SUN.key.privateKey.publicKey.fingerprint)])
  assert.equal(store.privateKeyFor(MOON.certificate.publicKey), null)
  store.replaceAll(NOTHING_LOADED)
  assert.deepEqual(names(store.certificates()), [], 'what was in the files goes with them, whoever had it first')
  assert.deepEqual([store.authorityInfos(), names(store.authorities())], [[], []])
  assert.equal(store.privateKeyIds().length, 1)
  assert.deepEqual(
    told.filter((line) => line.endsWith('removed')).map((line) => line.split(' ')[0]),
    ['certificate', 'private-key', 'certificate', 'certificate', 'authority'],
  )
})

test('connections and authorities name some more, which are there as long as they are', () => {
  const made = place()
  const { store } = made
  store.loadAuthority(authority('other', OTHER_CA))
  const owner = parseIdentity('moon.example.org')
  const local = [
    { ...DEFAULT_LOCAL, certificates: [MOON.certificate] },
    { ...DEFAULT_LOCAL, id: owner, publicKeys: [KEY.publicKey] },
  ]
  const remote = [{ ...DEFAULT_REMOTE, certificates: [SUN.certificate], caCertificates: [CA.certificate] }]
  made.connections = [connection({ local, remote })]
  assert.deepEqual(names(store.certificates()).toSorted(), ['CN=moon', 'CN=sun'])
  assert.deepEqual(names(store.authorities()).toSorted(), ['CN=CA', 'CN=other'])
  assert.deepEqual(store.ownedPublicKeys(), [{ key: KEY.publicKey, owner }])
  store.clear()
  assert.equal(store.flaggedCertificates().length, 4, 'clearing takes what was loaded, not what is named')
  made.connections = []
  assert.deepEqual(names(store.certificates()), [])
  assert.ok(store.unloadAuthority('other'))
  assert.equal(store.unloadAuthority('other'), false)
  assert.deepEqual(names(store.authorities()), [])
})

test('a certificate that is loaded and named is there once; what stands behind one in its file is no anchor', () => {
  const made = place({ certificates: [entry(MOON, CA)] })
  made.connections = [connection({ local: [{ ...DEFAULT_LOCAL, certificates: [MOON.certificate] }] })]
  assert.deepEqual(names(made.store.certificates()), ['CN=moon'])
  assert.deepEqual(names(made.store.intermediates()), ['CN=CA'])
  assert.deepEqual(names(made.store.authorities()), [])
})

test('an authority under the same name takes the place of the other', () => {
  const { store, told } = place()
  store.loadAuthority(authority('a', CA))
  store.loadAuthority(authority('b', OTHER_CA))
  store.loadAuthority(authority('a', CA, ['http://crl.example.org/']))
  assert.deepEqual(
    store.authorityInfos().map(({ name, crlUris }) => [name, ...crlUris]),
    [['b'], ['a', 'http://crl.example.org/']],
  )
  assert.equal(told.at(-1), 'authority a replaced')
})

test('of revocation lists of one issuer the newest is kept, and a delta beside it', () => {
  const { store } = place({
    crls: [makeCrl({ issuer: CA, number: 3 }), makeCrl({ issuer: CA, number: 2 })].map((der) => readCrl(der)),
  })
  const numbers = (): (number | undefined)[] => store.crls().map(({ number }) => number?.[0])
  assert.deepEqual(numbers(), [3])
  store.loadCrl(readCrl(makeCrl({ issuer: CA, number: 1 })))
  assert.deepEqual(numbers(), [3])
  store.loadCrl(readCrl(makeCrl({ issuer: CA, number: 4 })))
  store.loadCrl(readCrl(makeCrl({ issuer: CA, number: 5, base: 4 })))
  store.loadCrl(readCrl(makeCrl({ issuer: OTHER_CA, number: null, thisUpdate: NOW })))
  assert.deepEqual(numbers(), [4, 5, undefined])
  store.loadCrl(readCrl(makeCrl({ issuer: OTHER_CA, number: null, thisUpdate: NOW - HOUR })))
  assert.equal(store.crls()[2]!.thisUpdate, NOW)
})

test('keys go by their identifiers, and everything when it is cleared', () => {
  const { store } = place({ certificates: [entry(MOON), entry(CA)], publicKeys: [KEY.publicKey] })
  store.loadPrivateKey(MOON.key.privateKey)
  store.loadPrivateKey(SUN.key.privateKey)
  const [newest, oldest] = store.privateKeyIds()
  assert.equal(newest, toHex(SUN.key.privateKey.publicKey.fingerprint))
  assert.ok(store.unloadPrivateKey(oldest!))
  assert.equal(store.unloadPrivateKey(oldest!), false)
  store.loadCrl(readCrl(makeCrl({ issuer: CA })))
  store.clear()
  assert.deepEqual(
    [store.flaggedCertificates(), store.privateKeyIds(), store.rawPublicKeys(), store.crls(), store.intermediates()],
    [[], [], [], [], []],
  )
})

test('there is a limit to what is kept', () => {
  const { store, told } = place()
  const many = Array.from({ length: 1001 }, (_, i) => authority(`ca-${i}`, CA))
  for (const one of many.slice(0, 1000)) store.loadAuthority(one)
  assert.throws(() => store.loadAuthority(many[1000]!), { code: 'TOO_MANY_LOADED' })
  store.loadAuthority(authority('ca-7', CA, ['http://a/']))
  // A file with too many does not stop the others.
  store.replaceAll(loaded({ authorities: many, certificates: [entry(MOON)] }))
  assert.match(told.at(-1)!, /^there are 1000 of this kind already, which is the limit$/)
  assert.deepEqual(names(store.certificates()), ['CN=moon'])
})
