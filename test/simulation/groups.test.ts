/** `groups` of a remote round: who is in one by an attribute certificate (RFC 5755) gets in, loaded here or sent by the peer. */
import assert from 'node:assert/strict'

import { parseIdentity } from '../../src/auth/identity.ts'
import { NOTHING_LOADED, type LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import { SECOND } from '../../src/base/time.ts'
import { readAttributeCertificate, type AttributeCertificate } from '../../src/pki/attribute-certificate.ts'
import { makeAttributeCertificate, type AttributeCertificateOptions } from '../support/attribute-certificates.ts'
import { makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'
import type { ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows } from './places.ts'
import { scenario, type World } from './world.ts'

const NOW = Date.UTC(2026, 0, 1)
const DAY = 24 * 3600 * SECOND
const ROOT = makeCa('C=CH, CN=Root', { key: 'ed25519' })
const leaf = (name: string, more: { readonly issuer?: TestCertificate } = {}): TestCertificate =>
  makeCertificate({
    subject: `C=CH, CN=${name}`,
    issuer: ROOT,
    key: 'ed25519',
    san: [name.includes('@') ? `email:${name}` : `dns:${name}`],
    ...more,
  })
const GATEWAY_CERT = leaf('gateway.example.org')
const CLIENT_CERT = leaf('client@example.org')
const AUTHORITY = leaf('authority')

const attribute = (options: Partial<AttributeCertificateOptions> = {}): AttributeCertificate =>
  readAttributeCertificate(
    makeAttributeCertificate({ holder: CLIENT_CERT, issuer: AUTHORITY, groups: ['guests', 'staff'], ...options }),
  )

function loaded(own: TestCertificate, attributeCertificates: readonly AttributeCertificate[] = []): LoadedCredentials {
  const entry = (flag: 'CA' | 'AA' | 'NONE') => (one: TestCertificate) => ({ certificate: one.certificate, flag, chain: [] })
  return {
    ...NOTHING_LOADED,
    certificates: [entry('CA')(ROOT), entry('AA')(AUTHORITY), entry('NONE')(own)],
    privateKeys: [own.key.privateKey],
    attributeCertificates,
  }
}

const PUBKEY: ConnectionWords = { localRounds: [{ method: 'pubkey' }], remoteRounds: [{ method: 'pubkey' }] }

interface Pair {
  readonly gateway: SimulatedNode
  readonly client: SimulatedNode
}

/** A gateway for the staff and the board. */
function addBoth(world: World, ours: readonly AttributeCertificate[], theirs: readonly AttributeCertificate[] = []): Pair {
  const groups = ['board', 'staff'].map(parseIdentity)
  return {
    gateway: addGateway(
      world,
      { ...PUBKEY, remoteRounds: [{ method: 'pubkey', groups }] },
      { credentials: loaded(GATEWAY_CERT, ours) },
    ),
    client: addClient(world, PUBKEY, { credentials: loaded(CLIENT_CERT, theirs) }),
  }
}

const said = ({ lines }: SimulatedNode, sentence: string): boolean => lines.some(({ message }) => message === sentence)

async function refused(world: World, { gateway, client }: Pair, why: RegExp): Promise<void> {
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  const { message } = gateway.eventsOf('ike-failed').at(-1)!.error
  assert.match(message, why)
  assert.ok(gateway.lines.some((line) => line.message.includes(message)))
  await world.pass(SECOND)
  for (const node of [gateway, client]) assert.equal(node.sessions().length, 0)
}

scenario('by an attribute certificate that the gateway has loaded', async (world) => {
  const { gateway, client } = addBoth(world, [attribute()])
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

scenario('by one that the peer sends', async (world) => {
  const { gateway, client } = addBoth(world, [], [attribute()])
  await world.initiate(client)
  assert.ok(said(client, 'sending attribute certificate issued by "C=CH, CN=authority"'))
  assert.ok(said(gateway, 'received attribute certificate issued by "C=CH, CN=authority"'))
  assert.ok(await flows(world, client, gateway))
})

scenario('one that is sent to a gateway without groups is not even read', async (world) => {
  const gateway = addGateway(world, PUBKEY, { credentials: loaded(GATEWAY_CERT) })
  const client = addClient(world, PUBKEY, { credentials: loaded(CLIENT_CERT, [attribute()]) })
  await world.initiate(client)
  assert.equal(gateway.eventsOf('attribute-certificate-received').length, 0)
  assert.equal(client.eventsOf('attribute-certificate-sent').length, 1)
})

scenario('one that the peer has, about itself, and out of date, is not sent', async (world) => {
  const pair = addBoth(world, [], [attribute({ notAfter: NOW - DAY }), attribute({ holder: GATEWAY_CERT })])
  await refused(world, pair, /^constraint check failed: group membership to 'staff' required$/)
  assert.equal(pair.client.eventsOf('attribute-certificate-sent').length, 0)
})

for (const [title, certificates, why] of [
  ['without any attribute certificate', [], /^constraint check failed: group membership to 'staff' required$/],
  ['in another group', [attribute({ groups: ['guests'] })], /^constraint check failed: group membership to 'staff' required$/],
  ['by one about somebody else', [attribute({ holder: GATEWAY_CERT })], /membership to 'staff' required$/],
  [
    'by one that has expired',
    [attribute({ notAfter: NOW - DAY })],
    /^constraint check failed: group membership to 'staff' required: attribute certificate by 'C=CH, CN=authority' \(serial 07\) expired on 2025-12-31/,
  ],
  [
    'by one of nobody who may',
    [attribute({ issuer: CLIENT_CERT })],
    /required: attribute certificate by 'C=CH, CN=client@example\.org' \(serial 07\) has no issuer that is known/,
  ],
  [
    'by one that another key made',
    [attribute({ signer: CLIENT_CERT.key })],
    /required: attribute certificate by 'C=CH, CN=authority' \(serial 07\) was not signed by the key of certificate /,
  ],
] as const)
  scenario(`${title}, nobody gets in, and the log says why`, async (world) => {
    await refused(world, addBoth(world, certificates), why)
  })
