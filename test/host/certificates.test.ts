/**
 * IKE_AUTH by public keys with Debian's charon, in both roles, without a CHILD_SA (RFC 6023): each kind of key and of
 * proof is a connection of its own, told apart by identities. What is refused is refused with the line in the log that
 * says which certificate and why, and AUTHENTICATION_FAILED to charon.
 */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab, type Host } from '../lab/support/network.ts'
import { currentTimes, PkiServer } from '../lab/support/pki-server.ts'
import { eventually } from '../lab/support/process.ts'
import { type StrongswanVersion, withoutStrongswan6 } from '../lab/support/strongswan.ts'
import { makeAttributeCertificate } from '../support/attribute-certificates.ts'
import {
  keyPair,
  makeCa,
  makeCertificate,
  pem,
  type CertificateOptions,
  type TestCertificate,
  type TestKeyType,
} from '../support/pki.ts'
import { HOUR, makeCrl } from '../support/revocation.ts'

type Program = 'charon' | 'espalier'
const ADDRESS: Readonly<Record<Program, string>> = { charon: '192.0.2.1', espalier: '192.0.2.2' }
const PROGRAMS: readonly Program[] = ['charon', 'espalier']
const other = (program: Program): Program => (program === 'charon' ? 'espalier' : 'charon')

const ROOT = makeCa('C=CH, O=lab, CN=Root CA')
const OTHER_ROOT = makeCa('C=CH, O=lab, CN=Other Root CA')
/** Where nothing is to be heard of revocations. */
const SILENT_ROOT = makeCa('C=CH, O=lab, CN=Silent Root CA')
/** Each known to its own side alone. */
const SUB = {
  charon: makeCa('C=CH, O=lab, CN=Sub CA of charon', { issuer: ROOT, key: 'p384', pathLength: 0 }),
  espalier: makeCa('C=CH, O=lab, CN=Sub CA of espalier', { issuer: ROOT, key: 'p384', pathLength: 0 }),
}
const HIDDEN = makeCa('C=CH, O=lab, CN=Hidden CA', { issuer: ROOT, key: 'p384', pathLength: 0 })

const idOf = (kind: string, program: Program): string => `${kind}.${program}.example`

const leaves = new Map<string, TestCertificate>()

/** The same each time: ECDSA signatures have chance in them. */
function leaf(kind: string, program: Program, options: Partial<CertificateOptions> = {}): TestCertificate {
  const name = idOf(kind, program)
  const made =
    leaves.get(name) ?? makeCertificate({ subject: `C=CH, O=lab, CN=${name}`, issuer: ROOT, san: [`dns:${name}`], ...options })
  leaves.set(name, made)
  return made
}

/** One round of `local` or `remote`. */
type Round = Readonly<Record<string, string>>

interface Kind {
  readonly name: string
  readonly certificate?: (program: Program) => TestCertificate
  /** What the certificate's side says of itself, and what the other side wants of it. */
  readonly own?: (program: Program) => readonly Round[]
  readonly wanted?: (program: Program) => readonly Round[]
  readonly lines?: string
}

const KEYS: readonly TestKeyType[] = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'p256', 'p384', 'p521', 'ed25519', 'ed448']

const byKey = (key: TestKeyType): Kind => ({ name: key, certificate: (program) => leaf(key, program, { key }) })

const KINDS: readonly Kind[] = [
  ...KEYS.map(byKey),
  {
    name: 'pss',
    certificate: (program) => leaf('pss', program, { key: 'rsa-2048' }),
    own: () => [{ auth: 'ike:rsa/pss-sha256' }],
    wanted: () => [{ auth: 'ike:rsa/pss-sha256' }],
  },
  {
    name: 'constrained',
    certificate: (program) => leaf('constrained', program, { key: 'p384' }),
    own: () => [{ auth: 'pubkey-sha384-sha256' }],
    wanted: () => [{ auth: 'ecdsa-256-sha256-sha384', cacerts: 'root.pem' }],
  },
  {
    name: 'chain',
    certificate: (program) => leaf('chain', program, { issuer: SUB[program] }),
    wanted: (program) => [{ ca_id: `"C=CH, O=lab, CN=Sub CA of ${program}"` }],
  },
  // The subject of the certificate is who it is.
  {
    name: 'subject',
    certificate: (program) => leaf('subject', program),
    own: () => [{ id: '' }],
    wanted: (program) => [{ id: `"C=CH, O=lab, CN=${idOf('subject', program)}"` }],
  },
  {
    name: 'wildcard',
    certificate: (program) => leaf('wildcard', program),
    wanted: (program) => [{ id: `wild*.${program}.example`.replace('wild*', '*') }],
  },
  {
    name: 'pinned',
    certificate: (program) => leaf('pinned', program, { issuer: OTHER_ROOT }),
    wanted: (program) => [{ certs: `${program}-pinned.pem` }],
  },
  { name: 'always', certificate: (program) => leaf('always', program), lines: 'send_certreq = no\n send_cert = always' },
  {
    name: 'raw',
    own: (program) => [{ pubkeys: `${program}-raw.pem` }],
    wanted: (program) => [{ pubkeys: `${program}-raw.pem` }],
  },
  {
    name: 'mixed',
    certificate: (program) => leaf('mixed', program),
    own: (program) => [program === 'charon' ? { auth: 'psk' } : {}],
    wanted: (program) => [program === 'charon' ? { auth: 'psk' } : {}],
  },
  {
    name: 'rounds',
    certificate: (program) => leaf('rounds', program),
    own: (program) => [{}, { auth: 'psk', id: `second.${program}.example` }],
    wanted: (program) => [{}, { auth: 'psk', id: `second.${program}.example` }],
  },
]

