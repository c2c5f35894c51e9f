/**
 * What the program after this one has to know: a journal of what of ours is in the kernel, which is kept all the time, or
 * all that it needs to go on in our place, which has keys in it and is there for the moment between the two. A file of
 * root's alone, in a directory that does not outlive the machine, with a digest: one that is none of ours, or of a
 * program that writes another layout, tells nothing.
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, rmSync } from 'node:fs'
import { deserialize, serialize } from 'node:v8'

import { messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { Handover } from '../gateway/gateway.ts'
import { readBack, writeDown } from '../gateway/written.ts'
import { RECORD_LAYOUT } from '../ike/record.ts'
import type { KernelObjects } from '../kernel/vocabulary.ts'
import type { KernelJournal } from '../ports.ts'
import { replaceFile } from './replace-file.ts'
import type { InheritedSocket } from './udp.ts'

/** The sockets of a program that has become another one, in the same process. */
export interface LeftSockets {
  readonly pid: number
  readonly port: number
  readonly portNatT: number
  readonly sockets: readonly InheritedSocket[]
}

export type State =
  | { readonly kind: 'journal'; readonly objects: readonly KernelObjects[] }
  | { readonly kind: 'left'; readonly handover: Handover; readonly sockets: LeftSockets }

/** How long changes are gathered. */
const WRITE_DELAY: Milliseconds = SECOND / 10
/** Of the time in which nothing else is done, so much goes into writing at most: one part in this many. */
const REST_PER_WRITE = 20
/** Our limit: no state that we write is larger. */
const FILE_BYTES_MAX = 1024 * 1024 * 1024
const DIGEST = 'sha256'
const DIGEST_BYTES = 32
const OTHERS = 0o077

export class StateFile implements KernelJournal {
  /** What the program before this one has left; null if nothing that can be read. */
  readonly found: State | null
  readonly #path: string
  readonly #onTrouble: (sentence: string) => void
  #inventory: (() => readonly KernelObjects[]) | null = null
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> = Promise.resolve()
  #rest: Milliseconds = WRITE_DELAY
  #isTold = false
  #isClosed = false

  /** Reads what is there; never throws. What had keys in it is gone then. */
  constructor(path: string, onTrouble: (sentence: string) => void) {
    this.#path = path
    this.#onTrouble = onTrouble
    this.found = this.#read()
    if (this.found?.kind === 'left') rmSync(path, { force: true })
  }

  changed(inventory: () => readonly KernelObjects[]): void {
    if (this.#isClosed) return
    this.#inventory = inventory
    // No reason for the process to stay.
    this.#timer ??= setTimeout(() => void this.#write(), this.#rest).unref()
  }

  /** Whether anything can be written where `leave` will. Rejects with the system error if not. */
  async tryOut(): Promise<void> {
    const trial = `${this.#path}.trial`
    await replaceFile(trial, '')
    rmSync(trial, { force: true })
  }

  /** In the place of the journal, which is kept no more. Rejects with a system error. */
  async leave(handover: Handover, sockets: LeftSockets): Promise<void> {
    await this.#end()
    const whole = encode({ kind: 'left', handover, sockets })
    try {
      await replaceFile(this.#path, whole)
    } finally {
      // Keys are in it.
      whole.fill(0)
    }
  }

  /** There is nothing of ours in the kernel any more. */
  async close(): Promise<void> {
    await this.#end()
    rmSync(this.#path, { force: true })
  }

  async #end(): Promise<void> {
    this.#isClosed = true
    this.#inventory = null
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#writing
  }

  #read(): State | null {
    try {
      return decode(readOwn(this.#path))
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== 'ENOENT')
        this.#onTrouble(`what an earlier daemon has left is not known: ${this.#path}: ${messageOf(error)}`)
      return null
    }
  }

  #write(): Promise<void> {
    this.#timer = null
    this.#writing = this.#writing.then(() => this.#writeNow())
    return this.#writing
  }

  async #writeNow(): Promise<void> {
    const inventory = this.#inventory
    if (inventory === null) return
    this.#inventory = null
    const begun = performance.now()
    try {
      await replaceFile(this.#path, encode({ kind: 'journal', objects: inventory() }))
      this.#isTold = false
    } catch (error) {
      if (!this.#isTold) this.#onTrouble(`no journal is kept of what is in the kernel: ${messageOf(error)}`)
      this.#isTold = true
    }
    this.#rest = Math.max(WRITE_DELAY, REST_PER_WRITE * (performance.now() - begun))
  }
}

/** Digest, then the layout and the state as node:v8 writes them. */
function encode(state: State): Uint8Array {
  const content = serialize({ layout: RECORD_LAYOUT, state: writeDown(state) })
  const whole = Buffer.concat([createHash(DIGEST).update(content).digest(), content])
  content.fill(0)
  return whole
}

/** Throws for what `encode` has not made, and for another layout. Overwrites `bytes`. */
function decode(bytes: Uint8Array): State {
  const content = bytes.subarray(DIGEST_BYTES)
  const digest = createHash(DIGEST).update(content).digest()
  if (!digest.equals(bytes.subarray(0, DIGEST_BYTES))) throw new TypeError('it is damaged, or none of ours')
  try {
    const { layout, state } = deserialize(content) as { readonly layout: unknown; readonly state: unknown }
    if (layout !== RECORD_LAYOUT) throw new TypeError('it was written by another version of espalier')
    return readBack(state) as State
  } finally {
    // What was read of it are views.
    bytes.fill(0)
  }
}

/** Throws also where anybody else could have written it. */
function readOwn(path: string): Uint8Array {
  const descriptor = openSync(path, 'r')
  try {
    const status = fstatSync(descriptor)
    if (!status.isFile() || status.uid !== process.geteuid?.() || (status.mode & OTHERS) !== 0)
      throw new TypeError('it is not a file of ours alone')
    if (status.size > FILE_BYTES_MAX) throw new TypeError('it is too large')
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
