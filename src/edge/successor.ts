/**
 * The program that this process was started from, as it is on the disk now: whether it would start in this one's place.
 */
import { execFile } from 'node:child_process'

import { messageOf } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'

/** The program with its own options, as execve(2) takes them. */
export const PROGRAM: readonly string[] = [process.execPath, ...process.execArgv, ...process.argv.slice(1, 2)]

/** Our limits: what takes longer, or says more, does not start. */
const TRIAL_TIME = 60 * SECOND
const SAID_BYTES_MAX = 64 * 1024
/** Of what it said, the end. */
const TOLD_CHARACTERS_MAX = 500
/** Of Node's own words, where in a program something happened. */
const WHEREABOUTS = /^ +at .*$|^node:internal.*$|^Node\.js v.*$/gm

/** Runs it with these arguments beside this process. Resolves to null when it ended with status 0, else to why not. Never rejects. */
export function trySuccessor(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  [path, ...before]: readonly string[] = PROGRAM,
): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { env: environment, timeout: TRIAL_TIME, killSignal: 'SIGKILL', maxBuffer: SAID_BYTES_MAX } as const
    try {
      execFile(path!, [...before, ...args], options, (error, said, complained) => {
        if (error === null) return resolve(null)
        const why = typeof error.code === 'number' ? `exit status ${error.code}` : (error.code ?? error.signal ?? 'no reason')
        const words = `${said}\n${complained}`
          .replaceAll(WHEREABOUTS, '')
          .replaceAll(/\s+/g, ' ')
          .trim()
          .slice(-TOLD_CHARACTERS_MAX)
        resolve(words === '' ? why : `${why}: ${words}`)
      })
    } catch (error) {
      resolve(messageOf(error))
    }
  })
}
