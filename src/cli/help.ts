/**
 * How commands explain themselves: their help, and one line about what was wrong with a command line.
 */
import type { Command, HelpConfiguration, OutputConfiguration } from 'commander'

import type { Output } from './output.ts'

/** Below the help of the command as a whole; not wrapped, so its lines are short. */
export const FOOTER = `
Each command has its own help, with examples: espalier sas --help

Exit status: 0 done, 1 the request failed, 2 not understood, 3 no daemon reached.
Configuration: $SWANCTL_DIR/swanctl.conf (default /etc/swanctl), and
$STRONGSWAN_CONF (default /etc/strongswan.conf).`

/** Without a terminal; and on a wide one, lines that an eye can follow. */
const WIDTH = 100

export function helpOf(program: Command, { size }: Output): HelpConfiguration {
  return {
    helpWidth: Math.min(size?.columns ?? WIDTH, WIDTH),
    showGlobalOptions: true,
    visibleGlobalOptions: (command) => (command === program ? [] : program.options.filter(({ long }) => long === '--uri')),
    subcommandTerm: (command) => {
      const args = command.registeredArguments.map((argument) =>
        argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      )
      return [command.name(), ...args].join(' ')
    },
  }
}

/** Where `command` speaks, the program itself if null. */
export function streamsOf({ print, complain }: Output, command: Command | null): OutputConfiguration {
  const withoutEnd = (text: string): string => text.replace(/\n$/, '')
  const takesNumber = command?.registeredArguments.some((argument) => argument.name().includes('#')) === true
  return {
    writeOut: (text) => print(withoutEnd(text)),
    writeErr: (text) => complain(withoutEnd(text)),
    outputError: (text) => {
      const [reason = '', suggestion = ''] = text
        .trim()
        .replace(/^error: /, '')
        .split('\n')
      const isNumberLost = takesNumber && reason.startsWith('missing required argument')
      const hint = isNumberLost ? "; a shell takes #1 for a comment, write '#1' or 1" : suggestion === '' ? '' : ` ${suggestion}`
      const help = command === null ? 'espalier --help' : `espalier ${command.name()} --help`
      complain(`espalier: ${reason.replace(/\.$/, '')}${hint}; see '${help}'`)
    },
  }
}
