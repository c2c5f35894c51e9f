/**
 * The `espalier` command: what it can be asked, and what comes out.
 */
import { styleText } from 'node:util'

import { Command, Option } from 'commander'

import { check, type Finding } from '../daemon/check.ts'
import { runDaemon } from '../daemon/daemon.ts'
import { KERNELS, type KernelKind } from '../daemon/kernel.ts'
import { version } from '../daemon/version.ts'
import { LEVELS, type Level } from '../report/report.ts'

const kernelOption = (): Option =>
  new Option('--kernel <kind>', 'who encrypts: the real kernel, or one in memory that protects nothing')
    .choices(KERNELS)
    .default('netlink')

/** Runs the command line; resolves to the exit status. Usage errors end in commander's message and status 1. */
export async function runProgram(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  let status = 0
  const program = new Command('espalier')
    .description('IKEv2 for Linux gateways: reads swanctl.conf and strongswan.conf, the kernel does ESP.')
    .version(version)
    .showHelpAfterError("Try 'espalier --help'.")
    .addHelpText(
      'after',
      '\nConfiguration: $SWANCTL_DIR/swanctl.conf (default /etc/swanctl) and $STRONGSWAN_CONF (default /etc/strongswan.conf).',
    )

  program
    .command('daemon')
    .description('run in the foreground; SIGHUP reloads, SIGTERM deletes all SAs with their peers and ends')
    .addOption(kernelOption())
    .addOption(
      new Option('--log-level <level>', 'least level that is logged, whatever charon-systemd.journal says').choices(LEVELS),
    )
    .action(async (options: { readonly kernel: KernelKind; readonly logLevel?: Level }) => {
      status = await runDaemon({ kernel: options.kernel, logLevel: options.logLevel ?? null, environment })
    })

  program
    .command('check')
    .description('read the configuration and ask the kernel what it can; exit status 0 if all is well')
    .addOption(kernelOption())
    .action(async (options: { readonly kernel: KernelKind }) => {
      const findings = await check({ ...options, environment })
      for (const finding of findings) process.stdout.write(`${printed(finding)}\n`)
      status = findings.some((finding) => finding.isBad) ? 1 : 0
    })

  await program.parseAsync([...argv], { from: 'user' })
  return status
}

function printed({ level, text }: Finding): string {
  const colour = ({ ok: 'green', warning: 'yellow', error: 'red' } as const)[level]
  return `${styleText(colour, level.padEnd(7), { stream: process.stdout })} ${text}`
}
