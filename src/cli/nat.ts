/**
 * What espalier-nat tells of the path to a peer, for a person: what was found, why, and what follows from it.
 */
import type { ViciSection } from '../vici/message.ts'
import { sectionOf } from '../vici/message.ts'
import { entriesOf, namedJson, numberOf, toJson, wordOf, type Json } from './answers.ts'
import type { Output, Style } from './output.ts'
import { formatChild, formatIke, type ListedChild, type ListedIke } from './sas.ts'
import { wrap } from './table.ts'
import { count, formatTime } from './words.ts'

/** One line of a block: what it is about, and what is said of it. */
interface Said {
  readonly label: string
  readonly text: string
  readonly style?: Style
}

const INDENT = 2
const GAP = 2
/** A label this long still gets its text beside it. */
const LABEL_MOST = 12

/** The block of one IKE_SA, wrapped to `width`; null: as long as its lines get. */
export function pathLines(ike: ListedIke, width: number | null, paint: Output['paint']): readonly string[] {
  const said = sayingsOf(ike)
  const labelWidth = Math.min(LABEL_MOST, Math.max(...said.map(({ label }) => label.length)))
  const indent = INDENT + labelWidth + GAP
  const room = width === null ? Number.POSITIVE_INFINITY : Math.max(20, width - indent)
  const identity = wordOf(ike.section, 'remote-id')
  const head = `${paint('bold', formatIke(ike))}${identity === null || identity === '%any' ? '' : `  ${identity}`}`
  return [head, ...said.flatMap((one) => sayingLines(one, labelWidth, room, paint))]
}

function sayingLines({ label, text, style }: Said, labelWidth: number, room: number, paint: Output['paint']): readonly string[] {
  const pieces = Number.isFinite(room) ? wrapWords(text, room) : [text]
  const painted = (piece: string): string => (style === undefined ? piece : paint(style, piece))
  const [first = '', ...rest] = pieces
  const begin = ' '.repeat(INDENT)
  const indent = ' '.repeat(INDENT + labelWidth + GAP)
  const others = rest.map((piece) => `${indent}${painted(piece)}`)
  if (label.length > labelWidth) return [`${begin}${label}`, `${indent}${painted(first)}`, ...others]
  const gap = ' '.repeat(labelWidth - label.length + GAP)
  return [`${begin}${label === '' ? '' : paint('dim', label)}${gap}${painted(first)}`, ...others]
}

