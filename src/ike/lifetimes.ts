/**
 * How long SAs live. An IKE_SA has deadlines, a CHILD_SA limits in the kernel, which tells when one is reached: at a
 * soft one it is replaced, at a hard one it is gone. Which share of the random part is taken off a soft limit is thrown
 * anew for every SA, and for each direction, so that both sides seldom begin at once.
 */
import { Reader, Writer } from '../base/bytes.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { NotifyType } from '../iana/ikev2.ts'
import type { ChildUsage } from '../kernel/books.ts'
import type { Limits, Usage } from '../kernel/vocabulary.ts'
import { findNotify, notify } from '../message/ikev2/find.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import type { Entropy } from '../ports.ts'
import type { ChildLifetime, Limit } from './connection.ts'
import type { ChildSa, IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/**
 * A sequence number without ESN is not to come round (RFC 4303 2.2, 3.3.3): the kernel stops sending after the last. It
 * is replaced when nine tenths of them are used up, less up to another tenth; at a million packets a second that leaves
 * seven minutes.
 */
const SEQUENCE_NUMBERS = 0xffff_ffffn
const SEQUENCE_REKEY = (SEQUENCE_NUMBERS * 9n) / 10n
const SEQUENCE_RAND = SEQUENCE_NUMBERS / 10n

/**
 * Sets the deadlines of an IKE_SA that begins to live. Reauthentication comes when it was to come for the IKE_SA it
 * replaces (strongSwan). Returns what tells of it: when, is the caller's affair.
 */
export function beginLife(session: Session, reauthOfPredecessor: Milliseconds | null): () => void {
  const { sa, env } = session
  const now = env.clock.now()
  if (sa.connection === null) return () => {}
  const { dpdDelay, lifetime } = sa.connection
  if (dpdDelay > 0) session.setDeadline('liveness', now + dpdDelay)
  const { rekey, reauth, over, rand } = lifetime
  const at = (time: Milliseconds): Milliseconds | null =>
    time === 0 ? null : now + Number(lessRandom(BigInt(time), BigInt(rand), env.entropy))
  sa.rekeyAt = at(rekey)
  sa.reauthAt = reauthOfPredecessor ?? at(reauth)
  const first = Math.min(sa.rekeyAt ?? Infinity, sa.reauthAt ?? Infinity)
  if (sa.rekeyAt !== null) session.setDeadline('rekey', sa.rekeyAt)
  if (sa.reauthAt !== null) session.setDeadline('reauth', sa.reauthAt)
  if (first === Infinity) return () => {}
  session.setDeadline('over', first + over)
  return () => env.report({ event: 'lifetime-set', sa, over: first + over - now })
}

/** What is left at the least of a time that is over before its reauthentication could be (strongSwan: 10 s). */
const LEAST_LIFE: Milliseconds = 10 * SECOND

/**
 * RFC 4478: the peer deletes the IKE_SA after so many seconds, unless it is authenticated once more before. That begins
 * over_time earlier (strongSwan), but not before half of the time is over: strongSwan begins at once if there is less
 * than over_time, and so again with what comes of it.
 */
export function heedAuthLifetime(session: Session, payloads: readonly Payload[]): void {
  const { sa, env } = session
  const lifetime = authLifetime(payloads)
  if (lifetime === null || sa.connection === null) return
  const now = env.clock.now()
  const at = now + Math.max(lifetime - Math.min(sa.connection.lifetime.over, lifetime / 2), SECOND)
  const before = sa.reauthAt
  const isSooner = before === null || at < before
  if (isSooner) {
    sa.reauthAt = at
    session.setDeadline('reauth', at)
    session.setDeadline('over', now + Math.max(lifetime, LEAST_LIFE))
  }
  env.report({ event: 'auth-lifetime-received', sa, lifetime, reauthIn: (isSooner ? at : before) - now, isSooner })
}

/** In milliseconds. What has not 4 octets says nothing. */
function authLifetime(payloads: readonly Payload[]): Milliseconds | null {
  const data = findNotify(payloads, NotifyType.AUTH_LIFETIME)?.data
  return data?.length === 4 ? new Reader(data).u32() * SECOND : null
}

/** What a responder says that cannot begin a reauthentication, of an IKE_SA that is to be reauthenticated (RFC 4478, strongSwan). */
export function authLifetimeNotify({ sa, env }: Session): readonly Payload[] {
  if (sa.reauthAt === null || canReauthenticate(sa)) return []
  const seconds = Math.max(Math.round((sa.reauthAt - env.clock.now()) / SECOND), 0)
  return [notify(NotifyType.AUTH_LIFETIME, new Writer(4).u32(seconds).finish())]
}

/**
 * Whether we can make the IKE_SA anew from the beginning. Who gave the peer an address would have to ask it for one
 * (strongSwan).
 */
export function canReauthenticate({ originalRole, leases }: IkeSa): boolean {
  return originalRole === 'initiator' || leases.length === 0
}

/** The limits of a new CHILD_SA, whose sequence numbers have 32 bits without ESN. */
export function childLimits(
  { time, bytes, packets }: ChildLifetime,
  hasEsn: boolean,
  entropy: Entropy,
): { readonly in: Limits; readonly out: Limits } {
  const seconds = { rekey: wholeSeconds(time.rekey), life: wholeSeconds(time.life), rand: wholeSeconds(time.rand) }
  const oneDirection = (): Limits => ({
    softSeconds: Number(soft(seconds, entropy)),
    hardSeconds: Number(seconds.life),
    softBytes: soft(bytes, entropy),
    hardBytes: bytes.life,
    softPackets: hasEsn
      ? soft(packets, entropy)
      : lesser(soft(packets, entropy), lessRandom(SEQUENCE_REKEY, SEQUENCE_RAND, entropy)),
    hardPackets: packets.life,
  })
  const [inbound, outbound] = [oneDirection(), oneDirection()]
  return {
    in: inbound,
    out: {
      ...outbound,
      // strongSwan: both would tell at the same time.
      softSeconds: seconds.rand === 0n ? 0 : outbound.softSeconds,
      hardPackets: hasEsn ? outbound.hardPackets : lesser(outbound.hardPackets, SEQUENCE_NUMBERS),
    },
  }
}

function soft({ rekey, rand }: Limit<bigint>, entropy: Entropy): bigint {
  return rekey === 0n ? 0n : lessRandom(rekey, rand, entropy)
}

/** Whether the kernel must have told of a soft limit by now, after what the CHILD_SA has carried. */
export function isSoftLimitReached({ installed, installedAt }: ChildSa, usage: ChildUsage, now: Milliseconds): boolean {
  const { inbound, outbound } = installed
  const isReached = ({ softSeconds, softBytes, softPackets }: Limits, { bytes, packets }: Usage): boolean =>
    (softSeconds > 0 && now - installedAt >= softSeconds * SECOND) ||
    (softBytes > 0n && bytes >= softBytes) ||
    (softPackets > 0n && packets >= softPackets)
  return isReached(inbound.limits, usage.in) || isReached(outbound.limits, usage.out)
}

/** `value` less anything up to `rand`, but never 0, which is no limit. */
function lessRandom(value: bigint, rand: bigint, entropy: Entropy): bigint {
  const choices = rand + 1n < value ? rand + 1n : value
  const bytes = new Reader(entropy.bytes(6))
  const random = BigInt(bytes.u16() * 2 ** 32 + bytes.u32())
  return value - ((choices * random) >> 48n)
}

/** Of two limits of which 0 is none. */
function lesser(a: bigint, b: bigint): bigint {
  if (a === 0n) return b
  return b === 0n || a < b ? a : b
}

function wholeSeconds(time: Milliseconds): bigint {
  return BigInt(Math.floor(time / SECOND))
}
