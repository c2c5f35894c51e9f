/**
 * How much of anything one message may hold. A datagram is at most 64 KiB, which already bounds the work of reading
 * it; these bound what it can make us allocate and what later, less linear code is handed.
 */

// The specifications' own.

/** Bytes of a nonce: RFC 7296 3.9. */
export const MIN_NONCE_LENGTH = 16
export const MAX_NONCE_LENGTH = 256
/** Bytes of a message: what the length field of a UDP header (RFC 768), less that header's 8 bytes, leaves. */
export const MAX_MESSAGE_LENGTH = 65527
/** Fragments of one message: their number has 16 bits (RFC 7383 2.5). */
export const MAX_FRAGMENTS = 65535
/** Selectors in a TS payload: their number has 8 bits (RFC 7296 3.13). */
export const MAX_SELECTORS = 255
/** Transforms in a proposal: their number has 8 bits (RFC 7296 3.3.1). */
export const MAX_TRANSFORMS_PER_PROPOSAL = 255

// Our own.

/**
 * Payloads in one chain, skipped ones included. The busiest message we know of is an IKE_AUTH with a certificate
 * chain, twenty CERTREQs, twenty notifies and as many vendor IDs (strongSwan's limits), together below 80.
 */
export const MAX_PAYLOADS = 128
/** Proposals in an SA payload. Clients that enumerate every combination instead of grouping send a few dozen. */
export const MAX_PROPOSALS = 128
/** Transforms in all proposals of an SA payload: choosing walks them once per configured proposal. */
export const MAX_TRANSFORMS = 1024
/** Bytes of an identity: a distinguished name has some hundreds. It is kept as long as its IKE_SA, and ours may be what the peer asks for. */
export const MAX_ID_LENGTH = 4096
/** Attributes of a transform: one is defined (Key Length), the rest only make the transform unacceptable. */
export const MAX_TRANSFORM_ATTRIBUTES = 8
/** Attributes in a CP payload: gateways announce a route per INTERNAL_IP4_SUBNET, some of them hundreds. */
export const MAX_CP_ATTRIBUTES = 512
/** SPIs in a Delete payload: one per CHILD_SA and protocol of an IKE_SA that closes all its children at once. */
export const MAX_DELETE_SPIS = 1024
