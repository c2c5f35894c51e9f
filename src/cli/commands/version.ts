/**
 * `espalier version`: who we are, and who answers.
 */
import type { Command } from 'commander'

import { version } from '../../daemon/version.ts'
import { toJson, wordOf, type Json } from '../answers.ts'
import { withClient, type Shell } from '../shell.ts'
import { examples } from './examples.ts'

export function addVersionCommand(program: Command, shell: Shell): void {
  program
    .command('version')
    .summary('of this command and of the daemon')
    .description('Shows the version of this command, and name, version and system of the daemon that answers.')
    .option('--json', 'as an object')
    .addHelpText('after', examples('version', 'version --json', 'version --uri tcp://127.0.0.1:4502'))
    .action(async ({ json }: { readonly json?: true }) => {
      // Before the daemon is asked, for it may not be there.
      if (json !== true) shell.output.print(`command  espalier ${version}`)
      await withClient(shell, async (client) => {
        const said = await client.call('version')
        if (json === true)
          return shell.output.print(JSON.stringify({ command: version, daemon: toJson(said) } satisfies Json, null, 2))
        const [daemon, number, ...system] = ['daemon', 'version', 'sysname', 'release', 'machine'].map(
          (key) => wordOf(said, key) ?? '',
        )
        shell.output.print(`daemon   ${daemon} ${number} (${system.join(', ')})`)
      })
    })
}
