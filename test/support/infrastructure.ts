/**
 * A whole PKI with everything that may be wrong in one: a root and a CA below it, a gateway `moon`, a client `carol`, and
 * clients that are refused, each for one reason. scripts/pki writes it as files; test/pki/infrastructure.test.ts holds
 * every client against the rules.
 */
import { KeyUsage } from '../../src/pki/certificate.ts'
import { keyPair, makeCa, makeCertificate, type CertificateOptions, type TestCertificate, type TestKeyType } from './pki.ts'
import { makeCrl } from './revocation.ts'

export interface Client {
  /** Of its directory. */
  readonly name: string
  readonly leaf: TestCertificate
  /** What it sends besides. */
  readonly chain: readonly TestCertificate[]
  /** What the log says of it, null if it is let in. */
  readonly refusal: RegExp | null
}

export interface Infrastructure {
  readonly root: TestCertificate
  readonly moon: TestCertificate
  readonly crl: Uint8Array
  readonly clients: readonly Client[]
}

const DAY = 86_400_000

/** Everything is right or wrong at `now` and for a year; the CRL for a week. */
export function makeInfrastructure(now: number, key: TestKeyType): Infrastructure {
  const since = now - 30 * DAY
  const until = now + 365 * DAY
  const dates = { notBefore: since, notAfter: until }
  const signs = { keyUsage: KeyUsage.DIGITAL_SIGNATURE, ...dates }
  const name = (common: string): string => `C=CH, O=Example, CN=${common}`
  const root = makeCa(name('Example Root CA'), { key, ...dates })
  const sub = makeCa(name('Example Sub CA'), { key, issuer: root, pathLength: 0, ...dates })
  const constrained = makeCa(name('Constrained CA'), {
    key,
    issuer: root,
    nameConstraints: { permitted: ['dns:example.com'] },
    ...dates,
  })
  const tooDeep = makeCa(name('Third CA'), { key, issuer: sub, ...dates })
  const noCa = makeCertificate({ subject: name('no CA'), key, issuer: root, ...signs })
  const impostor = makeCa(name('Example Root CA'), { key: keyPair(key, 'an impostor'), ...dates })
  const stranger = makeCa(name('Another Root CA'), { key, ...dates })
  const client = (
    title: string,
    refusal: RegExp | null,
    options: Partial<CertificateOptions> = {},
    chain: readonly TestCertificate[] = [],
  ): Client => ({
    name: title,
    leaf: makeCertificate({ subject: name(title), key, issuer: root, san: [`dns:${title}.example.org`], ...signs, ...options }),
    chain,
    refusal,
  })
  const revoked = client('revoked', /'.*CN=revoked' .* was revoked on/)
  return {
    root,
    moon: makeCertificate({ subject: name('moon.example.org'), key, issuer: root, san: ['dns:moon.example.org'], ...signs }),
    crl: makeCrl({ issuer: root, revoked: [{ certificate: revoked.leaf, at: now - DAY, reason: 1 }], thisUpdate: now - 3_600_000, nextUpdate: now + 7 * DAY }),
    clients: [
      client('carol', null),
      client('dave-below-the-sub-ca', null, { issuer: sub }, [sub]),
      client('withheld-sub-ca', /'.*CN=withheld-sub-ca' .* has no issuer that is known: '.*CN=Example Sub CA'/, { issuer: sub }),
      client('expired', /'.*CN=expired' .* expired on/, { notAfter: now - DAY }),
      client('not-yet-valid', /'.*CN=not-yet-valid' .* is not valid before/, { notBefore: now + 300 * DAY }),
      client('wrong-ca', /'.*CN=wrong-ca' .* has no issuer that is known: '.*CN=Another Root CA'/, { issuer: stranger }),
      client('untrusted-ca', /'.*CN=Another Root CA' .* is self-signed and not trusted/, { issuer: stranger }, [stranger]),
      client('impostor-ca', /'.*CN=impostor-ca' .* was not signed by the key of its issuer/, { issuer: impostor, keyIds: false }, [impostor]),
      revoked,
      client('weak-key', /'.*CN=weak-key' .* has a weak key: RSA of 768 bits/, { key: 'rsa-768' }),
      client('unknown-critical', /'.*CN=unknown-critical' .* has the critical extension 1\.3\.6\.1\.4\.1\.99999\.1/, { unknownCritical: true }),
      client('not-for-signing', /'.*CN=not-for-signing' .* may not sign/, { keyUsage: KeyUsage.KEY_ENCIPHERMENT }),
      client('issued-by-no-ca', /'.*CN=no CA' .* is no CA and issued/, { issuer: noCa }, [noCa]),
      client('too-long', /'.*CN=Example Sub CA' .* allows 0 CAs between/, { issuer: tooDeep }, [tooDeep, sub]),
      client('wrong-name', /has the name 'wrong-name\.example\.org', which is not permitted below/, { issuer: constrained }, [constrained]),
    ],
  } // prettier-ignore
}
