/** When what came to nothing is tried again: after 30 s less up to 20, so that both sides do not meet again (strongSwan). */
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { Entropy } from '../ports.ts'

const RETRY_INTERVAL: Milliseconds = 30 * SECOND
const RETRY_JITTER: Milliseconds = 20 * SECOND

export function retryDelay(entropy: Entropy): Milliseconds {
  return RETRY_INTERVAL - Math.floor((RETRY_JITTER * entropy.bytes(1)[0]!) / 256)
}
