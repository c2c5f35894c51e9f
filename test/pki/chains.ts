/**
 * Chains of certificates with whatever may be right or wrong with them, drawn by fast-check, and made by test/support/pki.ts.
 */
import fc from 'fast-check'

import { KeyUsage } from '../../src/pki/certificate.ts'
import { keyPair, makeCertificate, type CertificateOptions, type TestCertificate, type TestKeyType } from '../support/pki.ts'

/** When the paths are judged; dates around it are a day away or years. */
export const NOW = Date.UTC(2026, 5, 1)
const DAY = 86_400_000

export interface Drawn {
  /** From the root down; the last is the leaf. */
  readonly links: readonly Link[]
  /** Certificates beside the chain, with the names of its links. */
  readonly decoys: readonly Decoy[]
  readonly isRootTrusted: boolean
  /** Place in `links` of one that is not handed in. */
  readonly withheld: number | null
}

interface Link {
  readonly key: TestKeyType
  readonly dates: 'now' | 'today' | 'past' | 'future'
  readonly ca: boolean | undefined
  readonly pathLength: number | undefined
  readonly keyUsage: number | null | undefined
  readonly subject: number
  /** The name of its issuer, a new key: RFC 5280's self-issued. */
  readonly isSelfIssued: boolean
  readonly san: readonly string[] | undefined
  readonly permitted: readonly string[] | undefined
  readonly excluded: readonly string[] | undefined
  readonly policies: readonly string[] | undefined
  readonly mapping: readonly (readonly [string, string])[] | undefined
  readonly explicit: number | undefined
  readonly noMapping: number | undefined
  readonly noAny: number | undefined
  readonly unknownCritical: boolean
  readonly isForged: boolean
  readonly keyIds: boolean
  readonly wrongKeyId: boolean
  readonly hash: 'sha256' | 'sha1'
}

interface Decoy {
  /** Place in `links` of whom it resembles. */
  readonly of: number
  readonly kind: 'other key' | 'expired' | 'no key id' | 'self-signed'
  readonly isTrusted: boolean
}

const rarely = (weight: number): fc.Arbitrary<boolean> =>
  fc.oneof({ weight, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })
const mostly = <T, U>(weight: number, usual: T, other: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other })

const policy = fc.constantFrom('1.2.3.1', '1.2.3.2', '1.2.3.3', '2.5.29.32.0')
const policies = mostly(2, undefined, fc.uniqueArray(policy, { minLength: 1, maxLength: 3 }))
const skip = mostly(5, undefined, fc.nat(3))

const SANS = ['dns:moon.example.org', 'dns:example.org', 'dns:Moon.Example.ORG', 'dns:badexample.org', 'dns:example.com', 'dns:*.example.org',
  'email:carol@example.org', 'email:dave@moon.example.org', 'email:eve@example.com', 'ip:10.1.2.3', 'ip:10.2.0.1', 'ip:192.0.2.1',
  'ip:2001:db8::1', 'ip:fec0::1', 'uri:https://moon.example.org/a', 'uri:https://example.org:8080/', 'uri:urn:a:b', 'uri:ldap://10.0.0.1/',
  'dn:C=CH, O=strongSwan', 'dn:C=CH, O=strongSwan, OU=Sales', 'rid:1.2.3.4', 'upn:carol@example.org'] // prettier-ignore
const CONSTRAINTS = ['dns:example.org', 'dns:.example.org', 'dns:org', 'dns:moon.example.org', 'dns:', 'email:example.org', 'email:.example.org',
  'email:carol@example.org', 'ip:10.0.0.0/8', 'ip:10.1.0.0/16', 'ip:0.0.0.0/0', 'ip:2001:db8::/32', 'uri:example.org', 'uri:.example.org',
  'uri:moon.example.org', 'dn:C=CH', 'dn:C=ch, O=strongswan', 'dn:C=DE', 'dn:C=CH, O=strongSwan, OU=Sales', 'rid:1.2.3', 'upn:carol@example.org'] // prettier-ignore
const constraints = mostly(5, undefined, fc.uniqueArray(fc.constantFrom(...CONSTRAINTS), { minLength: 1, maxLength: 4 }))

