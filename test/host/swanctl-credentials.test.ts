/**
 * Certificates and keys by Debian's swanctl, with charon and with espalier at the other end of its socket: the same
 * directories, in the same order; it prints the same of both, plain, raw and pretty.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { LISTED_PROPOSALS } from '../lab/support/listed.ts'
import { Lab } from '../lab/support/network.ts'
import { tryRun } from '../lab/support/process.ts'
import { makeAttributeCertificate } from '../support/attribute-certificates.ts'
import { makeCrl } from '../support/revocation.ts'
import { keyPair, makeCa, makeCertificate, pem, type TestKey } from '../support/pki.ts'

const PASSPHRASE = 'open sesame'

const ROOT = makeCa('C=CH, O=strongSwan, CN=strongSwan Root CA', { key: 'rsa-2048' })
const MIDDLE = makeCa('C=CH, O=strongSwan, CN=Research CA', { issuer: ROOT, key: 'p384', pathLength: 0 })
const MOON = makeCertificate({
  subject: 'C=CH, O=strongSwan, CN=moon.strongswan.org',
  issuer: MIDDLE,
  san: ['dns:moon.strongswan.org', 'ip:192.0.2.1'],
  crlUris: ['http://crl.strongswan.org/research.crl'],
})
const SUN = makeCertificate({
  subject: 'C=CH, O=strongSwan, CN=sun.strongswan.org',
  issuer: ROOT,
  key: 'rsa-2048',
  san: ['email:sun@strongswan.org'],
})
const ALICE = makeCertificate({ subject: 'C=CH, CN=alice', issuer: MIDDLE, key: 'ed25519' })
const OCSP = makeCertificate({
  subject: 'C=CH, O=strongSwan, CN=OCSP',
  issuer: ROOT,
  extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'],
})
const AUTHORITY = makeCertificate({ subject: 'C=CH, O=strongSwan, CN=Attribute Authority', issuer: ROOT })
const STAFF = makeAttributeCertificate({ holder: MOON, issuer: AUTHORITY, groups: ['staff', 'research'] })
const SALES = makeAttributeCertificate({ holder: SUN, issuer: AUTHORITY, groups: ['sales'] })
const CRL = makeCrl({ issuer: MIDDLE, revoked: [{ certificate: ALICE }] })
const RAW = keyPair('p256', 'a raw public key')

const encrypted = (key: TestKey): string =>
  key.object.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSPHRASE })

const FILES: Readonly<Record<string, string | Uint8Array>> = {
  'x509/moon.pem': MOON.pem,
  'x509/sun.der': SUN.der,
  'x509/nonsense.pem': 'no certificate at all',
  'x509ca/root.pem': ROOT.pem,
  'x509ca/middle.der': MIDDLE.der,
  'x509ca/moon.pem': MOON.pem,
  'x509ocsp/ocsp.pem': OCSP.pem,
  'x509aa/authority.pem': AUTHORITY.pem,
  'x509ac/moon.pem': pem('ATTRIBUTE CERTIFICATE', STAFF),
  'x509ac/sun.der': SALES,
  'x509ac/nonsense.der': MOON.der,
  'x509crl/research.crl': CRL,
  'pubkey/raw.pem': RAW.publicPem,
  'private/moon.pem': MOON.key.pem,
  'private/alice.pem': encrypted(ALICE.key),
  'private/locked.pem': encrypted(RAW),
  'private/nonsense.pem': 'no key at all',
  'rsa/sun.der': SUN.key.pkcs8,
  'ecdsa/sun.der': SUN.key.pkcs8,
}

const CONFIGURATION = `
connections {
  certificates {
    local { auth = pubkey
      certs = moon.pem }
    remote { auth = pubkey
      id = "C=CH, O=strongSwan, CN=*"
      cacerts = root.pem, middle.der
      ca_id = "C=CH, O=strongSwan, CN=Research CA"
      cert_policy = 1.3.6.1.4.1.36906.1
      revocation = strict }
    children { net { } }
  }
  rounds {
    local-2 { round = 2
      auth = psk
      id = second }
    local-1 { round = 1
      auth = pubkey-sha384-sha256
      certs = sun.der, moon.pem
      id = sun@strongswan.org }
    remote { auth = pubkey
      certs = moon.pem
      revocation = ifuri }
    remote-b { auth = psk
      id = third }
  }
  keys {
    local { auth = pubkey
      pubkeys = raw.pem
      id = me }
    remote { auth = pubkey
      pubkeys = raw.pem }
  }
  sections {
    local { auth = ecdsa-256
      cert-a { file = DIRECTORY/x509/moon.pem } }
    remote { id = moon.strongswan.org
      cacert-a { file = DIRECTORY/x509ca/root.pem } }
  }
  default {
  }
}
secrets {
  private-alice { file = alice.pem
    secret = "${PASSPHRASE}" }
  pkcs12-bob { file = bob.p12
    secret = "${PASSPHRASE}" }
}
authorities {
  root {
    cacert = root.pem
    crl_uris = http://crl.strongswan.org/root.crl, file:///var/lib/root.crl
    ocsp_uris = http://ocsp.strongswan.org:8880
  }
  research {
    file = DIRECTORY/x509ca/middle.der
    cert_uri_base = http://certs.strongswan.org/
  }
}
`

const WRONG = `
connections {
  no-section { local { auth = pubkey
    cert-a { } } }
  a-file { local { auth = pubkey
    cert-a { file = /no/such/file } } }
  both { local { auth = pubkey
    cert-a { file = /no/such/file
      handle = 0a } } }
  no-method { local { auth = nonsense } }
  no-revocation { remote { revocation = soon } }
}
authorities {
  without { crl_uris = http://crl.strongswan.org/ }
}
`

const FORMATS = [[], ['--raw'], ['--pretty']] as const
type Program = 'charon' | 'espalier'
const PROGRAMS: readonly Program[] = ['charon', 'espalier']

/** Bob's certificate and key in PKCS#12, and the authority's in the middle. */
async function writeContainer(directory: string): Promise<void> {
  const bob = makeCertificate({ subject: 'C=CH, CN=bob', issuer: MIDDLE, key: 'p384' })
  const [input, output] = [join(directory, 'bob.pem'), join(directory, 'pkcs12/bob.p12')]
  await writeFile(input, `${bob.key.pem}${bob.pem}${MIDDLE.pem}`)
  await mkdir(join(directory, 'pkcs12'))
  const args = ['pkcs12', '-export', '-in', input, '-out', output, '-passout', `pass:${PASSPHRASE}`]
  const { status, stderr } = await tryRun('openssl', args)
  assert.equal(status, 0, stderr)
  await rm(input)
}

