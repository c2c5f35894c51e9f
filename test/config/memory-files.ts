/** Files in a table, for tests: paths to text or bytes, or to an Error that reading throws. Sets in patterns have one character. */
import type { ConfigurationFiles } from '../../src/config/files.ts'

export function memoryFiles(table: Readonly<Record<string, string | Uint8Array | Error>>): ConfigurationFiles {
  return {
    read(path) {
      const content = Object.hasOwn(table, path) ? table[path]! : null
      if (content instanceof Error) throw content
      return content instanceof Uint8Array ? Buffer.from(content).toString() : content
    },
    readBytes(path, maximum) {
      const content = Object.hasOwn(table, path) ? table[path]! : null
      if (content instanceof Error) throw content
      // Each reading is a copy: some readers overwrite what they have read.
      const bytes = content === null ? null : Uint8Array.from(typeof content === 'string' ? Buffer.from(content) : content)
      if (bytes !== null && bytes.length > maximum) throw new Error(`has more than ${maximum} octets`)
      return bytes
    },
    // In the reverse of their order, so that whoever needs an order has to sort.
    glob(pattern) {
      const expression = new RegExp(`^${pattern.replace(/\\.|\[[^\]\\]\]|[^\w/-]/gs, translate)}$`, 's')
      const paths = new Set(Object.keys(table).flatMap((path) => [path, path.slice(0, path.lastIndexOf('/'))]))
      return [...paths]
        .filter((path) => expression.test(path))
        .toSorted()
        .toReversed()
    },
  }
}

function translate(token: string): string {
  if (token === '*') return '[^/]*'
  if (token === '?') return '[^/]'
  return token.length > 1 ? token : `\\${token}`
}
