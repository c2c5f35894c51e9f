/**
 * `espalier log` and `monitor`: what happens in the daemon, as it happens, until Ctrl-C.
 */
import { Option, type Command } from 'commander'

import { UnknownToDaemon } from '../../vici/client.ts'
import type { EventName } from '../../vici/event-names.ts'
import { type ViciSection } from '../../vici/message.ts'
import { numberOf, sectionsOf, toJson, wordOf, wordsOf } from '../answers.ts'
import { formatChild, formatIke, readSas, type ListedIke } from '../sas.ts'
import { withClient, type Client, type Shell } from '../shell.ts'
import { formatSize } from '../words.ts'
import { examples } from './examples.ts'

interface FollowOptions {
  readonly json?: true
}

export function addFollowCommands(program: Command, shell: Shell): void {
  program
    .command('log [NAME]')
    .summary("follow the daemon's log")
    .description(
      'Prints the lines of the log as they are written, or those of the connection NAME alone, until Ctrl-C.\nThe daemon tells levels 0 and 1; charon.journal and charon.filelog in strongswan.conf have more for a log that stays.',
    )
    .addOption(
      new Option('--level <LEVEL>', 'the most detailed lines wanted: 0 what matters most, 1 the course of things')
        .choices(['0', '1'])
        .default('1'),
    )
    .option('--json', 'an object a line')
    .addHelpText('after', examples('log', 'log bern', 'log --level 0', "log | grep 'retransmit'"))
    .action((name: string | undefined, options: FollowOptions & { readonly level: string }) => {
      const isWanted = (message: ViciSection): boolean =>
        (numberOf(message, 'level') ?? 0) <= Number(options.level) &&
        (name === undefined || wordOf(message, 'ikesa-name') === name)
      return withClient(shell, (client) =>
        follow(shell, client, ['log'], (_, message) => (isWanted(message) ? logLine(shell, message, options) : null)),
      )
    })

  program
    .command('monitor [NAME]')
    .summary('follow what happens to SAs: up, down, rekeyed, moved, alerts')
    .description(
      'Prints a line for each SA that comes, goes, is rekeyed, moves, falls ill or gets well, and for each alert, until Ctrl-C.',
    )
    .option('--json', "an object a line, with strongSwan's keys")
    .addHelpText('after', examples('monitor', 'monitor bern', 'monitor --json'))
    .action((name: string | undefined, options: FollowOptions) =>
      withClient(shell, (client) =>
        follow(shell, client, SA_EVENTS, (event, message) =>
          name === undefined || sasOf(event, message).some((ike) => ike.name === name)
            ? monitorLine(shell, event, message, options)
            : null,
        ),
      ),
    )
}

const SA_EVENTS = ['ike-updown', 'child-updown', 'ike-rekey', 'child-rekey', 'ike-update', 'espalier-health', 'alert'] as const

/** Prints what `toLine` makes of each event; ends at Ctrl-C, or with an error when the daemon ends. */
async function follow<Name extends EventName>(
  { output, interruption }: Shell,
  client: Client,
  events: readonly Name[],
  toLine: (event: Name, message: ViciSection) => string | null,
): Promise<void> {
  const interrupted = interruption()
  const streams = await Promise.all(events.map(async (event) => ({ event, messages: await registered(client, event) })))
  const ends = streams.map(async ({ event, messages }) => {
    for await (const message of messages) {
      const line = toLine(event, message)
      if (line !== null) output.print(line)
    }
  })
  const end = new Promise<void>((resolve) => {
    if (interrupted.aborted) resolve()
    else interrupted.addEventListener('abort', () => resolve(), { once: true })
  })
  const all = Promise.all(ends)
  // Once interrupted, nobody waits for how they end.
  all.catch(() => {})
  await Promise.race([all, end])
}

/** strongSwan's daemon knows none of ours, and has nothing of the kind to tell. */
async function registered(client: Client, event: EventName): Promise<AsyncIterable<ViciSection>> {
  try {
    return await client.register(event)
  } catch (error) {
    if (!(error instanceof UnknownToDaemon) || !event.startsWith('espalier-')) throw error
    return (async function* () {})()
  }
}

function logLine({ output, now }: Shell, message: ViciSection, { json }: FollowOptions): string {
  if (json === true) return JSON.stringify({ time: isoTime(now()), ...(toJson(message) as object) })
  const name = wordOf(message, 'ikesa-name')
  const ike = name === null ? '' : `<${name}|${wordOf(message, 'ikesa-uniqueid') ?? ''}> `
  const words = wordOf(message, 'msg') ?? ''
  const isGrave = numberOf(message, 'level') === 0
  return `${output.paint('dim', `${clockTime(now())} [${wordOf(message, 'group') ?? ''}]`)} ${ike}${isGrave ? output.paint('bold', words) : words}`
}

// -- SA events -----------------------------------------------------------------------------------------------------

