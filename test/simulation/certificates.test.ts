/** IKE_AUTH by public keys (RFC 7427, RFC 7296 3.6, 3.7) and in several rounds (RFC 4739), in both roles; who is refused, and why. */
import assert from 'node:assert/strict'

import { parseConstraints } from '../../src/auth/constraints.ts'
import { parseIdentity, parseIdentityPattern } from '../../src/auth/identity.ts'
import { NOTHING_LOADED, type LoadedCredentials } from '../../src/auth/loaded-credentials.ts'
import { SECOND } from '../../src/base/time.ts'
import { readPublicKey } from '../../src/crypto/public-key.ts'
import { makeCa, makeCertificate, type CertificateOptions, type TestCertificate } from '../support/pki.ts'
import { makeCrl } from '../support/revocation.ts'
import { PSK, type ConnectionWords } from './configuration.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows, type SideWords } from './places.ts'
import { scenario, type World } from './world.ts'

const NOW = Date.UTC(2026, 0, 1)
const DAY = 24 * 3600 * SECOND
const ROOT = makeCa('C=CH, O=espalier, CN=Root', { key: 'ed25519' })
const OTHER_ROOT = makeCa('C=CH, O=elsewhere, CN=Other Root', { key: 'ed25519' })
const SUB = makeCa('C=CH, O=espalier, CN=Sub CA', { issuer: ROOT, key: 'ed25519' })

function leaf(name: string, options: Partial<CertificateOptions> = {}): TestCertificate {
  const san = name.includes('@') ? `email:${name}` : `dns:${name}`
  return makeCertificate({ subject: `C=CH, O=espalier, CN=${name}`, issuer: ROOT, key: 'ed25519', san: [san], ...options })
}

const GATEWAY_CERT = leaf('gateway.example.org')
const CLIENT_CERT = leaf('client@example.org')

function loaded(cas: readonly TestCertificate[], own: readonly TestCertificate[], more: Partial<LoadedCredentials> = {}) {
  const entry = (flag: 'CA' | 'NONE') => (one: TestCertificate) => ({ certificate: one.certificate, flag, chain: [] })
  return {
    ...NOTHING_LOADED,
    certificates: [...cas.map(entry('CA')), ...own.map(entry('NONE'))],
    privateKeys: own.map(({ key }) => key.privateKey),
    ...more,
  }
}

const PUBKEY: ConnectionWords = { localRounds: [{ method: 'pubkey' }], remoteRounds: [{ method: 'pubkey' }] }

/** Both by certificates of the root, unless the words say otherwise. */
function addBoth(
  world: World,
  words: { gateway?: ConnectionWords; client?: ConnectionWords; gatewaySide?: SideWords; clientSide?: SideWords } = {},
): { readonly gateway: SimulatedNode; readonly client: SimulatedNode } {
  const gateway = addGateway(
    world,
    { ...PUBKEY, ...words.gateway },
    { credentials: loaded([ROOT], [GATEWAY_CERT]), ...words.gatewaySide },
  )
  const client = addClient(
    world,
    { ...PUBKEY, ...words.client },
    { credentials: loaded([ROOT], [CLIENT_CERT]), ...words.clientSide },
  )
  return { gateway, client }
}

const logged = (node: SimulatedNode): string => node.lines.map(({ message }) => message).join('\n')

/** The gateway refuses the client with such a sentence, and both are clean. */
async function refused(world: World, gateway: SimulatedNode, client: SimulatedNode, why: RegExp): Promise<void> {
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.match(gateway.eventsOf('ike-failed').at(-1)!.error.message, why)
  await world.pass(SECOND)
  for (const node of [gateway, client]) {
    assert.equal(node.sessions().length, 0)
    assert.equal(node.gateway.halfOpenCount, 0)
    assert.deepEqual([node.kernel.states(), node.kernel.policies()], [[], []])
  }
}

