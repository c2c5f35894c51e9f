/**
 * `espalier completion`, and the hidden `names` that its scripts ask.
 */
import { Argument, type Command } from 'commander'

import { listed, withClient, type Client, type Shell } from '../shell.ts'
import { section } from '../../vici/message.ts'
import { sectionsOf } from '../answers.ts'
import { completionScript, NAME_KINDS, type NameKind } from '../completion-scripts.ts'
import { EspalierError } from '../../base/errors.ts'
import { formatChild, formatIke, readSas } from '../sas.ts'
import { readConfigured } from '../targets.ts'
import { examples } from './examples.ts'

export function addCompletionCommands(program: Command, shell: Shell): void {
  program
    .command('completion')
    .summary('a script that completes commands and names in bash or zsh')
    .description('Prints a script that has the shell complete commands, options, and the names that the daemon knows.')
    .addArgument(new Argument('<SHELL>', 'whose').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      `${examples('completion bash > /etc/bash_completion.d/espalier', 'completion zsh > /usr/local/share/zsh/site-functions/_espalier')}\n  source <(espalier completion bash)`,
    )
    .action((name: 'bash' | 'zsh') => shell.output.print(completionScript(name, program).trimEnd()))

  program
    .command('names', { hidden: true })
    .addArgument(new Argument('<KIND>').choices(NAME_KINDS))
    .action(async (kind: NameKind) => {
      try {
        const names = await withClient(shell, (client) => NAMES[kind](client))
        if (names.length > 0) shell.output.print([...new Set(names)].join('\n'))
      } catch (error) {
        // Somebody is typing: who does not know is silent.
        if (!(error instanceof EspalierError)) throw error
      }
    })
}

const NAMES: Readonly<Record<NameKind, (client: Client) => Promise<readonly string[]>>> = {
  connections: async (client) => (await configured(client)).map(({ name }) => name),
  children: async (client) =>
    (await configured(client)).flatMap(({ name, children }) => [
      name,
      ...children,
      ...children.map((child) => `${name}/${child}`),
    ]),
  up: async (client) =>
    readSas(await listed(client, 'list-sas', 'list-sa', section(['noblock', 'yes']))).flatMap((ike) => [
      ike.name,
      formatIke(ike),
      ...ike.children.flatMap((child) => [child.name, formatChild(child)]),
    ]),
  pools: async (client) => sectionsOf(await client.call('get-pools')).map(([name]) => name),
}

async function configured(client: Client): Promise<ReturnType<typeof readConfigured>> {
  return readConfigured(await listed(client, 'list-conns', 'list-conn'))
}
