import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import fc from 'fast-check'

import {
  formatIdentity,
  identitiesEqual,
  identityOfAddress,
  matchIdentity,
  MATCH_ANY,
  MATCH_MAXIMUM_WILDCARDS,
  MATCH_NONE,
  MATCH_ONE_WILDCARD,
  MATCH_PERFECT,
  parseIdentity,
  parseIdentityPattern,
  patternOf,
  type Identity,
} from '../../src/auth/identity.ts'
import { fromHex, toHex } from '../../src/base/bytes.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { IpAddress } from '../../src/base/ip.ts'

const hex = (text: string): string => Buffer.from(text, 'utf8').toString('hex')
const match = (pattern: string, identity: string): number => matchIdentity(parseIdentityPattern(pattern), parseIdentity(identity))

describe('text to identity', () => {
  /** Text, type, data in hex. The same cases as strongSwan's test_identification.c decides, where both read them alike. */
  const cases: [string, number, string][] = [
    ['moon@strongswan.org', 3, hex('moon@strongswan.org')],
    ['vpn.strongswan.org', 2, hex('vpn.strongswan.org')],
    ['moon', 2, hex('moon')],
    ['192.168.1.1', 1, 'c0a80101'],
    ['::1', 5, '00000000000000000000000000000001'],
    ['2001:db8::1', 5, '20010db8000000000000000000000001'],
    ['192.168.1.0/24', 4, 'c0a80100ffffff00'],
    ['192.168.1.33/24', 4, 'c0a80100ffffff00'],
    ['192.168.1.1-192.168.1.9', 7, 'c0a80101c0a80109'],
    ['192.168.1.9-192.168.1.1', 2, hex('192.168.1.9-192.168.1.1')],
    ['192.168.1.300', 2, hex('192.168.1.300')],
    ['fec0::/16', 6, 'fec00000000000000000000000000000ffff0000000000000000000000000000'],
    ['fec0::1-fec0::2', 8, 'fec00000000000000000000000000001fec00000000000000000000000000002'],
    ['::fffff', 11, hex('::fffff')],
    ['XYZ:abc', 11, hex('XYZ:abc')],
    ['@moon', 2, hex('moon')],
    ['@#616263', 11, '616263'],
    ['@#6:16:26:3', 11, '616263'],
    ['@#123', 11, '0123'],
    ['@@tester', 3, hex('tester')],
    ['@@a@b.c', 3, hex('a@b.c')],
    ['', 0, ''],
    ['%any', 0, ''],
    ['%any6', 0, ''],
    ['*', 0, ''],
    ['0.0.0.0', 0, ''],
    ['::', 0, ''],
    ['0::0', 0, ''],
    ['*@strongswan.org', 3, hex('*@strongswan.org')],
    ['*.strongswan.org', 2, hex('*.strongswan.org')],
    ['C=CH', 9, '300d310b3009060355040613024348'],
    ['c=CH', 9, '300d310b3009060355040613024348'],
    ['/C=CH', 9, '300d310b3009060355040613024348'],
    [' C = CH , ', 9, '300d310b3009060355040613024348'],
    ['C=', 9, '300b3109300706035504061300'],
    ['CN=a, b', 11, hex('CN=a, b')],
    ['XX=CH', 11, hex('XX=CH')],
    ['=', 11, hex('=')],
    ['C=CH,,O=x', 11, hex('C=CH,,O=x')],
    ['fqdn:a@b', 2, hex('a@b')],
    ['DNS:moon', 2, hex('moon')],
    ['email:moon', 3, hex('moon')],
    ['rfc822:#6d', 3, '6d'],
    ['userfqdn:x', 3, hex('x')],
    ['keyid:moon', 11, hex('moon')],
    ['keyid:#00ff', 11, '00ff'],
    ['keyid:', 11, ''],
    ['ipv4:#0a000001', 1, '0a000001'],
    ['ipv4:10.0.0.1', 1, '0a000001'],
    ['ipv6:fec0::1', 5, 'fec00000000000000000000000000001'],
    ['ipv4net:10.0.0.0/8', 4, '0a000000ff000000'],
    ['ipv4range:10.0.0.1-10.0.0.2', 7, '0a0000010a000002'],
    ['asn1dn:#3000', 9, '3000'],
    ['asn1dn:C=CH', 9, '300d310b3009060355040613024348'],
    ['asn1gn:#8101', 10, '8101'],
    ['{2}:#6d', 2, '6d'],
    ['{0xb}:moon', 11, hex('moon')],
    ['{255}:x', 255, hex('x')],
  ]
  for (const [text, type, data] of cases) {
    test(`'${text}' has type ${type}`, () => {
      const identity = parseIdentity(text)
      assert.deepEqual([identity.type, toHex(identity.data)], [type, data])
    })
  }

  test('a DN has the bytes OpenSSL gives it', () => {
    // openssl req -new -x509 -utf8 -subj '/C=CH/O=strongSwan Project/OU=Züri/emailAddress=moon@strongswan.org', but 13 (PrintableString) for its 0c in O.
    assert.equal(
      toHex(parseIdentity('C=CH, O=strongSwan Project, OU=Züri, E=moon@strongswan.org').data),
      [
        '305e',
        '310b3009060355040613024348',
        '311b3019060355040a13127374726f6e675377616e2050726f6a656374',
        '310e300c060355040b0c055ac3bc7269',
        '3122302006092a864886f70d01090116136d6f6f6e407374726f6e677377616e2e6f7267',
      ].join(''),
    )
  })

  test('a long DN has long lengths', () => {
    const identity = parseIdentity(`CN=${'x'.repeat(70_000)}`)
    assert.equal(toHex(identity.data.subarray(0, 6)), '308400011187')
    assert.equal(matchIdentity(patternOf(identity), identity), MATCH_PERFECT)
    assert.equal(toHex(parseIdentity(`CN=${'x'.repeat(300)}`).data.subarray(0, 4)), '3082013d')
    assert.equal(toHex(parseIdentity(`CN=${'x'.repeat(150)}`).data.subarray(0, 3)), '3081a4')
  })

  const refused: [string, RegExp][] = [
    ['@#xyz', /^'xyz' is not hexadecimal$/],
    ['keyid:#0g', /^'0g' is not hexadecimal$/],
    ['ipv4:#0a0000', /^ipv4: needs 4 bytes, '#0a0000' has 3$/],
    ['ipv4:moon', /^'moon' is not what ipv4: announces$/],
    ['ipv6:10.0.0.1', /^'10\.0\.0\.1' is not what ipv6: announces$/],
    ['asn1dn:XX=a', /^'XX' in 'XX=a' is no attribute of a distinguished name$/],
    ['asn1dn:moon', /^'moon' in 'moon' has no '='$/],
    [`asn1dn:${'CN=a,'.repeat(21)}`, /^more than 20 attributes in/],
    ['{256}:x', /^256 is no ID type/],
  ]
  for (const [text, message] of refused) {
    test(`'${text.slice(0, 30)}' is refused`, () => {
      assert.throws(
        () => parseIdentity(text),
        (error: unknown) => error instanceof EspalierError && error.code === 'IDENTITY_INVALID' && message.test(error.message),
      )
    })
  }

  test('no text throws anything but an EspalierError', () => {
    const pieces = fc.constantFrom(
      '@',
      '#',
      ':',
      '=',
      ',',
      '/',
      '-',
      '*',
      'C',
      'CN',
      'ipv4',
      'asn1dn',
      'keyid',
      '{',
      '}',
      '1',
      '.',
      ' ',
      '::',
      'ff',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(pieces).map((list) => list.join('')),
        ),
        (text) => {
          try {
            formatIdentity(parseIdentity(text))
            parseIdentityPattern(text)
          } catch (error) {
            assert.ok(error instanceof EspalierError)
          }
        },
      ),
    )
  })
})

