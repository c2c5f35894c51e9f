/**
 * What a person means by NAME or #ID: names of connections and children, numbers and the notation of logs.
 *
 *   bern           the connection, or a child of that name
 *   bern/office    the child office of the connection bern
 *   #3, 3, bern[3] IKE_SA number 3;  {3}, office{3}: CHILD_SA number 3
 *
 * A name that is a connection's and a child's is the connection, for who says so means the whole tunnel; --child and
 * --ike decide otherwise. A name wins over a number.
 */
import { nearest } from '../config/check.ts'
import type { ViciSection } from '../vici/message.ts'
import { entriesOf, sectionsOf } from './answers.ts'
import { RequestFailed, UsageError } from './failures.ts'
import type { ListedIke } from './sas.ts'

export type Kind = 'ike' | 'child' | null

/** Connections with the names of their children. */
export type Configured = readonly { readonly name: string; readonly children: readonly string[] }[]

/** Of list-conn events. */
export function readConfigured(events: readonly ViciSection[]): Configured {
  return events
    .flatMap(sectionsOf)
    .map(([name, section]) => ({ name, children: entriesOf(section, 'children').map(([child]) => child) }))
}

export interface Initiation {
  readonly ike: string
  /** Null: the connection has none. */
  readonly child: string | null
}

/** What there is to bring up by that name: all children of a connection, or one. Throws a RequestFailed. */
export function findConfigured(configured: Configured, name: string, kind: Kind): readonly Initiation[] {
  const connection = kind === 'child' ? undefined : configured.find((candidate) => candidate.name === name)
  if (connection !== undefined) {
    const { children } = connection
    return children.length === 0 ? [{ ike: name, child: null }] : children.map((child) => ({ ike: name, child }))
  }
  const found = kind === 'ike' ? [] : childrenNamed(configured, name)
  if (found.length === 1) return found
  if (found.length > 1)
    throw new RequestFailed(
      `several connections have a child '${name}': say ${alternatives(found.map(({ ike, child }) => `${ike}/${child}`))}`,
    )
  const names = [
    ...(kind === 'child' ? [] : configured.map((candidate) => candidate.name)),
    ...(kind === 'ike' ? [] : configured.flatMap(({ children }) => children)),
  ]
  const noun = kind === 'ike' ? 'connection' : kind === 'child' ? 'child' : 'connection or child'
  throw new RequestFailed(`no ${noun} '${name}' is loaded${suggestion(name, names, "; 'espalier conns' shows what is")}`)
}

function childrenNamed(configured: Configured, name: string): readonly { readonly ike: string; readonly child: string }[] {
  return configured.flatMap(({ name: ike, children }) =>
    children.filter((child) => child === name || `${ike}/${child}` === name).map((child) => ({ ike, child })),
  )
}

/** Keys and values of VICI's filter. */
export type SaFilter = readonly (readonly [key: 'ike' | 'ike-id' | 'child' | 'child-id', value: string])[]

/** The filter that selects what is meant. Throws a RequestFailed when nothing like it is up. */
export function findUp(sas: readonly ListedIke[], target: string, kind: Kind): SaFilter {
  const named = kind === 'child' ? undefined : sas.find(({ name }) => name === target)
  if (named !== undefined) return [['ike', target]]
  const children = sas.flatMap((ike) => ike.children.map((child) => ({ ike: ike.name, child: child.name })))
  if (kind !== 'ike') {
    if (children.some(({ child }) => child === target)) return [['child', target]]
    const one = children.find(({ ike, child }) => `${ike}/${child}` === target)
    if (one !== undefined) return [['ike', one.ike], ['child', one.child]] // oxfmt-ignore
  }
  const numbered = parseNumber(target, kind)
  if (numbered !== null) {
    const [key, id] = numbered
    const isUp = sas.some((ike) => (key === 'ike-id' ? ike.id === id : ike.children.some((child) => child.id === id)))
    if (!isUp)
      throw new RequestFailed(`no ${key === 'ike-id' ? 'IKE_SA' : 'CHILD_SA'} has number ${id}; 'espalier sas' shows what is up`)
    return [[key, String(id)]]
  }
  const names = [...sas.map(({ name }) => name), ...children.map(({ child }) => child)]
  throw new RequestFailed(`no SA called '${target}' is up${suggestion(target, names, "; 'espalier sas' shows what is")}`)
}

/** Null if it has not the form of a number. */
function parseNumber(target: string, kind: Kind): readonly ['ike-id' | 'child-id', number] | null {
  const match = /^(?:#?(?<plain>\d+)|[^[\]{}]*\[(?<ike>\d+)\]|[^[\]{}]*\{(?<child>\d+)\})$/.exec(target)?.groups
  if (match === undefined) return null
  const isChild = match['child'] !== undefined || (match['plain'] !== undefined && kind === 'child')
  if ((isChild && kind === 'ike') || (match['ike'] !== undefined && kind === 'child'))
    throw new UsageError(`${target} is ${isChild ? 'a CHILD_SA' : 'an IKE_SA'}, and --${kind} asks for the other`)
  return [isChild ? 'child-id' : 'ike-id', Number(match['plain'] ?? match['ike'] ?? match['child'])]
}

/** Slips that a name may be away from the one that was meant. */
const SLIPS_MAX = 2

function suggestion(name: string, names: readonly string[], otherwise: string): string {
  const found = nearest(name, names)
  return found === null || found.distance > SLIPS_MAX ? otherwise : `; did you mean '${found.name}'?`
}

function alternatives(names: readonly string[]): string {
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}
