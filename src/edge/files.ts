/**
 * Configuration files from the disk.
 */
import { globSync, readFileSync, statSync } from 'node:fs'

import type { ConfigurationFiles } from '../config/files.ts'

export const diskFiles: ConfigurationFiles = {
  read(path) {
    const status = statSync(path, { throwIfNoEntry: false })
    if (status === undefined || !status.isFile()) return null
    return readFileSync(path, 'utf8')
  },
  glob(pattern) {
    return globSync(toNodePattern(pattern))
  },
}

/**
 * glob(3) to Node's dialect: that one has no backslash escapes (a set of one character does the same), but braces,
 * groups of alternatives and a `**` that descends, which are ordinary characters and an ordinary star to glob(3).
 */
function toNodePattern(pattern: string): string {
  return pattern
    .replace(/\\(.)/gs, (_, character: string) => (character === '\\' || /\w/.test(character) ? character : `[${character}]`))
    .replace(/[{}()]/g, '[$&]')
    .replace(/\*+/g, '*')
}
