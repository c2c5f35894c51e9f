/**
 * Sections of strongswan.conf that are plugins of strongSwan's, and parts of ours: `charon.plugins.<name>`.
 */
import type { Report } from './check.ts'
import type { ResolvedSection } from './references.ts'
import { Values } from './section-values.ts'
import { parseBoolean } from './values.ts'

/** One key, of `charon-systemd` if it is there, else of `charon`. */
export type ReadKey = <Value>(key: string, parse: (text: string) => Value, fallback: Value) => Value

export function pluginLayers(root: ResolvedSection, plugin: string, report: Report): readonly Values[] {
  return ['charon-systemd', 'charon'].flatMap((name) =>
    Values.of(root, name, report)
      .sections((inner) => inner === 'plugins')
      .flatMap((plugins) => plugins.sections((inner) => inner === plugin)),
  )
}

export function readFirst(layers: readonly Values[]): ReadKey {
  return (key, parse, fallback) => layers.find((values) => values.has(key))?.read(key, parse, fallback) ?? fallback
}

/** Whether the plugin is wanted at all. */
export function isLoaded(layers: readonly Values[]): boolean {
  return readFirst(layers)('load', parseLoad, true)
}

/** strongSwan: a plugin's priority or a boolean, and 0 is no. */
function parseLoad(text: string): boolean {
  return /^-?\d+$/.test(text) ? Number(text) !== 0 : parseBoolean(text)
}
