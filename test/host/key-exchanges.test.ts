/**
 * Additional key exchanges (RFC 9370) and ML-KEM with the charon of strongSwan 6, in both roles, without a CHILD_SA
 * (RFC 6023): each choice of key exchanges is a connection of its own.
 */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { withoutStrongswan6 } from '../lab/support/strongswan.ts'
import { makeCa, makeCertificate } from '../support/pki.ts'

type Program = 'charon' | 'espalier'
const ADDRESS: Readonly<Record<Program, string>> = { charon: '192.0.2.1', espalier: '192.0.2.2' }
const PROGRAMS: readonly Program[] = ['charon', 'espalier']
const other = (program: Program): Program => (program === 'charon' ? 'espalier' : 'charon')

interface Kind {
  readonly name: string
  readonly proposals: string
  /** What is chosen, as swanctl lists it. */
  readonly chosen: string
  readonly auth?: 'psk' | 'pubkey' | 'rounds'
  readonly lines?: string
}

const KINDS: readonly Kind[] = [
  { name: 'mlkem512', proposals: 'aes128gcm16-prfsha256-x25519-ke1_mlkem512', chosen: 'CURVE_25519/KE1_ML_KEM_512' },
  { name: 'mlkem768', proposals: 'aes256-sha256-x25519-ke1_mlkem768', chosen: 'CURVE_25519/KE1_ML_KEM_768' },
  { name: 'mlkem1024', proposals: 'aes256gcm16-prfsha384-ecp384-ke1_mlkem1024', chosen: 'ECP_384/KE1_ML_KEM_1024' },
  { name: 'first', proposals: 'aes256-sha512-mlkem768', chosen: 'ML_KEM_768' },
  { name: 'both', proposals: 'aes192gcm16-prfsha512-mlkem1024-ke1_x448', chosen: 'ML_KEM_1024/KE1_CURVE_448' },
  {
    name: 'seven',
    proposals:
      'chacha20poly1305-prfsha256-x25519-ke1_mlkem768-ke2_ecp256-ke3_mlkem1024-ke4_x448-ke5_ecp384-ke6_mlkem512-ke7_modp2048',
    chosen: 'CURVE_25519/KE1_ML_KEM_768/KE2_ECP_256/KE3_ML_KEM_1024/KE4_CURVE_448/KE5_ECP_384/KE6_ML_KEM_512/KE7_MODP_2048',
  },
  {
    name: 'optional',
    proposals: 'aes128-sha384-x448-ke2_mlkem512-ke2_none-ke3_mlkem512-ke3_none',
    // No method is taken twice.
    chosen: 'CURVE_448/KE2_ML_KEM_512',
  },
  {
    name: 'certificates',
    proposals: 'aes192-sha256-x25519-ke1_mlkem768-ke5_ecp521',
    chosen: 'CURVE_25519/KE1_ML_KEM_768/KE5_ECP_521',
    auth: 'pubkey',
  },
  {
    name: 'rounds',
    proposals: 'aes256gcm16-prfsha256-ecp256-ke3_mlkem768',
    chosen: 'ECP_256/KE3_ML_KEM_768',
    auth: 'rounds',
  },
  // The PRF that makes what AUTH covers has keys of one length.
  { name: 'cmac', proposals: 'aes128ctr-aescmac-prfaescmac-x25519-ke1_mlkem768', chosen: 'CURVE_25519/KE1_ML_KEM_768' },
  {
    name: 'whole',
    proposals: 'aes192ctr-sha256-x25519-ke1_mlkem1024',
    chosen: 'CURVE_25519/KE1_ML_KEM_1024',
    lines: 'fragmentation = no',
  },
]

const ROOT = makeCa('C=CH, O=lab, CN=Root CA')
const idOf = (name: string, program: Program): string => `${name}.${program}.example`
const CERTIFICATES = new Map(
  KINDS.filter(({ auth }) => auth === 'pubkey' || auth === 'rounds').flatMap(({ name }) =>
    PROGRAMS.map((program) => {
      const id = idOf(name, program)
      return [id, makeCertificate({ subject: `C=CH, O=lab, CN=${id}`, issuer: ROOT, san: [`dns:${id}`] })] as const
    }),
  ),
)

