/**
 * Text that strangers wrote, made safe for a terminal and a line of a log.
 */

/** UTF-8 where it is valid, with control, format, private and line-breaking characters and backslashes escaped; else byte by byte. */
export function printable(bytes: Uint8Array): string {
  // As nearly all are: each IKE_SA is looked for by who is at its other end.
  if (bytes.every(isPlain)) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  const escape = (text: string): string =>
    Array.from(new TextEncoder().encode(text), (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return text.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, escape)
  } catch {
    return Array.from(bytes, (byte) =>
      isPlain(byte) ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
    ).join('')
  }
}

/** Printable ASCII but for the backslash. */
function isPlain(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f && byte !== 0x5c
}
