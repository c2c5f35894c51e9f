/**
 * What the life of an IKE_SA tells the outside: facts, no wording. report/ turns them into sentences.
 */
import type { Lease } from '../address/leases.ts'
import type { Identity } from '../auth/identity.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import type { Means } from '../auth/signature.ts'
import type { Trust } from '../auth/trust.ts'
import type { EspalierError } from '../base/errors.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { Milliseconds } from '../base/time.ts'
import type { ChildUsage } from '../kernel/books.ts'
import type { KernelError, KernelEvent } from '../kernel/vocabulary.ts'
import type { Header } from '../message/ikev2/header.ts'
import type { MoveCause, Way } from '../nat/path.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { GatewayIdentity } from '../message/ikev2/redirect.ts'
import type { HealthReason, HealthState, Repair } from '../nat/health.ts'
import type { SuiteProposal } from '../negotiate/proposals.ts'
import type { AttributeCertificate } from '../pki/attribute-certificate.ts'
import type { Certificate } from '../pki/certificate.ts'
import type { RevocationVerdict } from '../pki/revocation.ts'
import type { ChildConnection, Connection } from './connection.ts'
import type { ChildSa, IkeSa } from './sa.ts'

export type CloseReason =
  | 'deleted-by-us'
  | 'deleted-by-peer'
  | 'half-open-timeout'
  | 'peer-silent'
  | 'failed'
  /** The peer came back with INITIAL_CONTACT. */
  | 'replaced'
  /** Another has taken its place. */
  | 'rekeyed'
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
  /** Octets of the IKE message in one piece, without the non-ESP marker. */
  readonly length: number
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Sent again by us, or sent again by the peer: a request that was answered before, and is answered in the same way. */
  readonly isRetransmission: boolean
}

