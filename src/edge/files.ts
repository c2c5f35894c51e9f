/**
 * Configuration files from the disk. The patterns are glob(3)'s, which strongSwan's users know; Node's own glob would
 * read braces, groups and `**` as more than that, and backslashes as less.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'

import { EspalierError } from '../base/errors.ts'
import type { ConfigurationFiles } from '../config/files.ts'

export const diskFiles: ConfigurationFiles = {
  read(path) {
    const status = statSync(path, { throwIfNoEntry: false })
    if (status === undefined || !status.isFile()) return null
    return readFileSync(path, 'utf8')
  },
  readBytes(path, maximum) {
    const status = statSync(path, { throwIfNoEntry: false })
    if (status === undefined || !status.isFile()) return null
    if (status.size > maximum) throw new EspalierError('system', 'FILE_TOO_LARGE', `has more than ${maximum} octets`)
    return readFileSync(path)
  },
  glob(pattern) {
    const absolute = pattern.startsWith('/')
    return find(
      absolute ? '/' : '',
      pattern.split('/').filter((segment) => segment !== ''),
    )
  },
}

/** What is below `directory` ('' or ending with a slash) and matches `segments`, one name each. */
function find(directory: string, segments: readonly string[]): string[] {
  const [segment, ...rest] = segments
  if (segment === undefined) return []
  const names = /[*?[]/.test(segment.replace(/\\./gs, '')) ? matches(directory, segment) : [segment.replace(/\\(.)/gs, '$1')]
  const paths = names.map((name) => directory + name)
  if (rest.length > 0) return paths.flatMap((path) => find(`${path}/`, rest))
  return paths.filter((path) => statSync(path, { throwIfNoEntry: false }) !== undefined)
}

function matches(directory: string, segment: string): string[] {
  const expression = toExpression(segment)
  return namesIn(directory).filter((name) => expression.test(name) && (!name.startsWith('.') || segment.startsWith('.')))
}

/** A missing directory has nothing in it; one that must not be read throws with the reason. */
function namesIn(directory: string): string[] {
  const path = directory === '' ? '.' : directory
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(path) : []
}

function toExpression(segment: string): RegExp {
  const source = segment.replace(
    /\\(.)|\[([!^]?)(\]?[^\]]*)\]|[^\w]/gs,
    (token, escaped?: string, not?: string, set?: string) => {
      if (escaped !== undefined) return escapeCharacter(escaped)
      if (set !== undefined) return `[${not === '' ? '' : '^'}${set.replace(/[\\\][^]/g, '\\$&')}]`
      return token === '*' ? '.*' : token === '?' ? '.' : escapeCharacter(token)
    },
  )
  return new RegExp(`^${source}$`, 's')
}

function escapeCharacter(character: string): string {
  return /\w/.test(character) ? character : character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
}