describe('identity to text', () => {
  const cases: [number, string, string][] = [
    [0, '', '%any'],
    [1, 'c0a80101', '192.168.1.1'],
    [1, 'c0a801', '{1}:#c0a801'],
    [5, '20010db8000000000000000000000001', '2001:db8::1'],
    [4, 'c0a80100ffffff00', '192.168.1.0/24'],
    [7, 'c0a80109c0a80101', '{7}:#c0a80109c0a80101'],
    [2, hex('moon.strongswan.org'), 'moon.strongswan.org'],
    [2, hex('moon\0\n\x1b[31m'), 'moon\\x00\\x0a\\x1b[31m'],
    [2, hex('möön'), 'möön'],
    [2, hex('a\u202eb\u2028c'), 'a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8c'],
    [2, '6dff5c', 'm\\xff\\x5c'],
    [2, hex('a\\b'), 'a\\x5cb'],
    [11, hex('moon'), 'moon'],
    [11, '00ff', '@#00ff'],
    [11, hex('x'.repeat(20)), `@#${hex('x'.repeat(20))}`],
    [12, 'ff', '{12}:#ff'],
    [10, '8101', '{10}:#8101'],
    [9, '300d310b3009060355040613024348', 'C=CH'],
    [9, '300d310b3009060355040613024308', 'C=C\\x08'],
    [9, '3000', ''],
    [9, '300d310b30090603550406130343', '(no distinguished name: 300d310b30090603550406130343)'],
    [9, '300b3109300706025599130178', '55:99=x'],
    // A set of two attributes, as OpenSSL's CN=a + OU=b.
    [9, '30163114300806035504030c01613008060355040b0c0162', 'CN=a, OU=b'],
  ]
  for (const [type, data, text] of cases)
    test(`type ${type} ${data.slice(0, 40)}`, () => assert.equal(formatIdentity({ type, data: fromHex(data) }), text))

  test('is never longer than 512 characters', () => {
    assert.equal(formatIdentity({ type: 2, data: new Uint8Array(60_000).fill(0x61) }).length, 512)
  })

  test('never throws, and shows no control character, whatever a peer sends', () => {
    const types = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), fc.nat(255))
    const der = fc
      .array(fc.constantFrom(0x30, 0x31, 0x06, 0x0c, 0x13, 0x03, 0x55, 0x04, 0x00, 0x02, 0x05, 0x80, 0x84, 0xff), {
        maxLength: 40,
      })
      .map((bytes) => Uint8Array.from(bytes))
    fc.assert(
      fc.property(types, fc.oneof(fc.uint8Array({ maxLength: 80 }), der), (type, data) => {
        const identity = { type, data }
        assert.doesNotMatch(formatIdentity(identity), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
        for (const pattern of ['%any', '*.a', '*@a', 'C=*', 'C=CH, O=*', '10.0.0.0/8', '::1-::5'])
          matchIdentity(parseIdentityPattern(pattern), identity)
        matchIdentity(patternOf(identity), identity)
      }),
      { numRuns: 2000 },
    )
  })

  test('what is written is read back as the same identity', () => {
    for (const text of [
      'moon.strongswan.org',
      'me@strongswan.org',
      '10.0.0.1',
      'fec0::1',
      '10.0.0.0/8',
      'C=CH, O=strongSwan, CN=möön',
      '@#00ff',
      'T=a, D=b, N=c, unstructuredName=d, unstructuredAddress=e, employeeNumber=f, TCGID=g, ND=h, DC=i, UID=j',
    ]) {
      assert.equal(formatIdentity(parseIdentity(text)), text)
    }
  })
})

