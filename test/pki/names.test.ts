import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeElement, encodeOid, encodeSequence, Tag } from '../../src/base/der.ts'
import { canonicalName, emailsOfName, equalNames, isEmptyName, isWithinName } from '../../src/pki/names.ts'

type Attribute = readonly [oid: string, tag: number, value: string | Uint8Array]
const CN = '2.5.4.3'
const O = '2.5.4.10'

/** DER of a Name of RDNs with one or more attributes each. */
function name(...rdns: readonly (readonly Attribute[])[]): Uint8Array {
  const attribute = ([oid, tag, value]: Attribute): Uint8Array =>
    encodeSequence(encodeOid(oid), encodeElement(tag, typeof value === 'string' ? Buffer.from(value) : value))
  return encodeSequence(...rdns.map((rdn) => encodeElement(Tag.SET, ...rdn.map(attribute))))
}
const utf8 = (value: string): Uint8Array => name([[CN, Tag.UTF8_STRING, value]])

test('case, spaces and string types make no difference; letters beyond ASCII do', () => {
  const moon = name([[CN, Tag.PRINTABLE_STRING, 'Moon Gate']])
  for (const same of [
    utf8('moon gate'),
    utf8('  MOON   GATE '),
    name([[CN, Tag.TELETEX_STRING, 'moon gate']]),
    name([[CN, Tag.BMP_STRING, Buffer.from('Moon Gate', 'utf16le').swap16()]]),
  ])
    assert(equalNames(moon, same))
  for (const other of [
    utf8('moongate'),
    utf8('moon'),
    name([[O, Tag.UTF8_STRING, 'Moon Gate']]),
    name([[CN, Tag.OCTET_STRING, 'Moon Gate']]),
    encodeSequence(),
  ])
    assert(!equalNames(moon, other))
  assert(!equalNames(utf8('Ä'), utf8('ä')))
  assert(equalNames(utf8('Zürich'), name([[CN, Tag.TELETEX_STRING, Buffer.from('Zürich', 'latin1')]])))
})

test('the attributes of one RDN have no order, RDNs have one', () => {
  const [cn, o]: Attribute[] = [[CN, Tag.UTF8_STRING, 'a'], [O, Tag.UTF8_STRING, 'b']] // prettier-ignore
  assert(equalNames(name([cn!, o!]), name([o!, cn!])))
  assert(!equalNames(name([cn!], [o!]), name([o!], [cn!])))
  assert(!equalNames(name([cn!, o!]), name([cn!], [o!])))
})

test('no value looks like two attributes, or two RDNs', () => {
  const two = name([[CN, Tag.UTF8_STRING, 'a'], [CN, Tag.UTF8_STRING, 'b']]) // prettier-ignore
  assert(!equalNames(two, utf8(`a"+${CN}="b`)))
  const rdns = name([[CN, Tag.UTF8_STRING, 'a']], [[CN, Tag.UTF8_STRING, 'b']])
  assert(!equalNames(rdns, utf8(`a"\0${CN}="b`)))
})

test('a subtree holds the names that begin with it', () => {
  const within = (base: Uint8Array, of: Uint8Array): boolean => isWithinName(canonicalName(base), canonicalName(of))
  const [cn, o]: Attribute[] = [[CN, Tag.UTF8_STRING, 'a'], [O, Tag.UTF8_STRING, 'b']] // prettier-ignore
  assert(within(name([o!]), name([o!], [cn!])))
  assert(within(encodeSequence(), name([o!])))
  assert(!within(name([o!], [cn!]), name([o!])))
  assert(!within(name([cn!]), name([o!], [cn!])))
})

test('e-mail addresses of a name; what is no IA5String is known not to be read', () => {
  const E = '1.2.840.113549.1.9.1'
  const found = emailsOfName(name([[CN, Tag.UTF8_STRING, 'x']], [[E, Tag.IA5_STRING, 'a@b']], [[E, Tag.UTF8_STRING, 'c@d']]))
  assert.deepEqual(
    found.map((email) => email && Buffer.from(email).toString()),
    ['a@b', null],
  )
  assert(isEmptyName(encodeSequence()) && !isEmptyName(utf8('x')))
})