const RAW_KEYS = { charon: keyPair('p256', 'raw charon'), espalier: keyPair('ed25519', 'raw espalier') }

function section(title: string, rounds: readonly Round[], base: Round): string {
  return rounds
    .map((round, i) => {
      const lines = Object.entries({ ...base, ...round, round: `${i + 1}` }).filter(([, value]) => value !== '')
      return `${title}-${i + 1} {\n${lines.map(([key, value]) => `${key} = ${value}`).join('\n')}\n}`
    })
    .join('\n')
}

function connectionOf(kind: Kind, program: Program, lines = ''): string {
  const { name, certificate, own, wanted } = kind
  const base = (side: Program): Round => ({ auth: 'pubkey', id: idOf(name, side) })
  const certs = certificate === undefined ? {} : { certs: `${program}-${name}.pem` }
  const rounds = (own?.(program) ?? [{}]).map((round) => (round['auth'] === 'psk' ? round : { ...certs, ...round }))
  return `${name} {
    version = 2
    local_addrs = ${ADDRESS[program]}
    remote_addrs = ${ADDRESS[other(program)]}
    proposals = aes128gcm16-prfsha256-x25519
    ${kind.lines ?? ''}
    ${lines}
    ${section('local', rounds, base(program))}
    ${section('remote', wanted?.(other(program)) ?? [{}], base(other(program)))}
    children { net { esp_proposals = aes128gcm16 } }
  }`
}

const SECRETS = 'secrets { ike-all { secret = "told to nobody" } }'

/** The kinds' files, and swanctl.conf, of one of the two. */
function filesOf(program: Program, kinds: readonly Kind[], more = ''): Map<string, string> {
  const files = new Map<string, string>([
    ['x509ca/root.pem', ROOT.pem],
    ['x509ca/silent.pem', SILENT_ROOT.pem],
    ['swanctl.conf', `connections {\n${kinds.map((kind) => connectionOf(kind, program)).join('\n')}\n}\n${SECRETS}\n${more}`],
    ['private/raw.pem', RAW_KEYS[program].pem],
  ])
  for (const side of PROGRAMS) files.set(`pubkey/${side}-raw.pem`, RAW_KEYS[side].publicPem)
  for (const { name, certificate } of kinds) {
    const own = certificate?.(program)
    if (own === undefined) continue
    files.set(`x509/${program}-${name}.pem`, own.pem)
    files.set(`private/${name}.pem`, own.key.pem)
    if (name === 'chain') files.set('x509ca/sub.pem', SUB[program].pem)
    if (name === 'pinned') files.set(`x509/${other(program)}-${name}.pem`, certificate!(other(program)).pem)
  }
  return files
}

async function write(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(join(directory, 'swanctl', path, '..'), { recursive: true })
    await writeFile(join(directory, 'swanctl', path), content)
  }
}

class Two {
  readonly hosts: Readonly<Record<Program, Host>>
  readonly charon: Charon
  readonly espalier: Espalier

  private constructor(hosts: Readonly<Record<Program, Host>>, charon: Charon, espalier: Espalier) {
    this.hosts = hosts
    this.charon = charon
    this.espalier = espalier
  }

