/**
 * All commands by their names.
 */
import type { Handlers } from './command.ts'
import { authorityCommands } from './commands/authorities.ts'
import { connectionCommands } from './commands/connections.ts'
import { controlCommands } from './commands/control.ts'
import { credentialCommands } from './commands/credentials.ts'
import { daemonCommands } from './commands/daemon.ts'
import { natCommands } from './commands/nat.ts'
import { poolCommands } from './commands/pools.ts'
import { queryCommands } from './commands/queries.ts'
import { statisticsCommands } from './commands/statistics.ts'

export const COMMANDS: Handlers = {
  ...daemonCommands,
  ...connectionCommands,
  ...credentialCommands,
  ...poolCommands,
  ...authorityCommands,
  ...controlCommands,
  ...queryCommands,
  ...statisticsCommands,
  ...natCommands,
}
