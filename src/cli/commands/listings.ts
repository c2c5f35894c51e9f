/**
 * `espalier conns`, `pools`, `policies`, `certs`: what is loaded.
 */
import type { Command } from 'commander'

import type { Milliseconds } from '../../base/time.ts'
import { section, type ViciSection } from '../../vici/message.ts'
import { entriesOf, namedJson, numberOf, sectionsOf, wordOf, wordsOf, type Json } from '../answers.ts'
import { RequestFailed } from '../failures.ts'
import { listed, printLines, withClient, type Client, type Shell } from '../shell.ts'
import { formatTable, type Cell } from '../table.ts'
import { formatTime } from '../words.ts'
import { certificateJson, certificateName, certificateRow } from './certificates.ts'
import { examples } from './examples.ts'

type Entry = readonly [string, ViciSection]

interface Listing {
  readonly name: string
  readonly summary: string
  readonly description: string
  readonly titles: readonly string[]
  /** Said on a terminal when there is nothing. */
  readonly none: string
  readonly noun: string
  readonly examples: readonly string[]
  ask(client: Client): Promise<readonly Entry[]>
  rows(entry: Entry, now: Milliseconds): readonly (readonly Cell[])[]
  json?(entry: Entry): Json
}

const LISTINGS: readonly Listing[] = [
  {
    name: 'conns',
    summary: 'what is configured: connections and their children',
    description:
      'Shows the connections that are loaded, each with its children below it: addresses, identity and authentication of\neither side, then the networks.',
    titles: ['CONNECTION', 'PEER', 'HERE', 'REKEY'],
    none: "No connection is loaded; 'espalier load' loads those of swanctl.conf.",
    noun: 'connection',
    examples: ['conns', 'conns bern', "conns --json | jq -r '.[].name'"],
    ask: async (client) => (await listed(client, 'list-conns', 'list-conn')).flatMap(sectionsOf),
    rows: connectionRows,
  },
  {
    name: 'pools',
    summary: 'pools of virtual addresses, and how much of them is in use',
    description: 'Shows the pools of virtual addresses that are loaded, and who has which of them.',
    titles: ['POOL', 'FROM', 'SIZE', 'ONLINE', 'OFFLINE', 'LEASES'],
    none: 'No pool is loaded.',
    noun: 'pool',
    examples: ['pools', 'pools --json'],
    ask: async (client) => sectionsOf(await client.call('get-pools', section(['leases', 'yes']))),
    rows: ([name, pool]) => [
      [
        name,
        wordOf(pool, 'base') ?? '',
        wordOf(pool, 'size') ?? '',
        wordOf(pool, 'online') ?? '',
        wordOf(pool, 'offline') ?? '',
        entriesOf(pool, 'leases').map(([, lease]) =>
          ['address', 'identity', 'status'].map((key) => wordOf(lease, key) ?? '').join(' '),
        ),
      ],
    ],
  },
  {
    name: 'policies',
    summary: 'trap, pass and drop policies',
    description: 'Shows the policies that wait for traffic, let it pass or drop it; those of CHILD_SAs are not among them.',
    titles: ['POLICY', 'MODE', 'THERE', 'HERE'],
    none: 'No trap, pass or drop policy is installed.',
    noun: 'policy',
    examples: ['policies', 'policies --json'],
    ask: async (client) => {
      const kinds = section(['trap', 'yes'], ['drop', 'yes'], ['pass', 'yes'])
      return (await listed(client, 'list-policies', 'list-policy', kinds)).flatMap(sectionsOf)
    },
    rows: ([name, policy]) => [
      [name, (wordOf(policy, 'mode') ?? '').toLowerCase(), wordsOf(policy, 'remote-ts'), wordsOf(policy, 'local-ts')],
    ],
  },
  {
    name: 'certs',
    summary: 'certificates: whose, by whom, their keys, until when',
    description:
      'Shows the certificates, public keys and revocation lists that are loaded, with the key of each and when it expires;\nwhat does so within 30 days says in how long.',
    titles: ['SUBJECT', 'ISSUER', 'KIND', 'KEY', 'EXPIRES'],
    none: 'No certificate is loaded.',
    noun: 'certificate',
    examples: ['certs', 'certs "C=CH, O=Example, CN=moon"', "certs --json | jq -r '.[] | .subject'"],
    ask: async (client) =>
      (await listed(client, 'list-certs', 'list-cert', section(['type', 'any']))).map(
        (cert) => [certificateName(cert), cert] as const,
      ),
    rows: ([, cert], now) => [certificateRow(cert, now)],
    json: ([, cert]) => certificateJson(cert),
  },
]