/** Sentences: addresses in them stay whole as long as they fit. */
function wrapWords(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    if (word.length > width) {
      const pieces = wrap(word, width)
      lines.push(...pieces.slice(0, -1))
      line = pieces.at(-1) ?? ''
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

function sayingsOf(ike: ListedIke): readonly Said[] {
  const { section } = ike
  return [
    { label: 'peer', text: `${place(section, 'remote')}, ${natBefore(section, 'remote')}` },
    { label: 'here', text: `${place(section, 'local')}, ${natBefore(section, 'local')}` },
    ...(wordOf(section, 'stale') === 'yes'
      ? [{ label: '', text: 'there is no way to the peer at present', style: 'yellow' } as const]
      : []),
    { label: 'MOBIKE', text: wordOf(section, 'mobike') === 'yes' ? 'yes' : 'no' },
    { label: 'ESP', text: espOf(section) },
    { label: 'keepalives', text: keepalivesOf(section) },
    ...movesOf(section),
    ...ike.children.flatMap(childSayings),
  ]
}

function place(section: ViciSection, which: string): string {
  const host = wordOf(section, `${which}-host`) ?? '?'
  return `${host.includes(':') ? `[${host}]` : host}:${wordOf(section, `${which}-port`) ?? '?'}`
}

/** What was found, and which hash said so (RFC 7296 2.23). */
function natBefore(section: ViciSection, which: 'local' | 'remote'): string {
  const isNat = wordOf(section, `nat-${which}`) === 'yes'
  const detection = sectionOf(section, 'detection')
  if (detection === null) return 'nothing is known of NATs yet'
  if (wordOf(detection, 'supported') !== 'yes') return 'the peer does no NAT traversal: it sent no hashes to compare'
  const at = place(detection, which)
  const hash = which === 'remote' ? 'NAT_DETECTION_SOURCE_IP' : 'NAT_DETECTION_DESTINATION_IP'
  if (!isNat) return `no NAT: ${hash} is of ${at}`
  return which === 'remote'
    ? `behind a NAT: it was seen at ${at}, and knows itself by another address or port (${hash} differs)`
    : `behind a NAT: what arrives at ${at} was sent to another address or port (${hash} differs)`
}

function espOf(section: ViciSection): string {
  const isUdp = wordOf(section, 'encap') === 'yes'
  const form = isUdp ? 'in UDP' : 'bare'
  const shown = wordOf(section, 'peer-sends')
  if (shown !== null) return `${form}, as the peer was found to send it`
  return isUdp && wordOf(section, 'nat-fake') === 'yes' ? 'in UDP, by encap = yes alone' : form
}

function keepalivesOf(section: ViciSection): string {
  const keepalives = sectionOf(section, 'keepalives') ?? new Map()
  const [sent, suppressed] = [numberOf(keepalives, 'sent') ?? 0, numberOf(keepalives, 'suppressed') ?? 0]
  const lifetime = numberOf(keepalives, 'learnt-lifetime')
  const learnt = lifetime === null ? [] : [`the mapping lives ${formatTime(lifetime)}, as learnt`]
  const counts = [`${sent} sent`, `${suppressed} not needed since other packets left`]
  const interval = numberOf(keepalives, 'interval')
  const isNeeded = wordOf(keepalives, 'needed') === 'yes'
  if (interval !== null) return [`after ${formatTime(interval)} of silence`, ...counts, ...learnt].join(', ')
  const why = isNeeded
    ? 'switched off (charon.keep_alive = 0)'
    : wordOf(section, 'nat-remote') === 'yes'
      ? "none: the mapping is the peer's to keep"
      : 'none: there is no mapping to keep'
  return [why, ...(sent > 0 ? counts : []), ...learnt].join(', ')
}

const CAUSES: Readonly<Record<string, string>> = {
  'ike-message': 'an IKE message came from there',
  'mapping': 'ESP came from there',
  'mobike': 'MOBIKE said so',
  'roam': 'our addresses or routes changed',
  'rekey': 'a repair went to the NAT-T ports',
}

function movesOf(section: ViciSection): readonly Said[] {
  const total = numberOf(section, 'move-count') ?? 0
  const moves = entriesOf(section, 'moves')
    .map(([, move]) => move)
    .toReversed()
  if (total === 0) return [{ label: 'moved', text: 'never' }]
  const hidden = total - moves.length
  return [
    { label: 'moved', text: `${count(total, 'time')}, the latest first` },
    ...moves.map((move): Said => {
      const ways = (['remote', 'local'] as const).flatMap((which) => {
        const [from, to] = [place(move, `old-${which}`), place(move, which)]
        return from === to ? [] : [`${which === 'remote' ? 'the peer' : 'we'} from ${from} to ${to}`]
      })
      const cause = wordOf(move, 'cause') ?? ''
      return { label: '', text: `${formatTime(numberOf(move, 'age') ?? 0)} ago ${ways.join(', ')}: ${CAUSES[cause] ?? cause}` }
    }),
    ...(hidden > 0 ? [{ label: '', text: `and ${hidden} before` }] : []),
  ]
}

function childSayings(child: ListedChild): readonly Said[] {
  const { section } = child
  const health = wordOf(section, 'health') ?? '?'
  const mtu = numberOf(section, 'mtu')
  const repair = REPAIRS[wordOf(section, 'repair') ?? '']
  const time = formatTime(numberOf(section, 'health-time') ?? 0)
  const why = health === 'good' ? '' : `: ${wordOf(section, 'health-text') ?? '?'}`
  const style = STYLES[health]
  return [
    { label: formatChild(child), text: `${health} for ${time}${why}`, ...(style === undefined ? {} : { style }) },
    ...(repair === undefined ? [] : [{ label: '', text: repair }]),
    ...(mtu === null ? [] : [{ label: '', text: `packets of up to ${mtu} bytes fit` }]),
  ]
}

/** What was done, and did not help so far. */
const REPAIRS: Readonly<Record<string, string>> = {
  rekeyed: 'was rekeyed for that reason',
  switched: 'was rekeyed with the other encapsulation for that reason',
  reverted: 'was rekeyed with the other encapsulation, and back, for that reason',
}

const STYLES: Readonly<Record<string, Style>> = { good: 'green', suspect: 'yellow', failing: 'red' }

/** An object with all of espalier-nat's keys; what is numbered or named there is in arrays. */
export function pathJson({ name, section, children }: ListedIke): Json {
  const flags = Object.fromEntries(['nat-local', 'nat-remote', 'nat-fake', 'nat-any'].map((key) => [key, false]))
  return {
    name,
    ...flags,
    ...namedJson(name, section),
    'moves': entriesOf(section, 'moves').map(([, move]) => toJson(move)),
    'child-sas': children.map((child) => namedJson(child.name, child.section)),
  }
}
