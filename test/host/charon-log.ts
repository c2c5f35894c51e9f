/**
 * Lines of two daemons' logs, made comparable: what both have words for is left, without what is of one time only.
 */

/** What charon says and espalier has no reason to, or does not do yet. */
export const ONLY_CHARON: readonly RegExp[] = [
  /^\[IKE\] received .* vendor ID/,
  /^\[KNL\]/,
  /^\[ESP\]/,
  /^\[LIB\]/,
  /received AUTH_LIFETIME|handling|peer supports MOBIKE/,
  /^\[CFG\] (?:vici|loaded|added|received request|unloaded)/,
]

export const ONLY_ESPALIER: readonly RegExp[] = [/^\[CFG\] vici/]

/** SPIs, sizes, and payloads that one sends and the other does not. */
export function withoutChance(line: string): string {
  return (
    line
      .replaceAll(/\b[0-9a-f]{8}(?=_[io]\b)/g, 'SPI')
      .replace(/SPI [0-9a-f]{8}(?=\}?$)/, 'SPI SPI')
      .replaceAll(/\(\d+ bytes\)/g, '(N bytes)')
      .replace(/ N\((?:HASH_ALG|REDIR_SUP|CHDLESS_SUP|MULT_AUTH|EAP_ONLY|MSG_ID_SYN_SUP|NO_ADD_ADDR)\)/g, '')
      // A remedy, an explanation: they follow what strongSwan says.
      .replace(/^(\[IKE\] .*? (?:notify error|no CHILD_SA built|unacceptable|MAC mismatched)): .*$/, '$1')
  )
}
