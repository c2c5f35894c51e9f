/**
 * `espalier up`, `down` and `rekey`: what changes SAs, with its progress line by line as it is in the log.
 */
import { Option, type Command } from 'commander'

import { section, textOf, type ViciSection } from '../../vici/message.ts'
import { demandSuccess, numberOf, wordOf } from '../answers.ts'
import { RequestFailed, UsageError } from '../failures.ts'
import { listed, withClient, type Client, type Shell } from '../shell.ts'
import { readSas } from '../sas.ts'
import { findConfigured, findUp, readConfigured, type Kind, type SaFilter } from '../targets.ts'
import { count } from '../words.ts'
import { examples } from './examples.ts'
import { parseSeconds } from './sas.ts'

interface KindOptions {
  readonly ike?: true
  readonly child?: true
}
interface WaitOptions extends KindOptions {
  readonly timeout?: number
}

const TARGETS =
  'NAME is a connection or a child, or CONNECTION/CHILD where several connections have a child of that name. A name that is both is the connection; --child and --ike say which you mean.'
const NUMBERS =
  "\nID is an IKE_SA's number; name[ID] is an IKE_SA and name{ID} a CHILD_SA, as 'espalier sas' writes them. A shell takes what is behind a # for a comment: quote it, '#1', or leave it out."

export function addUpdownCommands(program: Command, shell: Shell): void {
  withKind(program.command('up <NAME>'))
    .summary('bring up a connection, or one child of it')
    .description(`Initiates the CHILD_SA of a child, or of every child of a connection, and shows how it goes.\n${TARGETS}`)
    .addOption(timeoutOption('how long to wait; then it goes on by itself. Without it: until it is up or has failed'))
    .addHelpText('after', examples('up bern', 'up bern/office', 'up office --timeout 10'))
    .action((name: string, options: WaitOptions) => withClient(shell, (client) => up(shell, client, name, options)))

  withKind(program.command('down <NAME|#ID>'))
    .summary('end a connection, or one child of it')
    .description(`Deletes IKE_SAs with all they have, or CHILD_SAs, with their peers.\n${TARGETS}\n${NUMBERS}`)
    .option('--force', 'do not wait for the peer to agree: for one that is gone')
    .addOption(timeoutOption('how long to wait for the peer; with --force it ends then, heard or not'))
    .addHelpText('after', examples('down bern', 'down 3', "down 'office{5}'", 'down bern --force'))
    .action((target: string, options: WaitOptions & { readonly force?: true }) =>
      withClient(shell, (client) => down(shell, client, target, options)),
    )

  withKind(program.command('rekey <NAME|#ID>'))
    .summary('new keys for an IKE_SA or a CHILD_SA, now')
    .description(`Begins to rekey IKE_SAs, or CHILD_SAs.\n${TARGETS}\n${NUMBERS}`)
    .option('--reauth', 'set the IKE_SA up anew instead, with new authentication')
    .addHelpText('after', examples('rekey office --child', 'rekey bern', 'rekey bern --reauth'))
    .action((target: string, options: KindOptions & { readonly reauth?: true }) =>
      withClient(shell, (client) => rekey(shell, client, target, options)),
    )
}

function withKind(command: Command): Command {
  return command
    .addOption(new Option('--ike', "the name or number is a connection's, not a child's").conflicts('child'))
    .addOption(new Option('--child', "the name or number is a child's, not a connection's"))
}

function kindOf({ ike, child }: KindOptions): Kind {
  return ike === true ? 'ike' : child === true ? 'child' : null
}

function timeoutOption(description: string): Option {
  return new Option('--timeout <SECONDS>', description).argParser(parseSeconds)
}

async function up(shell: Shell, client: Client, name: string, options: WaitOptions): Promise<void> {
  const configured = readConfigured(await listed(client, 'list-conns', 'list-conn'))
  const failures: string[] = []
  const initiations = findConfigured(configured, name, kindOf(options))
  for (const { ike, child } of initiations) {
    const what = child === null ? ike : `${ike}/${child}`
    const request = section(['child', child], ['ike', ike], ['timeout', milliseconds(options)])
    const response = await followed(shell, client, 'initiate', request)
    if (textOf(response, 'success') === 'yes') shell.output.print(shell.output.paint('green', `${what} is up`))
    else failures.push(wordOf(response, 'errmsg') ?? `${what} could not be brought up`)
  }
  endWith(failures, initiations.length)
}

/** One sentence, whatever there was. */
function endWith(failures: readonly string[], attempts: number): void {
  if (failures.length === 0) return
  const share = attempts === 1 ? '' : `${failures.length} of ${attempts} failed: `
  throw new RequestFailed(share + failures.join('; '))
}

async function down(
  shell: Shell,
  client: Client,
  target: string,
  options: WaitOptions & { readonly force?: true },
): Promise<void> {
  const filter = await selected(client, target, kindOf(options))
  const request = section(...filter, ['force', options.force === true ? 'yes' : null], ['timeout', milliseconds(options)])
  const response = await followed(shell, client, 'terminate', request)
  demandSuccess(response)
  const noun = filter.some(([key]) => key === 'child' || key === 'child-id') ? 'CHILD_SA' : 'IKE_SA'
  const what = /^\d+$/.test(target) ? `#${target}` : target
  shell.output.print(shell.output.paint('green', `${what} is down, ${count(numberOf(response, 'terminated') ?? 0, noun)} ended`))
}

async function rekey(
  shell: Shell,
  client: Client,
  target: string,
  options: KindOptions & { readonly reauth?: true },
): Promise<void> {
  const filter = await selected(client, target, kindOf(options))
  if (options.reauth === true && filter.some(([key]) => key.startsWith('child')))
    throw new UsageError(`${target} is a CHILD_SA, and only an IKE_SA can be reauthenticated`)
  const response = await client.call('rekey', section(...filter, ['reauth', options.reauth === true ? 'yes' : null]))
  demandSuccess(response)
  const verb = options.reauth === true ? 'reauthenticating' : 'rekeying'
  shell.output.print(`${verb} ${count(numberOf(response, 'matches') ?? 0, 'SA')}; 'espalier log' shows how it goes`)
}

async function selected(client: Client, target: string, kind: Kind): Promise<SaFilter> {
  return findUp(readSas(await listed(client, 'list-sas', 'list-sa', section(['noblock', 'yes']))), target, kind)
}

/** Prints what the log says meanwhile, in swanctl's form. */
async function followed(shell: Shell, client: Client, command: string, request: ViciSection): Promise<ViciSection> {
  const { output } = shell
  const events = client.stream(command, request, 'control-log')
  for (;;) {
    const { done, value } = await events.next()
    if (done === true) return value
    output.print(`${output.paint('dim', `[${wordOf(value, 'group') ?? '   '}]`)} ${wordOf(value, 'msg') ?? ''}`)
  }
}

function milliseconds({ timeout }: WaitOptions): string | null {
  return timeout === undefined ? null : String(Math.round(timeout * 1000))
}
