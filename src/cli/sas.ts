/**
 * IKE_SAs and their CHILD_SAs, as `list-sas` tells of them, for a person to read at a glance.
 */
import type { ViciSection } from '../vici/message.ts'
import { entriesOf, namedJson, numberOf, sectionsOf, wordOf, wordsOf, type Json } from './answers.ts'
import type { Cell, CellLine } from './table.ts'
import { formatAlgorithm, formatSize, formatTime } from './words.ts'

export interface ListedIke {
  readonly name: string
  readonly id: number
  readonly section: ViciSection
  readonly children: readonly ListedChild[]
}
export interface ListedChild {
  readonly name: string
  readonly id: number
  readonly section: ViciSection
}

/** The SAs of list-sa events. */
export function readSas(events: readonly ViciSection[]): readonly ListedIke[] {
  return events.flatMap(sectionsOf).map(([name, section]) => ({
    name,
    id: numberOf(section, 'uniqueid') ?? 0,
    section,
    children: entriesOf(section, 'child-sas').map(([key, child]) => ({
      name: wordOf(child, 'name') ?? key,
      id: numberOf(child, 'uniqueid') ?? 0,
      section: child,
    })),
  }))
}

/** As logs write it. */
export function formatIke({ name, id }: ListedIke): string {
  return `${name}[${id}]`
}
export function formatChild({ name, id }: ListedChild): string {
  return `${name}{${id}}`
}

/** Those of a connection or with CHILD_SAs of that name. */
export function sasNamed(sas: readonly ListedIke[], name: string): readonly ListedIke[] {
  return sas.filter((ike) => ike.name === name || ike.children.some((child) => child.name === name))
}

// -- the table -----------------------------------------------------------------------------------------------------

export const SA_TITLES = ['SA', 'PEER', 'HERE', 'CIPHER', 'AGE', 'REKEY']

export function saRows(sas: readonly ListedIke[]): readonly (readonly Cell[])[] {
  return sas.flatMap((ike) => [ikeRow(ike), ...ike.children.map(childRow)])
}

function ikeRow(ike: ListedIke): readonly Cell[] {
  const { section } = ike
  const state = wordOf(section, 'state') ?? ''
  const style = state === 'ESTABLISHED' ? 'green' : state === 'CONNECTING' ? 'yellow' : 'red'
  return [
    [{ text: formatIke(ike), style }, ...(style === 'green' ? [] : [` ${state.toLowerCase()}`])],
    side(section, 'remote'),
    side(section, 'local'),
    cipher(section),
    age(numberOf(section, 'established')),
    // What is not up has no times yet, or no more.
    state !== 'ESTABLISHED' ? '-' : next(numberOf(section, 'rekey-time'), numberOf(section, 'reauth-time')),
  ]
}

/** Address, identity, and what the NAT detection has found out about that side. */
function side(section: ViciSection, which: 'local' | 'remote'): readonly CellLine[] {
  const host = wordOf(section, `${which}-host`) ?? '?'
  const port = wordOf(section, `${which}-port`) ?? '?'
  const identity = wordOf(section, `${which}-id`)
  const eap = wordOf(section, `${which}-eap-id`)
  const isFaked = which === 'local' && wordOf(section, 'nat-fake') === 'yes'
  const isBehindNat = wordOf(section, `nat-${which}`) === 'yes'
  // Without a NAT there is nothing to say before both have said who they are.
  const nat: CellLine = isBehindNat
    ? { text: 'behind NAT', style: 'yellow' }
    : { text: isFaked ? 'NAT pretended' : 'no NAT', style: 'dim' }
  return [
    `${host.includes(':') ? `[${host}]` : host}:${port}`,
    ...(identity === null || identity === '%any' ? [] : [identity]),
    ...(eap === null ? [] : [`EAP ${eap}`]),
    ...wordsOf(section, `${which}-vips`).map((address) => `gets ${address}`),
    nat,
  ]
}

function childRow(child: ListedChild): readonly Cell[] {
  const { section } = child
  const state = wordOf(section, 'state') ?? ''
  const isUp = state === 'INSTALLED'
  const mode = wordOf(section, 'mode') ?? 'TUNNEL'
  const mtu = numberOf(section, 'mtu')
  return [
    [
      { text: ` ${formatChild(child)}`, style: isUp ? 'green' : 'yellow' },
      ...(isUp ? [] : [`  ${state.toLowerCase()}`]),
      ...illness(section),
    ],
    [...wordsOf(section, 'remote-ts'), traffic(section, 'in')],
    [...wordsOf(section, 'local-ts'), traffic(section, 'out')],
    [
      ...cipher(section),
      ...(mode === 'TUNNEL' ? [] : [mode.toLowerCase()]),
      ...(wordOf(section, 'encap') === 'yes' ? ['in UDP'] : []),
      ...(mtu === null ? [] : [`MTU ${mtu}`]),
    ],
    age(numberOf(section, 'install-time')),
    next(numberOf(section, 'rekey-time'), null),
  ]
}

/** Whoever wants to know more asks `espalier nat`. */
function illness(section: ViciSection): readonly CellLine[] {
  const health = wordOf(section, 'health')
  if (health !== 'suspect' && health !== 'failing') return []
  return [{ text: `  ${health}: ${wordOf(section, 'health-reason') ?? '?'}`, style: health === 'failing' ? 'red' : 'yellow' }]
}

function traffic(section: ViciSection, direction: 'in' | 'out'): CellLine {
  const bytes = numberOf(section, `bytes-${direction}`)
  if (bytes === null) return ''
  const ago = numberOf(section, `use-${direction}`)
  return { text: `${direction} ${formatSize(bytes)}${ago === null ? '' : `, ${formatTime(ago)} ago`}`, style: 'cyan' }
}

const KEY_EXCHANGES = ['dh-group', ...[1, 2, 3, 4, 5, 6, 7].map((number) => `ake${number}`)]

/** Encryption, integrity if it is apart, key exchanges, one below the other; the PRF goes with them and is left to --json. */
function cipher(section: ViciSection): readonly string[] {
  const encryption = formatAlgorithm(wordOf(section, 'encr-alg'), wordOf(section, 'encr-keysize'))
  const integrity = formatAlgorithm(wordOf(section, 'integ-alg'), wordOf(section, 'integ-keysize'))
  const exchanges = KEY_EXCHANGES.map((key) => formatAlgorithm(wordOf(section, key), null))
  return [encryption, integrity, ...exchanges].filter((word) => word !== null)
}

function age(seconds: number | null): string {
  return seconds === null ? '-' : formatTime(seconds)
}

/** What comes first. */
function next(rekey: number | null, reauthentication: number | null): readonly string[] {
  const isReauthentication = reauthentication !== null && (rekey === null || reauthentication < rekey)
  const least = isReauthentication ? reauthentication : rekey
  if (least === null) return ['never']
  return [least <= 0 ? 'now' : formatTime(least), ...(isReauthentication ? ['reauth'] : [])]
}

// -- JSON ----------------------------------------------------------------------------------------------------------

/** An object with all of strongSwan's keys; its CHILD_SAs are an array, and what NAT detection found is always there. */
export function saJson({ name, section, children }: ListedIke): Json {
  const flags = Object.fromEntries(['initiator', 'nat-local', 'nat-remote', 'nat-fake', 'nat-any'].map((key) => [key, false]))
  return {
    name,
    ...flags,
    ...namedJson(name, section),
    'child-sas': children.map((child) => ({ encap: false, ...namedJson(child.name, child.section) })),
  }
}
