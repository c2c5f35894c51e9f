/**
 * A file that takes the place of another: there is a whole one whenever the machine stops.
 */
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * The new content is on the disk before it is the file, and that it is the file before this resolves. Only its owner may
 * read it. The directory is made, those above it are not. Rejects with the system error.
 */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const directory = dirname(path)
  await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
    if ((error as { readonly code?: unknown }).code !== 'EEXIST') throw error
  })
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  const parent = await open(directory, 'r')
  try {
    await parent.sync()
  } finally {
    await parent.close()
  }
}
