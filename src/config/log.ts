/**
 * What strongswan.conf says about the log: how much of which group goes to standard output (section `journal`, where
 * charon-systemd's log goes) and to files (section `filelog`). Levels are strongSwan's, -1 (silent) to 4.
 */
import type { Report } from './check.ts'
import { LOG_GROUPS, logLevels, type LogGroup, type LogLevels } from './log-groups.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { parseBoolean, parseInteger, parseTimeFormat } from './values.ts'

export interface LogFile {
  readonly path: string
  readonly levels: LogLevels
  readonly append: boolean
  /** `<home|7>` before what is told of an IKE_SA. */
  readonly hasIkeName: boolean
  /** `[IKE1]` instead of `[IKE]`. */
  readonly hasLevel: boolean
  /** As strftime(3) reads it; empty: no time. */
  readonly timeFormat: string
}

export interface LogSettings {
  readonly standardOutput: LogLevels
  readonly files: readonly LogFile[]
}

const DEFAULT_LEVEL = 1
export const DEFAULT_LOG_SETTINGS: LogSettings = { standardOutput: logLevels(DEFAULT_LEVEL), files: [] }

/** Reads `charon-systemd` first, `charon` for what is not there. */
export function readLogSettings(root: ResolvedSection, report: Report): LogSettings {
  const layers = ['charon-systemd', 'charon'].map((name) => Values.of(root, name, report))
  const named = (name: string): Values[] => layers.flatMap((layer) => layer.sections((inner) => inner === name))
  // A file of one name in both is that of charon-systemd.
  const files = new Map<string, Values[]>()
  for (const section of named('filelog'))
    for (const file of section.sections(() => true)) files.set(file.name, [...(files.get(file.name) ?? []), file])
  return { standardOutput: readLevels(named('journal')), files: [...files.values()].map(readFile) }
}

function readFile(layers: readonly Values[]): LogFile {
  const read = <Value>(key: string, parse: (text: string) => Value, fallback: Value): Value =>
    layers.find((values) => values.has(key))?.read(key, parse, fallback) ?? fallback
  return {
    path: read('path', (text) => text, layers[0]?.name ?? ''),
    levels: readLevels(layers),
    append: read('append', parseBoolean, true),
    hasIkeName: read('ike_name', parseBoolean, false),
    hasLevel: read('log_level', parseBoolean, false),
    timeFormat: read('time_format', parseTimeFormat, ''),
  }
}

function readLevels(layers: readonly Values[]): LogLevels {
  const level = (key: string, fallback: number): number =>
    layers.find((values) => values.has(key))?.read(key, parseLevel, fallback) ?? fallback
  const all = level('default', DEFAULT_LEVEL)
  return Object.fromEntries(LOG_GROUPS.map((group) => [group, level(group, all)])) as Record<LogGroup, number>
}

function parseLevel(text: string): number {
  return text === '-1' ? -1 : parseInteger(text, 0, 4)
}
