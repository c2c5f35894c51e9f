/**
 * What the life of an IKE_SA tells the outside: facts, no wording. report/ turns them into sentences.
 */
import type { EspalierError } from '../base/errors.ts'
import type { Endpoint } from '../base/ip.ts'
import type { ChildUsage } from '../kernel/books.ts'
import type { KernelError, KernelEvent } from '../kernel/vocabulary.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { ChildSa, IkeSa } from './sa.ts'

export type CloseReason =
  | 'deleted-by-us'
  | 'deleted-by-peer'
  | 'half-open-timeout'
  | 'peer-silent'
  | 'failed'
  /** The peer came back with INITIAL_CONTACT. */
  | 'replaced'
  | 'shutdown'

/** One IKE message on its way, payloads in the clear: what tells of it shows their kinds, never what is in them. */
export interface MessageFacts {
  /** Null while there is none: a stranger is refused, or asked for a cookie. */
  readonly sa: IkeSa | null
  readonly exchangeType: number
  readonly isResponse: boolean
  readonly messageId: number
  /** Of a message that we send again: none, they are in nobody's hands any more. */
  readonly payloads: readonly Payload[]
  /** Octets of the IKE message, without the non-ESP marker. */
  readonly length: number
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Sent again by us, or sent again by the peer: a request that was answered before, and is answered in the same way. */
  readonly isRetransmission: boolean
}

export type IkeEvent =
  | ({ readonly event: 'message-sent' } & MessageFacts)
  /** Authentic where it can be. What was not, or did not fit the window, is 'datagram-dropped'. */
  | ({ readonly event: 'message-received' } & MessageFacts)
  /** We begin, or a stranger's IKE_SA_INIT was accepted for an answer. */
  | { readonly event: 'ike-initiating'; readonly sa: IkeSa }
  | { readonly event: 'ike-responding'; readonly sa: IkeSa }
  /** The peer's hashes were compared (first message that carried them). */
  | { readonly event: 'nat-detected'; readonly sa: IkeSa }
  | { readonly event: 'floated'; readonly sa: IkeSa; readonly from: { readonly local: Endpoint; readonly remote: Endpoint } }
  | { readonly event: 'cookie-demanded'; readonly remote: Endpoint }
  | { readonly event: 'cookie-returned'; readonly sa: IkeSa }
  | { readonly event: 'key-exchange-retry'; readonly sa: IkeSa; readonly group: number }
  | { readonly event: 'retransmitting'; readonly sa: IkeSa; readonly messageId: number; readonly attempt: number }
  | { readonly event: 'ike-established'; readonly sa: IkeSa }
  | { readonly event: 'ike-failed'; readonly sa: IkeSa; readonly error: EspalierError }
  /** A connection of `start_action = start` did not even come to an IKE_SA. */
  | { readonly event: 'not-initiated'; readonly connection: string; readonly error: EspalierError }
  | { readonly event: 'ike-closed'; readonly sa: IkeSa; readonly reason: CloseReason }
  | { readonly event: 'child-established'; readonly sa: IkeSa; readonly child: ChildSa }
  | { readonly event: 'child-failed'; readonly sa: IkeSa; readonly name: string; readonly error: EspalierError }
  | {
      readonly event: 'child-closed'
      readonly sa: IkeSa
      readonly child: ChildSa
      readonly reason: CloseReason
      /** What it carried, null when the kernel did not tell any more. */ readonly usage: ChildUsage | null
    }
  | { readonly event: 'keepalive-sent'; readonly sa: IkeSa }
  | { readonly event: 'kernel-refused'; readonly error: KernelError }
  /** News of the kernel that nothing follows from yet. */
  | { readonly event: 'kernel-event'; readonly news: KernelEvent; readonly sa: IkeSa | null }
  /** Our own mistake came up while this IKE_SA was handled; it is given up. */
  | { readonly event: 'broken'; readonly sa: IkeSa; readonly error: unknown }
  /** A request refused before there was an IKE_SA. */
  | { readonly event: 'request-refused'; readonly remote: Endpoint; readonly local: Endpoint; readonly error: EspalierError }
  /** Bytes that led nowhere; counted, and told at a bounded rate. */
  | { readonly event: 'datagram-dropped'; readonly remote: Endpoint; readonly local: Endpoint; readonly reason: DropReason }

export type DropReason =
  | 'not-ike'
  | 'malformed'
  | 'unknown-spi'
  | 'version'
  | 'not-authentic'
  | 'out-of-window'
  | 'queue-full'
  | 'half-open-limit'
  | 'unexpected'
