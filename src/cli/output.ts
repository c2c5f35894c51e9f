/**
 * What a command prints to: a terminal has a size and colours, a pipe has neither.
 */
import { styleText } from 'node:util'

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan'

export interface Output {
  /** Columns and rows of the terminal; null where there is none, and nothing is to be cut or wrapped. */
  readonly size: { readonly columns: number; readonly rows: number } | null
  /** One or more lines on standard output, their last line's end left off. */
  readonly print: (text: string) => void
  /** The same on standard error. */
  readonly complain: (text: string) => void
  /** In colour, if standard output has colours and NO_COLOR does not forbid them. */
  readonly paint: (style: Style, text: string) => string
}

export function processOutput(): Output {
  const { stdout, stderr } = process
  // `espalier sas | head -1`: who does not want to read more is no failure.
  for (const stream of [stdout, stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit(0)
    })
  return {
    get size() {
      // Some terminals say 0 x 0 and mean that they don't know.
      return stdout.isTTY ? { columns: stdout.columns || 80, rows: stdout.rows || 24 } : null
    },
    print: (text) => void stdout.write(`${text}\n`),
    complain: (text) => void stderr.write(`${text}\n`),
    paint: (style, text) => styleText(style, text, { stream: stdout }),
  }
}

/** Text that somebody else has chosen, with nothing in it that a terminal obeys. */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
