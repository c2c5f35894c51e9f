/** Leases in a file: whole at any time, few writes, and never a reason to stop. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { formatLeases } from '../../src/address/lease-text.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { LeaseFile } from '../../src/edge/lease-file.ts'
import type { KeptLease } from '../../src/ports.ts'

const LEASES: readonly KeptLease[] = [
  { pool: 'clients', address: IpAddress.parse('10.3.0.1'), holder: { key: '2 x', name: 'x' } },
  { pool: 'clients', address: IpAddress.parse('10.3.0.2'), holder: { key: '2 y', name: 'y' } },
]

function place(t: TestContext): { readonly path: string; readonly told: string[]; readonly open: (path?: string) => LeaseFile } {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-test-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'state/leases')
  const told: string[] = []
  return { path, told, open: (other = path) => new LeaseFile(other, (sentence) => void told.push(sentence)) }
}

test('what was told last is there for the next one, in a directory made for it and read by nobody else', async (t) => {
  const { path, told, open } = place(t)
  const first = open()
  assert.deepEqual(first.kept, [])
  first.changed(() => LEASES)
  await first.flush()
  assert.deepEqual(open().kept, LEASES)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(path, '..')), ['leases'])
  assert.deepEqual(told, [])
})

test('a thousand changes are one write, of what there is in the end; no change is none', async (t) => {
  const { path, open } = place(t)
  const file = open()
  let asked = 0
  for (let i = 0; i < 1000; i++)
    file.changed(() => {
      asked++
      return LEASES
    })
  await file.flush()
  assert.equal(asked, 1)
  rmSync(path)
  await file.flush()
  assert.equal(existsSync(path), false)
})

test('it is written without being asked to, some time after a change', async (t) => {
  const { path, open } = place(t)
  const alive = setInterval(() => undefined, 1000)
  t.after(() => clearInterval(alive))
  open().changed(() => LEASES)
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(readFileSync(path, 'utf8'), formatLeases(LEASES))
})

test('a file that is none of ours, or was cut off, is put aside with a word about it', async (t) => {
  for (const text of ['', 'something else\n', formatLeases(LEASES).slice(0, -4), '\0\xff']) {
    const { path, told, open } = place(t)
    mkdirSync(join(path, '..'))
    writeFileSync(path, text)
    const file = open()
    assert.deepEqual(file.kept, [])
    assert.equal(told.length, 1)
    assert.match(told[0]!, /are not known: .*leases is put aside as .*leases\.broken: /)
    assert.equal(readFileSync(`${path}.broken`, 'utf8'), text)
    file.changed(() => LEASES)
    await file.flush()
    assert.deepEqual(open().kept, LEASES)
  }
})

test('what a write left behind that never ended does not matter', async (t) => {
  const { path, told, open } = place(t)
  const file = open()
  file.changed(() => LEASES)
  await file.flush()
  writeFileSync(`${path}.new`, 'espalier lea')
  const next = open()
  assert.deepEqual(next.kept, LEASES)
  next.changed(() => [])
  await next.flush()
  assert.deepEqual(open().kept, [])
  assert.deepEqual(told, [])
})

test('where it cannot be written that is told once, and again only after it could', async (t) => {
  const { path, told, open } = place(t)
  const file = open(join(path, '../../no/such/directory/leases'))
  for (let i = 0; i < 3; i++) {
    file.changed(() => LEASES)
    await file.flush()
  }
  assert.equal(told.length, 1)
  assert.match(told[0]!, /^who has which virtual address is not kept for the next start: ENOENT/)
})

test('a directory in its place is put aside as well; nothing is read without end', (t) => {
  const { path, told, open } = place(t)
  mkdirSync(path, { recursive: true })
  assert.deepEqual(open().kept, [])
  assert.match(told.join(), /put aside as .*: it is no file/)
})

test('a file that must not be read is left where it is', { skip: process.getuid?.() === 0 && 'root reads everything' }, (t) => {
  const { path, told, open } = place(t)
  mkdirSync(join(path, '..'))
  writeFileSync(path, formatLeases(LEASES))
  chmodSync(path, 0)
  assert.deepEqual(open().kept, [])
  assert.match(told.join(), /cannot be read: EACCES/)
  assert.ok(existsSync(path))
})
