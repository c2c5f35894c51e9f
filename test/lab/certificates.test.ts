/**
 * Certificates where packets flow: a tunnel by each of several kinds of proof, made and rekeyed by either side, and one
 * that must not come about. All kinds of keys, refusals and revocation without packets are in test/host/certificates.test.ts.
 *
 *   10.10.1.1 charon 192.0.2.1 ──── 192.0.2.2 espalier 10.20.0.1
 */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { makeCa, makeCertificate, type CertificateOptions, type TestCertificate } from '../support/pki.ts'
import { makeCrl } from '../support/revocation.ts'
import { Charon } from './support/charon.ts'
import { Espalier } from './support/espalier.ts'
import { Lab, type Host } from './support/network.ts'
import { currentTimes, PkiServer } from './support/pki-server.ts'
import { eventually } from './support/process.ts'

const PEERS = ['charon', 'espalier'] as const
type Peer = (typeof PEERS)[number]
const other = (peer: Peer): Peer => (peer === 'charon' ? 'espalier' : 'charon')
const ADDRESS = { charon: '192.0.2.1', espalier: '192.0.2.2' } as const
const HOME = { charon: '10.10.1.1', espalier: '10.20.0.1' } as const
const NETWORK = { charon: '10.10.1.0/24', espalier: '10.20.0.0/24' } as const

const ROOT = makeCa('C=CH, O=lab, CN=Root CA', { key: 'rsa-2048' })
const SUB = {
  charon: makeCa('C=CH, O=lab, CN=Sub CA of charon', { issuer: ROOT, key: 'p384' }),
  espalier: makeCa('C=CH, O=lab, CN=Sub CA of espalier', { issuer: ROOT, key: 'ed25519' }),
}
const CRL_URI = `http://${ADDRESS.charon}/root.crl`

const certificates = new Map<string, TestCertificate>()
function leaf(kind: string, peer: Peer, options: Partial<CertificateOptions> = {}): TestCertificate {
  const name = `${kind}.${peer}.example`
  const made =
    certificates.get(name) ??
    makeCertificate({ subject: `C=CH, O=lab, CN=${name}`, issuer: ROOT, san: [`dns:${name}`], crlUris: [CRL_URI], ...options })
  certificates.set(name, made)
  return made
}

/** Rounds of one side as lines of swanctl.conf, and the certificate of the first. */
interface Kind {
  readonly certificate: (peer: Peer) => TestCertificate
  readonly first?: string
  readonly more?: (peer: Peer) => string
  readonly revocation?: string
}

const KINDS: Readonly<Record<string, Kind>> = {
  // RSA-2048 at one side and Ed25519 at the other, each by an intermediate that the other does not have.
  chain: {
    certificate: (peer) => leaf('chain', peer, { issuer: SUB[peer], key: peer === 'charon' ? 'rsa-2048' : 'ed25519' }),
  },
  pss: {
    certificate: (peer) => leaf('pss', peer, { key: 'rsa-3072' }),
    first: 'auth = ike:rsa/pss-sha256',
    revocation: 'strict',
  },
  rounds: {
    certificate: (peer) => leaf('rounds', peer, { key: 'p384' }),
    more: (peer) => `{ round = 2\n auth = psk\n id = second.${peer}.example }`,
  },
  revoked: { certificate: (peer) => leaf('revoked', peer), revocation: 'strict' },
}

function configurationOf(peer: Peer): string {
  // This charon has nothing to fetch by.
  const revocationOf = ({ revocation }: Kind): string => (peer === 'espalier' ? (revocation ?? 'relaxed') : 'relaxed')
  const side = (title: string, whose: Peer, name: string, kind: Kind): string => `
    ${title}-1 { round = 1
      ${kind.first ?? 'auth = pubkey'}
      id = ${name}.${whose}.example
      ${title === 'local' ? `certs = ${name}.pem` : `revocation = ${revocationOf(kind)}`} }
    ${kind.more === undefined ? '' : `${title}-2 ${kind.more(whose)}`}`
  const connections = Object.entries(KINDS).map(
    ([name, kind]) => `${name} {
    version = 2
    local_addrs = ${ADDRESS[peer]}
    remote_addrs = ${ADDRESS[other(peer)]}
    proposals = aes128gcm16-prfsha256-x25519
    ${side('local', peer, name, kind)}
    ${side('remote', other(peer), name, kind)}
    children { ${name} {
      local_ts = ${NETWORK[peer]}
      remote_ts = ${NETWORK[other(peer)]}
      esp_proposals = aes128gcm16-x25519 } } }`,
  )
  return `connections {\n${connections.join('\n')}\n}\nsecrets { ike-all { secret = "told to nobody" } }\n`
}

