/** Revocation between gateways: OCSP answers that travel in IKE (RFC 4806), and crowds before a server that is not there. */
import assert from 'node:assert/strict'

import { NOTHING_LOADED, type LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import { SECOND } from '../../src/base/time.ts'
import { makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'
import { makeOcspAnswer, type OcspOptions } from '../support/revocation.ts'
import type { ConnectionWords } from './configuration.ts'
import { addClient, addGateway, flows } from './places.ts'
import { scenario, type World } from './world.ts'

const NOW = Date.UTC(2026, 0, 1)
const DAY = 24 * 3600 * SECOND
const OCSP = 'http://ocsp.example.org/'
const CRL = 'http://ca.example.org/root.crl'

const ROOT = makeCa('CN=Root', { key: 'ed25519' })
const leaf = (name: string, issuer: TestCertificate, uris: { ocspUris?: string[]; crlUris?: string[] } = {}): TestCertificate =>
  makeCertificate({
    subject: `CN=${name}`,
    issuer,
    key: 'ed25519',
    san: [`${name.includes('@') ? 'email' : 'dns'}:${name}`],
    ...uris,
  })
const GATEWAY_CERT = leaf('gateway.example.org', ROOT, { ocspUris: [OCSP] })
const CLIENT_CERT = leaf('client@example.org', ROOT)

const loaded = (own: TestCertificate): LoadedCredentials => ({
  ...NOTHING_LOADED,
  certificates: [
    { certificate: ROOT.certificate, flag: 'CA', chain: [] },
    { certificate: own.certificate, flag: 'NONE', chain: [] },
  ],
  privateKeys: [own.key.privateKey],
})
const answerOf = (options: Partial<OcspOptions> = {}): Uint8Array =>
  makeOcspAnswer({ certificate: GATEWAY_CERT, issuer: ROOT, thisUpdate: NOW - DAY, nextUpdate: NOW + 7 * DAY, ...options })

const PUBKEY: ConnectionWords = { localRounds: [{ method: 'pubkey' }], remoteRounds: [{ method: 'pubkey' }] }

type OcspPolicy = NonNullable<ConnectionWords['ocsp']>

/** The client is strict about the gateway. */
function addBoth(world: World, words: { readonly client: OcspPolicy; readonly gateway: OcspPolicy }) {
  const gateway = addGateway(world, { ...PUBKEY, ocsp: words.gateway }, { credentials: loaded(GATEWAY_CERT) })
  const client = addClient(
    world,
    { ...PUBKEY, remoteRounds: [{ method: 'pubkey', revocation: 'strict' }], ocsp: words.client },
    { credentials: loaded(CLIENT_CERT) },
  )
  return { gateway, client }
}

for (const { client: asks, gateway: replies, askedByGateway } of [
  { client: 'request', gateway: 'reply', askedByGateway: true },
  { client: 'both', gateway: 'both', askedByGateway: true },
  { client: 'reply', gateway: 'reply', askedByGateway: false },
  { client: 'request', gateway: 'never', askedByGateway: false },
] as const)
  scenario(`OCSP in IKE (RFC 4806): ocsp = ${asks} at who asks, ${replies} at who is asked`, async (world) => {
    const { gateway, client } = addBoth(world, { client: asks, gateway: replies })
    world.web.set(OCSP, answerOf())
    await world.initiate(client)
    assert.ok(await flows(world, client, gateway))
    // The gateway asks about itself, and spares the client the question.
    assert.deepEqual([gateway.fetched, client.fetched], askedByGateway ? [[OCSP], []] : [[], [OCSP]])
  })

scenario(
  'a crowd before a CRL server that is not there waits for it once, together; whoever comes later not at all',
  async (world) => {
    const gateway = addGateway(world, PUBKEY, { credentials: loaded(leaf('gateway.example.org', ROOT)) })
    const clients = Array.from({ length: 12 }, (_, i) =>
      addClient(
        world,
        { ...PUBKEY, localId: `client${i}@example.org`, local: [`10.2.${i}.0/24`] },
        {
          name: `client ${i}`,
          address: `198.51.100.${10 + i}`,
          credentials: loaded(leaf(`client${i}@example.org`, ROOT, { crlUris: [CRL] })),
        },
      ),
    )
    const [late, ...crowd] = clients
    for (const client of crowd) void client.gateway.initiate('home', 'net').catch(() => undefined)
    await world.pass(5 * SECOND)
    assert.equal(gateway.sessions().filter(({ sa }) => sa.state === 'established').length, 0)
    await world.pass(6 * SECOND)
    assert.equal(gateway.sessions().filter(({ sa }) => sa.state === 'established').length, crowd.length)
    const before = world.clock.now()
    await world.outcome(late!.gateway.initiate('home', 'net'))
    assert.ok(world.clock.now() - before < SECOND)
    assert.deepEqual(gateway.fetched, [CRL])
  },
)

for (const [title, answer] of [
  ['revoked', answerOf({ status: 'revoked', reason: 1 })],
  ['forged', answerOf({ badSignature: true })],
  ['about somebody else', answerOf({ certificate: CLIENT_CERT })],
] as const)
  scenario(`OCSP in IKE: an answer that is ${title} lets nobody pass`, async (world) => {
    const { client } = addBoth(world, { client: 'request', gateway: 'reply' })
    world.web.set(OCSP, answer)
    const failure = await world.failure(client.gateway.initiate('home', 'net'))
    assert.match(failure.message, /certificate 'CN=gateway\.example\.org'/)
    assert.equal(client.sessions().length, 0)
  })
