/** Files in a table, for tests: paths to text, or to an Error that reading throws. Sets in patterns have one character. */
import type { ConfigurationFiles } from '../../src/config/files.ts'

export function memoryFiles(table: Readonly<Record<string, string | Error>>): ConfigurationFiles {
  return {
    read(path) {
      const text = Object.hasOwn(table, path) ? table[path]! : null
      if (text instanceof Error) throw text
      return text
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
