/**
 * Log lines to standard output by pino: JSON, one object a line; when standard output is a terminal, as strongSwan
 * writes them, `[IKE] <home|1> IKE_SA home[1] established between ...`. What is too loud does not come here.
 */
import { pino, type Logger } from 'pino'
import { build as prettyStream } from 'pino-pretty'

import { lineText, type Line } from '../report/report.ts'

const ON_TERMINALS = { hasIkeName: true, hasLevel: false }

/** Writes are synchronous: the last lines before an end are the ones that matter most. */
export function openLog(): (line: Line) => void {
  const isTerminal = process.stdout.isTTY
  const destination = isTerminal
    ? prettyStream({ colorize: true, sync: true, translateTime: 'SYS:HH:MM:ss.l', hideObject: true })
    : pino.destination({ dest: 1, sync: true })
  const logger: Logger = pino({ level: 'debug', base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  return (line) => {
    const { group, level, message, fields } = line
    logger[level]({ group, ...fields }, isTerminal ? lineText(line, ON_TERMINALS) : message)
  }
}
