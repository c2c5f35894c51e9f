/** Commands of the configuration: what they are told, what they say, and how they end. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { ShellScripts } from '../../src/edge/scripts.ts'

async function run(
  command: string,
  more: { readonly variables?: Record<string, string>; readonly input?: string; readonly timeMax?: number } = {},
): Promise<{ readonly failure: string | null; readonly lines: readonly string[] }> {
  const { variables = {}, input, timeMax } = more
  const scripts = new ShellScripts({ path: process.env['PATH'], ...(timeMax === undefined ? {} : { timeMax }) })
  const lines: string[] = []
  const script = { command, variables, ...(input === undefined ? {} : { input }) }
  const failure = await scripts.run(script, (line) => void lines.push(line))
  return { failure, lines }
}

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'espalier-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('a command has its arguments, its variables, a PATH, and nothing of ours', async () => {
  process.env['ESPALIER_TEST_SECRET'] = 'leaked'
  const { failure, lines } = await run('sh -c \'echo "$PLUTO_VERB"; env | cut -d= -f1 | sort | tr "\\n" " "; echo; pwd\' name', {
    variables: { PLUTO_VERB: 'up-client', PLUTO_PEER_ID: '$(touch /tmp/never); `id` "\'' },
  })
  assert.equal(failure, null)
  assert.equal(lines[0], 'up-client')
  const names = lines[1]!.trim().split(' ')
  assert.deepEqual(
    names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)),
    ['PATH', 'PLUTO_PEER_ID', 'PLUTO_VERB'],
  )
  assert.equal(lines[2], '/')
})

test('what peers put into the environment is text and nothing else', async (t) => {
  const path = join(directory(t), 'made')
  const id = `$(touch ${path}); \`touch ${path}\`; "; touch ${path}; '`
  const { lines } = await run('printf "%s\\n" "$PLUTO_PEER_ID"', { variables: { PLUTO_PEER_ID: id } })
  assert.deepEqual(lines, [id])
  assert.equal(existsSync(path), false)
})

test('both streams are told line by line, as they come, without what would break a log', async () => {
  const { failure, lines } = await run('echo one; echo two >&2; printf "three\\033[31m\\n\\nfour"; exit 3')
  assert.deepEqual(lines, ['one', 'two', 'three [31m', 'four'])
  assert.equal(failure, 'exit status 3')
})

test('who talks without end is heard for a while', async () => {
  const { lines } = await run("yes | head -n 5000; head -c 100000 /dev/zero | tr '\\0' x")
  assert.equal(lines.length, 1001)
  assert.equal(lines.at(-1), 'and more, which is left out')
  const long = await run("head -c 100000 /dev/zero | tr '\\0' x")
  assert.deepEqual(
    long.lines.map((line) => line.length),
    [1000],
  )
})

test('one that hangs is ended, with all that it has begun', async (t) => {
  const pids = join(directory(t), 'pids')
  const { failure } = await run(`sleep 1000 & echo $! $$ >${pids}; wait`, { timeMax: 500 })
  assert.match(failure!, /^ended after 0\.5 s/)
  for (const pid of readFileSync(pids, 'utf8').trim().split(' ').map(Number)) {
    for (;;) {
      const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
      if (state === '' || / Z /.test(state)) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
})

test('what a command leaves behind in the background is not waited for', async (t) => {
  const pid = join(directory(t), 'pid')
  const { failure, lines } = await run(`sleep 1000 & echo $! >${pid}; echo done`)
  process.kill(Number(readFileSync(pid, 'utf8')))
  assert.deepEqual([failure, lines], [null, ['done']])
})

test('a command reads what it is given, or nothing; whether it reads is its own affair', async () => {
  assert.deepEqual((await run('cat', { input: 'a\nb\n' })).lines, ['a', 'b'])
  assert.deepEqual((await run('cat')).lines, [])
  assert.equal((await run('exit 0', { input: 'x'.repeat(1_000_000) })).failure, null)
})

test('what cannot be run says so', async () => {
  const { failure, lines } = await run('/no/such/command')
  assert.equal(failure, 'exit status 127')
  assert.match(lines.join(), /not found/)
  assert.match((await run('true', { variables: { ID: 'a\0b' } })).failure!, /^cannot be run: /)
  assert.equal((await run('kill -9 $$')).failure, 'ended by SIGKILL')
})

test('a PATH with relative directories is not handed on', async () => {
  for (const path of ['bin:/usr/bin:/bin', '', undefined]) {
    const lines: string[] = []
    await new ShellScripts({ path }).run({ command: 'echo $PATH', variables: {} }, (line) => void lines.push(line))
    assert.deepEqual(lines, ['/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'])
  }
})

test('after the end nothing is run any more, and what runs is ended', async () => {
  const scripts = new ShellScripts({ path: undefined })
  const hanging = scripts.run({ command: 'sleep 1000', variables: {} }, () => undefined)
  scripts.close()
  assert.equal(await hanging, 'ended by SIGKILL')
  assert.match((await scripts.run({ command: 'true', variables: {} }, () => undefined))!, /^not run/)
})
