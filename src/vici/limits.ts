/**
 * The limits of VICI: the format's, and ours on what clients can make us keep.
 */

/** Of one packet, its 32-bit length not counted (strongSwan: VICI_MESSAGE_SIZE_MAX). */
export const PACKET_BYTES_MAX = 512 * 1024

/** Clients at once. */
export const CLIENTS_MAX = 128

/** Unread requests of one client: one packet of the largest size. What is more waits in the sender's socket. */
export const READ_AHEAD_BYTES = PACKET_BYTES_MAX + 4

/** Backlog at which answers and streamed events wait until the client has read what there is. */
export const BACKLOG_BYTES_FULL = 256 * 1024

/** Backlog at which a client is cut off that does not read what it registered for: some 15,000 lines of the log. */
export const BACKLOG_BYTES_MAX = 2 * 1024 * 1024

/** Packets of one client, in or out, after which everybody else has a turn. */
export const PACKETS_PER_TURN = 32

/** Events that a client of ours may leave unread. */
export const UNREAD_EVENTS_MAX = 10_000