describe('matching', () => {
  const cases: [string, string, number][] = [
    ['%any', 'moon', MATCH_ANY],
    ['%any', 'keyid:#00', MATCH_ANY],
    ['moon.strongswan.org', 'MOON.strongSwan.org', MATCH_PERFECT],
    ['moon.strongswan.org', 'sun.strongswan.org', MATCH_NONE],
    ['moon.strongswan.org', 'email:moon.strongswan.org', MATCH_NONE],
    ['*.strongswan.org', 'moon.strongSwan.org', MATCH_ONE_WILDCARD],
    ['*.strongswan.org', 'strongswan.org', MATCH_NONE],
    ['*.strongswan.org', '.strongswan.org', MATCH_NONE],
    ['*.strongswan.org', 'fqdn:#6d002e7374726f6e677377616e2e6f7267', MATCH_NONE],
    ['*.strongswan.org', 'email:moon.strongswan.org', MATCH_NONE],
    ['*@strongswan.org', 'moon@strongswan.org', MATCH_ONE_WILDCARD],
    ['*@strongswan.org', 'moon@evil-strongswan.org', MATCH_NONE],
    ['moon.*', 'moon.strongswan.org', MATCH_NONE],
    ['fqdn:*', 'moon', MATCH_ANY],
    ['fqdn:*', 'moon@x', MATCH_NONE],
    ['keyid:moon', 'keyid:moon', MATCH_PERFECT],
    ['keyid:moon', 'keyid:MOON', MATCH_NONE],
    ['keyid:*oon', 'keyid:moon', MATCH_NONE],
    ['10.0.0.1', '10.0.0.1', MATCH_PERFECT],
    ['10.0.0.1', '10.0.0.2', MATCH_NONE],
    ['10.0.0.0/8', '10.1.2.3', MATCH_ONE_WILDCARD],
    ['10.0.0.0/8', '11.1.2.3', MATCH_NONE],
    ['10.0.0.0/8', '10.1.0.0/16', MATCH_ONE_WILDCARD],
    ['10.0.0.0/8', '10.0.0.0/8', MATCH_PERFECT],
    ['10.1.0.0/16', '10.0.0.0/8', MATCH_NONE],
    ['10.0.0.1-10.0.0.9', '10.0.0.5', MATCH_ONE_WILDCARD],
    ['10.0.0.1-10.0.0.9', '10.0.0.10', MATCH_NONE],
    ['fec0::/16', 'fec0::5', MATCH_ONE_WILDCARD],
    ['fec0::/16', '10.0.0.1', MATCH_NONE],
    ['C=CH, O=strongSwan, CN=moon', 'C=CH, O=strongSwan, CN=moon', MATCH_PERFECT],
    ['C=CH, O=strongSwan, CN=moon', 'C=ch, O=STRONGSWAN, CN=Moon', MATCH_PERFECT],
    ['C=CH, O=strongSwan, CN=moon', 'O=strongSwan, C=CH, CN=moon', MATCH_NONE],
    ['C=CH, O=strongSwan, CN=*', 'C=CH, O=strongSwan, CN=moon', MATCH_PERFECT - 1],
    ['C=CH, O=*, CN=*', 'C=CH, O=strongSwan, CN=moon', MATCH_PERFECT - 2],
    ['C=CH, O=*', 'C=CH, O=strongSwan, CN=moon', MATCH_NONE],
    ['C=CH, O=*, CN=moon', 'C=CH, O=strongSwan, CN=sun', MATCH_NONE],
    ['C=CH, O=*', 'C=CH, OU=strongSwan', MATCH_NONE],
    ['C=CH, O=*', 'asn1dn:#3005', MATCH_NONE],
    ['C=CH, O=moon', 'C=CH, O=*', MATCH_NONE],
    ['E=Moon@x', 'E=moon@X', MATCH_PERFECT],
    ['O=zürich', 'O=ZÜRICH', MATCH_NONE],
    [Array.from({ length: 20 }, () => 'OU=*').join(), Array.from({ length: 20 }, () => 'OU=x').join(), MATCH_MAXIMUM_WILDCARDS],
  ]
  for (const [pattern, identity, expected] of cases) {
    test(`'${pattern.slice(0, 40)}' against '${identity.slice(0, 40)}' is ${expected}`, () =>
      assert.equal(match(pattern, identity), expected))
  }

  test('a PrintableString and a UTF8String of the same bytes are the same value, as strongSwan has it', () => {
    const printable = fromHex('300d310b3009060355040613024348')
    const utf8 = fromHex('300d310b300906035504060c024348')
    assert.ok(identitiesEqual({ type: 9, data: printable }, { type: 9, data: utf8 }))
    assert.ok(!identitiesEqual({ type: 9, data: printable }, { type: 9, data: fromHex('300d310b300906035504060c024368') }))
  })

  test('a name with a NUL is equal to none, not even to itself', () => {
    const name: Identity = { type: 2, data: fromHex('6d6f00') }
    assert.ok(!identitiesEqual(name, name))
  })

  test('a wildcard keeps its text for the log', () => {
    assert.deepEqual(parseIdentityPattern('*.strongswan.org'), {
      kind: 'wildcard',
      text: '*.strongswan.org',
      type: 2,
      identity: parseIdentity('*.strongswan.org'),
    })
    assert.equal(parseIdentityPattern('%any').kind, 'any')
    assert.equal(parseIdentityPattern('moon').kind, 'exact')
  })

  test('regular expressions are refused, not compared as text', () => {
    assert.throws(
      () => parseIdentityPattern('fqdn:^vpn[0-9]+$'),
      /regular expressions such as 'fqdn:\^vpn\[0-9\]\+\$' are not supported yet/,
    )
  })

  test('hosts are their addresses', () => {
    assert.deepEqual(identityOfAddress(IpAddress.parse('10.0.0.1')), { type: 1, data: Uint8Array.of(10, 0, 0, 1) })
    assert.equal(identityOfAddress(IpAddress.parse('fec0::1')).type, 5)
  })
})