scenario('both prove who they are by certificates of one CA, in words that strongSwan’s log has', async (world) => {
  const { gateway, client } = addBoth(world)
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  for (const line of [
    'received cert request for "C=CH, O=espalier, CN=Root"',
    'received end entity cert "C=CH, O=espalier, CN=client@example.org"',
    '  using certificate "C=CH, O=espalier, CN=client@example.org"',
    '  using trusted ca certificate "C=CH, O=espalier, CN=Root"',
    '  reached self-signed root ca with a path length of 0',
    "authentication of 'client@example.org' with ED25519 successful",
    "authentication of 'gateway.example.org' (myself) with ED25519 successful",
    'sending end entity cert "C=CH, O=espalier, CN=gateway.example.org"',
  ])
    assert.ok(
      gateway.lines.some(({ message }) => message === line),
      line,
    )
  // The SIGNATURE_HASH_ALGORITHMS of the two, and CERTREQ in IKE_SA_INIT's answer and in IKE_AUTH.
  assert.ok(client.lines.some(({ message }) => message === 'sending cert request for "C=CH, O=espalier, CN=Root"'))
})

scenario('intermediates: sent by who has them, known to who does not get them, and missing', async (world) => {
  const own = leaf('client@example.org', { issuer: SUB })
  const { gateway, client } = addBoth(world, { clientSide: { credentials: loaded([ROOT, SUB], [own]) } })
  await world.initiate(client)
  assert.ok(logged(gateway).includes('received issuer cert "C=CH, O=espalier, CN=Sub CA"'))
  assert.ok(logged(gateway).includes('  using untrusted intermediate certificate "C=CH, O=espalier, CN=Sub CA"'))
  assert.ok(await flows(world, client, gateway))
})

scenario('an intermediate that nobody sends and nobody has: no path, and the log says from where', async (world) => {
  const own = leaf('client@example.org', { issuer: SUB })
  const { gateway, client } = addBoth(world, { clientSide: { credentials: loaded([ROOT], [own]) } })
  await refused(world, gateway, client, /^no trusted ED25519 public key found for 'client@example\.org': .*no issuer/)
})

scenario('an intermediate that is withheld, and loaded at the other side', async (world) => {
  const own = leaf('client@example.org', { issuer: SUB })
  const { gateway, client } = addBoth(world, {
    clientSide: { credentials: loaded([ROOT], [own]) },
    gatewaySide: { credentials: loaded([ROOT, SUB], [GATEWAY_CERT]) },
  })
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
})

for (const [title, own, why] of [
  [
    'expired',
    leaf('client@example.org', { notBefore: NOW - 90 * DAY, notAfter: NOW - DAY }),
    /'client@example\.org': certificate 'C=CH, O=espalier, CN=client@example\.org' \(serial .*\) expired/,
  ],
  ['not yet valid', leaf('client@example.org', { notBefore: NOW + 90 * DAY }), /certificate 'C=CH.*' .*not valid (yet|before)/],
  [
    'of another CA',
    leaf('client@example.org', { issuer: OTHER_ROOT }),
    /no trusted ED25519 public key found for 'client@example\.org': .*issuer/,
  ],
  [
    'of another name',
    leaf('mallory@example.org'),
    /no trusted ED25519 public key found for 'client@example\.org': certificate 'C=CH, O=espalier, CN=mallory@example\.org' .* does not confirm this identity/,
  ],
  ['with a critical extension that nobody knows', leaf('client@example.org', { unknownCritical: true }), /critical extension/],
  ['with a key usage that does not sign', leaf('client@example.org', { keyUsage: 1 << 2 }), /digitalSignature|key usage/i],
] as const)
  scenario(`a certificate ${title} is refused, with the certificate and the reason in the log`, async (world) => {
    // Its own side knows nothing of that: the certificate is configured.
    const { gateway, client } = addBoth(world, {
      client: { ...PUBKEY, localRounds: [{ method: 'pubkey', certificates: [own.certificate] }] },
      clientSide: { credentials: loaded([ROOT], [own]) },
    })
    await refused(world, gateway, client, why)
  })

