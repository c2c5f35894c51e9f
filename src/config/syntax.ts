/**
 * The syntax of strongswan.conf and swanctl.conf (strongswan.conf(5)): text to a tree of sections and settings.
 *
 *   name { ... }            a section; the same name again extends it
 *   name : a, b.c { ... }   a section that inherits from others (references.ts)
 *   key = value             up to the end of the line, `}` or `#`; words are joined by one space
 *   key = "quoted"          \n \r \t, \" and any other character after a backslash; may span lines, \ before a line's end joins
 *   key =                   clears an inherited value
 *   include conf.d/*.conf   files relative to this one, in sorted order, into the section it stands in
 *   # comment
 *
 * What is wrong in one line does not hide what is wrong in the next: reading goes on behind it.
 */
import { messageOf } from '../base/errors.ts'
import { escapePattern, type ConfigurationFiles } from './files.ts'
import { problemAt, type Place, type Problem } from './problems.ts'

/** `value` null: the key was cleared (`key =`). */
export interface Setting extends Place {
  readonly name: string
  readonly value: string | null
  /** Of a list that came as one, by VICI; `value` has them joined. In a file a list is a value with commas. */
  readonly items?: readonly string[]
  /** Of certificates and keys that came as they are, by VICI. */
  readonly blobs?: readonly Uint8Array[]
}

export interface Reference extends Place {
  readonly path: string
}

/** In the order of first appearance. The place is the first one, that of a setting the last. */
export interface Section extends Place {
  readonly name: string
  readonly settings: Map<string, Setting>
  readonly sections: Map<string, Section>
  readonly references: Reference[]
}

