/**
 * Text that strangers wrote, made safe for a terminal and a line of a log.
 */

/** UTF-8 where it is valid, with control, format, private and line-breaking characters and backslashes escaped; else byte by byte. */
export function printable(bytes: Uint8Array): string {
  const escape = (text: string): string =>
    Array.from(new TextEncoder().encode(text), (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return text.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, escape)
  } catch {
    return Array.from(bytes, (byte) =>
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
    ).join('')
  }
}
