/**
 * SIGUSR2: what can be known to be in the way of the program that is to go on in our place, before anything is left to it.
 * Once this process has become the new program there is nobody who could go back.
 */
import { isDeepStrictEqual } from 'node:util'

import { messageOf } from '../base/errors.ts'
import type { SystemSettings } from '../config/system.ts'
import type { StateFile } from '../edge/state-file.ts'
import { trySuccessor } from '../edge/successor.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { Line } from '../report/report.ts'
import { readConfiguration, type ConfigurationPaths } from './configuration.ts'

/** What was read when this daemon started, and holds for as long as it runs. */
export interface Running {
  readonly paths: ConfigurationPaths
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly ports: Pick<IkeSettings, 'port' | 'portNatT'>
  readonly system: Pick<SystemSettings, 'stateFile'>
  readonly stateFile: StateFile | null
}

/** Resolves to the reason why the new program could not go on, null if none is known. Problems of the configuration go to `write`. */
export async function obstacleToRenewal(running: Running, write: (line: Line) => void): Promise<string | null> {
  const { paths, environment, ports, system, stateFile } = running
  const { configuration, lines } = readConfiguration(paths)
  lines.forEach(write)
  if (configuration === null) return 'the configuration has errors'
  // The sockets that stay open are those of the old ports, and the peers know no others.
  if (configuration.settings.port !== ports.port || configuration.settings.portNatT !== ports.portNatT)
    return 'charon.port or charon.port_nat_t has changed, which takes a restart'
  if (stateFile === null || process.execve === undefined) return 'there is no state_file to leave anything in'
  if (!isDeepStrictEqual(configuration.system.stateFile, system.stateFile))
    return 'charon.state_file has changed, and the new program would look for what is left in another place'
  try {
    await stateFile.tryOut()
  } catch (error) {
    return `nothing can be left: ${messageOf(error)}`
  }
  // What is on the disk may be another version, whose opinion of the configuration is what counts.
  const refusal = await trySuccessor(['check', '--kernel', 'memory'], environment)
  return refusal === null ? null : `the program as it is on the disk now would not start: ${refusal}`
}