scenario('AUTH by another key than that of the certificate costs one verification and no path', async (world) => {
  const thief = leaf('client@example.org', { key: 'ed25519', subject: 'C=CH, CN=thief' })
  // The certificate is the client's, the key the thief's: as if the store had them as one.
  const credentials = loaded([ROOT], [CLIENT_CERT])
  const { gateway, client } = addBoth(world, { clientSide: { credentials } })
  Object.defineProperty(credentials.privateKeys[0]!, 'sign', {
    value: (...request: Parameters<typeof thief.key.privateKey.sign>) => thief.key.privateKey.sign(...request),
  })
  await refused(
    world,
    gateway,
    client,
    /^signature validation failed: AUTH of 'client@example\.org' was not made with the key of certificate '/,
  )
  assert.equal(gateway.eventsOf('peer-trusted').length, 0)
  assert.equal(gateway.eventsOf('certificate-received').length, 1)
})

scenario('what comes as a certificate and is none, and issuers that are none, are told and passed over', async (world) => {
  const nonsense = { ...CLIENT_CERT.certificate, der: new Uint8Array(300).fill(0x30) }
  const { gateway, client } = addBoth(world, {
    client: { ...PUBKEY, localRounds: [{ method: 'pubkey', certificates: [nonsense] }] },
  })
  await refused(world, gateway, client, /^no trusted ED25519 public key found for 'client@example\.org': it sent no certificate/)
  assert.match(logged(gateway), /received a certificate that cannot be read: /)
})

scenario('an initiator refuses a gateway of another CA, and tells it', async (world) => {
  const { gateway, client } = addBoth(world, {
    gatewaySide: { credentials: loaded([ROOT], [leaf('gateway.example.org', { issuer: OTHER_ROOT })]) },
  })
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'AUTHENTICATION_FAILED')
  assert.match(failure.message, /^no trusted ED25519 public key found for 'gateway\.example\.org': certificate 'C=CH/)
  await world.pass(SECOND)
  assert.equal(gateway.sessions().length, 0)
})

scenario('send_cert = never: who has the certificate loaded trusts it all the same', async (world) => {
  const { gateway, client } = addBoth(world, {
    client: { ...PUBKEY, sendCertificate: 'never' },
    gatewaySide: { credentials: loaded([ROOT], [GATEWAY_CERT, leaf('client@example.org')]) },
  })
  await world.initiate(client)
  assert.equal(gateway.eventsOf('certificate-received').length, 0)
  assert.ok(await flows(world, client, gateway))
})

scenario('nobody asked, nothing sent: send_cert = ifasked, send_certreq = no', async (world) => {
  const { gateway, client } = addBoth(world, { gateway: { ...PUBKEY, sendCertificateRequest: false } })
  await refused(
    world,
    gateway,
    client,
    /^no trusted ED25519 public key found for 'client@example\.org': it sent no certificate, and none of its own is loaded$/,
  )
  assert.equal(client.eventsOf('certificate-sent').length, 0)
})

scenario('raw public keys on both sides, no certificate anywhere', async (world) => {
  const [here, there] = [leaf('a').key, leaf('b').key]
  const key = (test: typeof here) => readPublicKey(test.spki)
  const gateway = addGateway(
    world,
    {
      localRounds: [{ method: 'pubkey', publicKeys: [key(here)] }],
      remoteRounds: [{ method: 'pubkey', publicKeys: [key(there)] }],
    },
    { credentials: { ...NOTHING_LOADED, privateKeys: [here.privateKey] } },
  )
  const client = addClient(
    world,
    {
      localRounds: [{ method: 'pubkey', publicKeys: [key(there)] }],
      remoteRounds: [{ method: 'pubkey', publicKeys: [key(here)] }],
    },
    { credentials: { ...NOTHING_LOADED, privateKeys: [there.privateKey] } },
  )
  await world.initiate(client)
  assert.ok(logged(gateway).includes('using trusted public key'))
  assert.ok(await flows(world, client, gateway))
})

scenario('a pre-shared key at one side and a certificate at the other', async (world) => {
  const { gateway, client } = addBoth(world, {
    gateway: { localRounds: [{ method: 'pubkey' }], remoteRounds: [{ method: 'psk' }] },
    client: { localRounds: [{ method: 'psk' }], remoteRounds: [{ method: 'pubkey' }] },
  })
  await world.initiate(client)
  assert.ok(logged(gateway).includes("authentication of 'client@example.org' with pre-shared key successful"))
  assert.ok(logged(client).includes("authentication of 'gateway.example.org' with ED25519 successful"))
  assert.ok(await flows(world, client, gateway))
})