  static async start(
    t: TestContext,
    files: Readonly<Record<Program, ReadonlyMap<string, string>>>,
    settings: Partial<Record<Program, string>> = {},
    version: StrongswanVersion = 'installed',
  ): Promise<Two> {
    const lab = new Lab(t)
    const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
    await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
    for (const program of PROGRAMS) await write(join(await lab.directory(), program), files[program])
    const conf = (program: Program): string => files[program].get('swanctl.conf')!
    const quick = 'retransmit_tries = 2'
    const charon = await Charon.start(hosts.charon, {
      configuration: conf('charon'),
      settings: `${quick}\n${settings.charon ?? ''}`,
      version,
    })
    const espalier = await Espalier.start(hosts.espalier, {
      configuration: conf('espalier'),
      settings: `${quick}\n${settings.espalier ?? ''}`,
      kernel: 'memory',
    })
    return new Two(hosts, charon, espalier)
  }

  /** Brings the IKE_SA up and down again; rejects when that fails. */
  async upAndDown(initiator: Program, name: string): Promise<void> {
    const daemon = this[initiator]
    await daemon.swanctl('--initiate', '--ike', name, '--timeout', '30')
    await daemon.swanctl('--terminate', '--ike', name, '--timeout', '30')
  }

  get messages(): readonly string[] {
    return this.espalier.daemon.lines
      .filter((line) => line.startsWith('{'))
      .map((line) => (JSON.parse(line) as { msg: string }).msg)
  }
}

test('every kind of key and proof, with charon in both roles', (t) => everyKind(t, 'installed'))

test('and with that of strongSwan 6', { skip: withoutStrongswan6 }, (t) => everyKind(t, 6))

async function everyKind(t: TestContext, version: StrongswanVersion): Promise<void> {
  const two = await Two.start(t, { charon: filesOf('charon', KINDS), espalier: filesOf('espalier', KINDS) }, {}, version)
  for (const { name } of KINDS)
    for (const initiator of PROGRAMS) await t.test(`${name}, ${initiator} initiates`, () => two.upAndDown(initiator, name))
  const { messages } = two
  for (const line of [
    "authentication of 'rsa-2048.charon.example' with RSA_EMSA_PKCS1_SHA2_256 successful",
    "authentication of 'rsa-4096.charon.example' with RSA_EMSA_PKCS1_SHA2_384 successful",
    "authentication of 'pss.charon.example' with RSA_EMSA_PSS_SHA2_256_SALT_32 successful",
    "authentication of 'p384.charon.example' with ECDSA_WITH_SHA384_DER successful",
    "authentication of 'p521.espalier.example' (myself) with ECDSA_WITH_SHA512_DER successful",
    "authentication of 'ed25519.charon.example' with ED25519 successful",
    "authentication of 'ed448.charon.example' with ED448 successful",
    "authentication of 'C=CH, O=lab, CN=subject.charon.example' with ECDSA_WITH_SHA256_DER successful",
    'received issuer cert "C=CH, O=lab, CN=Sub CA of charon"',
    'sending issuer cert "C=CH, O=lab, CN=Sub CA of espalier"',
    '  using trusted certificate "C=CH, O=lab, CN=pinned.charon.example"',
  ])
    await t.test(line, () => assert.ok(messages.includes(line)))
}

for (const program of PROGRAMS)
  test(`the methods before RFC 7427, as ${program} has nothing else`, async (t) => {
    const kinds = ['rsa-2048', 'p256', 'p384', 'p521'].map((key) => byKey(key as TestKeyType))
    const settings = { [program]: 'signature_authentication = no' }
    const two = await Two.start(t, { charon: filesOf('charon', kinds), espalier: filesOf('espalier', kinds) }, settings)
    for (const { name } of kinds)
      for (const initiator of PROGRAMS) await t.test(`${name}, ${initiator} initiates`, () => two.upAndDown(initiator, name))
    for (const line of ['rsa-2048.charon.example RSA', 'p256.charon.example ECDSA-256', 'p521.charon.example ECDSA-521']) {
      const [id, method] = line.split(' ')
      assert.ok(two.messages.includes(`authentication of '${id}' with ${method} signature successful`), line)
    }
  })

const DAY = 24 * HOUR

