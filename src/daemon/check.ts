/**
 * `espalier check`: would the daemon start here, and do what it is configured to?
 */
import { messageOf } from '../base/errors.ts'
import { configurationPaths, describeConfiguration, readConfiguration } from './configuration.ts'
import type { KernelKind } from './kernel-kind.ts'
import { openKernel } from './kernel.ts'
import { openSockets } from './sockets.ts'

export interface CheckOptions {
  readonly kernel: KernelKind
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** One finding; `isBad` ones make the check fail. */
export interface Finding {
  readonly isBad: boolean
  readonly level: 'ok' | 'warning' | 'error'
  readonly text: string
}

/** Parses the configuration, asks the kernel what it can, tries the socket options on free ports. Changes nothing that stays. */
export async function check(options: CheckOptions): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const good = (text: string): unknown => findings.push({ isBad: false, level: 'ok', text })
  const bad = (text: string): unknown => findings.push({ isBad: true, level: 'error', text })

  const paths = configurationPaths(options.environment)
  const { configuration, lines } = readConfiguration(paths)
  for (const line of lines) {
    if (line.level === 'error') bad(line.message)
    else findings.push({ isBad: false, level: 'warning', text: line.message })
  }
  if (configuration !== null) good(`configuration: ${describeConfiguration(configuration, paths)}`)

  try {
    const opened = await openKernel(options.kernel, configuration?.connections ?? [], { onEvent: () => {}, onTrouble: bad })
    const { missing } = opened.kernel.capabilities
    missing.forEach(bad)
    if (missing.length === 0)
      good(
        options.kernel === 'memory' ? 'kernel: in memory, nothing to check' : 'kernel: has XFRM, ESP and every algorithm we use',
      )
    await opened.close()
  } catch (error) {
    bad(messageOf(error))
  }

  try {
    const network = openSockets(
      { port: 0, portNatT: 0 },
      options.kernel,
      () => {},
      () => {},
    )
    good(`sockets: UDP over IPv${network.families.join(' and IPv')} with ESP-in-UDP`)
    network.close()
  } catch (error) {
    bad(messageOf(error))
  }
  return findings
}
