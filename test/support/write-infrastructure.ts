/** Writes a PKI of test/support/infrastructure.ts as directories that swanctl and espalier read: what scripts/pki runs. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { makeInfrastructure } from './infrastructure.ts'
import { pem, type TestCertificate, type TestKeyType } from './pki.ts'

const TYPES: readonly TestKeyType[] = ['p256', 'p384', 'p521', 'ed25519', 'ed448', 'rsa-2048', 'rsa-3072', 'rsa-4096']

const { values, positionals } = parseArgs({ options: { key: { type: 'string', default: 'p256' } }, allowPositionals: true })
const type = TYPES.find((type) => type === values.key)
const [directory] = positionals
if (directory === undefined || positionals.length > 1 || type === undefined) {
  console.error(`usage: scripts/pki [--key ${TYPES.join('|')}] DIRECTORY`)
  process.exit(2)
}

const { root, moon, crl, clients } = makeInfrastructure(Math.floor(Date.now() / 1000) * 1000, type)

function write(host: string, leaf: TestCertificate, chain: readonly TestCertificate[]): void {
  const file = (folder: string, name: string, text: string, mode = 0o644): void => {
    const path = join(directory!, host, folder)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, name), text, { mode })
  }
  file('x509', `${host}.pem`, [leaf, ...chain].map((certificate) => certificate.pem).join(''))
  file('private', `${host}.pem`, leaf.key.pem, 0o600)
  file('x509ca', 'root.pem', root.pem)
  if (host === 'moon') file('x509crl', 'root.pem', pem('X509 CRL', crl))
}

write('moon', moon, [])
for (const { name, leaf, chain, refusal } of clients) {
  write(name, leaf, chain)
  console.log(`${name.padEnd(24)}${refusal === null ? 'is let in' : 'is refused'}`)
}
