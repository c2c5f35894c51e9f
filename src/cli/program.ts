/**
 * The `espalier` command: its subcommands put together, and how it ends.
 */
import { Command } from 'commander'

import { configuredControl, connectControl } from '../daemon/connect.ts'
import { configurationPaths } from '../daemon/configuration.ts'
import { version } from '../daemon/version.ts'
import { addCompletionCommands } from './commands/completion.ts'
import { addCountersCommand } from './commands/counters.ts'
import { addDaemonCommands } from './commands/daemon.ts'
import { addFollowCommands } from './commands/follow.ts'
import { addListingCommands } from './commands/listings.ts'
import { addLoadCommand } from './commands/load.ts'
import { addNatCommand } from './commands/nat.ts'
import { addSasCommand } from './commands/sas.ts'
import { addUpdownCommands } from './commands/updown.ts'
import { addVersionCommand } from './commands/version.ts'
import { endingOf, EXIT } from './failures.ts'
import { FOOTER, helpOf, streamsOf } from './help.ts'
import { processOutput } from './output.ts'
import type { Environment, Shell } from './shell.ts'

/** Runs the command line; resolves to the exit status. */
export async function runProgram(argv: readonly string[], environment: Environment): Promise<number> {
  let status: number = EXIT.done
  const output = processOutput()
  const program = new Command('espalier')
  const shell: Shell = {
    output,
    environment,
    connect: () => {
      const { uri } = program.opts<{ readonly uri?: string }>()
      return connectControl(uri ?? configuredControl(configurationPaths(environment).strongswanConf))
    },
    now: () => Date.now(),
    interruption: once(() => {
      const controller = new AbortController()
      process.once('SIGINT', () => controller.abort())
      return controller.signal
    }),
  }
  buildProgram(program, shell, (ended) => (status = ended))
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return status
  } catch (error) {
    const ending = endingOf(error)
    if (ending === null) throw error
    if (ending.sentence !== null) output.complain(ending.sentence)
    return ending.status
  }
}

function once<T>(make: () => T): () => T {
  let made: T | null = null
  return () => (made ??= make())
}

/** `end` takes the exit status of what ran. Apart from runProgram for the tests, which bring a shell of their own. */
export function buildProgram(program: Command, shell: Shell, end: (status: number) => void): void {
  program
    .description('IKEv2 for Linux gateways: reads swanctl.conf and strongswan.conf, the kernel does ESP.')
    .version(version, '--version', 'of this command')
    .option('--uri <URI>', 'where the daemon listens (default: charon.plugins.vici.socket, else unix:///var/run/charon.vici)')
    .helpOption('-h, --help', 'how it is used')
    .addHelpCommand(new Command('help').argument('[COMMAND]').description('how a command is used').helpGroup(OWN_GROUP))
    .exitOverride()
    .configureHelp(helpOf(program, shell.output))
    .configureOutput(streamsOf(shell.output, null))
    .addHelpText('after', FOOTER)

  program.commandsGroup('Tunnels:')
  addSasCommand(program, shell)
  addNatCommand(program, shell)
  addUpdownCommands(program, shell)
  program.commandsGroup('Configuration:')
  addLoadCommand(program, shell)
  addListingCommands(program, shell)
  program.commandsGroup('What happens:')
  addFollowCommands(program, shell)
  addCountersCommand(program, shell)
  program.commandsGroup(OWN_GROUP)
  addDaemonCommands(program, shell, end)
  addVersionCommand(program, shell)
  addCompletionCommands(program, shell)
  for (const command of program.commands) command.configureOutput(streamsOf(shell.output, command))
}

const OWN_GROUP = 'The daemon, and this command:'
