/**
 * `espalier daemon` and `check`: the daemon itself, which only these two load.
 */
import { Option, type Command } from 'commander'

import { KERNELS, type KernelKind } from '../../daemon/kernel-kind.ts'
import type { Finding } from '../../daemon/check.ts'
import { LEVELS, type Level } from '../../report/line.ts'
import { EXIT } from '../failures.ts'
import type { Shell } from '../shell.ts'
import { examples } from './examples.ts'

/** `end` takes the exit status. */
export function addDaemonCommands(program: Command, { output, environment }: Shell, end: (status: number) => void): void {
  program
    .command('daemon')
    .summary('run the daemon in the foreground')
    .description(
      'Runs in the foreground. SIGHUP reloads the configuration; SIGUSR2 goes on as the program that is on the disk now; SIGTERM deletes all SAs with their peers and ends.',
    )
    .addOption(kernelOption())
    .addOption(
      new Option('--log-level <level>', 'least level that is logged, whatever charon-systemd.journal says').choices(LEVELS),
    )
    .addHelpText('after', examples('daemon', 'daemon --log-level debug', 'daemon --kernel memory'))
    .action(async (options: { readonly kernel: KernelKind; readonly logLevel?: Level }) => {
      const { runDaemon } = await import('../../daemon/daemon.ts')
      end(await runDaemon({ kernel: options.kernel, logLevel: options.logLevel ?? null, environment }))
    })

  program
    .command('check')
    .summary('would the daemon start here, and do what it is configured to?')
    .description('Reads the configuration and asks the kernel what it can; exit status 0 if all is well. Changes nothing.')
    .addOption(kernelOption())
    .addHelpText('after', examples('check', 'check --kernel memory'))
    .action(async (options: { readonly kernel: KernelKind }) => {
      const { check } = await import('../../daemon/check.ts')
      const findings = await check({ ...options, environment })
      for (const { level, text } of findings) output.print(`${output.paint(COLOURS[level], level.padEnd(7))} ${text}`)
      end(findings.some(({ isBad }) => isBad) ? EXIT.failed : EXIT.done)
    })
}

const COLOURS: Readonly<Record<Finding['level'], 'green' | 'yellow' | 'red'>> = { ok: 'green', warning: 'yellow', error: 'red' }

function kernelOption(): Option {
  return new Option('--kernel <kind>', 'who encrypts: the real kernel, or one in memory that protects nothing')
    .choices(KERNELS)
    .default('netlink')
}
