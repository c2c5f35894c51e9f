/**
 * The daemon signs with RSA in a thread, where the milliseconds that it takes hold up nobody: Node's own trace of what went
 * through its threads has each signature.
 */
import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { keyPair, type TestKeyType } from '../support/pki.ts'

interface Trace {
  readonly traceEvents: readonly { readonly name: string; readonly cat: string; readonly ph: string }[]
}

/** What the threads did for cryptography while a gateway with such a key let one client in. */
async function inThreads(lab: Lab, key: TestKeyType, place: number): Promise<number> {
  const [client, gateway] = [await lab.host(`client${place}`), await lab.host(`gateway${place}`)]
  await lab.cable(client, 'wire', '192.0.2.1/24', gateway, 'wire', '192.0.2.2/24')
  const directory = join(await lab.directory(), gateway.name)
  const pair = keyPair(key, 'gateway of the signing test')
  const [publicFile, privateFile] = [join(directory, 'swanctl/pubkey/own.pem'), join(directory, 'swanctl/private/own.pem')]
  for (const [path, content] of [
    [publicFile, pair.publicPem],
    [privateFile, pair.pem],
  ] as const) {
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(path, content)
  }
  const section = (ours: string, theirs: string, more: string): string =>
    `connections { home {\nchildless = force\n${more}\nlocal {\n${ours}\n}\nremote {\n${theirs}\n}\n} }
    secrets { ike-1 { secret = "of the client" } }`
  const byKey = `auth = pubkey\npubkeys = ${publicFile}\nid = gateway.example`
  const bySecret = 'auth = psk\nid = client.example'
  const trace = join(directory, 'trace.json')
  const server = await Espalier.start(gateway, {
    kernel: 'memory',
    configuration: section(byKey, bySecret, ''),
    env: { NODE_OPTIONS: `--trace-event-categories=node.threadpoolwork.async --trace-event-file-pattern=${trace}` },
  })
  const peer = await Espalier.start(client, {
    kernel: 'memory',
    configuration: section(bySecret, byKey, 'remote_addrs = 192.0.2.2'),
  })
  await peer.swanctl('--initiate', '--ike', 'home', '--timeout', '60')
  await server.event('ike-established')
  await peer.stop()
  await server.stop()
  const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as Trace
  return traceEvents.filter(({ name, cat, ph }) => name === 'crypto' && cat.includes('threadpoolwork') && ph === 'b').length
}

test('a signature by RSA is made in a thread, one by Ed25519, which takes less than the way there, is not', async (t) => {
  const lab = new Lab(t)
  assert.equal(await inThreads(lab, 'rsa-2048', 1), 1)
  assert.equal(await inThreads(lab, 'ed25519', 2), 0)
})
