/**
 * The command behind scripts/simulate: days of simulated time, or harsh quarters of an hour, from many seeds, on every core. A child process plays one
 * seed after another and is told the next when it has told how the last one ended.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'

import { playDay, playHarsh, type Played } from './seeds.ts'

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    plan: { type: 'string', default: 'day' },
    hours: { type: 'string', default: '24' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    player: { type: 'boolean', default: false },
  },
})
const isHarsh = options.plan === 'harsh'
if (!isHarsh && options.plan !== 'day') throw new Error(`there is no plan ${options.plan}: day, harsh`)
const hours = Number(options.hours)
const what = isHarsh ? 'harsh quarters of an hour' : `days of ${hours} h`
/** To see a seed again, or to have another process play it. */
const planOptions = isHarsh ? ['--plan', 'harsh'] : ['--hours', options.hours]

function playOne(seed: string): Promise<Played> {
  return isHarsh ? playHarsh(seed) : playDay(seed, hours)
}

/**
 * Every core has a player, so none is helped by threads of the others; what is young dies within its cache; and a player
 * tells nobody where an error came from: whoever plays the seed again is told.
 */
const PLAYER_OPTIONS = ['--max-semi-space-size=8', '--single-threaded-gc', '--stack-trace-limit=0']

if (options.player) {
  process.on('message', (seed: string) => void playOne(seed).then((played) => process.send!(played)))
} else if (options.seed !== undefined) {
  const played = await playOne(options.seed)
  console.log(played.failure ?? `everything held, in ${played.steps} steps`)
  process.exitCode = played.failure === null ? 0 : 1
} else {
  process.exitCode = (await playAll(Number(options.seeds), Number(options.jobs))) === 0 ? 0 : 1
}

/** Returns how many failed. */
async function playAll(count: number, jobs: number): Promise<number> {
  const begun = performance.now()
  let [next, done, failed, steps] = [0, 0, 0, 0]
  const seconds = (): number => (performance.now() - begun) / 1000
  const tell = (): void =>
    console.log(
      `${done} of ${count} ${what} in ${seconds().toFixed(0)} s, ${(done / seconds()).toFixed(2)} a second, ` +
        `${(steps / done).toFixed(0)} steps each, ${failed} failed`,
    )
  const deal = (player: ChildProcess): void => {
    if (next < count) player.send(`${options.from}.${next++}`)
    else player.disconnect()
  }
  const players = Array.from({ length: Math.min(jobs, count) }, () =>
    fork(import.meta.filename, ['--player', ...planOptions], { execArgv: PLAYER_OPTIONS }),
  )
  await Promise.all(
    players.map(
      (player) =>
        new Promise<void>((resolve) => {
          player.on('message', (played: Played) => {
            done++
            steps += played.steps
            if (played.failure !== null) {
              failed++
              console.log(
                `\nseed ${played.seed} failed; see it again: scripts/simulate ${planOptions.join(' ')} --seed ${played.seed}\n`,
              )
              console.log(played.failure.split('\n', 1)[0])
            }
            if (done % 100 === 0 && done < count) tell()
            deal(player)
          })
          player.on('exit', resolve)
          deal(player)
        }),
    ),
  )
  failed += count - done
  tell()
  return failed
}