export type IkeEvent =
  | ({
      readonly event: 'message-sent'
      /** Octets of each fragment; null of a message in one piece. */
      readonly fragmentLengths: readonly number[] | null
    } & MessageFacts)
  /** Authentic where it can be. What was not, or did not fit the window, is 'datagram-dropped'. */
  | ({
      readonly event: 'message-received'
      /** Its fragments have been told of, each by itself. */
      readonly isReassembled: boolean
    } & MessageFacts)
  /** Authentic and kept; `length` is the fragment's. */
  | ({
      readonly event: 'fragment-received'
      readonly fragmentNumber: number
      readonly totalFragments: number
      /** Octets of the whole message, if it is complete by this one; null if others are missing. */
      readonly wholeLength: number | null
    } & MessageFacts)
  /** We begin, or a stranger's IKE_SA_INIT was accepted for an answer. */
  | { readonly event: 'ike-initiating'; readonly sa: IkeSa }
  | { readonly event: 'ike-responding'; readonly sa: IkeSa }
  /** The peer's hashes were compared (first message that carried them). */
  | { readonly event: 'nat-detected'; readonly sa: IkeSa }
  | { readonly event: 'floated'; readonly sa: IkeSa; readonly from: { readonly local: Endpoint; readonly remote: Endpoint } }
  /** In mid-life. Told before: `sa` still has the old endpoints. */
  | {
      readonly event: 'endpoints-moved'
      readonly sa: IkeSa
      readonly from: Way
      readonly to: Way
      readonly cause: MoveCause
    }
  | { readonly event: 'cookie-demanded'; readonly remote: Endpoint }
  | { readonly event: 'cookie-returned'; readonly sa: IkeSa }
  /** The responder declined the group `refused` and wants `group`. */
  | { readonly event: 'key-exchange-retry'; readonly sa: IkeSa; readonly refused: number; readonly group: number }
  /** Of the IKE_SA, or of a CHILD_SA about to be. */
  | { readonly event: 'proposal-selected'; readonly sa: IkeSa; readonly proposal: SuiteProposal }
  /** Along all ways that are tried, or the one there is. */
  | {
      readonly event: 'retransmitting'
      readonly sa: IkeSa
      readonly messageId: number
      readonly attempt: number
      readonly isProbing: boolean
    }
  /** The last retransmission stayed without an answer, too. */
  | {
      readonly event: 'request-given-up'
      readonly sa: IkeSa
      readonly messageId: number
      readonly retransmissions: number
      readonly isProbing: boolean
    }
  /** A request goes along one of the ways that are tried. */
  | { readonly event: 'path-checked'; readonly sa: IkeSa; readonly local: Endpoint; readonly remote: Endpoint }
  /** The peer said MOBIKE_SUPPORTED; `isRefused`: our connection does not want it. */
  | { readonly event: 'mobike-supported'; readonly sa: IkeSa; readonly isRefused: boolean }
  /** The peer said where it can be reached. */
  | { readonly event: 'peer-addresses-told'; readonly sa: IkeSa; readonly addresses: readonly IpAddress[] }
  /** Our addresses or routes have changed; what that means for an IKE_SA. */
  | { readonly event: 'roamed'; readonly sa: IkeSa; readonly finding: RoamFinding }
  /** The peer sees us elsewhere than the last time, by its hash of that. */
  | { readonly event: 'mapping-changed'; readonly sa: IkeSa }
  /** Of an update of addresses: the peer's answer does not let it be; or what the peer wanted is not done. */
  | { readonly event: 'update-failed'; readonly sa: IkeSa; readonly why: UpdateFailure }
  /** The gateway sends us to another one; `redirect-failed`: nothing came of it. */
  | { readonly event: 'redirected'; readonly sa: IkeSa; readonly gateway: GatewayIdentity }
  | { readonly event: 'redirect-failed'; readonly sa: IkeSa; readonly error: EspalierError }
  | { readonly event: 'redirect-ignored'; readonly sa: IkeSa; readonly why: 'malformed' | 'gateway' | 'busy' }
  /** We send a client to another gateway, or cannot; or it comes from another one. */
  | { readonly event: 'redirecting'; readonly sa: IkeSa; readonly gateway: GatewayIdentity }
  | {
      readonly event: 'redirect-impossible'
      readonly sa: IkeSa
      readonly why: 'initiator' | 'unsupported' | 'not-established'
    }
  | { readonly event: 'came-redirected'; readonly sa: IkeSa; readonly from: GatewayIdentity }
  /** Left as it is for the program that takes this one's place, and gone on with by that. */
  | { readonly event: 'ike-left'; readonly sa: IkeSa }
  | { readonly event: 'ike-resumed'; readonly sa: IkeSa }
  | { readonly event: 'child-resumed'; readonly sa: IkeSa; readonly child: ChildSa; readonly isLost: boolean }
  /** `other` was brought up, by the peer most likely, while we were at `sa`, which is given up. */
  | { readonly event: 'initiation-overtaken'; readonly sa: IkeSa; readonly other: IkeSa }
  /** The peer was silent, and tries are left. */
  | { readonly event: 'initiating-again'; readonly sa: IkeSa; readonly attempt: number; readonly tries: number }
  /** At a responder: the peer says who it is, and perhaps whom it wants to talk to; null when no connection has those two. */
  | {
      readonly event: 'peer-identified'
      readonly sa: IkeSa
      readonly local: Endpoint
      readonly remote: Endpoint
      readonly remoteId: Identity
      readonly requestedId: Identity | null
      readonly connection: Connection | null
    }
  /** What the peer proves itself for is not the best match, but another one. */
  | { readonly event: 'connection-switched'; readonly sa: IkeSa; readonly from: Connection; readonly to: Connection }
  /** The peer of `sa` has an older IKE_SA, which `unique = replace` has deleted, at once or later. */
  | { readonly event: 'duplicate-found'; readonly sa: IkeSa; readonly old: IkeSa; readonly isLater: boolean }
  /** Two were begun at once, by both sides or from two causes: `old` is to go. */
  | { readonly event: 'both-initiated'; readonly sa: IkeSa; readonly old: IkeSa }
  /** We prove who we are, the peer has proved who it is. */
  | { readonly event: 'authenticating'; readonly sa: IkeSa; readonly id: Identity; readonly by: Means }
  | { readonly event: 'peer-authenticated'; readonly sa: IkeSa; readonly id: Identity; readonly by: Means }
  /** Why the key of the peer is trusted, and what was heard of revocations. */
  | {
      readonly event: 'peer-trusted'
      readonly sa: IkeSa
      readonly trust: Trust
      readonly revocation: readonly RevocationVerdict[]
    }
  /** What the peer has proved is not what this connection wants; `reason` in short. The last: then authentication fails. */
  | {
      readonly event: 'connection-refused'
      readonly sa: IkeSa
      readonly connection: Connection
      readonly reason: string
      readonly sentence: string
      readonly isLast: boolean
    }
  | { readonly event: 'certificate-received'; readonly sa: IkeSa; readonly certificate: Certificate; readonly isLeaf: boolean }
  | { readonly event: 'certificate-sent'; readonly sa: IkeSa; readonly certificate: Certificate; readonly isLeaf: boolean }
  | {
      readonly event: 'attribute-certificate-received' | 'attribute-certificate-sent'
      readonly sa: IkeSa
      readonly certificate: AttributeCertificate
    }
  /** A CERT payload that is of no use. */
  | { readonly event: 'certificate-ignored'; readonly sa: IkeSa; readonly sentence: string }
  /** The peer asks for certificates of these CAs, and of so many that we do not know. */
  | {
      readonly event: 'certificate-requested'
      readonly sa: IkeSa
      readonly known: readonly Certificate[]
      readonly unknown: number
    }
  /** We ask for certificates of these CAs. */
  | { readonly event: 'certificate-request-sent'; readonly sa: IkeSa; readonly authorities: readonly Certificate[] }
  | { readonly event: 'ike-established'; readonly sa: IkeSa }
  | { readonly event: 'ike-failed'; readonly sa: IkeSa; readonly error: EspalierError }
  /** A connection of `start_action = start` did not even come to an IKE_SA. */
  | { readonly event: 'not-initiated'; readonly connection: string; readonly error: EspalierError }
  /** The same, but it is tried again after `retryIn`. */
  | {
      readonly event: 'initiating-later'
      readonly connection: string
      readonly error: EspalierError
      readonly retryIn: Milliseconds
    }
  | { readonly event: 'ike-closed'; readonly sa: IkeSa; readonly reason: CloseReason }
  /** We ask for it; `uniqueId` is what it will have. */
  | { readonly event: 'child-establishing'; readonly sa: IkeSa; readonly name: string; readonly uniqueId: number }
  | { readonly event: 'child-established'; readonly sa: IkeSa; readonly child: ChildSa }
  /** `child` replaces `old`, by whoever's request. */
  | { readonly event: 'child-rekeyed'; readonly sa: IkeSa; readonly old: ChildSa; readonly child: ChildSa }
  /** From now on we send on it: the peer has deleted what it replaced. */
  | { readonly event: 'child-activated'; readonly sa: IkeSa; readonly child: ChildSa }
  /** The exchange that was to replace it came to nothing; it is tried again after `retryIn`. */
  | {
      readonly event: 'child-rekey-failed'
      readonly sa: IkeSa
      readonly child: ChildSa
      readonly error: EspalierError
      readonly retryIn: Milliseconds
    }
  /** Both replace the same, and ours has further key exchanges to come; it stops if it is lost. `child` null: the IKE_SA. */
  | { readonly event: 'rekey-collision'; readonly sa: IkeSa; readonly child: ChildSa | null; readonly isLost: boolean }
  /** The peer has not come with the next key exchange of what it began for `patience`: that is forgotten. */
  | { readonly event: 'follow-up-missing'; readonly sa: IkeSa; readonly patience: Milliseconds }
  /** A CREATE_CHILD_SA or IKE_FOLLOWUP_KE request of the peer that we do not fulfil; nothing changes by it. */
  | { readonly event: 'create-refused'; readonly sa: IkeSa; readonly error: EspalierError }
  /** `sa` replaces `old` and has its CHILD_SAs. */
  | { readonly event: 'ike-rekeyed'; readonly old: IkeSa; readonly sa: IkeSa }
  /** `retryIn` null: the peer has replaced it all the same, so that another one has to be made from the beginning. */
  | {
      readonly event: 'ike-rekey-failed'
      readonly sa: IkeSa
      readonly error: EspalierError
      readonly retryIn: Milliseconds | null
    }
  /** It has begun to live; `sa` says when it is to be rekeyed and reauthenticated, and `over` after how long it goes if neither happens. */
  | { readonly event: 'lifetime-set'; readonly sa: IkeSa; readonly over: Milliseconds }
  /** `isSooner`: than it was to be reauthenticated already. */
  | {
      readonly event: 'auth-lifetime-received'
      readonly sa: IkeSa
      readonly lifetime: Milliseconds
      readonly reauthIn: Milliseconds
      readonly isSooner: boolean
    }
  /** It has lived for as long as it may, and was neither rekeyed nor reauthenticated. */
  | { readonly event: 'ike-expired'; readonly sa: IkeSa }
  | { readonly event: 'reauthenticating'; readonly sa: IkeSa }
  /** Not now, not at all, or tried and failed; `retryIn` null: not again. */
  | {
      readonly event: 'reauthentication-failed'
      readonly sa: IkeSa
      readonly why: 'busy' | 'childless' | 'asymmetric' | 'failed'
      readonly retryIn: Milliseconds | null
    }
  /** The kernel has thrown it away at a hard limit; another one is made. */
  | { readonly event: 'child-recreating'; readonly sa: IkeSa; readonly child: ChildSa }
  /** It has carried nothing for its time of inactivity and goes, or all of the IKE_SA. */
  | { readonly event: 'child-idle'; readonly sa: IkeSa; readonly child: ChildSa; readonly closesIkeSa: boolean }
  | { readonly event: 'virtual-address-installed'; readonly sa: IkeSa; readonly address: IpAddress }
  | { readonly event: 'route-installed'; readonly sa: IkeSa | null; readonly text: string }
  /** The kernel would not have an address or a route of ours. */
  | { readonly event: 'network-refused'; readonly sa: IkeSa | null; readonly sentence: string }
  /** A DNS server that a peer gave us; `refused` null: it is in this machine's resolver, or is there no more. */
  | {
      readonly event: 'name-server-changed'
      readonly sa: IkeSa
      readonly address: IpAddress
      readonly change: 'installing' | 'removing'
      readonly place: string
      readonly refused: string | null
    }
  /** The command of a child (`updown`): a line that it said, or what went wrong with it. */
  | { readonly event: 'script-said'; readonly sa: IkeSa; readonly child: string; readonly line: string }
  | { readonly event: 'script-trouble'; readonly sa: IkeSa; readonly child: string; readonly sentence: string }
  /** A virtual address that the peer asks for; null: none of its pools has one. */
  | { readonly event: 'address-answered'; readonly sa: IkeSa; readonly requested: IpAddress; readonly lease: Lease | null }
  | { readonly event: 'child-failed'; readonly sa: IkeSa; readonly name: string; readonly error: EspalierError }
  | {
      readonly event: 'child-closed'
      readonly sa: IkeSa
      readonly child: ChildSa
      readonly reason: CloseReason
      /** What it carried, null when the kernel did not tell any more. */
      readonly usage: ChildUsage | null
    }
  /** Of one CHILD_SA, or of the IKE_SA and all that is in it (null). */
  | { readonly event: 'delete-sent'; readonly sa: IkeSa; readonly child: ChildSa | null }
  | { readonly event: 'delete-received'; readonly sa: IkeSa; readonly child: ChildSa | null }
  | { readonly event: 'keepalive-sent'; readonly sa: IkeSa }
  /** It was due, and something else had left meanwhile. */
  | { readonly event: 'keepalive-suppressed'; readonly sa: IkeSa }
  /** Its time had passed too long ago; `silence` is how long nothing has left. The peer is asked for an answer instead. */
  | { readonly event: 'keepalive-late'; readonly sa: IkeSa; readonly silence: Milliseconds }
  /** For adaptive keepalives: nothing was sent for `gap`, and then the NAT showed the probe at the same port, or not. */
  | {
      readonly event: 'mapping-probed'
      readonly sa: IkeSa
      readonly gap: Milliseconds
      readonly survived: boolean
      /** What it is known to bear. */
      readonly lifetime: Milliseconds | null
    }
  /** The peer is asked whether it is there. */
  | { readonly event: 'liveness-checked'; readonly sa: IkeSa }
  /** It fell ill, for another reason perhaps than before, or got well again (nat/health.ts); `child` has how it is now. */
  | {
      readonly event: 'health-changed'
      readonly sa: IkeSa
      readonly child: ChildSa
      readonly was: { readonly state: HealthState; readonly reason: HealthReason | null }
    }
  /** What does not work is made anew: as it was, with the other encapsulation, or as it was before that. */
  | { readonly event: 'child-repairing'; readonly sa: IkeSa; readonly child: ChildSa; readonly repair: Repair }
  /** So many packets came in the wrong form, in UDP or bare, for none of our SAs or for one of too many that are silent. */
  | { readonly event: 'encapsulation-mismatch'; readonly count: number; readonly suspects: number }
  /** Another one of its kind was asked for, and is not made. */
  | { readonly event: 'child-duplicate'; readonly sa: IkeSa; readonly child: ChildSa }
  /** Its peer is silent or has deleted it; it is made again, as its dpd_action or close_action says. */
  | { readonly event: 'child-restarting'; readonly sa: IkeSa; readonly child: ChildSa }
  | { readonly event: 'kernel-refused'; readonly error: KernelError }
  /** Of a child's trap or shunt; each of its name. */
  | {
      readonly event: 'policies-changed'
      readonly connection: string
      readonly child: ChildConnection
      readonly change: 'installed' | 'replaced' | 'removed'
    }
  | {
      readonly event: 'policies-failed'
      readonly connection: string
      readonly child: ChildConnection
      readonly error: EspalierError
    }
  /** The kernel asks for a CHILD_SA, and nothing follows from it: there is no such trap, or it is being negotiated already. */
  | { readonly event: 'acquire-ignored'; readonly reqid: number; readonly why: 'unknown' | 'pending' }
  /** News of the kernel; most need nothing done. */
  | { readonly event: 'kernel-event'; readonly news: KernelEvent; readonly sa: IkeSa | null }
  /** Our own mistake came up while this IKE_SA was handled; it is given up. */
  | { readonly event: 'broken'; readonly sa: IkeSa; readonly error: unknown }
  /** A request refused before there was an IKE_SA. */
  | { readonly event: 'request-refused'; readonly remote: Endpoint; readonly local: Endpoint; readonly error: EspalierError }
  /** What is configured has changed. */
  | {
      readonly event: 'configuration-changed'
      readonly what: 'connection' | 'shared-secret' | 'pool' | 'certificate' | 'crl' | 'public-key' | 'private-key' | 'authority'
      readonly name: string
      readonly change: 'added' | 'updated' | 'replaced' | 'removed'
      /** Null but for a shared secret. */
      readonly secret: SharedSecret | null
    }
  /** What a client loaded asks for more than is done: the sentence about it names the key. */
  | { readonly event: 'configuration-warning'; readonly sentence: string }
  /** Bytes that led nowhere; counted, and told at a bounded rate. */
  | {
      readonly event: 'datagram-dropped'
      readonly remote: Endpoint
      readonly local: Endpoint
      readonly reason: DropReason
      /** As far as it could be read. */
      readonly header: Header | null
    }

