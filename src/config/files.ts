/**
 * What reading a configuration asks of the file system. edge/files.ts answers it for real, tests from a table.
 */
export interface ConfigurationFiles {
  /** The text of a regular file, null if there is none at `path`; throws with the reason if it cannot be read. */
  read(path: string): string | null
  /** The octets of a regular file, null if there is none at `path`; throws with the reason if it cannot be read or has more than `maximum`. */
  readBytes(path: string, maximum: number): Uint8Array | null
  /** Paths matching a pattern of glob(3) (`*`, `?`, `[...]`, backslash escapes; dot files only if asked for), in any order. */
  glob(pattern: string): string[]
}

/** `path` as a pattern that matches nothing else. */
export function escapePattern(path: string): string {
  return path.replace(/[*?[\]\\]/g, '\\$&')
}
