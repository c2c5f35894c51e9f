/**
 * What the demo looks like: numbered steps, short explanations, quotations, and a list of what was to be seen.
 */
import { stripVTControlCharacters, styleText } from 'node:util'

import Table from 'cli-table3'

const WIDTH = 98
const INDENT = '   '
/** Width of the column that says who said it. */
const SOURCE = 10

export type Style = Parameters<typeof styleText>[0]

/** Coloured if standard output shows colours; NO_COLOR and FORCE_COLOR are obeyed. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

export function title(text: string): void {
  print(`\n${paint('bold', text)}\n${'='.repeat(text.length)}`)
}

let steps = 0
export function step(text: string): void {
  print(`\n${paint(['bold', 'cyan'], `${++steps}. ${text}`)}`)
}

/** A paragraph, broken into lines. */
export function say(text: string): void {
  for (const line of wrapped(text, WIDTH - INDENT.length)) print(INDENT + line)
}

/** Lines as some program printed them, with the name of who printed them in front; long ones go on further in. */
export function quote(source: string, lines: readonly string[]): void {
  const margin = ' '.repeat(SOURCE)
  for (const [index, line] of lines.entries()) {
    const [first, ...rest] = wrapped(line, WIDTH - INDENT.length - SOURCE - 2)
    print(INDENT + (index === 0 ? paint('dim', source.padEnd(SOURCE)) : margin) + first)
    for (const more of rest) print(`${INDENT}${margin}  ${more}`)
  }
}

/** The same in a block, the lines as they are: where they stand in columns. */
export function listing(source: string, lines: readonly string[]): void {
  print(`${INDENT}${paint('dim', source)}`)
  for (const line of lines) print(`${INDENT}  ${line}`)
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!
    if (line === '') lines[lines.length - 1] = word
    else if (stripVTControlCharacters(line).length + 1 + stripVTControlCharacters(word).length <= width)
      lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines
}

/** A picture, line by line as it is. */
export function show(lines: readonly string[]): void {
  print()
  for (const line of lines) print((INDENT + line).trimEnd())
  print()
}

/** Rows under a head, without any lines but the one under the head. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const none = {
    'top': '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    'bottom': '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
  }
  const lines = new Table({
    head: head.map((text) => paint('bold', text)),
    chars: { ...none, 'left': '', 'left-mid': '', 'mid': '', 'mid-mid': '', 'right': '', 'right-mid': '', 'middle': '  ' },
    // Its own colours do not ask where the output goes.
    style: { 'head': [], 'border': [], 'padding-left': 0, 'padding-right': 0 },
  })
  for (const row of rows) lines.push([...row])
  for (const line of lines.toString().split('\n')) print(`${INDENT}${line.trimEnd()}`)
}

/** What was announced, and whether it came: the reason for the exit status. */
export class Sights {
  readonly #awaited: readonly string[]
  readonly #seen = new Map<string, { readonly isSeen: boolean; readonly evidence: string }>()

  constructor(awaited: readonly string[]) {
    this.#awaited = awaited
  }

  /** Tells at once. `evidence` is where it could be seen, or what was there instead. */
  judge(sight: string, isSeen: boolean, evidence: string): void {
    if (!this.#awaited.includes(sight)) throw new Error(`not announced: ${sight}`)
    this.#seen.set(sight, { isSeen, evidence })
    print(`${INDENT}${mark(isSeen)} ${isSeen ? sight : paint('red', `NOT seen: ${sight} (${evidence})`)}`)
  }

  get allSeen(): boolean {
    return this.#awaited.every((sight) => this.#seen.get(sight)?.isSeen === true)
  }

  summary(): boolean {
    table(
      ['', 'to be seen', 'evidence'],
      this.#awaited.map((sight) => {
        const found = this.#seen.get(sight)
        return [mark(found?.isSeen === true), sight, found?.evidence ?? 'the demo did not get that far']
      }),
    )
    const missing = this.#awaited.filter((sight) => this.#seen.get(sight)?.isSeen !== true)
    print()
    if (missing.length === 0) print(INDENT + paint(['bold', 'green'], `All ${this.#awaited.length} things were seen.`))
    else print(INDENT + paint(['bold', 'red'], `${missing.length} of ${this.#awaited.length} things were not seen.`))
    return this.allSeen
  }
}

function mark(isGood: boolean): string {
  return isGood ? paint('green', '✔') : paint('red', '✘')
}
