/**
 * README.md, CHANGELOG.md and docs: every link between them leads to a file that is there, and to a heading that it has;
 * what the command says of itself is what the manual says that it says.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const documents = [...globSync(['*.md', 'docs/*.md', 'native/*.md'], { cwd: root })].toSorted()

/** Without what stands in fences, where there are no links and no headings. */
function prose(document: string): string {
  return readFileSync(join(root, document), 'utf8').replaceAll(/^```.*?^```$/gms, '')
}

/** What a heading can be linked to by, as forges make it: lower case, hyphens for spaces, nothing else but letters, digits and `_`. */
function anchorsOf(document: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  for (const [, heading] of prose(document).matchAll(/^#{1,6} (.+)$/gm)) {
    const text = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = text.replaceAll(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-')
    let unique = anchor
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`
    anchors.add(unique)
  }
  return anchors
}

test('every link within the documentation leads somewhere', () => {
  const dead: string[] = []
  let count = 0
  for (const document of documents) {
    for (const [, target] of prose(document)
      .replaceAll(/`[^`\n]*`/g, '')
      .matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue
      count++
      const [path, anchor] = target!.split('#') as [string, string | undefined]
      const file = path === '' ? document : relative(root, join(root, dirname(document), path))
      if (!existsSync(join(root, file))) dead.push(`${document}: ${target}: no such file`)
      else if (anchor !== undefined && !anchorsOf(file).has(anchor)) dead.push(`${document}: ${target}: no such heading`)
    }
  }
  assert.deepEqual(dead, [])
  assert.ok(count >= 50, `${count} links`)
})

test('README.md leads to every document', () => {
  const readme = prose('README.md')
  for (const document of documents)
    if (document !== 'README.md') assert.ok(readme.includes(`](${document})`), `README.md does not lead to ${document}`)
})

test('docs/command.md has the help of the command', () => {
  const shown = /^\$ espalier --help\n(.*?)^```$/ms.exec(readFileSync(join(root, 'docs/command.md'), 'utf8'))?.[1]
  const said = execFileSync(process.execPath, [join(root, 'src/main.ts'), '--help'], { encoding: 'utf8', env: { NO_COLOR: '1' } })
  // Lines are as long as the terminal is wide.
  const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '')
  assert.deepEqual(words(shown ?? ''), words(said))
})
