/**
 * `espalier nat`: the path to each peer: NATs and how they were found, moves, keepalives, and how packets fare.
 */
import type { Command } from 'commander'

import { UnknownToDaemon } from '../../vici/client.ts'
import { RequestFailed } from '../failures.ts'
import { pathJson, pathLines } from '../nat.ts'
import { readSas, type ListedIke } from '../sas.ts'
import { listed, printLines, withClient, type Client, type Shell } from '../shell.ts'
import { findUp } from '../targets.ts'
import { examples } from './examples.ts'

export function addNatCommand(program: Command, shell: Shell): void {
  program
    .command('nat [NAME|#ID]')
    .summary('the path to each peer: NATs, moves, keepalives, health, MTU')
    .description(
      [
        'Shows what is known of the path to each peer, or to those of a connection, a child or an IKE_SA: which side is behind a NAT and what said so, where the endpoints moved and why, and keepalives; of each CHILD_SA whether packets get through, and how large they may be.',
        '',
        'What is known is said to be so; what is only likely "may" be. A log host, for one, never answers.',
      ].join('\n'),
    )
    .option('--json', 'an array of objects, one for each IKE_SA')
    .addHelpText('after', examples('nat', 'nat bern', "nat '#3'", 'nat --json | jq \'.[] | select(."nat-remote") | .moves\''))
    .action((target: string | undefined, { json }: { readonly json?: true }) =>
      withClient(shell, async (client) => {
        const paths = await ask(client)
        const wanted = target === undefined ? paths : chosen(paths, target)
        const { size, print, paint } = shell.output
        if (json === true) return print(JSON.stringify(wanted.map(pathJson), null, 2))
        const blocks = wanted.map((path) => pathLines(path, size?.columns ?? null, paint))
        // An empty line between them.
        const lines = blocks.flatMap((block, i) => (i === 0 ? block : ['', ...block]))
        printLines(shell, lines, 'No IKE_SA is up.')
      }),
    )
}

async function ask(client: Client): Promise<readonly ListedIke[]> {
  try {
    return readSas(await listed(client, 'espalier-nat', 'espalier-path'))
  } catch (error) {
    if (!(error instanceof UnknownToDaemon)) throw error
    throw new RequestFailed("the daemon is none of espalier's, or an older one: it does not tell of paths")
  }
}

/** Throws a RequestFailed when nothing of that name or number is up. */
function chosen(paths: readonly ListedIke[], target: string): readonly ListedIke[] {
  const filter = new Map(findUp(paths, target, null))
  const fits = (key: 'ike' | 'ike-id' | 'child' | 'child-id', value: string): boolean => (filter.get(key) ?? value) === value
  return paths.filter(({ name, id, children }) => {
    if (!fits('ike', name) || !fits('ike-id', String(id))) return false
    if (!filter.has('child') && !filter.has('child-id')) return true
    return children.some((child) => fits('child', child.name) && fits('child-id', String(child.id)))
  })
}
