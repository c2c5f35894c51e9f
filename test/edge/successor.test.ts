/** The program on the disk is tried beside this process: it would start, or there is a reason why not. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { trySuccessor } from '../../src/edge/successor.ts'

test('a program is tried with its arguments and environment; why it would not start is told', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-program-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const script = join(directory, 'main.js')
  const node = [process.execPath, script]
  writeFileSync(script, 'if (process.argv[2] !== "check" || process.env.A !== "b") throw new Error("of something")')
  assert.equal(await trySuccessor(['check'], { A: 'b' }, node), null)
  assert.match((await trySuccessor(['check'], {}, node)) ?? '', /^exit status 1: .*Error: of something/)
  writeFileSync(script, 'console.log("error line 3"); process.exitCode = 2')
  assert.equal(await trySuccessor([], {}, node), 'exit status 2: error line 3')
  rmSync(script)
  assert.match((await trySuccessor([], {}, node)) ?? '', /^exit status 1: .*Cannot find module/)

  const program = join(directory, 'program')
  assert.equal(await trySuccessor([], {}, [program]), 'ENOENT')
  writeFileSync(program, 'not a program')
  chmodSync(program, 0o600)
  assert.equal(await trySuccessor([], {}, [program]), 'EACCES')
})
