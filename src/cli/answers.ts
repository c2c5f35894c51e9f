/**
 * What the daemon answered, for people and for programs.
 */
import { integerOf, listOf, sectionOf, textOf, type ViciNode, type ViciSection } from '../vici/message.ts'
import { RequestFailed } from './failures.ts'
import { harmless } from './output.ts'

/** A value for a person's eyes; null if there is none. */
export function wordOf(section: ViciSection, key: string): string | null {
  const text = textOf(section, key)
  return text === null ? null : harmless(text)
}

export function wordsOf(section: ViciSection, key: string): readonly string[] {
  return (listOf(section, key) ?? []).map(harmless)
}

/** A count, a port, seconds: null if there is none. */
export function numberOf(section: ViciSection, key: string): number | null {
  return integerOf(section, key)
}

/** The sections in a section, by name. */
export function sectionsOf(section: ViciSection): readonly (readonly [string, ViciSection])[] {
  return [...section].flatMap(([name, node]) => (isSection(node) ? [[harmless(name), node] as const] : []))
}

/** The sections below `key`, by name. */
export function entriesOf(section: ViciSection, key: string): readonly (readonly [string, ViciSection])[] {
  return sectionsOf(sectionOf(section, key) ?? new Map())
}

function isSection(node: ViciNode): node is ViciSection {
  return node instanceof Map
}

/** Throws a RequestFailed with the daemon's reason unless it says success=yes. */
export function demandSuccess(response: ViciSection): void {
  if (textOf(response, 'success') === 'yes') return
  throw new RequestFailed(wordOf(response, 'errmsg') ?? 'the daemon refused without a reason')
}

// -- JSON ----------------------------------------------------------------------------------------------------------

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** VICI has text alone; what always is a number or a yes is one in JSON as well. */
const NUMBERS = new Set([
  ...['uniqueid', 'version', 'local-port', 'remote-port', 'encr-keysize', 'integ-keysize', 'prf-keysize', 'dh-keysize'],
  ...['established', 'rekey-time', 'reauth-time', 'life-time', 'install-time', 'reqid'],
  ...['bytes-in', 'packets-in', 'use-in', 'bytes-out', 'packets-out', 'use-out'],
  ...['local_port', 'remote_port', 'reauth_time', 'rekey_time', 'rekey_bytes', 'rekey_packets', 'dpd_delay', 'dpd_timeout'],
  ...['health-time', 'mtu', 'age', 'move-count', 'interval', 'sent', 'suppressed', 'learnt-lifetime', 'outer-mtu'],
  ...['old-local-port', 'old-remote-port'],
  ...['size', 'online', 'offline', 'priority', 'level', 'thread', 'ikesa-uniqueid'],
])
const FLAGS = new Set([
  ...['initiator', 'nat-local', 'nat-remote', 'nat-fake', 'nat-any', 'encap', 'up', 'ppk', 'has_privkey'],
  ...['supported', 'source-matched', 'destination-matched', 'forced', 'needed', 'mobike', 'stale'],
])

/** strongSwan's keys; sections are objects, lists are arrays, bytes that are no text are base64. */
export function toJson(node: ViciNode, key = ''): Json {
  if (isSection(node)) return Object.fromEntries([...node].map(([name, inner]) => [name, toJson(inner, name)]))
  if (Array.isArray(node)) return (node as readonly ViciNode[]).map((item) => toJson(item))
  const text = toText(node as string | Uint8Array)
  if (FLAGS.has(key)) return text === 'yes'
  return NUMBERS.has(key) && /^-?\d+$/.test(text) ? Number(text) : text
}

function toText(value: string | Uint8Array): string {
  if (typeof value === 'string') return value
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(value)
  } catch {
    return Buffer.from(value).toString('base64')
  }
}

/** `{ name: section }` as one object that has its name in it. */
export function namedJson(name: string, section: ViciSection): { readonly [key: string]: Json } {
  return { name, ...(toJson(section) as { readonly [key: string]: Json }) }
}
