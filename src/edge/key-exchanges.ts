/**
 * The KeyExchanges port: quick groups on the spot, slow ones in a worker thread that is started when the first is asked
 * for. One thread is enough to keep the event loop free; a flood of strangers is held back by cookies, not by cores.
 */
import { Worker } from 'node:worker_threads'

import { assert } from '../base/assert.ts'
import { EspalierError, messageOf } from '../base/errors.ts'
import { generationIsSlow, InvalidKeyExchange, promisedAnswer, promisedKeyExchange } from '../crypto/key-exchange.ts'
import { Secret } from '../crypto/secret.ts'
import type { KeyExchange, KeyExchangeAnswer, KeyExchanges } from '../ports.ts'
import { systemEntropy } from './entropy.ts'
import type { WorkerAnswer, WorkerRequest } from './key-exchange-worker.ts'

/** The worker's file stands beside this one, in the sources as in what is built from them. */
const WORKER = new URL(`./key-exchange-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/** A worker's answer that is none of its refusals. */
type Done = Exclude<WorkerAnswer, { readonly invalid: string }>

interface Waiting {
  readonly resolve: (done: Done) => void
  readonly reject: (error: EspalierError) => void
}

export class SystemKeyExchanges implements KeyExchanges {
  #worker: Worker | null = null
  /** One request of a key exchange is under way at a time, so its number is enough. */
  readonly #waiting = new Map<number, Waiting>()
  #count = 0

  generate(group: number): Promise<KeyExchange> {
    return generationIsSlow(group) ? this.#generateElsewhere(group) : promisedKeyExchange(group, systemEntropy)
  }

  answer(group: number, peerPublic: Uint8Array): Promise<KeyExchangeAnswer> {
    return generationIsSlow(group) ? this.#answerElsewhere(group, peerPublic) : promisedAnswer(group, peerPublic, systemEntropy)
  }

  /** Ends the worker; who waits for it is refused. A later `generate` would start it anew. */
  async close(): Promise<void> {
    const worker = this.#worker
    this.#lose('the worker was ended')
    await worker?.terminate()
  }

  async #generateElsewhere(group: number): Promise<KeyExchange> {
    const id = ++this.#count
    const worker = this.#worker ?? this.#start()
    const publicValue = publicValueIn(await this.#ask({ op: 'generate', id, group }))
    let isDestroyed = false
    return {
      group,
      publicValue,
      agree: async (answer) => secretIn(await this.#ask({ op: 'agree', id, answer })),
      destroy: () => {
        // A worker that was lost took the private value with it.
        if (!isDestroyed && worker === this.#worker) worker.postMessage({ op: 'destroy', id } satisfies WorkerRequest)
        isDestroyed = true
      },
    }
  }

  async #answerElsewhere(group: number, peerPublic: Uint8Array): Promise<KeyExchangeAnswer> {
    if (this.#worker === null) this.#start()
    const done = await this.#ask({ op: 'answer', id: ++this.#count, group, peerPublic })
    return { publicValue: publicValueIn(done), secret: secretIn(done) }
  }

  #ask(request: WorkerRequest): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#worker === null) return reject(lost('it is gone'))
      this.#waiting.set(request.id, { resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  #start(): Worker {
    const worker = new Worker(WORKER)
    // It must not keep a daemon alive that has ended otherwise.
    worker.unref()
    worker.on('message', (answer: WorkerAnswer) => this.#settle(answer))
    worker.on('error', (error) => {
      if (worker === this.#worker) this.#lose(messageOf(error))
    })
    this.#worker = worker
    return worker
  }

  #settle(answer: WorkerAnswer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if ('invalid' in answer) waiting?.reject(new InvalidKeyExchange(answer.invalid))
    else waiting?.resolve(answer)
  }

  #lose(reason: string): void {
    this.#worker = null
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(lost(reason))
  }
}

function publicValueIn(done: Done): Uint8Array {
  assert('publicValue' in done, 'the worker tells the public value it was asked for')
  return done.publicValue
}

function secretIn(done: Done): Secret {
  assert('secret' in done, 'the worker tells the secret it was asked for')
  return new Secret(done.secret)
}

function lost(reason: string): EspalierError {
  return new EspalierError('system', 'KEY_EXCHANGE_LOST', `the thread that does slow key exchanges failed: ${reason}`)
}
