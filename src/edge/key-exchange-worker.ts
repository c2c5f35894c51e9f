/**
 * The other core: a worker thread that does the key exchanges which would keep the event loop waiting. It holds the
 * private values by number, between being asked to generate one and being asked for the shared secret; who answers a
 * peer is told both at once.
 */
import { parentPort } from 'node:worker_threads'

import { assert } from '../base/assert.ts'
import { answerKeyExchange, createKeyExchange, InvalidKeyExchange, type ImmediateKeyExchange } from '../crypto/key-exchange.ts'
import { systemEntropy } from './entropy.ts'

export type WorkerRequest =
  | { readonly op: 'generate'; readonly id: number; readonly group: number }
  | { readonly op: 'agree'; readonly id: number; readonly answer: Uint8Array }
  | { readonly op: 'answer'; readonly id: number; readonly group: number; readonly peerPublic: Uint8Array }
  /** Not answered. */
  | { readonly op: 'destroy'; readonly id: number }

export type WorkerAnswer =
  | { readonly id: number; readonly publicValue: Uint8Array }
  | { readonly id: number; readonly secret: Uint8Array }
  | { readonly id: number; readonly publicValue: Uint8Array; readonly secret: Uint8Array }
  | { readonly id: number; readonly invalid: string }

const exchanges = new Map<number, ImmediateKeyExchange>()

function handle(request: WorkerRequest): WorkerAnswer | null {
  const { id } = request
  if (request.op === 'generate') {
    const exchange = createKeyExchange(request.group, systemEntropy)
    exchanges.set(id, exchange)
    return { id, publicValue: exchange.publicValue }
  }
  if (request.op === 'answer') return orInvalid(id, () => answer(id, request.group, request.peerPublic))
  const exchange = exchanges.get(id)
  assert(exchange !== undefined, 'a key exchange is generated before it is used')
  if (request.op === 'agree') return orInvalid(id, () => ({ id, secret: exchange.agree(request.answer).dangerouslyReveal() }))
  exchange.destroy()
  exchanges.delete(id)
  return null
}

function answer(id: number, group: number, peerPublic: Uint8Array): WorkerAnswer {
  const { publicValue, secret } = answerKeyExchange(group, peerPublic, systemEntropy)
  return { id, publicValue, secret: secret.dangerouslyReveal() }
}

function orInvalid(id: number, work: () => WorkerAnswer): WorkerAnswer {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof InvalidKeyExchange)) throw error
    return { id, invalid: error.message }
  }
}

assert(parentPort !== null, 'this file runs in a worker thread')
const port = parentPort
port.on('message', (request: WorkerRequest) => {
  const done = handle(request)
  if (done !== null) port.postMessage(done)
  // The other thread has its own copy.
  if (done !== null && 'secret' in done) done.secret.fill(0)
})