async function writeFiles(directory: string, peer: Peer): Promise<void> {
  const files: [string, string][] = [
    ['x509ca/root.pem', ROOT.pem],
    ['x509ca/sub.pem', SUB[peer].pem],
    ['swanctl.conf', configurationOf(peer)],
  ]
  for (const [name, { certificate }] of Object.entries(KINDS))
    files.push([`x509/${name}.pem`, certificate(peer).pem], [`private/${name}.pem`, certificate(peer).key.pem])
  for (const [path, content] of files) {
    await mkdir(join(directory, peer, 'swanctl', path, '..'), { recursive: true })
    await writeFile(join(directory, peer, 'swanctl', path), content)
  }
}

test('tunnels by certificates, by RSASSA-PSS with revocation under strict, in two rounds; a revoked one does not come about', async (t: TestContext) => {
  const lab = new Lab(t)
  const hosts: Record<Peer, Host> = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
  for (const peer of PEERS) {
    await hosts[peer].stub('home', `${HOME[peer]}/24`)
    await hosts[peer].route(NETWORK[other(peer)], ADDRESS[other(peer)])
    await writeFiles(await lab.directory(), peer)
  }
  const server = await PkiServer.start(hosts.charon)
  const revoked = [{ certificate: KINDS['revoked']!.certificate('charon'), reason: 1 }]
  await server.offer('root.crl', makeCrl({ issuer: ROOT, ...currentTimes(), revoked }))
  const [charon, espalier] = await Promise.all([
    Charon.start(hosts.charon, { configuration: configurationOf('charon') }),
    Espalier.start(hosts.espalier, { configuration: configurationOf('espalier') }),
  ])
  const daemons = { charon, espalier }
  const ping = async (from: Peer): Promise<void> => {
    await hosts[from].run('ping', ['-n', '-q', '-c', '2', '-i', '0.2', '-W', '5', '-I', HOME[from], HOME[other(from)]])
  }
  for (const name of ['chain', 'pss', 'rounds'])
    for (const initiator of PEERS)
      await t.test(`${name}: ${initiator} initiates`, async () => {
        const daemon = daemons[initiator]
        await daemon.swanctl('--initiate', '--child', name, '--timeout', '60')
        for (const from of PEERS) await ping(from)
        // What was proved once is not proved again: a rekeyed IKE_SA goes on.
        const rekeyed = espalier.events('ike-rekeyed').length
        await daemon.swanctl('--rekey', '--ike', name)
        await eventually('the IKE_SA is rekeyed', () => (espalier.events('ike-rekeyed').length > rekeyed ? true : undefined))
        for (const from of PEERS) await ping(from)
        await daemon.swanctl('--terminate', '--ike', name, '--timeout', '60')
      })
  await t.test('revoked: refused, with the certificate in the log and AUTHENTICATION_FAILED to the peer', async () => {
    await assert.rejects(charon.swanctl('--initiate', '--child', 'revoked', '--timeout', '60'))
    assert.match(await charon.log(), /received AUTHENTICATION_FAILED notify error/)
    const said = (): readonly string[] => espalier.events('ike-failed').map(({ msg }) => msg)
    await eventually(
      () => `that it was revoked is told of: ${said().join('\n')}`,
      () =>
        said().some((msg) => /certificate 'C=CH, O=lab, CN=revoked\.charon\.example' .* was revoked on/.test(msg))
          ? true
          : undefined,
    )
  })
  const messages = espalier.daemon.lines.join('\n')
  for (const line of [
    'received issuer cert \\"C=CH, O=lab, CN=Sub CA of charon\\"',
    'sending issuer cert \\"C=CH, O=lab, CN=Sub CA of espalier\\"',
    "authentication of 'pss.charon.example' with RSA_EMSA_PSS_SHA2_256_SALT_32 successful",
    "authentication of 'second.charon.example' with pre-shared key successful",
  ])
    assert.ok(messages.includes(line), line)
})
