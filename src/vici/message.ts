/**
 * VICI messages: a tree of sections, lists and values, and its bytes (strongSwan: vici/README.md, "Message format").
 *
 *   1 SECTION_START  name        2 SECTION_END
 *   3 KEY_VALUE      name value
 *   4 LIST_START     name        5 LIST_ITEM    value      6 LIST_END
 *
 * A name is an 8-bit length and that many printable ASCII characters, a value a 16-bit length in network order and that
 * many bytes of anything. Sections nest, lists don't. The order of keys means something and keys may look like numbers,
 * so sections are Maps.
 */
import { OutOfBytes, Reader, Writer } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'

/**
 * Built with either, parsed as Uint8Array, which is a view on the message: whoever keeps it copies it, for the server
 * overwrites a request when it is answered.
 */
export type ViciValue = string | Uint8Array
export type ViciNode = ViciValue | readonly ViciValue[] | ViciSection
export type ViciSection = ReadonlyMap<string, ViciNode>

const SECTION_START = 1
const SECTION_END = 2
const KEY_VALUE = 3
const LIST_START = 4
const LIST_ITEM = 5
const LIST_END = 6

/** Of a name's 8-bit length. */
const NAME_LENGTH_MAX = 0xff
/** Of a value's 16-bit length. */
const VALUE_LENGTH_MAX = 0xffff
/** Ours: strongSwan has no limit, and none of its messages goes deeper than 5. */
const DEPTH_MAX = 32

/** Bytes that are no VICI message. */
export class MalformedVici extends EspalierError {
  override readonly name = 'MalformedVici'
  readonly offset: number
  /** `reason` is a sentence without its full stop, `offset` counts from the first byte of the message. */
  constructor(offset: number, reason: string) {
    super('malformed', 'VICI_MALFORMED', `VICI message at offset ${offset}: ${reason}`)
    this.offset = offset
  }
}

/** A message that has no bytes: a name or a value that is longer, or of other characters, than the format can say. */
export class UnwritableVici extends EspalierError {
  override readonly name = 'UnwritableVici'
  constructor(reason: string) {
    super('caller', 'VICI_UNWRITABLE', reason)
  }
}

/** What a client sent under a key cannot be what the key is for. */
export class InvalidArgument extends EspalierError {
  override readonly name = 'InvalidArgument'
  readonly key: string
  constructor(key: string, reason: string) {
    super('caller', 'VICI_INVALID_ARGUMENT', `${key}: ${reason}`)
    this.key = key
  }
}

// -- bytes -> tree -------------------------------------------------------------------------------------------------

/** Throws MalformedVici. Where a key comes twice in one section the first counts (strongSwan: find_value). */
export function parseViciMessage(bytes: Uint8Array): ViciSection {
  const reader = new Reader(bytes)
  try {
    return readSection(reader, 0)
  } catch (error) {
    if (!(error instanceof OutOfBytes)) throw error
    throw new MalformedVici(error.offset, `${error.wanted} bytes are to follow, ${error.available} do`)
  }
}

/** Reads until the section's end, which for the outermost, at depth 0, is the end of the bytes. */
function readSection(reader: Reader, depth: number): ViciSection {
  const section = new Map<string, ViciNode>()
  const put = (name: string, node: ViciNode): void => {
    if (!section.has(name)) section.set(name, node)
  }
  while (reader.remaining > 0) {
    const { offset } = reader
    const type = reader.u8()
    if (type === KEY_VALUE) put(readName(reader), readValue(reader))
    else if (type === LIST_START) put(readName(reader), readList(reader))
    else if (type === SECTION_START) {
      if (depth === DEPTH_MAX) throw new MalformedVici(offset, `sections are nested more than ${DEPTH_MAX} deep`)
      put(readName(reader), readSection(reader, depth + 1))
    } else if (type === SECTION_END && depth > 0) return section
    else throw new MalformedVici(offset, `an element of type ${type} has no place here`)
  }
  if (depth > 0) throw new MalformedVici(reader.offset, 'a section has no end')
  return section
}

function readList(reader: Reader): readonly ViciValue[] {
  const items: Uint8Array[] = []
  for (;;) {
    const { offset } = reader
    const type = reader.u8()
    if (type === LIST_END) return items
    if (type !== LIST_ITEM) throw new MalformedVici(offset, `an element of type ${type} has no place in a list`)
    items.push(readValue(reader))
  }
}

/** Reads an 8-bit length and that many printable characters; packets have such names too. Throws OutOfBytes, MalformedVici. */
export function readName(reader: Reader): string {
  const { offset } = reader
  const name = latin1(reader.bytes(reader.u8()))
  if (!isPrintable(name)) throw new MalformedVici(offset, 'a name is not of printable characters')
  return name
}

