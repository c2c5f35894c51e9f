/**
 * Signatures under certificates, each checked once where both certificates are kept: loaded ones are the same objects in
 * every handshake. Those that a peer sends are new each time, and are forgotten with their message.
 */
import { equalBytes } from '../base/bytes.ts'
import { verify } from '../crypto/public-key.ts'
import type { Certificate } from '../pki/certificate.ts'

const known = new WeakMap<Certificate, WeakSet<Certificate>>()

/** Whether the key of `issuer` made the signature under `subject`, and no more. */
export function isSignedBy(subject: Certificate, issuer: Certificate): boolean {
  const issuers = known.get(subject)
  if (issuers?.has(issuer) === true) return true
  if (subject.signatureScheme === null) return false
  if (!verify(issuer.publicKey, subject.signatureScheme, subject.tbs, subject.signature)) return false
  if (issuers === undefined) known.set(subject, new WeakSet([issuer]))
  else issuers.add(issuer)
  return true
}

/** Signed by itself, as far as names say: whether it is, is not worth a signature check. */
export function isRoot({ issuer, subject }: Certificate): boolean {
  return equalBytes(issuer, subject)
}
