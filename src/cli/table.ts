/**
 * Tables that fit the terminal: columns as wide as their contents, and where that is too much the widest are wrapped.
 * Nothing is ever cut off.
 */
import type { Style } from './output.ts'

export interface Painted {
  readonly text: string
  readonly style: Style
}
export type CellLine = string | Painted
/** One line, or several under each other. */
export type Cell = CellLine | readonly CellLine[]

export interface TableOptions {
  /** Null: as wide as it gets. */
  readonly width: number | null
  readonly paint: (style: Style, text: string) => string
}

const GAP = 2
/** No column is wrapped to less. */
const NARROWEST = 8

/** The lines of a table, titles first. A row with fewer cells than titles is empty at its end. */
export function formatTable(titles: readonly string[], rows: readonly (readonly Cell[])[], options: TableOptions): string[] {
  const head = titles.map((text): Cell => ({ text, style: 'dim' }))
  const all = [head, ...rows].map((row) => titles.map((_, i) => linesOf(row[i] ?? '')))
  const widths = fit(
    titles.map((_, i) => Math.max(...all.map((row) => Math.max(0, ...row[i]!.map(({ text }) => widthOf(text)))))),
    options.width,
  )
  return all.flatMap((row) => formatRow(row, widths, options.paint))
}

function formatRow(cells: readonly (readonly Line[])[], widths: readonly number[], paint: TableOptions['paint']): string[] {
  const wrapped = cells.map((lines, i) =>
    lines.flatMap(({ text, style }) => wrap(text, widths[i]!).map((piece): Line => ({ text: piece, style }))),
  )
  const height = Math.max(...wrapped.map((lines) => lines.length))
  return Array.from({ length: height }, (_, y) => {
    const last = wrapped.findLastIndex((lines) => (lines[y]?.text ?? '') !== '')
    const parts = wrapped.slice(0, last + 1).map((lines, x) => {
      const { text, style } = lines[y] ?? { text: '', style: null }
      const painted = style === null || text === '' ? text : paint(style, text)
      return x === last ? painted : painted + ' '.repeat(widths[x]! + GAP - widthOf(text))
    })
    return parts.join('')
  })
}

interface Line {
  readonly text: string
  readonly style: Style | null
}

function linesOf(cell: Cell): readonly Line[] {
  const lines = typeof cell === 'string' || 'text' in cell ? [cell] : cell
  return lines.map((line) => (typeof line === 'string' ? { text: line, style: null } : line))
}

/** Takes from the widest, a character at a time, until all fit or none can give more. */
function fit(natural: readonly number[], width: number | null): readonly number[] {
  const widths = [...natural]
  if (width === null) return widths
  let excess = widths.reduce((sum, column) => sum + column, 0) + GAP * (widths.length - 1) - width
  // The first column names the row, and is the last to give.
  for (const first of [1, 0]) {
    for (; excess > 0; excess--) {
      const widest = widths.indexOf(Math.max(...widths.slice(first)), first)
      if (widest < 0 || widths[widest]! <= NARROWEST) break
      widths[widest]!--
    }
  }
  return widths
}

/** Breaks where names and addresses have their joints; in the middle where they have none. */
export function wrap(text: string, width: number): string[] {
  const indent = /^ */.exec(text)![0]
  const pieces = unindented(text.slice(indent.length), Math.max(1, width - indent.length))
  return pieces.map((piece) => indent + piece)
}

function unindented(text: string, width: number): string[] {
  const pieces: string[] = []
  let rest = charactersOf(text)
  while (rest.length > width) {
    const line = rest.slice(0, width + 1)
    const joint = Math.max(
      line.lastIndexOf(' '),
      line.slice(0, width).findLastIndex((character) => JOINTS.includes(character)) + 1,
    )
    // A joint near the beginning would make many short lines.
    const length = joint > width / 3 ? joint : width
    pieces.push(rest.slice(0, length).join('').trimEnd())
    rest = charactersOf(rest.slice(length).join('').trimStart())
  }
  return [...pieces, rest.join('')]
}

const JOINTS = [',', '.', ':', '/', '@', '-', '=']

/** Columns, with one for each character: names of connections and most identities are ASCII. */
function widthOf(text: string): number {
  return charactersOf(text).length
}

const segmenter = new Intl.Segmenter()

function charactersOf(text: string): string[] {
  if (/^[ -~]*$/.test(text)) return text.split('')
  return Array.from(segmenter.segment(text), ({ segment }) => segment)
}