class World {
  readonly directory: string
  readonly #daemons: Readonly<Record<Program, Charon | Espalier>>

  private constructor(daemons: Readonly<Record<Program, Charon | Espalier>>, directory: string) {
    this.#daemons = daemons
    this.directory = directory
  }

  static async of(t: TestContext): Promise<World> {
    const lab = new Lab(t)
    const charon = await Charon.start(await lab.host('charon'), { configuration: '', esp: 'userspace' })
    const espalier = await Espalier.start(await lab.host('espalier'), { configuration: '', kernel: 'memory' })
    const world = new World({ charon, espalier }, join(await lab.directory(), 'swanctl-of-the-client'))
    for (const [path, content] of Object.entries(FILES)) await world.write(path, content)
    await writeContainer(world.directory)
    await world.write('swanctl.conf', CONFIGURATION.replaceAll('DIRECTORY', world.directory))
    return world
  }

  async write(path: string, content: string | Uint8Array): Promise<void> {
    await mkdir(join(this.directory, path, '..'), { recursive: true })
    await writeFile(join(this.directory, path), content)
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.directory, path))
  }

  async ask(program: Program, args: readonly string[]): Promise<string> {
    const daemon = this.#daemons[program]
    const env = { ...this.#charon().swanctlOptions().env, SWANCTL_DIR: this.directory }
    const { stdout, stderr, status } = await tryRun('swanctl', [...args, '--uri', daemon.uri], { env })
    return `${stdout}${stderr}status ${String(status)}\n`
  }

  #charon(): Charon {
    const { charon } = this.#daemons
    assert.ok(charon instanceof Charon)
    return charon
  }

  /** In every format; `apart` takes away what may differ. */
  async compare(t: TestContext, args: readonly string[], apart: (said: string) => string = (said) => said): Promise<string> {
    let plain = ''
    for (const format of FORMATS) {
      const [theirs, ours] = await Promise.all(PROGRAMS.map((program) => this.ask(program, [...args, ...format])))
      if (format.length === 0) plain = ours!
      await t.test(`swanctl ${[...args, ...format].join(' ')}`, () => assert.equal(apart(ours!), apart(theirs!)))
    }
    return plain
  }

  logOf(program: Program): Promise<string> | string {
    const daemon = this.#daemons[program]
    return daemon instanceof Charon ? daemon.log() : daemon.daemon.lines.join('\n')
  }
}

