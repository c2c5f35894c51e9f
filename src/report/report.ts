/**
 * Events of the core on their way to the log: who may fill it how fast. The words are wording.ts's.
 */
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { IkeEvent, MessageFacts } from '../ike/events.ts'
import type { IkeSa } from '../ike/sa.ts'
import type { LogHub } from './hub.ts'
import type { Line } from './line.ts'
import { word } from './wording.ts'

export { LogHub } from './hub.ts'
export { lineText } from './text.ts'
export {
  DEFAULT_LOUDNESS,
  LEVELS,
  LOG_GROUPS,
  loudnesses,
  type Level,
  type Line,
  type LogGroup,
  type Loudness,
  type Loudnesses,
} from './line.ts'

/** A stranger decides how many datagrams we drop or refuse, not how many lines we write: once a reason in this time. */
const STRANGER_INTERVAL: Milliseconds = 10 * SECOND
/** IKE_SAs that strangers begin and that are told about before they have authenticated, in that time. */
const OPENINGS_MAX = 100

export class Reporter {
  readonly #now: () => Milliseconds
  readonly #hub: LogHub
  /** By what has a limit of its own: reasons and codes, of which there are a few, never anything a stranger made up. */
  readonly #limits = new Map<string, { count: number; told: Milliseconds }>()
  /** A stranger's message, told when what became of it is; and whether that was, for the answer that goes out next. */
  #strange: IkeEvent | null = null
  #isTold = false
  /** IKE_SAs that nothing is told about until they are established. */
  readonly #unheard = new WeakSet<IkeSa>()
  #openings = 0
  #openingsSince: Milliseconds = Number.NEGATIVE_INFINITY

  constructor(now: () => Milliseconds, hub: LogHub) {
    this.#now = now
    this.#hub = hub
  }

  readonly handle = (event: IkeEvent): void => {
    switch (event.event) {
      case 'datagram-dropped':
        return this.#limited(`dropped ${event.reason}`, event)
      case 'request-refused':
        // By code: one that is asked for another group in the ordinary course of things must not hide one that finds nothing in common.
        return this.#limited(`refused ${event.error.code}`, event)
      case 'cookie-demanded':
        return this.#limited(event.event, event)
      case 'message-received':
        if (event.isRetransmission) return this.#limited('repeated', event)
        if (event.sa === null) return void (this.#strange = event)
        if (isOpening(event)) this.#countOpening(event.sa)
        break
      case 'message-sent':
        if (event.sa === null || (event.isResponse && event.isRetransmission)) {
          if (this.#isTold) word(event, this.#hub)
          return
        }
        break
      case 'ike-established':
        this.#unheard.delete(event.sa)
        break
      default:
    }
    if ('sa' in event && event.sa !== null && this.#unheard.has(event.sa)) return
    word(event, this.#hub)
  }

  #limited(key: string, event: IkeEvent): void {
    const now = this.#now()
    const seen = this.#limits.get(key) ?? { count: 0, told: Number.NEGATIVE_INFINITY }
    this.#limits.set(key, seen)
    seen.count++
    const message = this.#strange
    this.#strange = null
    this.#isTold = now - seen.told >= STRANGER_INTERVAL
    if (!this.#isTold) return
    if (message !== null) word(message, this.#hub)
    word(event, this.#hub, { count: seen.count })
    seen.told = now
    seen.count = 0
  }

  #countOpening(sa: IkeSa): void {
    const now = this.#now()
    if (now - this.#openingsSince >= STRANGER_INTERVAL) {
      const unheard = this.#openings - OPENINGS_MAX
      if (unheard > 0) this.#hub.write(unheardLine(unheard))
      this.#openings = 0
      this.#openingsSince = now
    }
    if (++this.#openings > OPENINGS_MAX) this.#unheard.add(sa)
  }
}

/** The first word of a stranger that we take in. */
function isOpening(message: MessageFacts): message is MessageFacts & { readonly sa: IkeSa } {
  return message.sa !== null && message.sa.role === 'responder' && message.sa.state === 'connecting' && message.sa.keys === null
}

function unheardLine(count: number): Line {
  return {
    group: 'ike',
    loudness: 1,
    level: 'warn',
    message: `${count} more IKE_SAs were initiated than are told about in ${STRANGER_INTERVAL / SECOND} seconds; of those that are established the log tells from then on`,
    ike: null,
    fields: { event: 'openings-untold', count },
  }
}

/** All lines of one event, whoever may want to hear them. */
export function linesOf(event: IkeEvent): readonly Line[] {
  const lines: Line[] = []
  word(event, { wants: () => true, write: (line) => void lines.push(line) })
  return lines
}