scenario('who has the pre-shared key and should have a certificate is refused, and the other way round', async (world) => {
  const gateway = addGateway(
    world,
    { ...PUBKEY, localRounds: [{ method: 'psk' }] },
    { credentials: loaded([ROOT], [GATEWAY_CERT]) },
  )
  const client = addClient(world, { localRounds: [{ method: 'psk' }], remoteRounds: [{ method: 'psk' }] })
  await refused(world, gateway, client, /^constraint requires public key authentication, but pre-shared key was used$/)
})

scenario('two rounds at the client, one at the gateway: a certificate, then the pre-shared key', async (world) => {
  const user = parseIdentity('carol@example.org')
  const { gateway, client } = addBoth(world, {
    gateway: {
      localRounds: [{ method: 'pubkey' }],
      remoteRounds: [{ method: 'pubkey' }, { method: 'psk', id: parseIdentityPattern('carol@example.org') }],
    },
    client: { localRounds: [{ method: 'pubkey' }, { method: 'psk', id: user }], remoteRounds: [{ method: 'pubkey' }] },
  })
  await world.initiate(client)
  // HDR, SK { IDi, CERT, AUTH, N(ANOTHER_AUTH_FOLLOWS) ... }  <-- HDR, SK { IDr, CERT, AUTH }  HDR, SK { IDi, AUTH }  <-- HDR, SK { SAr2, ... }
  assert.equal(world.countSent('IKE_AUTH request 2'), 1)
  assert.deepEqual(
    gateway.eventsOf('peer-authenticated').map(({ by }) => (typeof by === 'string' ? by : by.scheme.key)),
    ['ed25519', 'pre-shared key'],
  )
  assert.ok(await flows(world, client, gateway))
})

scenario('two rounds on both sides', async (world) => {
  const rounds: ConnectionWords = {
    localRounds: [{ method: 'pubkey' }, { method: 'psk' }],
    remoteRounds: [{ method: 'pubkey' }, { method: 'psk' }],
  }
  const { gateway, client } = addBoth(world, { gateway: rounds, client: rounds })
  await world.initiate(client)
  for (const node of [gateway, client]) assert.equal(node.eventsOf('peer-authenticated').length, 2)
  assert.ok(await flows(world, client, gateway))
})

scenario('two rounds at the gateway alone: the client asks again with nothing but IDr', async (world) => {
  const { gateway, client } = addBoth(world, {
    gateway: { localRounds: [{ method: 'pubkey' }, { method: 'psk' }], remoteRounds: [{ method: 'pubkey' }] },
    client: { localRounds: [{ method: 'pubkey' }], remoteRounds: [{ method: 'pubkey' }, { method: 'psk' }] },
  })
  await world.initiate(client)
  assert.equal(client.eventsOf('peer-authenticated').length, 2)
  assert.ok(await flows(world, client, gateway))
})

scenario('too few rounds are refused', async (world) => {
  const { gateway, client } = addBoth(world, {
    gateway: { ...PUBKEY, remoteRounds: [{ method: 'pubkey' }, { method: 'psk' }] },
  })
  await refused(world, gateway, client, /^insufficient authentication rounds: connection home wants 2, the peer does 1$/)
})

scenario('a wrong second round is refused, and the first one was for nothing', async (world) => {
  const { gateway, client } = addBoth(world, {
    gateway: { ...PUBKEY, remoteRounds: [{ method: 'pubkey' }, { method: 'psk' }] },
    client: { ...PUBKEY, localRounds: [{ method: 'pubkey' }, { method: 'psk' }] },
    clientSide: { credentials: loaded([ROOT], [CLIENT_CERT]), secrets: [{ text: `not ${PSK}` }] },
  })
  await refused(world, gateway, client, /^tried 1 shared key for .*, but MAC mismatched/)
  assert.equal(gateway.eventsOf('ike-established').length, 0)
})