/** Ports are listed by strongSwan 6.0.3 and later, proposals by 6.0.7; what is not honoured is told in a list of its own; key ids are printed as one writes them. */
const withoutNews = (said: string): string =>
  said
    .replaceAll(/@#([0-9a-f]{40})\b/g, (_text, digits: string) => digits.match(/../g)!.join(':'))
    .replaceAll(LISTED_PROPOSALS, '')
    .replaceAll(/ (?:local|remote)_port=\d+|^ *(?:local|remote)_port = \d+\n/gm, '')
    .replaceAll(/ warnings=\[[^\]]*\]|^ *warnings = \[\n(?: .*\n)*? *\]\n/gm, '')

/** Why something was refused stands behind charon's sentence. */
const withoutReasons = (said: string): string =>
  withoutNews(said).replaceAll(
    /(unable to load certificate: [\w-]+|parsing \w+ (?:certificate|private key) failed|config discarded|authority discarded|handle (?:or file path missing|and file path given): [\w-]+|CA certificate missing: [\w-]+): [^}\n]*/g,
    '$1',
  )

const skip = existsSync('/dev/net/tun') ? false : `charon's own ESP needs /dev/net/tun`

test('swanctl prints the same of certificates and keys, whether charon or espalier has them', { skip }, async (t) => {
  const world = await World.of(t)
  const compare = (...args: string[]): Promise<string> => world.compare(t, args, withoutReasons)

  const loaded = await compare('--load-creds', '--noprompt')
  for (const path of [
    'x509/moon.pem',
    'x509ca/root.pem',
    'x509aa/authority.pem',
    'x509ac/moon.pem',
    'private/alice.pem',
    'pkcs12/bob.p12',
    'rsa/sun.der',
  ])
    assert.match(loaded, new RegExp(`^loaded .* from '${world.directory}/${path}'$`, 'm'))
  for (const path of [
    'x509/nonsense.pem',
    'x509ca/moon.pem',
    'x509ac/nonsense.der',
    'private/nonsense.pem',
    'private/locked.pem',
  ])
    assert.match(loaded, new RegExp(`^loading '${world.directory}/${path}' failed: `, 'm'))
  const listed = await compare('--list-certs')
  assert.match(listed, /has private key/)
  for (const args of [
    ...['x509', 'x509_ac', 'x509_crl', 'ocsp_response', 'pubkey', 'any', 'nonsense'].map((type) => ['--type', type]),
    ...['none', 'ca', 'aa', 'ocsp', 'any', 'nonsense'].map((flag) => ['--type', 'x509', '--flag', flag]),
    ...[
      'C=CH, O=strongSwan, CN=moon.strongswan.org',
      'C=CH, O=strongSwan, CN=*',
      'moon.strongswan.org',
      '192.0.2.1',
      'sun@strongswan.org',
      'nobody',
    ].map((subject) => ['--subject', subject]),
    ['--pem'],
    ['--short'],
    ['--utc'],
  ])
    await compare('--list-certs', ...args)

  await compare('--load-authorities')
  await compare('--list-authorities')
  await compare('--list-authorities', '--name', 'root')
  await compare('--load-conns')
  const connections = await compare('--list-conns')
  assert.match(connections, /certs: C=CH, O=strongSwan, CN=moon\.strongswan\.org/)
  await compare('--list-certs')
  await compare('--load-all', '--noprompt')
  await compare('--load-creds', '--noprompt', '--clear')
  await compare('--flush-certs')

  await t.test('a key that is gone is unloaded', async (subtest) => {
    await world.remove('private/moon.pem')
    await world.compare(subtest, ['--load-creds', '--noprompt'], withoutReasons)
    await world.compare(subtest, ['--list-certs', '--subject', 'moon.strongswan.org'])
    assert.doesNotMatch(await world.ask('espalier', ['--list-certs', '--subject', 'moon.strongswan.org']), /has private key/)
  })

  await t.test('nothing is left of authorities and connections that are gone', async (subtest) => {
    await world.write('swanctl.conf', '')
    for (const args of [['--load-authorities'], ['--list-authorities'], ['--load-conns'], ['--list-conns']])
      await world.compare(subtest, args)
  })

  await t.test('what is wrong is refused in the same words', async (subtest) => {
    await world.write('swanctl.conf', WRONG)
    for (const args of [['--load-conns'], ['--load-authorities']]) await world.compare(subtest, args, withoutReasons)
  })

  for (const program of PROGRAMS) assert.ok(!(await world.logOf(program)).includes(PASSPHRASE))
})

