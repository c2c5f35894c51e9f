/**
 * `espalier counters`: how many messages of each kind came and went.
 */
import { Option, type Command } from 'commander'

import { section } from '../../vici/message.ts'
import { demandSuccess, entriesOf } from '../answers.ts'
import { RequestFailed } from '../failures.ts'
import { withClient, type Client, type Shell } from '../shell.ts'
import { formatTable } from '../table.ts'
import { examples } from './examples.ts'

interface CounterOptions {
  readonly all?: true
  readonly reset?: true
  readonly json?: true
}
type Counts = ReadonlyMap<string, number>

export function addCountersCommand(program: Command, shell: Shell): void {
  program
    .command('counters [NAME]')
    .summary('how many messages of each kind came and went')
    .description('Shows what was counted in all, for the connection NAME, or for each connection, a column each.')
    .addOption(new Option('--all', 'each connection that something was counted for'))
    .option('--reset', 'begin again at 0 instead of showing')
    .option('--json', 'an object by connection; "" is all together')
    .addHelpText('after', examples('counters', 'counters bern', 'counters --all --json', 'counters --reset'))
    .action((name: string | undefined, options: CounterOptions, command: Command) => {
      if (name !== undefined && options.all === true) command.error('error: NAME and --all cannot be used together')
      return withClient(shell, (client) => counters(shell, client, name, options))
    })
}

async function counters(shell: Shell, client: Client, name: string | undefined, options: CounterOptions): Promise<void> {
  const { output } = shell
  const request = section(['name', name], ['all', options.all === true ? 'yes' : null])
  if (options.reset === true) {
    demandSuccess(await client.call('reset-counters', request))
    const whose = name === undefined ? (options.all === true ? 'of every connection' : 'of all together') : `of '${name}'`
    return output.print(`the counters ${whose} begin again at 0`)
  }
  const response = await client.call('get-counters', request)
  if (name !== undefined && entriesOf(response, 'counters').length === 0)
    throw new RequestFailed(`nothing was counted for a connection '${name}'`)
  demandSuccess(response)
  const sets = entriesOf(response, 'counters').map(([set, counts]): readonly [string, Counts] => [set, countsOf(counts)])
  if (options.json === true)
    return output.print(
      JSON.stringify(Object.fromEntries(sets.map(([set, counts]) => [set, Object.fromEntries(counts)])), null, 2),
    )
  if (sets.length === 0) return output.complain('nothing was counted for any connection yet')
  const titles = ['COUNTER', ...sets.map(([set]) => (set === '' ? 'ALL' : set))]
  const rows = [...sets[0]![1].keys()].map((key) => [key, ...sets.map(([, counts]) => String(counts.get(key) ?? 0))])
  output.print(formatTable(titles, rows, { width: output.size?.columns ?? null, paint: output.paint }).join('\n'))
}

function countsOf(counts: ReadonlyMap<string, unknown>): Counts {
  return new Map(
    [...counts].map(([key, value]) => [key, Number(value instanceof Uint8Array ? Buffer.from(value).toString() : value)]),
  )
}
