/**
 * Log lines to a file, as strongSwan writes them: `Nov 22 15:04:05 00[IKE] <home|1> IKE_SA home[1] established ...`.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

import { EspalierError, messageOf } from '../base/errors.ts'
import type { LogFile } from '../config/log.ts'
import { lineText, type Line } from '../report/report.ts'

export interface OpenLogFile {
  readonly write: (line: Line) => void
  readonly close: () => void
}

/** strongSwan: these names are no files. */
const STANDARD: ReadonlyMap<string, number> = new Map([
  ['stdout', 1],
  ['stderr', 2],
])

/** Throws an EspalierError. A line that cannot be written is the last: `onTrouble` gets one sentence about it. */
export function openLogFile(file: LogFile, onTrouble: (sentence: string) => void): OpenLogFile {
  let descriptor: number | null = STANDARD.get(file.path) ?? null
  try {
    descriptor ??= openSync(file.path, file.append ? 'a' : 'w', 0o640)
  } catch (error) {
    throw new EspalierError('system', 'LOG_FILE_REFUSED', `the log file ${file.path} cannot be opened: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const close = (): void => {
    if (descriptor !== null && !STANDARD.has(file.path)) closeSync(descriptor)
    descriptor = null
  }
  return {
    write: (line) => {
      if (descriptor === null) return
      const time = file.timeFormat === '' ? '' : `${formatTime(new Date(), file.timeFormat)} `
      try {
        // One thread does everything here: it is number 0. Synchronous, as the lines before an end matter most.
        writeSync(descriptor, `${time}00${lineText(line, file)}\n`)
      } catch (error) {
        close()
        onTrouble(`nothing more is written to the log file ${file.path}: ${messageOf(error)}`)
      }
    },
    close,
  }
}

/** What strftime(3) makes of `format` in the C locale, for the conversions that config/values.ts lets through. */
export function formatTime(date: Date, format: string): string {
  return format.replace(/%(.)/gs, (_, conversion: string) => converted(date, conversion))
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
// prettier-ignore
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const SHORT = 3
const NOON = 12

function converted(date: Date, conversion: string): string {
  const two = (number: number): string => String(number).padStart(2, '0')
  const recursively = (format: string): string => formatTime(date, format)
  switch (conversion) {
    case 'a':
      return DAYS[date.getDay()]!.slice(0, SHORT)
    case 'A':
      return DAYS[date.getDay()]!
    case 'b':
      return MONTHS[date.getMonth()]!.slice(0, SHORT)
    case 'B':
      return MONTHS[date.getMonth()]!
    case 'd':
      return two(date.getDate())
    case 'D':
      return recursively('%m/%d/%y')
    case 'e':
      return String(date.getDate()).padStart(2)
    case 'F':
      return recursively('%Y-%m-%d')
    case 'H':
      return two(date.getHours())
    case 'I':
      return two(date.getHours() % NOON === 0 ? NOON : date.getHours() % NOON)
    case 'j': {
      const days = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)
      return String(days / 86_400_000).padStart(3, '0')
    }
    case 'm':
      return two(date.getMonth() + 1)
    case 'M':
      return two(date.getMinutes())
    case 'n':
      return '\n'
    case 'p':
      return date.getHours() < NOON ? 'AM' : 'PM'
    case 'R':
      return recursively('%H:%M')
    case 's':
      return String(Math.floor(date.getTime() / 1000))
    case 'S':
      return two(date.getSeconds())
    case 't':
      return '\t'
    case 'T':
      return recursively('%H:%M:%S')
    case 'y':
      return two(date.getFullYear() % 100)
    case 'Y':
      return String(date.getFullYear())
    case 'z': {
      const east = -date.getTimezoneOffset()
      const minutes = Math.abs(east)
      return `${east < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${two(minutes % 60)}`
    }
    case 'Z':
      return new Intl.DateTimeFormat('en', { timeZoneName: 'short' })
        .formatToParts(date)
        .find(({ type }) => type === 'timeZoneName')!.value
    default:
      return conversion
  }
}
