/** Attribute certificates (RFC 5755) for tests, with whatever is right or wrong with them: as strongSwan's `pki --acert` makes them. */
import { toCalendar } from '../../src/base/calendar.ts'
import {
  Tag,
  contextTag,
  encodeContext,
  encodeElement,
  encodeInteger,
  encodeNull,
  encodeOid,
  encodeSequence,
} from '../../src/base/der.ts'
import type { Milliseconds } from '../../src/base/time.ts'
import { encodeGeneralName, keyIdOf, makeExtension, makeSigned, type TestCertificate, type TestKey } from './pki.ts'

export interface AttributeCertificateOptions {
  readonly holder: TestCertificate
  readonly issuer: TestCertificate
  /** Strings; octets and OIDs as DER elements. */
  readonly groups: readonly (string | Uint8Array)[]
  /** Default 2. */
  readonly version?: number
  readonly serial?: number
  /** Default 2020-01-01 to 2049-12-31. */
  readonly notBefore?: Milliseconds
  readonly notAfter?: Milliseconds
  /** DER of what is in the holder; default baseCertificateID and entityName. */
  readonly holderFields?: readonly Uint8Array[]
  /** DER of more Extensions. */
  readonly extensions?: readonly Uint8Array[]
  readonly authorityKeyId?: Uint8Array | null
  /** Key that really signs. */
  readonly signer?: TestKey
  /** DER of more Attributes. */
  readonly attributes?: readonly Uint8Array[]
}

export function makeAttributeCertificate(options: AttributeCertificateOptions): Uint8Array {
  const { holder, issuer, groups, notBefore = Date.UTC(2020, 0, 1), notAfter = Date.UTC(2049, 11, 31) } = options
  const keyId = options.authorityKeyId === undefined ? keyIdOf(issuer.key) : options.authorityKeyId
  const values = groups.map((group) =>
    typeof group === 'string' ? encodeElement(Tag.UTF8_STRING, Buffer.from(group, 'latin1')) : group,
  )
  const extensions = [
    ...(keyId === null ? [] : [makeExtension('2.5.29.35', false, encodeSequence(encodeElement(contextTag(0, false), keyId)))]),
    makeExtension('2.5.29.56', false, encodeNull()),
    ...(options.extensions ?? []),
  ]
  return makeSigned(
    (algorithm) =>
      encodeSequence(
        encodeInteger((options.version ?? 2) - 1),
        encodeSequence(...(options.holderFields ?? [baseCertificateId(holder), entityName(holder)])),
        encodeContext(0, encodeSequence(encodeContext(4, issuer.name))),
        algorithm,
        encodeInteger(options.serial ?? 7),
        encodeSequence(generalizedTime(notBefore), generalizedTime(notAfter)),
        encodeSequence(groupAttribute(encodeSequence(encodeSequence(...values))), ...(options.attributes ?? [])),
        encodeSequence(...extensions),
      ),
    options.signer ?? issuer.key,
  )
}

export function baseCertificateId({ certificate: { issuer, serial } }: TestCertificate): Uint8Array {
  return encodeContext(0, encodeSequence(encodeContext(4, issuer)), encodeElement(Tag.INTEGER, serial))
}
export function entityName({ name }: TestCertificate): Uint8Array {
  return encodeContext(1, encodeContext(4, name))
}
/** The attribute, with DER of IetfAttrSyntax in it. */
export function groupAttribute(...values: readonly Uint8Array[]): Uint8Array {
  return encodeSequence(encodeOid('1.3.6.1.5.5.7.10.4'), encodeElement(Tag.SET, ...values))
}
/** IetfAttrSyntax with a policyAuthority. */
export function ietfAttribute(authority: string, ...values: readonly Uint8Array[]): Uint8Array {
  return encodeSequence(encodeContext(0, encodeGeneralName(authority)), encodeSequence(...values))
}

function generalizedTime(time: Milliseconds): Uint8Array {
  const { year, ...rest } = toCalendar(time)
  const digits = Object.values(rest).map((number) => String(number).padStart(2, '0'))
  return encodeElement(Tag.GENERALIZED_TIME, new TextEncoder().encode([String(year).padStart(4, '0'), ...digits, 'Z'].join('')))
}
