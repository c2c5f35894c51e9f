/**
 * CRLs that were fetched, in files that the next start loads (strongswan.conf: cache_crls). Each is written beside the one
 * it takes the place of, so that there is always a whole one. The directory is made, those above it are not.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { messageOf } from '../base/errors.ts'
import type { CrlStore } from '../ports.ts'

export class CrlFiles implements CrlStore {
  readonly #directory: string
  readonly #onTrouble: (sentence: string) => void
  /** What has not begun to be written, by name. */
  readonly #waiting = new Map<string, Uint8Array>()
  #writing: Promise<void> | null = null

  constructor(directory: string, onTrouble: (sentence: string) => void) {
    this.#directory = directory
    this.#onTrouble = onTrouble
  }

  keep(name: string, der: Uint8Array): void {
    this.#waiting.set(name, der)
    this.#writing ??= this.#writeAll()
  }

  /** Resolves when the files have all that there is, or they cannot be had. */
  async flush(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    for (const [name, der] of this.#waiting) {
      this.#waiting.delete(name)
      try {
        await makeDirectory(this.#directory)
        await replaceFile(this.#directory, name, der)
      } catch (error) {
        this.#onTrouble(`the CRL is not kept for the next start: ${messageOf(error)}`)
      }
    }
    this.#writing = null
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Whoever reads the directory meanwhile overlooks what has a dot in front. */
async function replaceFile(directory: string, name: string, der: Uint8Array): Promise<void> {
  const path = join(directory, `.${name}.new`)
  try {
    const file = await open(path, 'w', 0o644)
    try {
      await file.writeFile(der)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(path, join(directory, name))
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}