/** The IKE_SAs that an event tells of: what is before them says how. */
function sasOf(event: string, message: ViciSection): readonly ListedIke[] {
  const inner =
    event === 'alert' ? sectionsOf(message).flatMap(([key, section]) => (key === 'ike-sa' ? [section] : [])) : [message]
  return readSas(inner)
}

function monitorLine(
  { output, now }: Shell,
  event: (typeof SA_EVENTS)[number],
  message: ViciSection,
  { json }: FollowOptions,
): string {
  const isUp = wordOf(message, 'up') === 'yes'
  if (json === true) {
    const up = event.endsWith('-updown') ? { up: isUp } : {}
    return JSON.stringify({ time: isoTime(now()), event, ...up, ...(toJson(message) as object) })
  }
  const [ike] = sasOf(event, message)
  const time = output.paint('dim', clockTime(now()))
  const updown = isUp ? output.paint('green', 'up     ') : output.paint('red', 'down   ')
  switch (event) {
    case 'ike-updown':
      return `${time} ${updown} ${ike === undefined ? '' : `${formatIke(ike)} ${between(ike)}`}`
    case 'child-updown':
      return `${time} ${updown} ${children(ike, isUp)}`
    case 'ike-rekey':
    case 'child-rekey':
      return `${time} rekeyed ${rekeyed(message)}`
    case 'ike-update': {
      const values = [wordOf(message, 'remote-host'), wordOf(message, 'remote-port')]
      const place = values.every((value) => value !== null) ? ` to ${values.join(':')}` : ''
      return `${time} moved   ${ike === undefined ? '' : formatIke(ike)}${place}`
    }
    case 'espalier-health': {
      const [child] = ike?.children ?? []
      const health = child === undefined ? null : wordOf(child.section, 'health')
      const repair = wordOf(message, 'repair')
      const kind =
        repair !== null ? 'repair ' : health === 'good' ? output.paint('green', 'well   ') : output.paint('red', 'ill    ')
      const name = ike === undefined || child === undefined ? '' : `${formatIke(ike)} ${formatChild(child)} `
      return `${time} ${kind} ${name}${repair ?? wordOf(message, 'text') ?? ''}`
    }
    case 'alert':
      return `${time} ${output.paint('yellow', 'alert  ')} ${wordOf(message, 'type') ?? ''}${ike === undefined ? '' : ` ${formatIke(ike)} ${between(ike)}`}`
  }
}

function between({ section }: ListedIke): string {
  return `${end(section, 'local')} ... ${end(section, 'remote')}`
}

function end(section: ViciSection, side: 'local' | 'remote'): string {
  const identity = wordOf(section, `${side}-id`) ?? '%any'
  const host = wordOf(section, `${side}-host`) ?? '?'
  const port = wordOf(section, `${side}-port`) ?? '?'
  return `${host}[${port}]${identity === '%any' || identity === host ? '' : ` ${identity}`}`
}

function children(ike: ListedIke | undefined, isUp: boolean): string {
  if (ike === undefined) return ''
  const each = ike.children.map((child) => {
    const selectors = `${wordsOf(child.section, 'local-ts').join(' ')} === ${wordsOf(child.section, 'remote-ts').join(' ')}`
    const [received, sent] = [numberOf(child.section, 'bytes-in') ?? 0, numberOf(child.section, 'bytes-out') ?? 0]
    return `${formatChild(child)} ${selectors}${isUp ? '' : `, in ${formatSize(received)}, out ${formatSize(sent)}`}`
  })
  return `${formatIke(ike)} ${each.join('; ')}`
}

/** strongSwan: `old` and `new` are within the IKE_SA, or within the child of its section child-sas. */
function rekeyed(message: ViciSection): string {
  return sectionsOf(message)
    .map(([name, section]) => {
      const pair = pairOf(name, section, '[', ']')
      const below = sectionsOf(section)
        .filter(([key]) => key === 'child-sas')
        .flatMap(([, inner]) => sectionsOf(inner))
        .map(([child, inner]) => `${name} ${pairOf(childName(child), inner, '{', '}') ?? child}`)
      return pair ?? below.join(', ')
    })
    .join(', ')
}

/** The key of a CHILD_SA is its name and its number. */
function childName(key: string): string {
  return key.replace(/-\d+$/, '')
}

function pairOf(name: string, section: ViciSection, open: string, close: string): string | null {
  const ids = ['old', 'new'].map((which) => sectionsOf(section).find(([key]) => key === which)?.[1])
  const [old, fresh] = ids.map((found) => (found === undefined ? null : wordOf(found, 'uniqueid')))
  return old === null || fresh === null ? null : `${name}${open}${old}${close} to ${name}${open}${fresh}${close}`
}

// -- time ----------------------------------------------------------------------------------------------------------

function clockTime(now: number): string {
  return new Date(now).toTimeString().slice(0, 8)
}
function isoTime(now: number): string {
  return new Date(now).toISOString()
}