/**
 * path-kept: nothing changes. addresses-told: the peer hears of our addresses, and may want to use another.
 * path-lost: another way is looked for; no-route: there is none now. The original initiator then says where it is
 * (update-wanted), the responder where else it can be reached (list-wanted); without MOBIKE an IKE_SA is made anew.
 */
export type RoamFinding =
  | 'path-kept'
  | 'path-checked'
  | 'addresses-told'
  | 'path-lost'
  | 'no-route'
  | 'update-wanted'
  | 'list-wanted'
  | 'reauthentication-wanted'

/**
 * Of our own: cookie-mismatch, the answer is none to our request; unacceptable, the peer will not have these addresses;
 * unexpected-nat, there is a NAT on the way, which one of us forbids. Of the peer's: not-initiator, an UPDATE that
 * is not the peer's to send; nat-on-the-way, which it forbade itself; nat-forbidden, by our own connection.
 */
export type UpdateFailure =
  | 'cookie-mismatch'
  | 'unacceptable'
  | 'unexpected-nat'
  | 'not-initiator'
  | 'nat-on-the-way'
  | 'nat-forbidden'

export type DropReason =
  /** One that the kernel did not take, or that came to another port than that of NAT-T. */
  | 'keepalive'
  | 'not-ike'
  /** IKE, but in the form that the NAT-T socket has it: the peer was told the other one of our ports. */
  | 'marker-on-ike-port'
  | 'malformed'
  | 'unknown-spi'
  | 'version'
  | 'not-authentic'
  | 'out-of-window'
  | 'queue-full'
  | 'half-open-limit'
  | 'job-load'
  | 'ike-sa-limit'
  /** Too many half-open IKE_SAs from there, and a cookie that is none of ours. */
  | 'blocked'
  | 'unexpected'
  /** It, or one of a finer split of the same message, is here already. */
  | 'fragment-known'
  /** More fragments, or a longer message, than we put together. */
  | 'fragment-limit'
  /** It has come before, and its answer takes its time. */
  | 'being-answered'