/** What differs little is drawn seldom: most chains should hold, or fail for one reason. */
const link: fc.Arbitrary<Link> = fc.record({
  key: mostly(12, 'p256' as const, fc.constantFrom<TestKeyType>('p384', 'p521', 'ed25519', 'ed448', 'rsa-1024', 'rsa-2048')),
  dates: mostly(12, 'now' as const, fc.constantFrom('today' as const, 'past' as const, 'future' as const)),
  ca: mostly(25, true, fc.constantFrom(false, undefined)),
  pathLength: mostly(3, undefined, fc.nat(4)),
  keyUsage: mostly(6, undefined, fc.constantFrom(null, KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_CERT_SIGN)),
  subject: fc.nat(4),
  isSelfIssued: rarely(12),
  san: mostly(10, undefined, fc.uniqueArray(fc.constantFrom(...SANS), { maxLength: 3 })),
  permitted: constraints,
  excluded: constraints,
  policies,
  mapping: mostly(12, undefined, fc.array(fc.tuple(policy, policy), { minLength: 1, maxLength: 2 })),
  explicit: skip,
  noMapping: skip,
  noAny: skip,
  unknownCritical: rarely(60),
  isForged: rarely(60),
  keyIds: mostly(6, true, fc.constant(false)),
  wrongKeyId: rarely(60),
  hash: mostly(12, 'sha256' as const, fc.constant('sha1' as const)),
})

const leaf: fc.Arbitrary<Link> = fc
  .tuple(
    link,
    fc.option(fc.uniqueArray(fc.constantFrom(...SANS), { minLength: 1, maxLength: 4 }), { nil: undefined }),
    mostly(8, false, fc.constantFrom(true, undefined)),
  )
  .map(([drawn, san, ca]) => ({ ...drawn, san, ca, keyUsage: drawn.keyUsage === undefined ? null : drawn.keyUsage }))

export const chain: fc.Arbitrary<Drawn> = fc
  .tuple(
    fc.oneof(
      { weight: 12, arbitrary: fc.array(link, { minLength: 1, maxLength: 4 }) },
      { weight: 1, arbitrary: fc.array(link, { minLength: 5, maxLength: 10, size: 'max' }) },
    ),
    leaf,
  )
  .chain(([cas, end]) => {
    const links = [...cas, end]
    return fc.record({
      links: fc.constant(links),
      decoys: mostly(
        2,
        [],
        fc.array(
          fc.record({
            of: fc.nat(cas.length - 1),
            kind: fc.constantFrom('other key' as const, 'expired' as const, 'no key id' as const, 'self-signed' as const),
            isTrusted: fc.boolean(),
          }),
          { minLength: 1, maxLength: 3 },
        ),
      ),
      isRootTrusted: mostly(15, true, fc.constant(false)),
      withheld: mostly(15, null, fc.nat(cas.length - 1)),
    })
  })

export interface Chain {
  readonly leaf: TestCertificate
  readonly anchors: readonly TestCertificate[]
  readonly intermediates: readonly TestCertificate[]
}

/** `name` sets this chain's names apart from those of all others in the same files. */
export function makeChain(drawn: Drawn, name: string): Chain {
  const made: TestCertificate[] = []
  const options: CertificateOptions[] = []
  for (const [i, drawnLink] of drawn.links.entries()) {
    const issuer = made.at(-1)
    const link = issuer === undefined ? { ...drawnLink, ...ANCHOR } : drawnLink
    const wanted: CertificateOptions = { ...optionsOf(link, i, name, issuer), ...(issuer === undefined ? {} : { issuer }) }
    options.push(wanted)
    made.push(makeCertificate(wanted))
  }
  const [root, ...others] = made as [TestCertificate, ...TestCertificate[]]
  const anchors = drawn.isRootTrusted && drawn.withheld !== 0 ? [root] : []
  const intermediates = others.slice(0, -1).filter((_, i) => drawn.withheld !== i + 1)
  if (!drawn.isRootTrusted && drawn.withheld !== 0) intermediates.push(root)
  for (const [i, decoy] of drawn.decoys.entries()) {
    const certificate = makeDecoy(decoy, i, options[decoy.of]!)
    if (decoy.isTrusted) anchors.push(certificate)
    else intermediates.push(certificate)
  }
  return { leaf: made.at(-1)!, anchors, intermediates }
}

