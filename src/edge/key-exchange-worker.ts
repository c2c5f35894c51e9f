/**
 * The other core: a worker thread that does the key exchanges which would keep the event loop waiting. It holds the
 * private values by number, between being asked to generate one and being asked for the shared secret.
 */
import { parentPort } from 'node:worker_threads'

import { assert } from '../base/assert.ts'
import { createKeyExchange, InvalidKeyExchange, type ImmediateKeyExchange } from '../crypto/key-exchange.ts'
import { systemEntropy } from './entropy.ts'

export type WorkerRequest =
  | { readonly op: 'generate'; readonly id: number; readonly group: number }
  | { readonly op: 'agree'; readonly id: number; readonly peerPublic: Uint8Array }
  /** Not answered. */
  | { readonly op: 'destroy'; readonly id: number }

export type WorkerAnswer =
  /** The public value after `generate`, the shared secret after `agree`. */
  { readonly id: number; readonly bytes: Uint8Array } | { readonly id: number; readonly invalid: string }

const exchanges = new Map<number, ImmediateKeyExchange>()

function handle(request: WorkerRequest): WorkerAnswer | null {
  const { id } = request
  if (request.op === 'generate') {
    const exchange = createKeyExchange(request.group, systemEntropy)
    exchanges.set(id, exchange)
    return { id, bytes: exchange.publicValue }
  }
  const exchange = exchanges.get(id)
  assert(exchange !== undefined, 'a key exchange is generated before it is used')
  if (request.op === 'agree') return agree(id, exchange, request.peerPublic)
  exchange.destroy()
  exchanges.delete(id)
  return null
}

function agree(id: number, exchange: ImmediateKeyExchange, peerPublic: Uint8Array): WorkerAnswer {
  try {
    return { id, bytes: exchange.agree(peerPublic).dangerouslyReveal() }
  } catch (error) {
    if (!(error instanceof InvalidKeyExchange)) throw error
    return { id, invalid: error.message }
  }
}

assert(parentPort !== null, 'this file runs in a worker thread')
const port = parentPort
port.on('message', (request: WorkerRequest) => {
  const answer = handle(request)
  if (answer !== null) port.postMessage(answer)
  // The other thread has its own copy; this one held a secret.
  if (request.op === 'agree' && answer !== null && 'bytes' in answer) answer.bytes.fill(0)
})
