/**
 * One section of a configuration, seen by whoever reads it: values by key and parser, problems by key.
 */
import { EspalierError } from '../base/errors.ts'
import type { Report } from './check.ts'
import { problemAt, type Problem } from './problems.ts'
import type { ResolvedSection } from './references.ts'
import type { Setting } from './syntax.ts'

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
    const text = this.#setting(key)?.value ?? null
    if (text === null) return fallback
    try {
      const value = parse(text)
      return Array.isArray(value) && value.length === 0 ? fallback : value
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
  error(key: string | null, message: string): void {
    this.#report.errors.push(this.#problem(key, message))
  }
  warn(key: string | null, message: string): void {
    this.#report.warnings.push(this.#problem(key, message))
  }

  #problem(key: string | null, message: string): Problem {
    const place = (key === null ? undefined : this.#setting(key)) ?? this.#section
    return problemAt(place, key === null ? this.#path : `${this.#path}.${key}`, message)
  }

  #setting(key: string): Setting | undefined {
    if (!this.#foldCase) return this.#section.settings.get(key)
    return [...this.#section.settings.values()].findLast((setting) => setting.name.toLowerCase() === key)
  }
  #fold(name: string): string {
    return this.#foldCase ? name.toLowerCase() : name
  }
}
