/**
 * One section of a configuration, seen by whoever reads it: values by key and parser, problems by key.
 */
import { EspalierError } from '../base/errors.ts'
import type { Report } from './check.ts'
import { problemAt, type Problem, type ProblemKind } from './problems.ts'
import type { ResolvedSection } from './references.ts'
import type { Setting } from './syntax.ts'
import { parseList } from './values.ts'

/** The values of one section, each read with its parser; what cannot be read is reported and its default returned. */
export class Values {
  readonly #section: ResolvedSection
  readonly #path: string
  readonly #foldCase: boolean
  readonly #report: Report

  constructor(section: ResolvedSection, path: string, foldCase: boolean, report: Report) {
    this.#section = section
    this.#path = path
    this.#foldCase = foldCase
    this.#report = report
  }

  /** Section `name` of `root`, empty if there is none. */
  static of(root: ResolvedSection, name: string, report: Report): Values {
    const section = root.sections.get(name) ?? { name, file: root.file, line: 0, settings: new Map(), sections: new Map() }
    return new Values(section, name, false, report)
  }

  get name(): string {
    return this.#section.name
  }

  has(key: string): boolean {
    return (this.#setting(key)?.value ?? null) !== null
  }

  read<Value>(key: string, parse: (text: string) => Value, fallback: Value): Value {
    const setting = this.#setting(key)
    const text = setting?.value ?? null
    if (text === null) return fallback
    if (setting?.items !== undefined) {
      this.error(key, 'expected one value, not a list')
      return fallback
    }
    return this.attempt(key, () => parse(text), fallback)
  }

  /** A list, item by item; without any it is `fallback`. */
  readList<Item>(key: string, parse: (text: string) => Item, fallback: readonly Item[]): readonly Item[] {
    return this.readItems(key, (items) => items.map(parse), fallback)
  }

  /** A list as a whole. */
  readItems<Item>(key: string, parse: (items: readonly string[]) => readonly Item[], fallback: readonly Item[]): readonly Item[] {
    const setting = this.#setting(key)
    const text = setting?.value ?? null
    if (text === null) return fallback
    const items = setting?.items ?? parseList(text)
    return items.length === 0 ? fallback : this.attempt(key, () => parse(items), fallback)
  }

  /** What came as octets; null where it did not. */
  blobs(key: string): readonly Uint8Array[] | null {
    return this.#setting(key)?.blobs ?? null
  }

  /** What `parse` makes of the values of `key`. */
  attempt<Value>(key: string, parse: () => Value, fallback: Value): Value {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      this.error(key, error.message)
      return fallback
    }
  }

  /** Names of the keys that are set and of which `wanted` is true. */
  keys(wanted: (name: string) => boolean): string[] {
    return [...this.#section.settings.keys()].filter((name) => wanted(this.#fold(name)) && this.has(name))
  }

  /** The sections in it of whose name `wanted` is true, in order. */
  sections(wanted: (name: string) => boolean): Values[] {
    const inner = [...this.#section.sections.values()].filter((section) => wanted(this.#fold(section.name)))
    return inner.map((section) => new Values(section, `${this.#path}.${section.name}`, this.#foldCase, this.#report))
  }

  /** `key` null is the section itself. */
  error(key: string | null, message: string, kind: ProblemKind = 'invalid'): void {
    this.#report.errors.push(this.#problem(key, message, kind))
  }
  /** What is asked for is right, and beyond us. */
  refuse(key: string | null, message: string): void {
    this.#report.errors.push(this.#problem(key, message, 'unsupported'))
  }
  warn(key: string | null, message: string): void {
    this.#report.warnings.push(this.#problem(key, message, 'unsupported'))
  }

  #problem(key: string | null, message: string, kind: ProblemKind): Problem {
    const place = (key === null ? undefined : this.#setting(key)) ?? this.#section
    return problemAt(place, key === null ? this.#path : `${this.#path}.${key}`, message, kind)
  }

  #setting(key: string): Setting | undefined {
    if (!this.#foldCase) return this.#section.settings.get(key)
    return [...this.#section.settings.values()].findLast((setting) => setting.name.toLowerCase() === key)
  }
  #fold(name: string): string {
    return this.#foldCase ? name.toLowerCase() : name
  }
}
