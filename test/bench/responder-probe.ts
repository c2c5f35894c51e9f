/**
 * Loaded into the responder before its own code (node --import): answers the bench's questions about the process, as
 * only the process itself can: what it can reach after a collection, a profile.
 */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeHeapSnapshot } from 'node:v8'

export type Question =
  | { readonly ask: 'memory' | 'begin-profile' }
  | { readonly ask: 'end-profile' | 'heap'; readonly file: string }

export interface Answer {
  /** Bytes that are reachable: the JavaScript heap and what it holds outside. */
  readonly live: number
}

/** The heap gives pages back, and finalizers run, some turns of the event loop after a collection. */
const SETTLE_MS = 300
const COLLECTIONS = 4

const inspector = new Session()

async function handle(question: Question): Promise<void> {
  if (question.ask === 'memory') {
    for (let i = 0; i < COLLECTIONS; i++) {
      global.gc?.()
      await sleep(SETTLE_MS)
    }
  }
  if (question.ask === 'begin-profile') {
    inspector.connect()
    await inspector.post('Profiler.enable')
    await inspector.post('Profiler.start')
  }
  if (question.ask === 'end-profile') {
    const { profile } = await inspector.post('Profiler.stop')
    writeFileSync(question.file, JSON.stringify(profile))
    inspector.disconnect()
  }
  if (question.ask === 'heap') writeHeapSnapshot(question.file)
  const { heapUsed, external } = process.memoryUsage()
  process.send!({ live: heapUsed + external } satisfies Answer)
}

process.on('message', (question: Question) => void handle(question))
// The bench's questions must not keep a daemon alive that has ended otherwise.
process.channel?.unref()