/** The name of a CA of the chain, with the issuer, key or dates of another. */
function makeDecoy(
  { kind }: Decoy,
  i: number,
  { issuer, scheme: _scheme, signer: _signer, ...of }: CertificateOptions,
): TestCertificate {
  const above = issuer === undefined || kind === 'self-signed' ? {} : { issuer }
  const changes = {
    'other key': { key: keyPair('p256', `decoy ${i}`) },
    'no key id': { key: keyPair('p256', `decoy ${i}`), keyIds: false },
    'expired': { notBefore: NOW - 1000 * DAY, notAfter: NOW - DAY },
    'self-signed': {},
  }[kind]
  const { requireExplicitPolicy: _explicit, inhibitPolicyMapping: _mapping, inhibitAnyPolicy: _any, ...unconstrained } = of
  return makeCertificate({ ...(kind === 'self-signed' ? unconstrained : of), ...above, ...changes, serial: 1000 + i })
}

function optionsOf(link: Link, i: number, name: string, issuer: TestCertificate | undefined): CertificateOptions {
  const [notBefore, notAfter] = DATES[link.dates]
  const key = keyPair(link.key, `link ${i}`)
  const constrained = link.permitted !== undefined || link.excluded !== undefined
  return {
    subject: link.isSelfIssued && issuer !== undefined ? issuer.name : subjectOf(link.subject, name, i),
    key,
    notBefore,
    notAfter,
    ...(link.ca === undefined ? {} : { ca: link.ca }),
    ...(link.ca === true && link.pathLength !== undefined ? { pathLength: link.pathLength } : {}),
    ...(link.keyUsage === undefined ? {} : { keyUsage: link.keyUsage }),
    ...(link.san === undefined ? {} : { san: link.san }),
    ...(constrained
      ? {
          nameConstraints: {
            ...(link.permitted && { permitted: link.permitted }),
            ...(link.excluded && { excluded: link.excluded }),
          },
        }
      : {}),
    ...(link.policies === undefined ? {} : { policies: link.policies }),
    ...(link.mapping === undefined ? {} : { policyMappings: link.mapping }),
    ...(link.explicit === undefined ? {} : { requireExplicitPolicy: link.explicit }),
    ...(link.noMapping === undefined ? {} : { inhibitPolicyMapping: link.noMapping }),
    ...(link.noAny === undefined ? {} : { inhibitAnyPolicy: link.noAny }),
    unknownCritical: link.unknownCritical,
    keyIds: link.keyIds,
    ...(link.wrongKeyId ? { authorityKeyId: new Uint8Array(20) } : {}),
    ...(link.isForged ? { signer: keyPair('p256', 'a forger') } : {}),
    ...(link.hash === 'sha1' && !link.isForged && !signerOf(issuer?.key.type ?? link.key).startsWith('ed')
      ? { scheme: { key: signerOf(issuer?.key.type ?? link.key) as 'rsa' | 'ecdsa', hash: 'sha1', pss: false } }
      : {}),
  }
}

function signerOf(type: TestKeyType): string {
  return type.startsWith('rsa') ? 'rsa' : type.startsWith('p') ? 'ecdsa' : type
}

/** By `subject`; C and O are what constraints are about. */
function subjectOf(kind: number, name: string, i: number): string {
  const common = `CN=${name} ${i}`
  return [
    `C=CH, O=strongSwan, ${common}`,
    `C=CH, O=strongSwan, OU=Sales, ${common}`,
    `C=DE, O=strongSwan, ${common}`,
    `C=CH, O=strongSwan, ${common}, E=carol@example.org`,
    `C=CH, O=strongSwan, ${common}, E=eve@example.com`,
  ][kind]!
}

/**
 * What differs in anchors: for us, as for strongSwan, their policy constraints count (RFC 5280 6.2 leaves it open), and their
 * own signature has to be theirs; openssl looks at neither.
 */
const ANCHOR = { explicit: undefined, noMapping: undefined, noAny: undefined, isForged: false }

const DATES: Readonly<Record<Link['dates'], readonly [number, number]>> = {
  now: [Date.UTC(2020, 0, 1), Date.UTC(2049, 11, 31)],
  today: [NOW - DAY, NOW + DAY],
  past: [NOW - 900 * DAY, NOW - 1000],
  future: [NOW + 1000, NOW + 900 * DAY],
}