scenario('of two connections that fit by identity the one is taken whose CA vouches for the peer', async (world) => {
  const gateway = addGateway(
    world,
    {
      ...PUBKEY,
      connection: 'others',
      remoteRounds: [{ method: 'pubkey', caCertificates: [OTHER_ROOT.certificate] }],
    },
    { credentials: loaded([ROOT, OTHER_ROOT], [GATEWAY_CERT]) },
  )
  const ours = { ...gateway.configuration.connections[0]!, name: 'ours' }
  const remote = [{ ...ours.remote[0]!, caCertificates: [ROOT.certificate] }]
  gateway.gateway.configured.loadConnection({ ...ours, remote }, 'client')
  const client = addClient(world, PUBKEY, { credentials: loaded([ROOT], [CLIENT_CERT]) })
  await world.initiate(client)
  assert.equal(gateway.session.sa.connection?.name, 'ours')
  assert.ok(logged(gateway).includes("switching to peer config 'ours'"))
  assert.ok(await flows(world, client, gateway))
})

for (const [title, words, why] of [
  [
    'AUTH by an algorithm that is not wanted',
    { constraints: parseConstraints('ike:ed448-identity') },
    /^IKE signature scheme ED25519 not acceptable$/,
  ],
  [
    'a chain signed by one',
    { constraints: parseConstraints('ike:pubkey-identity-pubkey-sha384') },
    /X\.509 signature scheme ED25519 not acceptable$/,
  ],
  [
    'another certificate than the one that is pinned',
    { certificates: [leaf('client@example.org', { serial: 77 }).certificate] },
    /peer not authenticated with peer cert 'C=CH, O=espalier, CN=client@example\.org'$/,
  ],
  [
    'a CA of another name than ca_id',
    { caId: parseIdentityPattern('C=CH, O=elsewhere, CN=*') },
    /peer not authenticated by CA 'C=CH, O=elsewhere, CN=\*'$/,
  ],
  [
    'a certificate without a policy that is asked for',
    { certificatePolicies: ['1.2.3.4'] },
    /constraint requires cert policy 1\.2\.3\.4$/,
  ],
  [
    'a certificate of which nothing is heard, under strict',
    { revocation: 'strict' },
    /^constraint check failed: .*certificate 'C=CH, O=espalier, CN=client@example\.org'/,
  ],
] as const)
  scenario(`constraints: ${title} is refused`, async (world) => {
    const { gateway, client } = addBoth(world, {
      gateway: { ...PUBKEY, remoteRounds: [{ method: 'pubkey', ...words }] },
    })
    await refused(world, gateway, client, why)
  })

const CRL_URI = 'http://ca.example.org/root.crl'
const WITH_CRL = leaf('client@example.org', { crlUris: [CRL_URI], serial: 5 })
const crl = (...revoked: readonly TestCertificate[]): Uint8Array =>
  makeCrl({
    issuer: ROOT,
    thisUpdate: NOW - DAY,
    nextUpdate: NOW + 7 * DAY,
    revoked: revoked.map((certificate) => ({ certificate, at: NOW - DAY, reason: 1 })),
  })

/** The gateway asks about the client's certificate. */
function addRevocable(world: World, revocation: 'strict' | 'ifuri' | 'relaxed') {
  return addBoth(world, {
    gateway: { ...PUBKEY, remoteRounds: [{ method: 'pubkey', revocation }] },
    clientSide: { credentials: loaded([ROOT], [WITH_CRL]) },
  })
}

scenario('a CRL that is fetched while the handshake waits: asked for once, however often the client repeats', async (world) => {
  const { gateway, client } = addRevocable(world, 'strict')
  world.web.set(CRL_URI, crl())
  // Longer than the 4 s, and 11.2 s, after which the client asks again.
  world.fetchLatency = 8 * SECOND
  await world.initiate(client)
  assert.ok(await flows(world, client, gateway))
  assert.deepEqual(gateway.fetched, [CRL_URI])
  assert.ok(world.countSent('IKE_AUTH request 1') > 1)
  assert.equal(world.countSent('IKE_AUTH response 1'), 1)
  assert.ok(gateway.eventsOf('datagram-dropped').some(({ reason }) => reason === 'being-answered'))
  assert.ok(logged(gateway).includes('certificate status is good'))
})