function readValue(reader: Reader): Uint8Array {
  return reader.bytes(reader.u16())
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** As isprint(3) in the C locale has it. */
function isPrintable(text: string): boolean {
  return /^[ -~]*$/.test(text)
}

// -- tree -> bytes -------------------------------------------------------------------------------------------------

/** Throws UnwritableVici. */
export function writeViciMessage(section: ViciSection): Uint8Array {
  const writer = new Writer()
  writeEntries(writer, section)
  return writer.finish()
}

function writeEntries(writer: Writer, section: ViciSection): void {
  for (const [name, node] of section) {
    if (node instanceof Map) {
      writeName(writer.u8(SECTION_START), name)
      writeEntries(writer, node)
      writer.u8(SECTION_END)
    } else if (Array.isArray(node)) {
      writeName(writer.u8(LIST_START), name)
      for (const item of node as readonly ViciValue[]) writeValue(writer.u8(LIST_ITEM), item)
      writer.u8(LIST_END)
    } else {
      writeName(writer.u8(KEY_VALUE), name)
      writeValue(writer, node as ViciValue)
    }
  }
}

/** Writes what `readName` reads. Throws UnwritableVici. */
export function writeName(writer: Writer, name: string): void {
  if (name.length > NAME_LENGTH_MAX) throw new UnwritableVici(`the name "${name.slice(0, 40)}..." is longer than 255 characters`)
  if (!isPrintable(name)) throw new UnwritableVici(`the name ${JSON.stringify(name)} has characters that are not printable ASCII`)
  writer.u8(name.length).bytes(Buffer.from(name, 'latin1'))
}

function writeValue(writer: Writer, value: ViciValue): void {
  const bytes = toBytes(value)
  if (bytes.length > VALUE_LENGTH_MAX) throw new UnwritableVici(`a value of ${bytes.length} bytes is longer than 65535`)
  writer.u16(bytes.length).bytes(bytes)
}

// -- building and asking -------------------------------------------------------------------------------------------

/** A section of these entries; those without a node are left out. */
export function section(...entries: readonly (readonly [string, ViciNode | null | undefined])[]): ViciSection {
  const built = new Map<string, ViciNode>()
  for (const [name, node] of entries) if (node !== null && node !== undefined) built.set(name, node)
  return built
}

/** The value as UTF-8, null if there is none. This and the questions below throw InvalidArgument for a node of another kind. */
export function textOf(section: ViciSection, key: string): string | null {
  const node = valueOf(section, key)
  return node === null ? null : toText(key, node)
}

export function bytesOf(section: ViciSection, key: string): Uint8Array | null {
  const node = valueOf(section, key)
  return node === null ? null : toBytes(node)
}

export function listOf(section: ViciSection, key: string): readonly string[] | null {
  const node = section.get(key)
  if (node === undefined) return null
  if (!Array.isArray(node)) throw new InvalidArgument(key, 'is to be a list')
  return (node as readonly ViciValue[]).map((item) => toText(key, item))
}

export function sectionOf(section: ViciSection, key: string): ViciSection | null {
  const node = section.get(key)
  if (node === undefined) return null
  if (!(node instanceof Map)) throw new InvalidArgument(key, 'is to be a section')
  return node
}

/** strongSwan: settings_value_as_bool; any other word, and none, is the fallback. */
export function booleanOf(section: ViciSection, key: string, fallback: boolean): boolean {
  const word = textOf(section, key)?.toLowerCase() ?? ''
  if (['yes', 'true', 'enabled', '1'].includes(word)) return true
  if (['no', 'false', 'disabled', '0'].includes(word)) return false
  return fallback
}

/** A whole number in decimal, or hexadecimal with 0x (strongSwan: strtol with base 0); null if there is none or an empty value. */
export function integerOf(section: ViciSection, key: string): number | null {
  const text = textOf(section, key) ?? ''
  if (text === '') return null
  const number = /^([+-]?\d+|0[xX][\da-fA-F]+)$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number)) throw new InvalidArgument(key, `"${text.slice(0, 40)}" is not a whole number`)
  return number
}

function valueOf(section: ViciSection, key: string): ViciValue | null {
  const node = section.get(key)
  if (node === undefined) return null
  if (typeof node !== 'string' && !(node instanceof Uint8Array)) throw new InvalidArgument(key, 'is to be a single value')
  return node
}

function toBytes(value: ViciValue): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : value
}

function toText(key: string, value: ViciValue): string {
  if (typeof value === 'string') return value
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  } catch {
    throw new InvalidArgument(key, 'is not text in UTF-8')
  }
}