export function addListingCommands(program: Command, shell: Shell): void {
  for (const listing of LISTINGS) {
    program
      .command(`${listing.name} [NAME]`)
      .summary(listing.summary)
      .description(`${listing.description}\nWith NAME, the ${listing.noun} of that name alone.`)
      .option('--json', "an array of objects with strongSwan's keys")
      .addHelpText('after', examples(...listing.examples))
      .action((name: string | undefined, options: { readonly json?: true }) =>
        withClient(shell, (client) => list(shell, client, listing, name, options)),
      )
  }
}

async function list(
  shell: Shell,
  client: Client,
  listing: Listing,
  name: string | undefined,
  options: { readonly json?: true },
): Promise<void> {
  const all = await listing.ask(client)
  const wanted = name === undefined ? all : all.filter(([candidate]) => candidate === name)
  const { size, paint } = shell.output
  if (options.json === true) {
    const json = wanted.map((entry) => listing.json?.(entry) ?? namedJson(...entry))
    shell.output.print(JSON.stringify(json, null, 2))
  } else if (name === undefined || wanted.length > 0) {
    const rows = wanted.flatMap((entry) => listing.rows(entry, shell.now()))
    const lines = rows.length === 0 ? [] : formatTable(listing.titles, rows, { width: size?.columns ?? null, paint })
    printLines(shell, lines, listing.none)
  }
  if (name !== undefined && wanted.length === 0) throw new RequestFailed(`there is no ${listing.noun} '${name}'`)
}

// -- connections ---------------------------------------------------------------------------------------------------

function connectionRows([name, connection]: Entry): readonly (readonly Cell[])[] {
  const children = entriesOf(connection, 'children')
  return [
    [
      [
        { text: name, style: 'bold' },
        { text: ` ${wordOf(connection, 'version') ?? ''}`, style: 'dim' },
      ],
      endpoint(connection, 'remote'),
      endpoint(connection, 'local'),
      lifetimes(connection),
    ],
    ...children.map(([child, section]) => [
      [`  ${child}`, { text: `   ${(wordOf(section, 'mode') ?? '').toLowerCase()}`, style: 'dim' } as const],
      wordsOf(section, 'remote-ts'),
      wordsOf(section, 'local-ts'),
      lifetimes(section),
    ]),
  ]
}

/** Addresses with their port if it is not IKE's own, and each round of authentication. */
function endpoint(connection: ViciSection, side: 'local' | 'remote'): readonly string[] {
  const port = numberOf(connection, `${side}_port`)
  const suffix = port === null || port === 500 ? '' : ` port ${port}`
  const rounds = sectionsOf(connection).filter(([key]) => key.startsWith(`${side}-`))
  return [
    ...wordsOf(connection, `${side}_addrs`).map((address) =>
      address === '%any' ? `any address${suffix}` : `${address}${suffix}`,
    ),
    ...rounds.flatMap(([, round]) => [
      wordOf(round, 'id') ?? (side === 'remote' ? 'anyone' : 'by its address'),
      wordOf(round, 'class') ?? '',
    ]),
  ]
}

function lifetimes(section: ViciSection): readonly string[] {
  const reauthentication = numberOf(section, 'reauth_time') ?? 0
  const rekey = numberOf(section, 'rekey_time') ?? 0
  return [
    rekey === 0 ? 'never' : formatTime(rekey),
    ...(reauthentication === 0 ? [] : [`reauth ${formatTime(reauthentication)}`]),
  ]
}
