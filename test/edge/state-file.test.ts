/** What a daemon leaves to the next: a journal or all of it, read back as it was, once; and whatever else may be there. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { Endpoint, IpAddress, IpRange } from '../../src/base/ip.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { StateFile } from '../../src/edge/state-file.ts'
import type { Handover } from '../../src/gateway/gateway.ts'
import { readBack, writeDown } from '../../src/gateway/written.ts'
import type { KernelObjects } from '../../src/kernel/vocabulary.ts'

function place(t: TestContext): { readonly path: string; readonly open: () => StateFile; readonly said: string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-state-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'run/state')
  const said: string[] = []
  return { path, said, open: () => new StateFile(path, (sentence) => said.push(sentence)) }
}

const HERE = IpAddress.parse('192.0.2.1')
const OBJECTS: readonly KernelObjects[] = [
  { states: [{ spi: 0xc000_0001, source: HERE, destination: IpAddress.parse('2001:db8::1'), mark: null }], policies: [] },
]
const KEY = Uint8Array.of(1, 2, 3, 4)
const SOCKETS = { pid: 7, port: 500, portNatT: 4500, sockets: [{ family: 4, port: 500, descriptor: 21 }] } as const

/** As much of one as a file can tell apart. */
function handover(): Handover {
  const session = { keys: new Secret(KEY.slice()), remote: new Endpoint(HERE, 4500), ownSpi: 5n, kept: [KEY.slice()] }
  return { now: 1, wall: 2, ikeSas: 3, childSas: 4, sessions: [session], objects: OBJECTS } as unknown as Handover
}

async function written(file: StateFile, path: string): Promise<void> {
  file.changed(() => OBJECTS)
  const content = (): string => (existsSync(path) ? readFileSync(path, 'hex') : '')
  const before = content()
  while (content() === before) await new Promise((resolve) => setTimeout(resolve, 10))
}

test('a journal is read by the next, again and again, until somebody ends in good order', async (t) => {
  const { path, open, said } = place(t)
  const first = open()
  assert.equal(first.found, null)
  await written(first, path)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  for (const next of [open(), open()]) assert.deepEqual(next.found, { kind: 'journal', objects: OBJECTS })
  await first.close()
  assert.ok(!existsSync(path))
  assert.equal(open().found, null)
  assert.deepEqual(said, [])
})

test('all that is left is read once, keys and all, and is no more a file then', async (t) => {
  const { path, open, said } = place(t)
  const first = open()
  await first.leave(handover(), SOCKETS)
  // The journal is not kept any more, whatever happens.
  first.changed(() => [])
  const { found } = open()
  assert.ok(found?.kind === 'left')
  assert.deepEqual(found.sockets, SOCKETS)
  const [session] = found.handover.sessions
  assert.deepEqual(session!.keys.dangerouslyReveal(), KEY)
  assert.deepEqual(session!.remote, new Endpoint(HERE, 4500))
  assert.deepEqual((session as unknown as { kept: unknown }).kept, [KEY])
  assert.ok(!existsSync(path))
  assert.deepEqual(said, [])
})

test('a file that is damaged, that others could have written, or of nobody we know tells nothing, and why is said', async (t) => {
  const { path, open, said } = place(t)
  await written(open(), path)
  const good = readFileSync(path)
  const damaged = Buffer.from(good)
  damaged[damaged.length - 1]! ^= 1
  const cases: readonly [content: Uint8Array, mode: number, why: RegExp][] = [
    [damaged, 0o600, /damaged, or none of ours/],
    [good.subarray(0, 20), 0o600, /damaged, or none of ours/],
    [new Uint8Array(), 0o600, /damaged, or none of ours/],
    [good, 0o660, /not a file of ours alone/],
  ]
  for (const [content, mode, why] of cases) {
    writeFileSync(path, content)
    chmodSync(path, mode)
    assert.equal(open().found, null)
    assert.match(said.at(-1)!, why)
    assert.match(said.at(-1)!, /^what an earlier daemon has left is not known: /)
  }
})

test('what cannot be written is told once', async (t) => {
  const { path, said } = place(t)
  const file = new StateFile(join(path, 'below/nothing'), (sentence) => said.push(sentence))
  for (let i = 0; i < 3; i++) {
    file.changed(() => OBJECTS)
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  assert.equal(said.length, 1)
  assert.match(said[0]!, /^no journal is kept of what is in the kernel: ENOENT/)
})

test('values are read back as they were written; what is none of ours is refused, not written', () => {
  const value = {
    range: new IpRange(HERE, IpAddress.parse('192.0.2.9')),
    list: [1n, null, 'x', true, { deep: [new Endpoint(HERE, 1)] }],
    bytes: KEY,
  }
  assert.deepEqual(readBack(writeDown(value)), value)
  assert.throws(() => writeDown({ map: new Map() }), /only plain objects/)
  assert.throws(() => readBack({ $: 'Socket' }), /unknown class/)
  assert.throws(() => readBack({ $: 'IpAddress', bytes: 'x' }), /no octets/)
})

test('whether anything can be left is tried beside the journal, which stays as it is', async (t) => {
  const { path, open } = place(t)
  const file = open()
  await written(file, path)
  const journal = readFileSync(path, 'hex')
  await file.tryOut()
  assert.deepEqual([readFileSync(path, 'hex'), readdirSync(dirname(path))], [journal, ['state']])
  rmSync(dirname(path), { recursive: true })
  writeFileSync(dirname(path), '')
  await assert.rejects(file.tryOut(), { code: 'ENOTDIR' })
})