scenario('others are served while one handshake waits for a CRL', async (world) => {
  const { gateway, client } = addRevocable(world, 'strict')
  world.web.set(CRL_URI, crl())
  world.fetchLatency = 8 * SECOND
  const second = addClient(world, PUBKEY, {
    name: 'second',
    address: '198.51.100.8',
    credentials: loaded([ROOT], [leaf('client@example.org', { crlUris: [], serial: 6 })]),
  })
  gateway.gateway.configured.loadConnection(
    {
      ...gateway.configuration.connections[0]!,
      name: 'relaxed',
      remoteAddresses: second.configuration.connections[0]!.localAddresses,
    },
    'client',
  )
  void client.gateway.initiate('home', 'net').catch(() => undefined)
  await world.pass(2 * SECOND)
  assert.equal(gateway.eventsOf('ike-established').length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 1)
  const failure = await world.failure(second.gateway.initiate('home', 'net'))
  // Of its certificate there is nobody to ask: refused at once, while the other one still waits.
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.equal(gateway.eventsOf('ike-established').length, 0)
  await world.pass(30 * SECOND)
  assert.equal(gateway.eventsOf('ike-established').length, 1)
})

scenario('a revoked certificate is refused under every policy', async (world) => {
  const { gateway, client } = addRevocable(world, 'relaxed')
  world.web.set(CRL_URI, crl(WITH_CRL))
  await refused(
    world,
    gateway,
    client,
    /^constraint check failed: .*certificate 'C=CH, O=espalier, CN=client@example\.org' \(serial 05\) was revoked on .* \(key compromise/,
  )
})

for (const [policy, isFine] of [
  ['strict', false],
  ['ifuri', false],
  ['relaxed', true],
] as const)
  scenario(`a server that is not there, under ${policy}`, async (world) => {
    const { gateway, client } = addRevocable(world, policy)
    if (isFine) {
      await world.initiate(client)
      assert.ok(await flows(world, client, gateway))
    } else
      await refused(world, gateway, client, /^constraint check failed: .*certificate 'C=CH, O=espalier, CN=client@example\.org'/)
    assert.ok(gateway.fetched.length > 0)
  })

scenario('a half-open IKE_SA has its time, whatever it waits for', async (world) => {
  const { gateway, client } = addRevocable(world, 'strict')
  gateway.gateway.replaceSettings({ ...gateway.configuration.settings, halfOpenTimeout: 5 * SECOND })
  world.web.set(CRL_URI, crl())
  world.fetchLatency = 9 * SECOND
  const failure = await world.failure(client.gateway.initiate('home', 'net'))
  assert.equal(failure.code, 'PEER_SAID_AUTHENTICATION_FAILED')
  assert.equal(gateway.eventsOf('ike-closed')[0]!.reason, 'half-open-timeout')
  assert.equal(gateway.gateway.halfOpenCount, 0)
  await world.pass(10 * SECOND)
  assert.equal(gateway.sessions().length, 0)
})

scenario('a gateway that stops while a handshake waits stops at once', async (world) => {
  const { gateway, client } = addRevocable(world, 'strict')
  world.web.set(CRL_URI, crl())
  world.fetchLatency = 9 * SECOND
  void client.gateway.initiate('home', 'net').catch(() => undefined)
  await world.pass(2 * SECOND)
  await world.outcome(gateway.gateway.stop('shutdown'))
  assert.equal(gateway.sessions().length, 0)
  assert.equal(gateway.gateway.halfOpenCount, 0)
})

scenario('signatures that take their time, at both sides', async (world) => {
  const { gateway, client } = addBoth(world)
  world.signatureLatency = 6 * SECOND
  await world.initiate(client)
  assert.equal(world.countSent('IKE_AUTH response 1'), 1)
  assert.ok(await flows(world, client, gateway))
})