function connectionOf({ name, proposals, auth = 'psk', lines = '' }: Kind, program: Program): string {
  const roundsOf = (side: Program, title: 'local' | 'remote'): string => {
    const id = idOf(name, side)
    const first = auth === 'psk' ? 'auth = psk' : `auth = pubkey\n${title === 'local' ? `certs = ${name}.pem` : ''}`
    const second = `${title}-2 {\nround = 2\nauth = psk\nid = second.${side}.example\n}`
    return `${title}-1 {\nround = 1\nid = ${id}\n${first}\n}\n${auth === 'rounds' ? second : ''}`
  }
  return `${name} {
    version = 2
    local_addrs = ${ADDRESS[program]}
    remote_addrs = ${ADDRESS[other(program)]}
    proposals = ${proposals}
    ${lines}
    ${roundsOf(program, 'local')}
    ${roundsOf(other(program), 'remote')}
    children { net { esp_proposals = aes128gcm16 } }
  }`
}

const configurationOf = (program: Program): string =>
  `connections {\n${KINDS.map((kind) => connectionOf(kind, program)).join('\n')}\n}
  secrets { ike-all { secret = "told to nobody" } }`

async function writeFiles(directory: string, program: Program): Promise<void> {
  for (const folder of ['x509', 'x509ca', 'private']) await mkdir(join(directory, 'swanctl', folder), { recursive: true })
  await writeFile(join(directory, 'swanctl/x509ca/root.pem'), ROOT.pem)
  for (const { name } of KINDS) {
    const own = CERTIFICATES.get(idOf(name, program))
    if (own === undefined) continue
    await writeFile(join(directory, `swanctl/x509/${name}.pem`), own.pem)
    await writeFile(join(directory, `swanctl/private/${name}.pem`), own.key.pem)
  }
}

test('additional key exchanges and ML-KEM with charon in both roles', { skip: withoutStrongswan6 }, async (t) => {
  const lab = new Lab(t)
  const hosts = { charon: await lab.host('charon'), espalier: await lab.host('espalier') }
  await lab.cable(hosts.charon, 'wan', `${ADDRESS.charon}/24`, hosts.espalier, 'wan', `${ADDRESS.espalier}/24`)
  for (const program of PROGRAMS) await writeFiles(join(await lab.directory(), program), program)
  const settings = 'retransmit_tries = 2'
  const charon = await Charon.start(hosts.charon, {
    configuration: configurationOf('charon'),
    settings,
    version: 6,
    plugins: 'ml',
  })
  const espalier = await Espalier.start(hosts.espalier, {
    configuration: configurationOf('espalier'),
    settings: `${settings}\nfragment_size = 800`,
    kernel: 'memory',
  })
  const daemons = { charon, espalier }
  for (const { name, chosen } of KINDS)
    for (const initiator of PROGRAMS)
      await t.test(`${name}, ${initiator} initiates`, async () => {
        await daemons[initiator].swanctl('--initiate', '--ike', name, '--timeout', '60')
        for (const program of PROGRAMS) {
          const listed = await daemons[program].swanctl('--list-sas', '--ike', name)
          // Debian's swanctl, which is espalier's, knows nothing of them.
          const shown = program === 'charon' ? chosen : chosen.replace(/\/KE\d_.*$/, '')
          assert.ok(listed.includes(`/${shown}\n`), `${program}: ${listed}`)
        }
        await daemons[initiator].swanctl('--terminate', '--ike', name, '--timeout', '60')
      })
  const messages = espalier.daemon.lines
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { msg: string }).msg)
  const log = await charon.log()
  for (const line of [
    'generating IKE_INTERMEDIATE request 1 [ KE ]',
    'parsed IKE_INTERMEDIATE response 7 [ KE ]',
    'selected proposal: IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768',
  ])
    await t.test(`both say: ${line}`, () => {
      assert.ok(messages.includes(line), 'espalier')
      assert.ok(log.includes(line), 'charon')
    })
})
