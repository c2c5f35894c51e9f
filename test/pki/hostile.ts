/**
 * DER made bad where it counts: a structure is taken apart, an element is dropped, doubled, retagged, emptied, filled with
 * something else or moved, and all lengths are written anew, so that readers go on past what was done.
 */
import fc from 'fast-check'

import { concatBytes } from '../../src/base/bytes.ts'
import { DerReader, encodeElement } from '../../src/base/der.ts'

/** An element; of one that holds others `contents` are what comes before them (the count of unused bits of a BIT STRING). */
interface Node {
  readonly tag: number
  readonly contents: Uint8Array
  readonly children: readonly Node[]
}

interface Change {
  readonly what: 'drop' | 'double' | 'retag' | 'empty' | 'fill' | 'swap' | 'wrap' | 'graft'
  readonly at: number
  readonly by: number
  readonly bytes: Uint8Array
}

export const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.record({
    what: fc.constantFrom('drop', 'double', 'retag', 'empty', 'fill', 'swap', 'wrap', 'graft'),
    at: fc.nat(),
    by: fc.nat(),
    bytes: fc.uint8Array({ maxLength: 40 }),
  }),
  { minLength: 1, maxLength: 3 },
)

/** `der` after the changes. What is grafted comes from `der` itself. */
export function changed(der: Uint8Array, all: readonly Change[]): Uint8Array {
  const tree = nodesOf(der, 0)
  if (tree === null) return der
  return concatBytes(...all.reduce<readonly Node[]>(changedOnce, tree).map(encode))
}

function nodesOf(bytes: Uint8Array, depth: number): Node[] | null {
  try {
    const reader = new DerReader(bytes)
    const nodes: Node[] = []
    while (!reader.isAtEnd) {
      const { tag, contents } = reader.next()
      nodes.push(nodeOf(tag, contents, depth))
    }
    return nodes
  } catch {
    return null
  }
}

/** OCTET STRINGs and BIT STRINGs hold DER in extensions and keys. */
function nodeOf(tag: number, contents: Uint8Array, depth: number): Node {
  const before = tag === 0x03 ? contents.subarray(0, 1) : new Uint8Array()
  const holds = ((tag & 0x20) !== 0 || tag === 0x03 || tag === 0x04) && contents.length > before.length && depth < 20
  const children = holds ? nodesOf(contents.subarray(before.length), depth + 1) : null
  return children === null ? { tag, contents, children: [] } : { tag, contents: before, children }
}

function encode({ tag, contents, children }: Node): Uint8Array {
  return encodeElement(tag, contents, ...children.map(encode))
}

function count(nodes: readonly Node[]): number {
  return nodes.reduce((sum, { children }) => sum + 1 + count(children), 0)
}

function changedOnce(nodes: readonly Node[], change: Change): readonly Node[] {
  const total = count(nodes)
  if (total === 0) return nodes
  const graft = nodeAt(nodes, change.by % total)
  let left = change.at % total
  const walk = (list: readonly Node[]): Node[] =>
    list.flatMap((node, i) => {
      if (left-- === 0) return applied(node, list[i + 1] ?? node, graft, change)
      return [{ ...node, children: walk(node.children) }]
    })
  return walk(nodes)
}

function nodeAt(nodes: readonly Node[], index: number): Node {
  const flat = (list: readonly Node[]): Node[] => list.flatMap((node) => [node, ...flat(node.children)])
  return flat(nodes)[index]!
}

function applied(node: Node, next: Node, graft: Node, { what, by, bytes }: Change): Node[] {
  switch (what) {
    case 'drop':
      return []
    case 'double':
      return [node, node]
    case 'retag':
      return [{ ...node, tag: by & 0xff }]
    case 'empty':
      return [{ ...node, contents: new Uint8Array(), children: [] }]
    case 'fill':
      return [{ ...node, contents: bytes, children: [] }]
    case 'swap':
      return [next, node]
    case 'wrap':
      return [{ tag: 0x30, contents: new Uint8Array(), children: [node] }]
    case 'graft':
      return [graft]
  }
}
