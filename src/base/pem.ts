/**
 * PEM (RFC 7468): DER in base64 between two lines that say what it is. For public things: certificates, CRLs, public
 * keys. Private keys go to OpenSSL as they are (crypto/private-key.ts).
 */

/** The DER of every block with one of `labels`, in order; text around them is ignored. */
export function pemBlocks(bytes: Uint8Array, labels: readonly string[]): Uint8Array[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const blocks: Uint8Array[] = []
  for (const [, label, body, end] of text.matchAll(BLOCK)) {
    if (label === end && labels.includes(label!)) blocks.push(Buffer.from(body!, 'base64'))
  }
  return blocks
}

/** A block; a certificate's body has no colon, as the headers of encrypted keys would. */
const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----\s([A-Za-z0-9+/=\s]*)-----END ([A-Z0-9 ]{1,40})-----/g