/** charon shows these; espalier is to refuse them, in such words. */
const REFUSED: readonly { readonly kind: Kind; readonly why: RegExp }[] = [
  {
    kind: {
      name: 'expired',
      certificate: (side) => leaf('expired', side, side === 'charon' ? { notAfter: Date.now() - DAY } : {}),
    },
    why: /certificate 'C=CH, O=lab, CN=expired\.charon\.example' \(serial .*\) expired on/,
  },
  {
    kind: { name: 'early', certificate: (side) => leaf('early', side, side === 'charon' ? { notBefore: Date.now() + DAY } : {}) },
    why: /certificate 'C=CH, O=lab, CN=early\.charon\.example' .* not (yet valid|valid)/,
  },
  {
    kind: { name: 'stranger', certificate: (side) => leaf('stranger', side, side === 'charon' ? { issuer: OTHER_ROOT } : {}) },
    why: /no trusted ECDSA public key found for 'stranger\.charon\.example': .*certificate 'C=CH, O=lab, CN=stranger\.charon\.example'.*issuer/,
  },
  {
    kind: {
      name: 'renamed',
      certificate: (side) =>
        leaf('renamed', side, side === 'charon' ? { subject: 'C=CH, O=lab, CN=somebody', san: ['dns:somebody.example'] } : {}),
    },
    why: /certificate 'C=CH, O=lab, CN=somebody' \(serial .*\) does not confirm this identity/,
  },
  {
    kind: { name: 'withheld', certificate: (side) => leaf('withheld', side, side === 'charon' ? { issuer: HIDDEN } : {}) },
    why: /no trusted ECDSA public key found for 'withheld\.charon\.example': .*issuer/,
  },
  {
    kind: {
      name: 'weak',
      certificate: (side) => leaf('weak', side, { key: side === 'charon' ? 'rsa-1024' : 'rsa-2048' }),
      wanted: () => [{ auth: 'rsa-2048' }],
    },
    why: /RSA-1024 signatures not acceptable|weak|1024/,
  },
  {
    kind: {
      name: 'wrong-hash',
      certificate: (side) => leaf('wrong-hash', side),
      wanted: (side) => [side === 'charon' ? { auth: 'pubkey-sha384-ike:pubkey-sha256' } : {}],
    },
    why: /constraint check failed: X\.509 signature scheme ECDSA_WITH_SHA256_DER not acceptable/,
  },
  {
    kind: {
      name: 'another-ca',
      certificate: (side) => leaf('another-ca', side),
      wanted: (side) => [side === 'charon' ? { ca_id: '"C=CH, O=lab, CN=Sub CA"' } : {}],
    },
    why: /constraint check failed: peer not authenticated by CA 'C=CH, O=lab, CN=Sub CA'/,
  },
  {
    kind: {
      name: 'unlocked',
      certificate: (side) => leaf('unlocked', side, side === 'charon' ? { keyUsage: 1 << 2 } : {}),
    },
    why: /digitalSignature|key usage/i,
  },
]

test('what charon shows and must not get in by: refused in both roles, the log says which certificate and why', async (t) => {
  const kinds = REFUSED.map(({ kind }) => kind)
  const two = await Two.start(t, { charon: filesOf('charon', kinds), espalier: filesOf('espalier', kinds) })
  for (const { kind, why } of REFUSED) {
    await t.test(`${kind.name}: charon initiates`, async () => {
      const from = two.messages.length
      await assert.rejects(two.upAndDown('charon', kind.name))
      assert.match(await two.charon.log(), /received AUTHENTICATION_FAILED notify error/)
      assert.ok(
        two.messages.slice(from).some((line) => why.test(line)),
        two.messages.slice(from).join('\n'),
      )
    })
    await t.test(`${kind.name}: espalier initiates`, async () => {
      const from = two.messages.length
      await assert.rejects(two.upAndDown('espalier', kind.name))
      assert.ok(
        two.messages.slice(from).some((line) => why.test(line)),
        two.messages.slice(from).join('\n'),
      )
    })
  }
  await eventually('charon has let go of everything', async () =>
    (await two.charon.listSas()).includes('ESTABLISHED') ? undefined : true,
  )
  assert.equal(two.espalier.events('ike-established').length, 0)
})

