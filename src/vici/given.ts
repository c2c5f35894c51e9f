/**
 * What a client says of a connection, a pool or an authority, as the configuration's readers take it, and what they answer, in
 * strongSwan's sentences with ours behind them.
 */
import type { Given } from '../config/given.ts'
import { formatProblem, type Problem } from '../config/problems.ts'
import type { ResolvedSection } from '../config/references.ts'
import type { Setting } from '../config/syntax.ts'
import { Refusal, succeeded } from './command.ts'
import type { ViciNode, ViciSection, ViciValue } from './message.ts'

/** Certificates and keys come as their bytes. */
const BINARY = new Set(['certs', 'cacerts', 'pubkeys', 'cacert'])

/** Problems that are told in one errmsg. */
const PROBLEMS_MAX = 10

/** The sections of a message, each what its name says. Throws a Refusal. */
export function namedSections(request: ViciSection): readonly ResolvedSection[] {
  return [...request].map(([name, node]) => {
    if (!isSection(node)) throw new Refusal('parsing request failed')
    return resolved(name, node)
  })
}

function resolved(name: string, section: ViciSection): ResolvedSection {
  const settings = new Map<string, Setting>()
  const sections = new Map<string, ResolvedSection>()
  for (const [key, node] of section) {
    if (isSection(node)) sections.set(key, resolved(key, node))
    else settings.set(key, setting(key, node))
  }
  return { name, ...NOWHERE, settings, sections }
}

/** A message has neither files nor lines. */
const NOWHERE = { file: '', line: 0 }

function setting(name: string, node: Exclude<ViciNode, ViciSection>): Setting {
  if (BINARY.has(name.toLowerCase())) return binary(name, isList(node) ? node : [node])
  if (!isList(node)) return { name, ...NOWHERE, value: toText(name, node) }
  const items = node.map((item) => toText(name, item))
  return { name, ...NOWHERE, value: items.join(', '), items }
}

/** Copies: what is made of them is kept, and the message is not. */
function binary(name: string, values: readonly ViciValue[]): Setting {
  const blobs = values.map((value) => Uint8Array.from(typeof value === 'string' ? Buffer.from(value) : value))
  return { name, ...NOWHERE, value: blobs.map(({ length }) => `${length} bytes`).join(', '), blobs }
}

function toText(key: string, value: ViciValue): string {
  if (typeof value === 'string') return value
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  } catch {
    throw new Refusal(`invalid value for: ${key}, config discarded: it is not text in UTF-8`)
  }
}

function isSection(node: ViciNode): node is ViciSection {
  return node instanceof Map
}
function isList(node: ViciNode): node is readonly ViciValue[] {
  return Array.isArray(node)
}

/** The values, if there is nothing wrong with any of them; throws a Refusal with all that is. */
export function accepted<Value>(given: readonly Given<Value>[], discarded = 'config discarded'): readonly Value[] {
  const problems = given.flatMap(({ errors }) => errors)
  const [first, ...more] = problems
  if (first?.kind === 'other' && more.length === 0) throw new Refusal(first.message)
  if (first !== undefined) throw new Refusal(`${strongSwanSentence(first, discarded)}: ${listed(problems)}`)
  return given.flatMap(({ value }) => value ?? [])
}

function listed(problems: readonly Problem[]): string {
  const told = problems.slice(0, PROBLEMS_MAX).map(formatProblem)
  const more = problems.length - told.length
  return more > 0 ? `${told.join('; ')}; and ${more} more` : told.join('; ')
}

function strongSwanSentence({ kind, key, message }: Problem, discarded: string): string {
  const name = key?.slice(key.lastIndexOf('.') + 1) ?? ''
  switch (kind) {
    case 'unknown-key':
      return `unknown option: ${name}, ${discarded}`
    case 'unknown-section':
      return `invalid section: ${name}, ${discarded}`
    case 'invalid':
      return `invalid value for: ${name}, ${discarded}`
    case 'unsupported':
      return `not supported: ${name}, ${discarded}`
    case 'other':
      return message
  }
}

/** success=yes; what is not honoured stands in `warnings`, which strongSwan's clients don't look at. */
export function loaded(warnings: readonly string[]): ViciSection {
  return succeeded(['warnings', warnings.length === 0 ? null : warnings])
}

export function warningsOf(given: readonly Given<unknown>[]): readonly string[] {
  return given.flatMap(({ warnings }) => warnings.map(formatProblem))
}
