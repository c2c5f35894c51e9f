/**
 * `espalier sas`: what is up, once or again and again.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { InvalidArgumentError, Option, type Command } from 'commander'

import { section } from '../../vici/message.ts'
import { RequestFailed } from '../failures.ts'
import { readSas, sasNamed, saJson, saRows, SA_TITLES, type ListedIke } from '../sas.ts'
import { listed, printLines, withClient, type Client, type Shell } from '../shell.ts'
import { formatTable } from '../table.ts'
import { count } from '../words.ts'
import { examples } from './examples.ts'

interface SasOptions {
  readonly json?: true
  /** true: without a number. */
  readonly watch?: number | true
}

/** Of --watch without a number. */
const WATCH_SECONDS = 2
const SECONDS_MIN = 0.1
const SECONDS_MAX = 86_400

export function addSasCommand(program: Command, shell: Shell): void {
  program
    .command('sas [NAME]')
    .summary('what is up: peers, NAT, ciphers, traffic')
    .description(
      [
        'Shows the IKE_SAs, each with its CHILD_SAs below it: all, or those of a connection or child NAME.',
        '',
        'PEER is the other side: address and port, identity, NAT, then the networks behind it and what came from there.',
        'HERE is ours: the same, and what was sent. "1.2 MB, 3s ago" is the amount, and how long ago the last packet was.',
        'name[1] is an IKE_SA, name{1} a CHILD_SA; down and rekey take the numbers as well.',
        'A CHILD_SA that is suspect or failing says so; nat explains it.',
      ].join('\n'),
    )
    .option('--json', "an array of objects with strongSwan's keys; with --watch an array a line")
    .addOption(
      new Option('--watch [SECONDS]', `again and again until Ctrl-C, every ${WATCH_SECONDS} seconds unless told`).argParser(
        parseSeconds,
      ),
    )
    .addHelpText(
      'after',
      examples('sas', 'sas bern', 'sas --watch', 'sas --json | jq \'.[] | select(."nat-remote") | ."remote-host"\''),
    )
    .action((name: string | undefined, options: SasOptions) =>
      withClient(shell, async (client) => {
        if (options.watch === undefined) printOnce(shell, await ask(client, name), name, options)
        else await watch(shell, client, name, options.watch === true ? WATCH_SECONDS : options.watch, options)
      }),
    )
}

/** Throws commander's error, which becomes a usage error. */
export function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (text.trim() === '' || !(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX))
    throw new InvalidArgumentError(`It is to be a number of seconds from ${SECONDS_MIN} to ${SECONDS_MAX}.`)
  return seconds
}

async function ask(client: Client, name: string | undefined): Promise<readonly ListedIke[]> {
  const sas = readSas(await listed(client, 'list-sas', 'list-sa', section(['noblock', 'yes'])))
  return name === undefined ? sas : sasNamed(sas, name)
}

function printOnce(shell: Shell, sas: readonly ListedIke[], name: string | undefined, options: SasOptions): void {
  if (options.json === true) shell.output.print(JSON.stringify(sas.map(saJson), null, 2))
  // Somebody who asks for one wants to know by the exit status whether it is up.
  else if (sas.length > 0 || name === undefined) printLines(shell, tableOf(shell, sas), 'No IKE_SA is up.')
  if (sas.length === 0 && name !== undefined) throw new RequestFailed(`no SA called '${name}' is up`)
}

function tableOf(shell: Shell, sas: readonly ListedIke[]): string[] {
  const { size, paint } = shell.output
  return sas.length === 0 ? [] : formatTable(SA_TITLES, saRows(sas), { width: size?.columns ?? null, paint })
}

async function watch(
  shell: Shell,
  client: Client,
  name: string | undefined,
  seconds: number,
  options: SasOptions,
): Promise<void> {
  const { output } = shell
  const interruption = shell.interruption()
  while (!interruption.aborted) {
    const sas = await ask(client, name)
    if (options.json === true) output.print(JSON.stringify(sas.map(saJson)))
    else output.print(screenOf(shell, sas, seconds))
    await sleep(seconds * 1000, undefined, { signal: interruption }).catch(() => {})
  }
}

const CLEAR_SCREEN = '\x1b[H\x1b[2J'

/** As much as fits; on what is no terminal everything, and an empty line behind it. */
function screenOf(shell: Shell, sas: readonly ListedIke[], seconds: number): string {
  const { size, paint } = shell.output
  const time = new Date(shell.now()).toTimeString().slice(0, 8)
  const children = sas.reduce((sum, ike) => sum + ike.children.length, 0)
  const title = `${time}  ${count(sas.length, 'IKE_SA')}, ${count(children, 'CHILD_SA')}`
  const table = tableOf(shell, sas)
  if (size === null) return [title, ...table, ''].join('\n')
  const room = Math.max(1, size.rows - 3)
  const hidden = table.length - room
  const shown = hidden > 0 ? [...table.slice(0, room - 1), paint('dim', `... ${hidden + 1} more lines`)] : table
  return `${CLEAR_SCREEN}${paint('bold', title)}${paint('dim', `  every ${seconds} s, Ctrl-C ends`)}\n${shown.join('\n')}`
}