test('CRL and OCSP: good, revoked and not to be had, under each policy', async (t) => {
  const base = `http://${ADDRESS.charon}`
  const [crlUris, ocspUris] = [[`${base}/root.crl`], [`${base}/ocsp`]]
  const silent = { issuer: SILENT_ROOT }
  const gone = { ...silent, crlUris: ['http://192.0.2.99/root.crl'] }
  const policy = (revocation: string) => ({ wanted: (side: Program) => [side === 'charon' ? { revocation } : {}] })
  const kindOf = (name: string, revocation: string, options: Partial<CertificateOptions>): Kind => ({
    name,
    certificate: (side) => leaf(name, side, side === 'charon' ? options : {}),
    ...policy(revocation),
  })
  const fine = [
    kindOf('crl-good', 'strict', { crlUris }),
    kindOf('ocsp-good', 'strict', { ocspUris }),
    kindOf('none-ifuri', 'ifuri', silent),
    kindOf('none-relaxed', 'relaxed', silent),
    kindOf('gone-relaxed', 'relaxed', gone),
  ]
  const bad = [
    kindOf('crl-revoked', 'relaxed', { crlUris }),
    kindOf('ocsp-revoked', 'relaxed', { ocspUris }),
    kindOf('none-strict', 'strict', silent),
    kindOf('gone-ifuri', 'ifuri', gone),
    kindOf('gone-strict', 'strict', gone),
  ]
  const kinds = [...fine, ...bad]
  // Nobody is at 192.0.2.99, which takes three seconds to find out; the server is, and may be slow.
  const settings = { espalier: 'plugins { revocation { timeout = 10s } }' }
  const two = await Two.start(t, { charon: filesOf('charon', kinds), espalier: filesOf('espalier', kinds) }, settings)
  const server = await PkiServer.start(two.hosts.charon)
  const certificateOf = (name: string): TestCertificate => kinds.find((kind) => kind.name === name)!.certificate!('charon')
  await server.offer(
    'root.crl',
    makeCrl({ issuer: ROOT, ...currentTimes(), revoked: [{ certificate: certificateOf('crl-revoked'), reason: 1 }] }),
  )
  await server.answer(certificateOf('ocsp-good'), ROOT, { status: 'good' })
  await server.answer(certificateOf('ocsp-revoked'), ROOT, { status: 'revoked' })
  for (const { name } of fine) await t.test(name, () => two.upAndDown('charon', name))
  for (const { name } of bad)
    await t.test(name, async () => {
      const from = two.messages.length
      await assert.rejects(two.upAndDown('charon', name))
      const why = name.includes('revoked')
        ? /was revoked on/
        : /constraint check failed: .*revoked is not known|constraint check failed: .*CRL/
      assert.ok(
        two.messages.slice(from).some((line) => why.test(line) && line.includes(`CN=${idOf(name, 'charon')}`)),
        two.messages.slice(from).join('\n'),
      )
    })
  assert.ok(server.requests().includes('GET /root.crl 200'), server.requests().join('\n'))
})

test('attribute certificates: sent by either, and charon gets in by the group in its own alone', async (t) => {
  const authority = makeCertificate({ subject: 'C=CH, O=lab, CN=Attribute Authority', issuer: ROOT })
  const groups = { wanted: (side: Program) => [side === 'charon' ? { groups: 'board, staff' } : {}] }
  const kindOf = (name: string): Kind => ({ name, certificate: (side) => leaf(name, side), ...groups })
  const kinds = [kindOf('member'), kindOf('guest'), kindOf('former'), kindOf('nobody')]
  const attributeOf = (name: string, side: Program, group: string, notAfter = Date.now() + DAY): string =>
    pem(
      'ATTRIBUTE CERTIFICATE',
      makeAttributeCertificate({ holder: leaf(name, side), issuer: authority, groups: [group], notAfter }),
    )
  const files = { charon: filesOf('charon', kinds), espalier: filesOf('espalier', kinds) }
  for (const side of PROGRAMS) {
    files[side].set('x509aa/authority.pem', authority.pem)
    files[side].set('x509ac/member.pem', attributeOf('member', side, 'staff'))
    files[side].set('x509ac/guest.pem', attributeOf('guest', side, 'guests'))
  }
  // charon would not send it any more.
  files.espalier.set('x509ac/former.pem', attributeOf('former', 'charon', 'staff', Date.now() - DAY))
  const two = await Two.start(t, files)
  for (const initiator of PROGRAMS) {
    await t.test(`member, ${initiator} initiates`, () => two.upAndDown(initiator, 'member'))
    for (const name of ['guest', 'former', 'nobody'])
      await t.test(`${name}, ${initiator} initiates`, async () => {
        const from = two.messages.length
        await assert.rejects(two.upAndDown(initiator, name))
        const why = /constraint check failed: group membership to 'staff' required(.*)/
        const said = two.messages.slice(from).flatMap((line) => why.exec(line)?.[1] ?? [])
        assert.ok(said.length > 0, two.messages.slice(from).join('\n'))
        assert.equal(
          /attribute certificate by 'C=CH, O=lab, CN=Attribute Authority' .* expired on/.test(said[0]!),
          name === 'former',
        )
      })
  }
  const line = 'attribute certificate issued by "C=CH, O=lab, CN=Attribute Authority"'
  assert.ok(two.messages.includes(`received ${line}`) && two.messages.includes(`sending ${line}`))
  const log = await two.charon.log()
  assert.ok(log.includes(`received ${line}`) && log.includes(`sending ${line}`))
})
