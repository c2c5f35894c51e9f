/**
 * Who has which virtual address, in a file that outlives the daemon. It is written beside the old one, which it then
 * takes the place of, so that there is a whole one whenever the machine stops. A thousand changes at once are few writes.
 *
 * A file that is none of ours is put aside; one that cannot be written is told of once, and the daemon goes on without.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync } from 'node:fs'

import { formatLeases, parseLeases } from '../address/lease-text.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { KeptLease, LeaseStore } from '../ports.ts'
import { replaceFile } from './replace-file.ts'

/** How long changes are gathered. */
const WRITE_DELAY: Milliseconds = SECOND
/** Of the time in which nothing else is done, so much goes into writing at most: one part in this many. */
const REST_PER_WRITE = 20
/** Our limit: no list of leases that we write is larger. */
const FILE_BYTES_MAX = 256 * 1024 * 1024

export type OnTrouble = (sentence: string) => void

export class LeaseFile implements LeaseStore {
  readonly kept: readonly KeptLease[]
  readonly #path: string
  readonly #onTrouble: OnTrouble
  /** Null: the file has what there is. */
  #leases: (() => readonly KeptLease[]) | null = null
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> = Promise.resolve()
  #rest: Milliseconds = WRITE_DELAY
  #isTold = false

  /** Reads what is there; never throws. */
  constructor(path: string, onTrouble: OnTrouble) {
    this.#path = path
    this.#onTrouble = onTrouble
    this.kept = this.#read()
  }

  changed(leases: () => readonly KeptLease[]): void {
    this.#leases = leases
    // No reason for the process to stay: who ends it flushes.
    this.#timer ??= setTimeout(() => void this.#write(), this.#rest).unref()
  }

  /** Resolves when the file has all that there is, or it cannot be had. */
  async flush(): Promise<void> {
    await this.#write()
  }

  #read(): readonly KeptLease[] {
    try {
      return parseLeases(readAll(this.#path))
    } catch (error) {
      if (isMissing(error)) return []
      if (error instanceof EspalierError) this.#putAside(error.message)
      else this.#tell(`virtual addresses that were given before are not known: ${this.#path} cannot be read: ${messageOf(error)}`)
      return []
    }
  }

  #putAside(why: string): void {
    const aside = `${this.#path}.broken`
    try {
      renameSync(this.#path, aside)
      this.#onTrouble(`virtual addresses that were given before are not known: ${this.#path} is put aside as ${aside}: ${why}`)
    } catch (error) {
      this.#tell(
        `virtual addresses that were given before are not known: ${this.#path}: ${why}, and it cannot be put aside: ${messageOf(error)}`,
      )
    }
  }

  /** One at a time; whoever waits has what is there by then. */
  #write(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#writing = this.#writing.then(() => this.#writeNow())
    return this.#writing
  }

  async #writeNow(): Promise<void> {
    const leases = this.#leases
    if (leases === null) return
    this.#leases = null
    const begun = performance.now()
    try {
      await replaceFile(this.#path, formatLeases(leases()))
      this.#isTold = false
    } catch (error) {
      this.#tell(`who has which virtual address is not kept for the next start: ${messageOf(error)}`)
    }
    this.#rest = Math.max(WRITE_DELAY, REST_PER_WRITE * (performance.now() - begun))
  }

  /** Once, until it works again. */
  #tell(sentence: string): void {
    if (!this.#isTold) this.#onTrouble(sentence)
    this.#isTold = true
  }
}

function readAll(path: string): string {
  const descriptor = openSync(path, 'r')
  try {
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new EspalierError('system', 'LEASES_INVALID', 'it is no file')
    if (status.size > FILE_BYTES_MAX) throw new EspalierError('system', 'LEASES_INVALID', 'it is too large')
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

function isMissing(error: unknown): boolean {
  return (error as { readonly code?: unknown }).code === 'ENOENT'
}