test('the daemon reads the directories by itself, when it starts and at SIGHUP', async (t) => {
  const lab = new Lab(t)
  const host = await lab.host('alone')
  const directory = join(await lab.directory(), host.name, 'swanctl')
  const write = async (path: string, content: string | Uint8Array): Promise<void> => {
    await mkdir(join(directory, path, '..'), { recursive: true })
    await writeFile(join(directory, path), content)
  }
  for (const [path, content] of Object.entries(FILES)) await write(path, content)
  await writeContainer(directory)
  const espalier = await Espalier.start(host, {
    kernel: 'memory',
    configuration: `secrets {
      private-alice { file = alice.pem\n secret = "${PASSPHRASE}"\n }
      pkcs12-bob { file = bob.p12\n secret = "${PASSPHRASE}"\n } }`,
  })
  const { msg } = await espalier.event('configured')
  assert.match(msg, /: 0 connections with 0 children, 0 pre-shared keys, 8 certificates and 5 private keys from /)
  // One for each file that cannot be read, with its name and the reason.
  const told = espalier.events('configuration-warning').map((line) => line.msg.replace(`${directory}/`, ''))
  assert.deepEqual(
    told.map((line) => line.split(': ')[0]),
    ['x509/nonsense.pem', 'x509ca/moon.pem', 'x509ac/nonsense.der', 'private/locked.pem', 'private/nonsense.pem'],
  )
  assert.match(told[3]!, /there is no passphrase for it$/)
  const listed = await espalier.swanctl('--list-certs', '--type', 'x509')
  assert.match(listed, /subject: +"C=CH, O=strongSwan, CN=moon\.strongswan\.org"/)
  assert.match(listed, /has private key/)
  assert.match(listed, /subject: +"C=CH, CN=bob"/)

  await rm(join(directory, 'x509/moon.pem'))
  await rm(join(directory, 'private/alice.pem'))
  await write('x509/alice.pem', ALICE.pem)
  espalier.daemon.signal('SIGHUP')
  await espalier.event('reloaded')
  assert.deepEqual(
    espalier.events('configuration-changed').map((line) => line.msg.replace(/[0-9a-f]{40}/, 'ID')),
    [
      "unloaded certificate 'C=CH, O=strongSwan, CN=moon.strongswan.org'",
      'unloaded private key with id ID',
      "loaded certificate 'C=CH, CN=alice'",
    ],
  )
  assert.doesNotMatch(espalier.daemon.lines.join('\n'), /open sesame|PRIVATE KEY/)
})
