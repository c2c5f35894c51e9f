/**
 * A configuration against the tables of known keys: what nobody knows is an error with the nearest known name, what is
 * known and not honoured a warning, or an error where going on without it would be dangerous.
 */
import { STRONGSWAN, SWANCTL, type SectionRules, type Treatment } from './known-keys.ts'
import { problemAt, type Place, type Problem } from './problems.ts'
import type { ResolvedSection } from './references.ts'

export interface Report {
  readonly errors: Problem[]
  readonly warnings: Problem[]
}

/** Reports on everything in `section`; `path` is its dotted name, '' for a file's top. */
export function checkSection(section: ResolvedSection, rules: SectionRules, path: string, report: Report): void {
  if (rules.whole !== null && hasSettings(section)) checkTreatment(rules.whole, null, section, path, report)
  if (rules.whole !== null && Object.keys(rules.keys).length === 0) return
  for (const setting of section.settings.values()) {
    const treatment = keyTreatment(setting.name, rules)
    const key = join(path, setting.name)
    if (treatment === null) report.errors.push(problemAt(setting, key, unknownKey(setting.name, rules), 'unknown-key'))
    else if (setting.value !== null) checkTreatment(treatment, setting.value, setting, key, report)
  }
  for (const inner of section.sections.values()) {
    const innerRules = sectionRules(inner.name, rules)
    const key = join(path, inner.name)
    if (innerRules === null) report.errors.push(problemAt(inner, key, unknownSection(inner.name, rules), 'unknown-section'))
    else checkSection(inner, innerRules, key, report)
  }
}

/** Debian's files are full of sections with nothing but comments in them: those ask for nothing. */
function hasSettings(section: ResolvedSection): boolean {
  return section.settings.size > 0 || [...section.sections.values()].some(hasSettings)
}

/** The rules for a section of this name, null if there may be none. */
export function sectionRules(name: string, rules: SectionRules): SectionRules | null {
  if (keyNamed(name, rules) !== null) return null
  const folded = fold(name, rules)
  if (Object.hasOwn(rules.sections, folded)) return rules.sections[folded]!
  return prefixed(folded, rules.prefixedSections) ?? rules.otherSections
}

function keyTreatment(name: string, rules: SectionRules): Treatment | null {
  return keyNamed(name, rules) ?? prefixed(fold(name, rules), rules.prefixedKeys) ?? rules.otherKeys
}
function keyNamed(name: string, rules: SectionRules): Treatment | null {
  const folded = fold(name, rules)
  return Object.hasOwn(rules.keys, folded) ? rules.keys[folded]! : null
}
function prefixed<Rule>(name: string, table: Readonly<Record<string, Rule>>): Rule | null {
  const prefix = Object.keys(table).find((prefix) => name.startsWith(prefix))
  return prefix === undefined ? null : table[prefix]!
}
function fold(name: string, rules: SectionRules): string {
  return rules.foldCase ? name.toLowerCase() : name
}

function checkTreatment(treatment: Treatment, value: string | null, place: Place, key: string, report: Report): void {
  if (treatment.kind === 'honoured' || treatment.kind === 'silent') return
  if (value !== null && treatment.unless(value)) return
  if (treatment.kind === 'refused') report.errors.push(problemAt(place, key, `not supported: ${treatment.lost}`, 'unsupported'))
  else report.warnings.push(problemAt(place, key, `not honoured: ${treatment.lost}`, 'unsupported'))
}

function unknownKey(name: string, rules: SectionRules): string {
  const folded = fold(name, rules)
  if (Object.hasOwn(rules.sections, folded) || Object.hasOwn(rules.prefixedSections, folded))
    return `'${name}' is a section, not a key: write ${name} { ... }`
  return `unknown key '${name}'${suggestion(name, rules, (place) => keyNamed(name, place) !== null)}`
}

function unknownSection(name: string, rules: SectionRules): string {
  if (keyNamed(name, rules) !== null) return `'${name}' is a key, not a section: write ${name} = ...`
  return `unknown section '${name}'${suggestion(name, rules, (place) => Object.hasOwn(place.sections, name))}`
}

/** A likely slip of the keys, else the place where the name would be right, else whatever is nearest. */
function suggestion(name: string, rules: SectionRules, fits: (place: SectionRules) => boolean): string {
  const known = namesIn(rules)
  const best = nearest(name, known)
  if (best !== null && best.distance <= Math.max(1, Math.floor(name.length / 3))) return `; did you mean '${best.name}'?`
  const elsewhere = findPlace(SWANCTL, '', fits) ?? findPlace(STRONGSWAN, '', fits)
  if (elsewhere !== null) return `; it belongs in ${elsewhere}`
  return best === null ? '' : `; the nearest known name is '${best.name}'`
}

/** The name in `names` with the fewest slips between it and `name`; null if there are none. */
export function nearest(name: string, names: readonly string[]): { readonly name: string; readonly distance: number } | null {
  const shortened = name.slice(0, MAXIMUM_NAME).toLowerCase()
  let best: { readonly name: string; readonly distance: number } | null = null
  for (const known of names) {
    const distance = slips(shortened, known.toLowerCase())
    if (best === null || distance < best.distance) best = { name: known, distance }
  }
  return best
}

export function namesIn(rules: SectionRules): string[] {
  return [rules.keys, rules.prefixedKeys, rules.sections, rules.prefixedSections].flatMap((table) => Object.keys(table))
}

function findPlace(rules: SectionRules, path: string, fits: (place: SectionRules) => boolean): string | null {
  if (path !== '' && fits(rules)) return path
  const inner: [string, SectionRules][] = [...Object.entries(rules.sections)]
  for (const [prefix, section] of Object.entries(rules.prefixedSections)) inner.push([`${prefix}<suffix>`, section])
  if (rules.otherSections !== null) inner.push(['<name>', rules.otherSections])
  for (const [name, section] of inner) {
    const found = findPlace(section, join(path, name), fits)
    if (found !== null) return found
  }
  return null
}

/** Characters inserted, left out, replaced or swapped with their neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? beforeLast[j - 2]! + 1 : Infinity
      row.push(Math.min(replaced, last[j]! + 1, row[j - 1]! + 1, swapped))
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

/** Our limit: characters of an unknown name that are compared. */
const MAXIMUM_NAME = 64
