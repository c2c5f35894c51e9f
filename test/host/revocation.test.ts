/**
 * Revocation with Debian's charon: a client of it whose certificate is good, revoked, and so on, at a gateway that is
 * strict, asks where it can, or is relaxed. The gateway is espalier, and then another charon, who lets the same pass.
 * IKE_SAs without a CHILD_SA show it: no kernel with ESP is needed.
 */
import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { toHex } from '../../src/base/bytes.ts'
import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab, type Host } from '../lab/support/network.ts'
import { currentTimes, PkiServer } from '../lab/support/pki-server.ts'
import { makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'
import { HOUR, makeCrl } from '../support/revocation.ts'

const POLICIES = ['strict', 'ifuri', 'relaxed'] as const
type Policy = (typeof POLICIES)[number]
const GATEWAY = '192.0.2.2'
/** Nobody listens there. */
const GONE = `http://${GATEWAY}:81/gone`

/** A client's certificate, of an authority of its own: what is known of one's list must not tell of another. */
interface Case {
  readonly name: string
  readonly ca: TestCertificate
  readonly certificate: TestCertificate
  readonly passes: readonly Policy[]
  /** What espalier's log says of it; null of one that is good. */
  readonly sentence: RegExp | null
}

function makeCase(
  name: string,
  passes: readonly Policy[],
  sentence: RegExp | null,
  uris: { crl?: string; ocsp?: string } = {},
): Case {
  const ca = makeCa(`C=CH, O=espalier, CN=CA of ${name}`)
  const certificate = makeCertificate({
    subject: `C=CH, O=espalier, CN=${name}`,
    issuer: ca,
    san: [`dns:${name}.example`],
    ...(uris.crl === undefined ? {} : { crlUris: [uris.crl] }),
    ...(uris.ocsp === undefined ? {} : { ocspUris: [uris.ocsp] }),
  })
  return { name, ca, certificate, passes, sentence }
}

const crlAt = (name: string): { readonly crl: string } => ({ crl: `http://${GATEWAY}/${name}.crl` })
const OCSP = { ocsp: `http://${GATEWAY}/ocsp` }

const CASES: readonly Case[] = [
  makeCase('nothing', ['ifuri', 'relaxed'], /there is no CRL and no OCSP responder to ask/),
  makeCase('crl-good', POLICIES, null, crlAt('crl-good')),
  makeCase('crl-revoked', [], /was revoked on .* \(key compromise, CRL 01 of 'C=CH, O=espalier, CN=CA of /, crlAt('crl-revoked')),
  makeCase('crl-stale', ['relaxed'], /is not known, the CRL 01 of .* is stale since /, crlAt('crl-stale')),
  makeCase('crl-gone', ['relaxed'], /is not known: http:\/\/192\.0\.2\.2:81\/gone: .*ECONNREFUSED/, { crl: GONE }),
  makeCase('ocsp-good', POLICIES, null, OCSP),
  makeCase('ocsp-revoked', [], /was revoked on .* \(superseded, OCSP answer of /, OCSP),
  makeCase('ocsp-unknown', ['relaxed'], /the OCSP responder does not know this certificate/, OCSP),
  makeCase('ocsp-gone', ['relaxed'], /is not known: http:\/\/192\.0\.2\.2:81\/gone: .*ECONNREFUSED/, { ocsp: GONE }),
  makeCase('ocsp-gone-crl-good', POLICIES, null, { ocsp: GONE, ...crlAt('ocsp-gone-crl-good') }),
]

const ROOT = makeCa('C=CH, O=espalier, CN=Root')
const GATEWAY_CERTIFICATE = makeCertificate({
  subject: 'C=CH, O=espalier, CN=gateway',
  issuer: ROOT,
  san: POLICIES.map((policy) => `dns:${policy}.example`),
})

/** Of the client a connection for each policy and certificate, at the gateway one for each policy. */
const CLIENT_CONNECTIONS = POLICIES.flatMap((policy) =>
  CASES.map(
    ({ name }) => `${policy}-${name} {
      remote_addrs = ${GATEWAY}
      childless = force
      local { auth = pubkey\n certs = ${name}.pem\n id = ${name}.example }
      remote { auth = pubkey\n id = ${policy}.example }
    }`,
  ),
)
const GATEWAY_CONNECTIONS = POLICIES.map(
  (policy) => `${policy} {
    local { auth = pubkey\n certs = gateway.pem\n id = ${policy}.example }
    remote { auth = pubkey\n revocation = ${policy} }
  }`,
)
const OWN: ReadonlyMap<string, TestCertificate> = new Map(CASES.map(({ name, certificate }) => [name, certificate]))
const configurationOf = (connections: readonly string[]): string => `connections {\n${connections.join('\n')}\n}\n`

async function writeCredentials(host: Host, own: ReadonlyMap<string, TestCertificate>): Promise<void> {
  const cas = [ROOT, ...CASES.map(({ ca }) => ca)]
  const files = [
    ...cas.map((ca, i) => [`x509ca/ca${i}.pem`, ca.pem] as const),
    ...[...own].flatMap(([name, { pem, key }]) => [
      [`x509/${name}.pem`, pem] as const,
      [`private/${name}.pem`, key.pem] as const,
    ]),
  ]
  const directory = join(await host.lab.directory(), host.name, 'swanctl')
  for (const [path, text] of files) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
}

async function offerAll(server: PkiServer): Promise<void> {
  const of = (name: string): Case => CASES.find((one) => one.name === name)!
  const times = currentTimes()
  for (const name of ['crl-good', 'ocsp-gone-crl-good'])
    await server.offer(`${name}.crl`, makeCrl({ issuer: of(name).ca, ...times }))
  const { ca, certificate } = of('crl-revoked')
  await server.offer('crl-revoked.crl', makeCrl({ issuer: ca, ...times, revoked: [{ certificate, reason: 1 }] }))
  await server.offer('crl-stale.crl', makeCrl({ issuer: of('crl-stale').ca, ...times, nextUpdate: times.thisUpdate + HOUR / 2 }))
  for (const status of ['good', 'revoked', 'unknown'] as const) {
    const one = of(`ocsp-${status}`)
    await server.answer(one.certificate, one.ca, { status, reason: 4 })
  }
}

interface Place {
  readonly clientHost: Host
  readonly gatewayHost: Host
  readonly server: PkiServer
}

async function setUp(t: TestContext): Promise<Place> {
  const lab = new Lab(t)
  const clientHost = await lab.host('client')
  const gatewayHost = await lab.host('gateway')
  await lab.cable(clientHost, 'wire', '192.0.2.1/24', gatewayHost, 'wire', `${GATEWAY}/24`)
  const server = await PkiServer.start(gatewayHost)
  await offerAll(server)
  return { clientHost, gatewayHost, server }
}

/** The client has all the certificates, the gateway one. */
async function startClient({ clientHost, gatewayHost }: Place): Promise<Charon> {
  await writeCredentials(clientHost, OWN)
  await writeCredentials(gatewayHost, new Map([['gateway', GATEWAY_CERTIFICATE]]))
  return Charon.start(clientHost, { configuration: configurationOf(CLIENT_CONNECTIONS), esp: 'userspace' })
}

/** Which policies let whom pass, by trying; whoever is refused is told `refusal` of it. */
async function tryAll(client: Charon | Espalier, refusal: RegExp): Promise<Record<string, readonly Policy[]>> {
  const passed: Record<string, readonly Policy[]> = {}
  for (const { name } of CASES) {
    const policies: Policy[] = []
    for (const policy of POLICIES) {
      const ike = ['--initiate', '--ike', `${policy}-${name}`, '--uri', client.uri]
      const { status, stdout, stderr } = await client.host.tryRun('swanctl', ike)
      if (status === 0) policies.push(policy)
      else assert.match(stdout, refusal, `${policy}-${name}: ${stdout}${stderr}`)
    }
    passed[name] = policies
  }
  return passed
}

const TOLD_BY_PEER = /received AUTHENTICATION_FAILED notify error/
const EXPECTED = Object.fromEntries(CASES.map(({ name, passes }) => [name, passes]))

test('espalier lets pass by CRLs and OCSP whom the policy lets, and says why not', async (t) => {
  const place = await setUp(t)
  const client = await startClient(place)
  const espalier = await Espalier.start(place.gatewayHost, {
    configuration: configurationOf(GATEWAY_CONNECTIONS),
    kernel: 'memory',
  })
  assert.deepEqual(await tryAll(client, TOLD_BY_PEER), EXPECTED)
  const said = espalier.daemon.lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  for (const { name, sentence } of CASES) {
    const about = said.filter((line) => line.includes(`CN=${name}' (serial `))
    const isSaid = sentence === null ? about.length === 0 : about.some((line) => sentence.test(line))
    assert.ok(isSaid, `${name}: ${about.join('\n')}`)
  }
  const good = CASES.filter(({ sentence }) => sentence === null)
  assert.equal(said.filter((line) => line === 'certificate status is good').length, POLICIES.length * good.length)
  // What is current is fetched once, for all three policies.
  const fetched = place.server.requests().filter((line) => /good|revoked/.test(line))
  assert.deepEqual(fetched.toSorted(), ['GET /crl-good.crl 200', 'GET /crl-revoked.crl 200', 'GET /ocsp-gone-crl-good.crl 200'])
})

test('charon lets pass the same', async (t) => {
  const place = await setUp(t)
  const client = await startClient(place)
  const options = { configuration: configurationOf(GATEWAY_CONNECTIONS), plugins: 'curl' }
  await Charon.start(place.gatewayHost, { ...options, esp: 'userspace' })
  assert.deepEqual(await tryAll(client, TOLD_BY_PEER), EXPECTED)
})

test('as the initiator espalier lets the same pass of charon, and keeps the lists it fetched where it is told to', async (t) => {
  const { clientHost, gatewayHost } = await setUp(t)
  await writeCredentials(clientHost, new Map([['client', GATEWAY_CERTIFICATE]]))
  await writeCredentials(gatewayHost, OWN)
  const gateways = CASES.map(
    ({ name }) => `${name} {
      local { auth = pubkey\n certs = ${name}.pem\n id = ${name}.example }
      remote { auth = pubkey }
    }`,
  )
  const clients = POLICIES.flatMap((policy) =>
    CASES.map(
      ({ name }) => `${policy}-${name} {
        remote_addrs = ${GATEWAY}
        childless = force
        local { auth = pubkey\n certs = client.pem }
        remote { auth = pubkey\n id = ${name}.example\n revocation = ${policy} }
      }`,
    ),
  )
  await Charon.start(gatewayHost, { configuration: configurationOf(gateways), esp: 'userspace' })
  const espalier = await Espalier.start(clientHost, {
    configuration: configurationOf(clients),
    settings: 'cache_crls = yes',
    kernel: 'memory',
  })
  assert.deepEqual(await tryAll(espalier, /is revoked|was revoked/), EXPECTED)
  await espalier.stop()
  const kept = await readdir(join(espalier.directory, 'swanctl/x509crl'))
  const wanted = CASES.filter(({ name }) => /^crl-(good|revoked)|^ocsp-gone-crl/.test(name))
  assert.deepEqual(kept.toSorted(), wanted.map(({ ca }) => `${toHex(ca.certificate.subjectKeyId!)}.crl`).toSorted())
})
