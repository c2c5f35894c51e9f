/**
 * The rules of the house, read off the import lines of src/: who may know whom, and what keeps the core pure. A rule is
 * a function from the sources to the sentences about what breaks it, so that the last tests here can show each rule
 * sources that do.
 */
import assert from 'node:assert/strict'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')

// Top to bottom; imports point down.
const LAYERS = [
  'main.ts',
  'index.ts',
  'cli',
  'daemon',
  'edge',
  'vici',
  'gateway',
  'report',
  'config',
  'ike',
  'ikev1',
  'nat',
  'auth',
  'pki',
  'address',
  'kernel',
  'message',
  'negotiate',
  'crypto',
  'ports.ts',
  'iana',
  'base',
]

/** Rooms that may do I/O, have a clock and wait. The rest is the core. */
const IMPURE = new Set(['main.ts', 'cli', 'daemon', 'edge'])

/** Imports upwards that are meant, of types only: they vanish when the program runs. */
const UPWARD_TYPES = [
  { from: 'ports.ts', to: 'kernel/vocabulary.ts', why: 'the Kernel port is spoken in operations, which are plain data' },
  { from: 'ports.ts', to: 'crypto/secret.ts', why: 'what a key exchange ends in comes back wrapped as any other secret' },
  { from: 'ports.ts', to: 'crypto/private-key.ts', why: 'a signer is handed the key, which never leaves it' },
  { from: 'ports.ts', to: 'crypto/signature-scheme.ts', why: 'and is told how to sign' },
]

/** Node's modules that neither do I/O nor know time or chance, and who of the core may use the others. */
const PURE_MODULES = new Set(['node:util', 'node:buffer', 'node:assert', 'node:assert/strict'])
const CORE_MODULES: { readonly module: string; readonly users: readonly string[] }[] = [
  { module: 'node:crypto', users: ['crypto/', 'pki/'] },
  { module: 'node:net', users: ['base/ip.ts'] }, // isIP and nothing else: .oxlintrc.json sees to that
  { module: '@noble/hashes', users: ['crypto/'] },
]

// -- reading -------------------------------------------------------------------------------------------------------

interface Import {
  /** Path below src, or the name of a module that is not ours. */
  readonly target: string
  readonly ours: boolean
  readonly typeOnly: boolean
}

/** Text of every source file by its path below src, "ike/auth.ts". */
type Sources = ReadonlyMap<string, string>