export interface SyntaxTree {
  /** Null when there is no file at the path. */
  readonly root: Section | null
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/** Reads the file at `path` with everything it includes. Never throws on text; with errors the tree holds what could be read. */
export function readSyntaxTree(path: string, files: ConfigurationFiles): SyntaxTree {
  const root = newSection('', { file: path, line: 0 })
  const job: Job = { files, errors: [], warnings: [], filesLeft: MAXIMUM_FILES }
  const text = readText(path, { file: path, line: 0 }, job)
  if (text !== null) new FileParser(path, text, root, [path], job).parse()
  return { root: text === null ? null : root, errors: job.errors, warnings: job.warnings }
}

interface Job {
  readonly files: ConfigurationFiles
  readonly errors: Problem[]
  readonly warnings: Problem[]
  filesLeft: number
}

/** Our limits: sections within sections, files within files, files in all, errors told of one file. */
const MAXIMUM_DEPTH = 32
const MAXIMUM_INCLUDE_DEPTH = 16
const MAXIMUM_FILES = 4096
const MAXIMUM_ERRORS = 20

/** Characters no name of a section or key may have (strongswan.conf(5)). */
const NAME = /[^#{}:.,="\r\n\t ]+/y
/** A dotted path, as references have. */
const PATH = /[^#{}:,="\r\n\t ]+/y
const WHITE_SPACE = /[\t\r\n ]+/y
const COMMENT = /#[^\n]*/y
const SPACES = /[\t\r ]+/y
const WORD = /[^#}"\r\n\t ]+/y
const INCLUDE = /include[\t ]+(?![\t ]*=)/y
const REST_OF_LINE = /[^\n]*/y

class FileParser {
  readonly #file: string
  readonly #text: string
  readonly #stack: readonly string[]
  readonly #job: Job
  readonly #open: Section[]
  #at = 0
  #line = 1
  #countedTo = 0
  #errors = 0

  /** `stack`: the files being read, this one last. */
  constructor(file: string, text: string, base: Section, stack: readonly string[], job: Job) {
    this.#file = file
    this.#text = text
    this.#open = [base]
    this.#stack = stack
    this.#job = job
  }

  parse(): void {
    for (;;) {
      this.#blank()
      if (this.#at >= this.#text.length) break
      this.#statement()
      if (this.#errors >= MAXIMUM_ERRORS) return
    }
    if (this.#open.length === 1) return
    const { name, file, line } = this.#section
    const opened = file === this.#file ? ` opened in line ${line}` : ''
    this.#error(this.#place(), `the file ends within section '${name}'${opened}`)
  }

  get #section(): Section {
    return this.#open.at(-1)!
  }

  #statement(): void {
    if (this.#text[this.#at] === '}') {
      this.#at++
      if (this.#open.length > 1) this.#open.pop()
      else this.#error(this.#place(), "'}' closes no section")
      return
    }
    const place = this.#place()
    if (this.#take(INCLUDE) !== null) return this.#include(place)
    const name = this.#take(NAME)
    if (name === null) {
      this.#error(place, `'${this.#text[this.#at]}' begins neither a section nor a setting`)
      return this.#skipLine()
    }
    this.#blank()
    const sign = this.#text[this.#at]
    if (sign === '=' || sign === '{' || sign === ':') {
      this.#at++
      if (sign === '=') this.#setting(name, place)
      else if (sign === '{') this.#openSection(name, [], place)
      else this.#references(name, place)
      return
    }
    this.#error(place, `'${name}' is followed by neither '=' nor '{'`)
    if (this.#place().line === place.line) this.#skipLine()
  }

  #setting(name: string, place: Place): void {
    const parts: string[] = []
    for (;;) {
      this.#take(SPACES)
      const part = this.#text[this.#at] === '"' ? this.#string(place) : this.#take(WORD)
      if (part === null) break
      parts.push(part)
    }
    const value = parts.length === 0 ? null : parts.join(' ')
    this.#section.settings.set(name, { name, value, ...place })
  }

  #references(name: string, place: Place): void {
    const references: Reference[] = []
    for (;;) {
      this.#blank()
      const at = this.#place()
      const path = this.#take(PATH)
      if (path === null) break
      references.push({ path, ...at })
      this.#blank()
      if (this.#text[this.#at] !== ',') break
      this.#at++
    }
    if (this.#text[this.#at] === '{' && references.length > 0) {
      this.#at++
      return this.#openSection(name, references, place)
    }
    this.#error(place, `'${name} :' is not followed by the names of sections, separated by commas, and '{'`)
    this.#skipLine()
  }

  #openSection(name: string, references: readonly Reference[], place: Place): void {
    if (this.#open.length > MAXIMUM_DEPTH) {
      this.#error(place, `more than ${MAXIMUM_DEPTH} sections within each other`)
      this.#errors = MAXIMUM_ERRORS
      return
    }
    let section = this.#section.sections.get(name)
    if (section === undefined) {
      section = newSection(name, place)
      this.#section.sections.set(name, section)
    }
    for (const reference of references) {
      if (!section.references.some((known) => known.path === reference.path)) section.references.push(reference)
    }
    this.#open.push(section)
  }

  #include(place: Place): void {
    let pattern = ''
    for (;;) {
      const character = this.#text[this.#at]
      if (character === undefined || /[#}\n\t ]/.test(character)) break
      if (character === '"') {
        pattern += this.#string(place) ?? ''
        break
      }
      this.#at++
      if (character === '\\' && /["#} ]/.test(this.#text[this.#at] ?? '')) pattern += this.#text[this.#at++]
      else if (character !== '\r') pattern += character
    }
    if (pattern === '') return this.#error(place, 'include names no file')
    const absolute = pattern.startsWith('/') ? pattern : `${escapePattern(directoryOf(this.#file))}${pattern}`
    const matches = this.#matches(absolute, place)
    if (matches.length === 0 && !/[*?[]/.test(pattern)) {
      this.#job.warnings.push(problemAt(place, null, `there is no file ${pattern} to include`))
    }
    for (const path of matches) this.#includeFile(path, place)
  }

  #matches(pattern: string, place: Place): string[] {
    try {
      return this.#job.files.glob(pattern).toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    } catch (error) {
      this.#error(place, `${pattern} cannot be searched for: ${messageOf(error)}`)
      return []
    }
  }

  #includeFile(path: string, place: Place): void {
    if (this.#stack.includes(path)) return this.#error(place, `${path} includes itself`)
    if (this.#stack.length > MAXIMUM_INCLUDE_DEPTH)
      return this.#error(place, `more than ${MAXIMUM_INCLUDE_DEPTH} files include each other`)
    if (this.#job.filesLeft-- === 0) this.#error(place, `more than ${MAXIMUM_FILES} files are included`)
    if (this.#job.filesLeft < 0) return
    const text = readText(path, place, this.#job)
    if (text !== null) new FileParser(path, text, this.#section, [...this.#stack, path], this.#job).parse()
  }

  /** A quoted string, the reading position being on its opening quote. */
  #string(place: Place): string | null {
    const opened = this.#place().line
    let text = ''
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const character = this.#text[this.#at]!
      if (character === '"') {
        this.#at++
        return text
      }
      if (character === '\r') continue
      text += character === '\\' ? this.#escape() : character
    }
    this.#error(place, `the string that opens in line ${opened} has no closing quote`)
    return null
  }

  /** What the backslash at the reading position and the character behind it stand for; moves on to the latter. */
  #escape(): string {
    if (this.#text[this.#at + 1] === '\r' && this.#text[this.#at + 2] === '\n') this.#at++
    const character = this.#text[++this.#at] ?? ''
    return ESCAPES[character] ?? character
  }

  #blank(): void {
    while (this.#take(WHITE_SPACE) !== null || this.#take(COMMENT) !== null);
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found === null) return null
    this.#at = pattern.lastIndex
    return found[0]
  }

  #place(): Place {
    for (; this.#countedTo < this.#at; this.#countedTo++) if (this.#text[this.#countedTo] === '\n') this.#line++
    return { file: this.#file, line: this.#line }
  }

  #error(place: Place, message: string): void {
    this.#errors++
    this.#job.errors.push(problemAt(place, null, message))
    if (this.#errors === MAXIMUM_ERRORS)
      this.#job.errors.push(problemAt(place, null, 'too many errors; the rest of the file was not read'))
  }

  /** Goes on behind a line that made no sense. If it opened a section, that one is read but kept out of the tree, so that its '}' closes nothing else. */
  #skipLine(): void {
    const place = this.#place()
    const rest = this.#take(REST_OF_LINE)!
    const brackets = rest.replace(/#.*/, '').match(/[{}]/g)
    if (brackets?.at(-1) === '{' && this.#open.length <= MAXIMUM_DEPTH) this.#open.push(newSection('', place))
  }
}

const ESCAPES: Readonly<Record<string, string>> = { 'n': '\n', 'r': '\r', 't': '\t', '\n': '' }

function newSection(name: string, place: Place): Section {
  return { name, file: place.file, line: place.line, settings: new Map(), sections: new Map(), references: [] }
}

function readText(path: string, place: Place, job: Job): string | null {
  try {
    return job.files.read(path)
  } catch (error) {
    job.errors.push(problemAt(place, null, `${path} cannot be read: ${messageOf(error)}`))
    return null
  }
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1)
}
