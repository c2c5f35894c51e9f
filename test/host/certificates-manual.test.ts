/**
 * docs/certificates.md, followed to the letter: an authority, a gateway (espalier) and a laptop (Debian's charon) out of its
 * commands and configurations; the laptop gets in, is revoked, and gets in no more.
 */
import assert from 'node:assert/strict'
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { Charon } from '../lab/support/charon.ts'
import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { tryRun } from '../lab/support/process.ts'

const manual = await readFile(join(import.meta.dirname, '../../docs/certificates.md'), 'utf8')

/** The blocks of code below a heading, in order. */
function blocks(heading: string): readonly string[] {
  const section = manual.split(/^### /m).find((part) => part.startsWith(`${heading}\n`))
  assert.ok(section !== undefined, `the manual has a section ${heading}`)
  return [...section.matchAll(/^```(?:sh)?\n(.*?)^```$/gms)].map((match) => match[1]!)
}

const skip = existsSync('/dev/net/tun') ? false : `charon's own ESP needs /dev/net/tun`

test('a gateway with certificates, by the manual', { skip }, async (t) => {
  const lab = new Lab(t)
  const [gatewayHost, laptopHost] = [await lab.host('gateway'), await lab.host('laptop')]
  await lab.cable(gatewayHost, 'wire', '192.0.2.1/24', laptopHost, 'wire', '192.0.2.2/24')
  const gateway = await Espalier.start(gatewayHost, { configuration: '', kernel: 'memory' })
  const laptop = await Charon.start(laptopHost, { configuration: '', esp: 'userspace' })
  const [place, away] = [join(gateway.directory, 'swanctl'), join(laptop.directory, 'swanctl')]
  const run = async (commands: string): Promise<void> => {
    const { status, stderr } = await tryRun('bash', ['-euo', 'pipefail', '-c', `cd ${place}\n${commands}`])
    assert.equal(status, 0, stderr)
  }

  const [made, container, byOpenssl] = blocks('The authority, the gateway, a laptop')
  // The same with openssl first; what pki makes takes its place.
  await run(`umask 077; mkdir -p authority private x509 x509ca\n${byOpenssl!}`)
  const { status, stderr } = await tryRun('openssl', [
    'verify',
    '-CAfile',
    join(place, 'x509ca/ca.pem'),
    join(place, 'x509/gateway.pem'),
  ])
  assert.equal(status, 0, stderr)
  await rm(join(place, 'authority'), { recursive: true })
  await run(made!)
  await run(container!)
  for (const [from, to] of [
    ['x509ca/ca.pem', 'x509ca/ca.pem'],
    ['authority/alice.pem', 'x509/alice.pem'],
    ['authority/alice-key.pem', 'private/alice.pem'],
  ] as const) {
    await mkdir(join(away, to, '..'), { recursive: true })
    await copyFile(join(place, from), join(away, to))
  }

  await gateway.configure(blocks("The gateway's swanctl.conf")[0]!)
  await gateway.swanctl('--load-all', '--noprompt')
  // charon does ESP by itself here, always in UDP.
  await laptop.reload(blocks("The laptop's")[0]!.replace('= gateway.example.org', '= 192.0.2.1\n    encap = yes'))
  await laptop.initiate('office')
  const sas = await gateway.swanctl('--list-sas')
  assert.match(sas, /laptops: #\d+, ESTABLISHED/)
  assert.match(sas, /remote 'alice@example\.org' @ 192\.0\.2\.2/)
  assert.match(sas, /remote 10\.9\.0\.1\/32/)

  const main = join(import.meta.dirname, '../../src/main.ts')
  const espalier = async (...args: string[]): Promise<string> => {
    const finished = await tryRun(process.execPath, [main, ...args, '--uri', gateway.uri], { env: { SWANCTL_DIR: place } })
    assert.equal(finished.status, 0, finished.stderr)
    return finished.stdout
  }
  const certificates = await espalier('certs')
  assert.match(certificates, /^C=CH, O=Example, CN=gateway\.example\.org +C=CH, O=Example, CN=Example CA +X509 +ecdsa 256 /m)
  assert.match(certificates, /^gateway\.example\.org +private key$/m)

  await laptop.swanctl('--terminate', '--ike', 'office')
  await run(blocks('A laptop is lost')[0]!)
  assert.match(await espalier('load', '--creds'), /^loaded CRL of 'C=CH, O=Example, CN=Example CA'$/m)
  await assert.rejects(laptop.initiate('office'), /AUTHENTICATION_FAILED/)
  await gateway.daemon.waitFor(/certificate 'C=CH, O=Example, CN=Alice' \(serial [0-9a-f:]+\) was revoked on .*key compromise/)
  assert.equal(await gateway.swanctl('--list-sas'), '')
})