const STATIC = /^(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]*?\sfrom\s+)?'([^']+)'/gm
const DYNAMIC = /\bimport\('([^']+)'\)|new URL\('(\.[^']+\.ts)',\s*import\.meta\.url\)/g

function importsOf(file: string, text: string): Import[] {
  const statics = [...text.matchAll(STATIC)].map((match) => ({ name: match[2]!, typeOnly: match[1] !== undefined }))
  const dynamics = [...text.matchAll(DYNAMIC)].map((match) => ({ name: (match[1] ?? match[2])!, typeOnly: false }))
  return [...statics, ...dynamics].map(({ name, typeOnly }) =>
    name.startsWith('.')
      ? { target: normalize(join(dirname(file), name)), ours: true, typeOnly }
      : { target: name, ours: false, typeOnly },
  )
}

const roomOf = (file: string): string => file.split('/')[0]!

function* ownImports(sources: Sources): Generator<{ file: string; target: string; typeOnly: boolean }> {
  for (const [file, text] of sources) {
    for (const { target, ours, typeOnly } of importsOf(file, text)) if (ours) yield { file, target, typeOnly }
  }
}

// -- the rules -----------------------------------------------------------------------------------------------------

function strangeRooms(sources: Sources): string[] {
  const rooms = new Set([...sources.keys()].map(roomOf))
  return [...rooms].filter((room) => !LAYERS.includes(room)).map((room) => `src/${room} has no place in the order of rooms`)
}

function importsOfNothing(sources: Sources): string[] {
  const missing = [...ownImports(sources)].filter(({ target }) => !sources.has(target))
  return missing.map(({ file, target }) => `${file} imports ${target}, which is no source file`)
}

function importsUpwards(sources: Sources): string[] {
  const upwards = [...ownImports(sources)].filter(({ file, target, typeOnly }) => {
    const meant = UPWARD_TYPES.some(({ from, to }) => typeOnly && to === target && (from === file || from === roomOf(file)))
    return LAYERS.indexOf(roomOf(target)) < LAYERS.indexOf(roomOf(file)) && !meant
  })
  return upwards.map(({ file, target }) => `${file} imports ${target}, which is above it`)
}

function grantsWithoutUse(sources: Sources): string[] {
  const all = [...ownImports(sources)]
  const idle = UPWARD_TYPES.filter(
    ({ from, to }) => !all.some(({ file, target }) => target === to && (from === file || from === roomOf(file))),
  )
  return idle.map(({ from, to }) => `nobody needs the exception for ${from} and ${to} any more`)
}

function strangersAtTheEdge(sources: Sources): string[] {
  const strangers = [...ownImports(sources)].filter(
    ({ file, target }) => roomOf(target) === 'edge' && roomOf(file) !== 'edge' && roomOf(file) !== 'daemon',
  )
  return strangers.map(({ file, target }) => `${file} imports ${target}`)
}

function impurity(sources: Sources): string[] {
  const found: string[] = []
  for (const [file, text] of sources) {
    if (IMPURE.has(roomOf(file))) continue
    for (const { target, ours } of importsOf(file, text)) {
      if (ours || PURE_MODULES.has(target)) continue
      const entry = CORE_MODULES.find(({ module }) => target === module || target.startsWith(`${module}/`))
      if (entry === undefined || !entry.users.some((user) => file.startsWith(user))) found.push(`${file} imports ${target}`)
    }
  }
  return found
}

function cycles(sources: Sources): string[] {
  // Depth first: an import of a file whose own imports are still being followed closes a cycle.
  const found: string[] = []
  const done = new Set<string>()
  const path: string[] = []
  const follow = (file: string): void => {
    const at = path.indexOf(file)
    if (at >= 0) found.push([...path.slice(at), file].join(' -> '))
    if (at >= 0 || done.has(file)) return
    path.push(file)
    for (const { target, ours } of importsOf(file, sources.get(file) ?? '')) if (ours) follow(target)
    path.pop()
    done.add(file)
  }
  for (const file of sources.keys()) follow(file)
  return found
}

function deadFiles(sources: Sources): string[] {
  const alive = new Set<string>()
  const follow = (file: string): void => {
    if (alive.has(file)) return
    alive.add(file)
    for (const { target, ours } of importsOf(file, sources.get(file) ?? '')) if (ours) follow(target)
  }
  follow('main.ts')
  follow('index.ts')
  return [...sources.keys()]
    .filter((file) => !alive.has(file))
    .map((file) => `neither the command nor the library reaches ${file}`)
}

function headless(sources: Sources): string[] {
  const without = [...sources].filter(([, text]) => !/^(#!.*\n)?\s*(\/\*\*|\/\/ )/.test(text))
  return without.map(([file]) => `${file} does not say at its head what it is for`)
}

// -- the house as it is --------------------------------------------------------------------------------------------

const sources: Sources = new Map(
  globSync('**/*.ts', { cwd: join(root, 'src') })
    .toSorted()
    .map((file) => [file, readFileSync(join(root, 'src', file), 'utf8')]),
)

test('every folder of src is a room of the house', () => assert.deepEqual(strangeRooms(sources), []))

test('every import names a source file', () => assert.deepEqual(importsOfNothing(sources), []))

test('imports point down the order of rooms', () => assert.deepEqual(importsUpwards(sources), []))

test('no exception to the order of rooms outlives its need', () => assert.deepEqual(grantsWithoutUse(sources), []))

test('the daemon alone imports the edge', () => assert.deepEqual(strangersAtTheEdge(sources), []))

test('the core imports nothing that does I/O, knows the time or throws dice', () => assert.deepEqual(impurity(sources), []))

test('no file imports itself by way of others, not even for a type', () => assert.deepEqual(cycles(sources), []))

test('every source file is reached from the command or the library', () => assert.deepEqual(deadFiles(sources), []))

test('every source file says at its head what it is for', () => assert.deepEqual(headless(sources), []))

test('the folders of test are the rooms of src and the floors above the unit tests', () => {
  const folders = readdirSync(join(root, 'test'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const strange = folders
    .map((folder) => folder.name)
    .filter((name) => !['simulation', 'host', 'lab', 'bench', 'vectors', 'support'].includes(name))
    .filter((name) => !existsSync(join(root, 'src', name)))
  assert.deepEqual(strange, [])
})

test('every dependency is pinned to one version', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >
  const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(([, range]) => !/^\d+\.\d+\.\d+$/.test(range))
  assert.deepEqual(loose, [])
})

test('the ten largest source files, for eyes, not as a gate', (t) => {
  const sizes = [...sources].map(([file, text]) => ({ file, lines: text.split('\n').length - 1 }))
  for (const { file, lines } of sizes.toSorted((a, b) => b.lines - a.lines).slice(0, 10)) t.diagnostic(`${lines} ${file}`)
  // What can fail here is the reading: a house without files would keep every rule above.
  assert.ok(sizes.length > 50, `only ${sizes.length} source files were found`)
})

// -- the rules see what breaks them --------------------------------------------------------------------------------

const planted = (files: Record<string, string>): Sources => new Map(Object.entries(files))

test('the rules see every form of import', () => {
  const text = [
    "import { a } from './a.ts'",
    "import type { B } from '../base/b.ts'",
    "import './c.ts'",
    'import {\n  d,\n  type E,\n} from "node:never"'.replaceAll('"', "'"),
    "export * from './f.ts'",
    "export type { G } from './g.ts'",
    "const h = await import('./h.ts')",
    "new Worker(new URL('./i.ts', import.meta.url))",
    "// import { no } from './comment.ts'",
  ].join('\n')
  assert.deepEqual(
    importsOf('ike/x.ts', text).map(({ target, typeOnly }) => (typeOnly ? `type ${target}` : target)),
    ['ike/a.ts', 'type base/b.ts', 'ike/c.ts', 'node:never', 'ike/f.ts', 'type ike/g.ts', 'ike/h.ts', 'ike/i.ts'],
  )
})

test('the rules see an upward import, and allow the types that are meant but not their values', () => {
  const house = planted({
    'base/time.ts': "import type { IkeSa } from '../ike/sa.ts'",
    'ike/sa.ts': "import { now } from '../base/time.ts'",
    'ports.ts': "import type { Operation } from './kernel/vocabulary.ts'",
    'kernel/vocabulary.ts': '',
  })
  assert.deepEqual(importsUpwards(house), ['base/time.ts imports ike/sa.ts, which is above it'])
  const dearer = planted({ 'ports.ts': "import { Operation } from './kernel/vocabulary.ts'", 'kernel/vocabulary.ts': '' })
  assert.deepEqual(importsUpwards(dearer), ['ports.ts imports kernel/vocabulary.ts, which is above it'])
  assert.deepEqual(grantsWithoutUse(planted({ 'ports.ts': '' })), [
    'nobody needs the exception for ports.ts and kernel/vocabulary.ts any more',
    'nobody needs the exception for ports.ts and crypto/secret.ts any more',
    'nobody needs the exception for ports.ts and crypto/private-key.ts any more',
    'nobody needs the exception for ports.ts and crypto/signature-scheme.ts any more',
  ])
})

test('the rules see strangers at the edge, impurity, cycles, dead files, missing heads and unknown rooms', () => {
  const house = planted({
    'main.ts': "/** Starts. */\nimport './daemon/daemon.ts'\nimport './edge/udp.ts'",
    'daemon/daemon.ts': "// Wires.\nimport '../edge/udp.ts'\nimport '../ike/a.ts'",
    'edge/udp.ts': "/** Sends. */\nimport 'node:dgram'",
    'ike/a.ts': "/** A. */\nimport { b } from './b.ts'\nimport { setTimeout } from 'node:timers/promises'",
    'ike/b.ts': "/** B. */\nimport type { A } from './a.ts'\nimport { createHmac } from 'node:crypto'",
    'ike/dead.ts': "import { b } from './b.ts'",
    'utils/left-pad.ts': "/** Pads. */\nimport 'node:util'\nimport './gone.ts'",
    'crypto/hash.ts': "/** Hashes. */\nimport { createHmac } from 'node:crypto'",
  })
  assert.deepEqual(strangersAtTheEdge(house), ['main.ts imports edge/udp.ts'])
  assert.deepEqual(impurity(house), ['ike/a.ts imports node:timers/promises', 'ike/b.ts imports node:crypto'])
  assert.deepEqual(cycles(house), ['ike/a.ts -> ike/b.ts -> ike/a.ts'])
  assert.deepEqual(deadFiles(house), [
    'neither the command nor the library reaches ike/dead.ts',
    'neither the command nor the library reaches utils/left-pad.ts',
    'neither the command nor the library reaches crypto/hash.ts',
  ])
  assert.deepEqual(headless(house), ['ike/dead.ts does not say at its head what it is for'])
  assert.deepEqual(strangeRooms(house), ['src/utils has no place in the order of rooms'])
  assert.deepEqual(importsOfNothing(house), ['utils/left-pad.ts imports utils/gone.ts, which is no source file'])
})
