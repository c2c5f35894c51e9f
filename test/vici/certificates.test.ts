/** Certificates, keys and authorities by VICI: what is loaded, listed and refused, in charon's words with our reasons behind. */
import assert from 'node:assert/strict'

import { toHex } from '../../src/base/bytes.ts'
import { readCrl } from '../../src/pki/crl.ts'
import { readOcspAnswer } from '../../src/pki/ocsp.ts'
import type { ViciSection } from '../../src/vici/message.ts'
import { memoryFiles } from '../config/memory-files.ts'
import { configuration } from '../simulation/configuration.ts'
import { scenario, type World } from '../simulation/world.ts'
import { makeAttributeCertificate } from '../support/attribute-certificates.ts'
import { keyPair, makeCa, makeCertificate } from '../support/pki.ts'
import { makeCrl, makeOcspAnswer } from '../support/revocation.ts'
import { Operator, text, type Plain } from './operator.ts'

const CA = makeCa('C=CH, CN=CA')
const MOON = makeCertificate({ subject: 'C=CH, CN=moon', issuer: CA, key: 'rsa-2048', san: ['dns:moon.example.org'] })
const SUN = makeCertificate({ subject: 'C=CH, CN=sun', issuer: CA, key: 'ed25519' })
const SIGNER = makeCertificate({ subject: 'C=CH, CN=signer', issuer: CA, extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'] })
const AUTHORITY = makeCertificate({ subject: 'C=CH, O=espalier, CN=AA', issuer: CA })
const STAFF = makeAttributeCertificate({ holder: SUN, issuer: AUTHORITY, groups: ['staff'] })
const KEY = keyPair('p256', 'raw')

function blank(world: World): Operator {
  return new Operator(world, world.addNode('gateway', '192.0.2.1', configuration([])))
}

type Values = Readonly<Record<string, string | Uint8Array>>
const message = (values: Values): ViciSection => new Map(Object.entries(values))
const loadCert = (operator: Operator, values: Values): Promise<Plain> => operator.command('load-cert', message(values))
const errmsg = async (answer: Promise<Plain>): Promise<string> => text(await answer, 'errmsg')

/** What list-certs streams, without the bytes. */
async function listed(operator: Operator, request: Plain = {}): Promise<readonly string[]> {
  const before = operator.streamed.length
  assert.deepEqual(await operator.command('list-certs', request), {})
  return operator.streamed.slice(before).map(({ event, message: { type, flag, has_privkey: isOurs, subject } }) => {
    assert.equal(event, 'list-cert')
    return [type, flag, isOurs === undefined ? undefined : 'ours', subject].filter((word) => typeof word === 'string').join(' ')
  })
}

scenario('certificates of every kind are loaded, and listed by type, flag and subject', async (world) => {
  const operator = blank(world)
  for (const values of [
    { type: 'X509', flag: 'NONE', data: MOON.pem },
    { type: 'x509', data: SUN.der },
    { type: 'x509', flag: 'ca', data: CA.der },
    { type: 'x509ocsp', data: SUN.pem },
    { type: 'X509', flag: 'NONE', data: SIGNER.der },
    { type: 'PUBKEY', data: KEY.publicPem },
    { type: 'x509crl', data: makeCrl({ issuer: CA }) },
    { type: 'x509aa', data: AUTHORITY.der },
    { type: 'X509_AC', data: STAFF },
    { type: 'x509ac', data: STAFF },
  ])
    assert.deepEqual(await loadCert(operator, values), { success: 'yes' })
  assert.deepEqual(await operator.command('load-key', message({ type: 'any', data: MOON.key.pem })), {
    success: 'yes',
    id: toHex(MOON.key.privateKey.publicKey.fingerprint),
  })
  assert.deepEqual(await listed(operator), [
    'PUBKEY',
    'X509 NONE ours',
    'X509 CA',
    'X509 AA',
    'X509 OCSP',
    'X509 OCSP',
    'X509_AC',
    'X509_CRL',
  ])
  assert.deepEqual(await listed(operator, { type: 'x509' }), ['X509 NONE ours', 'X509 CA', 'X509 AA', 'X509 OCSP', 'X509 OCSP'])
  assert.deepEqual(await listed(operator, { type: 'X509', flag: 'CA' }), ['X509 CA'])
  assert.deepEqual(await listed(operator, { type: 'x509ca' }), ['X509 CA'])
  assert.deepEqual(await listed(operator, { type: 'x509_crl' }), ['X509_CRL'])
  assert.deepEqual(await listed(operator, { type: 'pubkey' }), ['PUBKEY'])
  assert.deepEqual(await listed(operator, { type: 'x509_ac' }), ['X509_AC'])
  assert.deepEqual(await listed(operator, { type: 'x509ac', subject: 'C=CH, CN=sun' }), ['X509_AC'])
  assert.deepEqual(await listed(operator, { type: 'x509ac', subject: toKeyId(SUN.certificate.serial) }), ['X509_AC'])
  assert.deepEqual(await listed(operator, { type: 'x509ac', subject: 'C=CH, CN=moon' }), [])
  for (const subject of ['moon.example.org', 'C=CH, CN=moon', toKeyId(MOON.key.privateKey.publicKey.fingerprint)])
    assert.deepEqual(await listed(operator, { subject }), ['X509 NONE ours'], subject)
  assert.equal((await listed(operator, { subject: 'C=CH, CN=*' })).length, 6)
  assert.deepEqual(await listed(operator, { subject: 'nobody' }), [])
  // charon tells its log and lists nothing.
  assert.deepEqual(await listed(operator, { type: 'nonsense' }), [])
  assert.deepEqual(await listed(operator, { type: 'x509', flag: 'nonsense' }), [])

  assert.deepEqual(await operator.command('clear-creds'), { success: 'yes' })
  assert.deepEqual([await listed(operator), await operator.command('get-keys')], [[], { keys: [] }])
})

function toKeyId(bytes: Uint8Array): string {
  return `@#${toHex(bytes)}`
}

scenario('what is no certificate, or not of this kind, is refused, and nothing is kept', async (world) => {
  const operator = blank(world)
  const refused = (values: Values): Promise<string> => errmsg(loadCert(operator, values))
  assert.equal(await refused({ data: CA.der }), 'certificate type missing')
  assert.equal(await refused({ type: 'x', data: CA.der }), "invalid certificate type 'x'")
  assert.equal(await refused({ type: 'X509', flag: 'x', data: CA.der }), "invalid certificate flag 'x'")
  assert.equal(await refused({ type: 'X509' }), 'certificate data missing')
  assert.match(await refused({ type: 'X509', data: 'nonsense' }), /^parsing X509 certificate failed: /)
  assert.equal(await refused({ type: 'x509ca', data: MOON.der }), 'ca certificate lacks CA basic constraint, rejected')
  assert.match(await refused({ type: 'X509_CRL', data: MOON.der }), /^parsing X509_CRL certificate failed: /)
  assert.match(await refused({ type: 'PUBKEY', data: 'nonsense' }), /^parsing PUBKEY certificate failed: /)
  assert.match(
    await refused({ type: 'x509ac', data: MOON.der }),
    /^parsing X509_AC certificate failed: the attribute certificate is malformed at byte /,
  )
  for (const type of ['OCSP_RESPONSE', 'PGP', 'ANY'])
    assert.match(
      await refused({ type, data: MOON.der }),
      /^parsing \w+ certificate failed: certificates of this type are not read$/,
    )
  assert.deepEqual(await listed(operator), [])
})

scenario('private keys are loaded and unloaded by their identifiers, and nobody sees them', async (world) => {
  const operator = blank(world)
  const load = (values: Values): Promise<Plain> => operator.command('load-key', message(values))
  assert.equal(await errmsg(load({ data: KEY.pem })), 'key type missing')
  assert.equal(await errmsg(load({ type: 'x', data: KEY.pem })), 'invalid key type: x')
  assert.equal(await errmsg(load({ type: 'rsa' })), 'key data missing')
  assert.match(await errmsg(load({ type: 'rsa', data: 'nonsense' })), /^parsing RSA private key failed: /)
  const locked = KEY.object.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' })
  assert.match(await errmsg(load({ type: 'any', data: locked })), /^parsing ANY private key failed: .*passphrase/)

  const id = toHex(KEY.privateKey.publicKey.fingerprint)
  for (let i = 0; i < 2; i++) assert.deepEqual(await load({ type: 'ecdsa', data: KEY.pkcs8 }), { success: 'yes', id })
  await load({ type: 'ED25519', data: SUN.key.pem })
  assert.deepEqual(await operator.command('get-keys'), {
    keys: [toHex(SUN.key.privateKey.publicKey.fingerprint), id],
  })
  assert.equal(await errmsg(operator.command('unload-key')), 'key id missing')
  assert.equal(await errmsg(operator.command('unload-key', { id: '00' })), 'key not found')
  assert.deepEqual(await operator.command('unload-key', { id: id.toUpperCase() }), { success: 'yes' })
  assert.equal(await errmsg(operator.command('unload-key', { id })), 'key not found')
  assert.equal(await errmsg(operator.command('load-token')), 'keyid missing')
  assert.match(await errmsg(operator.command('load-token', { handle: '0a' })), /^loading private key from token failed: /)
  const log = JSON.stringify(world.nodes[0]!.lines)
  assert.ok(log.includes(`loaded private key with id ${id}`) && log.includes(`unloaded private key with id ${id}`))
  assert.ok(!log.includes('PRIVATE') && !log.includes(Buffer.from(KEY.pkcs8).toString('base64').slice(40, 60)))
})

scenario('authorities are loaded, listed, replaced and unloaded', async (world) => {
  const operator = blank(world)
  const load = (name: string, values: Readonly<Record<string, string | Uint8Array | readonly string[]>>): Promise<Plain> =>
    operator.command('load-authority', new Map([[name, new Map(Object.entries(values))]]))
  const list = async (request: Plain = {}): Promise<readonly Plain[]> => {
    const before = operator.streamed.length
    await operator.command('list-authorities', request)
    return operator.streamed.slice(before).map(({ message }) => message)
  }
  assert.deepEqual(await load('root', { cacert: CA.pem, crl_uris: ['http://a/', 'file:///b'], ocsp_uris: ['http://c/'] }), {
    success: 'yes',
  })
  operator.files = memoryFiles({ '/ca.pem': CA.pem, '/moon.pem': MOON.pem })
  assert.deepEqual(await load('second', { file: '/ca.pem' }), { success: 'yes' })
  const root = { cacert: 'C=CH, CN=CA', crl_uris: ['http://a/', 'file:///b'], ocsp_uris: ['http://c/'] }
  const second = { cacert: 'C=CH, CN=CA', crl_uris: [], ocsp_uris: [] }
  assert.equal(JSON.stringify(await list()), JSON.stringify([{ root }, { second }]))
  assert.deepEqual(await list({ name: 'second' }), [{ second }])
  assert.deepEqual(await operator.command('get-authorities'), { authorities: ['root', 'second'] })
  assert.deepEqual(await listed(operator), ['X509 CA'], 'the same certificate once')

  assert.equal(await errmsg(load('x', {})), 'CA certificate missing: x')
  assert.equal(await errmsg(load('x', { file: '/no' })), 'CA certificate missing: x: /no: there is no such file')
  assert.match(
    await errmsg(load('x', { cacert: 'nonsense' })),
    /^invalid value for: cacert, authority discarded: authorities\.x\.cacert: /,
  )
  assert.match(
    await errmsg(load('x', { file: '/moon.pem' })),
    /^invalid value for: file, authority discarded: .*without CA flag, rejected$/,
  )
  assert.match(await errmsg(load('x', { cacert: CA.der, nonsense: '1' })), /^unknown option: nonsense, authority discarded: /)
  const warned = await load('base', { cacert: CA.der, cert_uri_base: 'http://certs/' })
  assert.deepEqual(
    [warned['success'], (await list({ name: 'base' }))[0]],
    ['yes', { base: { cacert: 'C=CH, CN=CA', crl_uris: [], ocsp_uris: [], cert_uri_base: 'http://certs/' } }],
  )
  assert.equal(await errmsg(operator.command('unload-authority')), 'unload: missing authority name')
  assert.equal(await errmsg(operator.command('unload-authority', { name: 'x' })), "unload: authority 'x' not found")
  for (const name of ['root', 'second', 'base'])
    assert.deepEqual(await operator.command('unload-authority', { name }), { success: 'yes' })
  assert.deepEqual([await list(), await listed(operator)], [[], []])
})

scenario('rounds of a connection are loaded with certificates and keys as they are, and listed', async (world) => {
  const operator = blank(world)
  operator.files = memoryFiles({ '/ca.pem': CA.pem })
  const local = new Map<string, string | readonly Uint8Array[]>([
    ['auth', 'pubkey-sha256'],
    ['certs', [MOON.der, Buffer.from(SUN.pem)]],
  ])
  const second = new Map<string, string | readonly Uint8Array[]>([
    ['round', '2'],
    ['auth', 'psk'],
    ['id', 'second'],
  ])
  const remote = new Map<string, string | readonly string[] | readonly Uint8Array[] | ViciSection>([
    ['auth', 'pubkey'],
    ['id', 'C=CH, CN=*'],
    ['cacerts', [CA.der]],
    ['cacert-2', message({ file: '/ca.pem' })],
    ['pubkeys', [KEY.spki]],
    ['groups', ['staff']],
    ['cert_policy', ['1.2.3']],
    ['ca_id', 'C=CH, CN=CA'],
    ['revocation', 'ifuri'],
  ])
  const answer = await operator.command(
    'load-conn',
    new Map([
      [
        'c',
        new Map([
          ['local-2', second],
          ['local-1', local],
          ['remote', remote],
        ]),
      ],
    ]),
  )
  assert.equal(answer['success'], 'yes')
  await operator.command('list-conns')
  const { c } = operator.streamed.at(-1)!.message as { readonly c: Plain }
  assert.equal(
    JSON.stringify([c['local-1'], c['local-2'], c['remote-1']]),
    JSON.stringify([
      {
        id: 'C=CH, CN=moon',
        class: 'public key',
        groups: [],
        cert_policy: [],
        certs: ['C=CH, CN=moon', 'C=CH, CN=sun'],
        cacerts: [],
      },
      { id: 'second', class: 'pre-shared key', groups: [], cert_policy: [], certs: [], cacerts: [] },
      {
        id: 'C=CH, CN=*',
        class: 'public key',
        ca_id: 'C=CH, CN=CA',
        revocation: 'SKIPPED',
        groups: ['staff'],
        cert_policy: ['1.2.3'],
        certs: ['C=CH, CN=*'],
        cacerts: ['C=CH, CN=CA', 'C=CH, CN=CA'],
      },
    ]),
  )
  // What it names is listed as long as it is there.
  assert.deepEqual(await listed(operator, { type: 'x509' }), ['X509 NONE', 'X509 NONE', 'X509 CA'])
  await operator.command('unload-conn', { name: 'c' })
  assert.deepEqual(await listed(operator), [])
})

scenario('what was fetched about revocation is listed, and flushed by its type', async (world) => {
  const operator = blank(world)
  const { revocationCache } = world.nodes[0]!.gateway
  const fetch = (): void => {
    revocationCache.addCrl(readCrl(makeCrl({ issuer: CA })))
    const answer = readOcspAnswer(makeOcspAnswer({ certificate: MOON, issuer: CA }))
    revocationCache.addOcsp(MOON.certificate, CA.certificate, answer)
  }
  fetch()
  assert.deepEqual(await listed(operator), ['X509_CRL', 'OCSP_RESPONSE'])
  assert.deepEqual(await listed(operator, { type: 'ocsp_response' }), ['OCSP_RESPONSE'])
  assert.deepEqual(await listed(operator, { subject: 'C=CH, CN=CA' }), ['X509_CRL'])
  const left = async (request: Plain): Promise<readonly string[]> => {
    fetch()
    assert.deepEqual(await operator.command('flush-certs', request), { success: 'yes' })
    return listed(operator)
  }
  assert.deepEqual(await left({ type: 'x509ca' }), ['X509_CRL', 'OCSP_RESPONSE'])
  assert.deepEqual(await left({ type: 'X509_CRL' }), ['OCSP_RESPONSE'])
  assert.deepEqual(await left({ type: 'ocsp_response' }), ['X509_CRL'])
  assert.deepEqual(await left({ type: 'any' }), [])
  assert.deepEqual(await left({}), [])
  assert.equal(await errmsg(operator.command('flush-certs', { type: 'x' })), "invalid certificate type 'x'")
})
