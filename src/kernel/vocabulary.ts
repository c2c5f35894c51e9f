/**
 * What can be asked of a kernel that does IPsec, and what it tells of its own accord: plain data, the same for the
 * real kernel (edge/netlink.ts through kernel/xfrm) and the one in memory (edge/memory-kernel.ts).
 */
import { EspalierError } from '../base/errors.ts'
import type { Endpoint, Family, IpAddress, IpRange } from '../base/ip.ts'
import type { Secret } from '../crypto/secret.ts'

/** Packets of one mark: those whose mark is `value` in the bits of `mask`. */
export interface Mark {
  readonly value: number
  readonly mask: number
}

/** Names one state (SA): the kernel looks inbound SAs up by destination address, SPI, protocol and mark. Only ESP so far. */
export interface StateId {
  readonly spi: number
  readonly source: IpAddress
  readonly destination: IpAddress
  /** Only for packets with this mark; null or absent for any. */
  readonly mark?: Mark | null
}

export type Mode = 'tunnel' | 'transport'

/** Soft and hard limits of a state; 0 = none. Times in seconds since the state was added. */
export interface Limits {
  readonly softSeconds: number
  readonly hardSeconds: number
  readonly softBytes: bigint
  readonly hardBytes: bigint
  readonly softPackets: bigint
  readonly hardPackets: bigint
}

export const NO_LIMITS: Limits = {
  softSeconds: 0,
  hardSeconds: 0,
  softBytes: 0n,
  hardBytes: 0n,
  softPackets: 0n,
  hardPackets: 0n,
}

/** ESP-in-UDP (RFC 3948): the UDP ports of the encapsulating header as seen in this state's direction. */
export interface Encapsulation {
  readonly sourcePort: number
  readonly destinationPort: number
}

/** One direction of a CHILD_SA. */
export interface State extends StateId {
  readonly mark: Mark | null
  readonly direction: 'in' | 'out'
  readonly mode: Mode
  readonly reqid: number
  /** IANA ENCR transform ID, key length in bits where the transform has one, and the key with the salt behind it (RFC 4106, 3686, 7634). */
  readonly encryption: { readonly id: number; readonly keyLength: number | null; readonly key: Secret }
  /** IANA INTEG transform ID and key; null with an AEAD. */
  readonly integrity: { readonly id: number; readonly key: Secret } | null
  readonly esn: boolean
  /** Packets; inbound only, the outbound window is the codec's business. */
  readonly replayWindow: number
  readonly encapsulation: Encapsulation | null
  /** Transport mode only: the selector the state itself checks. */
  readonly selector: Selector | null
  readonly limits: Limits
  /** Copy the DF bit outwards (copy_df), ECN both ways (copy_ecn), DSCP outwards / inwards (copy_dscp). */
  readonly copyDf: boolean
  readonly copyEcn: boolean
  readonly copyDscpOut: boolean
  readonly copyDscpIn: boolean
  /** Sequence number of the ACQUIRE this answers, 0 if none. */
  readonly acquireSequence: number
  /** The mark that packets have after it, null to leave theirs. */
  readonly setMark: Mark | null
  /** Of the XFRM interface that it belongs to, 0 for none. */
  readonly ifId: number
}

/**
 * The packets a policy is about. Address ranges must be prefixes when they reach the kernel (it knows no others);
 * ports are inclusive ranges, of which only aligned powers of two are exact (others become the covering mask).
 */
export interface Selector {
  readonly source: IpRange
  readonly destination: IpRange
  /** IP protocol, 0 = any. */
  readonly protocol: number
  readonly sourcePorts: PortRange
  readonly destinationPorts: PortRange
}
export interface PortRange {
  readonly first: number
  readonly last: number
}
export const ANY_PORT: PortRange = { first: 0, last: 65535 }

export type PolicyDirection = 'in' | 'out' | 'fwd'

export interface Policy {
  readonly direction: PolicyDirection
  readonly selector: Selector
  /** Only for packets with this mark; null for any. */
  readonly mark: Mark | null
  /** Only for packets of the XFRM interface with this ID, 0 for those of none. */
  readonly ifId: number
  /** Lower wins. See kernel/priority.ts. */
  readonly priority: number
  readonly action: 'allow' | 'block'
  /** What a matching packet must be or become; null = passes in the clear. */
  readonly template: Template | null
}

export interface Template {
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly mode: Mode
  readonly reqid: number
  /** Only in `out` policies; 0 = any SA of this reqid. */
  readonly spi: number
}

export type PolicyId = Pick<Policy, 'direction' | 'selector' | 'mark' | 'ifId'>

/** What belongs together in the kernel, by its names: the states and policies of a CHILD_SA, or policies alone. */
export interface KernelObjects {
  readonly states: readonly StateId[]
  readonly policies: readonly PolicyId[]
}

export interface Usage {
  readonly bytes: bigint
  readonly packets: bigint
  /** Wall-clock seconds since 1970 of the last use, null where the kernel does not tell (below 6.2) or never used. */
  readonly lastUsedSeconds: number | null
  /** Last sequence number sent (outbound) or highest seen (inbound). */
  readonly sequence: bigint
  /** Packets dropped as replayed, and as not authentic. */
  readonly replayed: number
  readonly integrityFailed: number
}

/**
 * What is in a state beyond what it was installed with: its keys, sequence numbers, replay window, what it has carried
 * and since when. Only the kernel that told it can read it; whoever has it destroys it.
 */
export interface StateContents {
  destroy(): void
}

export type Operation =
  /** Reserves an inbound SPI: packets come from `source` to `destination`. Outcome `spi`. */
  | {
      readonly op: 'allocate-spi'
      readonly source: IpAddress
      readonly destination: IpAddress
      readonly reqid: number
      readonly mode: Mode
    }
  /**
   * Installs a state. Inbound: over the larval state of its SPI if that is still there. With `contents` of one that was
   * taken, it goes on where that one ended; its keys in `state` are not looked at then.
   */
  | { readonly op: 'add-state'; readonly state: State; readonly contents?: StateContents }
  /** Whether a state could be taken: its keys can be read. Outcome `contents`, to be destroyed. */
  | { readonly op: 'read-state'; readonly id: StateId }
  /** Deletes a state and tells, at the same moment, what was in it. Outcome `contents`, to be destroyed. */
  | { readonly op: 'take-state'; readonly id: StateId }
  /**
   * Has a live inbound state of tunnel mode elsewhere, without a moment in which it is at neither place: of one family, and
   * not out of UDP. Of states of one reqid, mode and addresses the kernel takes the youngest, so that all are moved, in that
   * order, or none. Refused with KERNEL_UNCHANGED: it was not this one.
   */
  | { readonly op: 'move-state'; readonly from: State; readonly to: State }
  /** Changes encapsulation ports, limits of a live state in place; sequence numbers and replay window stay. Read back by the codec's caller. */
  | { readonly op: 'update-state'; readonly state: State }
  /** Deletes a state or a larval one. A missing one is outcome `refused` with code KERNEL_NO_SUCH_STATE. */
  | { readonly op: 'delete-state'; readonly id: StateId }
  /** Outcome `usage`. */
  | { readonly op: 'query-state'; readonly id: StateId }
  /** Outcome `drops`. */
  | { readonly op: 'query-drops' }
  /** Installs a policy, replacing one with the same selector, direction, mark and interface ID. */
  | { readonly op: 'set-policy'; readonly policy: Policy }
  | { readonly op: 'delete-policy'; readonly id: PolicyId }

export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'spi'; readonly spi: number }
  | { readonly kind: 'usage'; readonly usage: Usage }
  /** ESP that came in UDP for a bare state, or bare for one in UDP, of the network namespace since it is there (XfrmInStateMismatch). */
  | { readonly kind: 'drops'; readonly stateMismatches: number }
  | { readonly kind: 'contents'; readonly contents: StateContents }
  | { readonly kind: 'refused'; readonly error: KernelError }

/** The kernel refused: errno, the operation in words, and the kernel's own text (extended ACK) where it gave one. */
export class KernelError extends EspalierError {
  override readonly name = 'KernelError'
  readonly errno: number
  readonly operation: string
  readonly kernelText: string | null
  constructor(code: string, operation: string, errno: number, errnoName: string, kernelText: string | null) {
    super('kernel', code, `the kernel refused to ${operation}: ${errnoName}${kernelText === null ? '' : ` (${kernelText})`}`)
    this.errno = errno
    this.operation = operation
    this.kernelText = kernelText
  }
}

export type KernelEvent =
  /** A packet met a policy whose SA does not exist yet. */
  | {
      readonly event: 'acquire'
      readonly sequence: number
      readonly reqid: number
      readonly source: IpAddress
      readonly destination: IpAddress
      readonly packet: Selector
      readonly policy: Selector
    }
  /** A soft or hard limit was reached; after a hard one the state is gone. */
  | { readonly event: 'expire'; readonly id: StateId; readonly reqid: number; readonly hard: boolean }
  /** An authenticated ESP-in-UDP packet came from another address or port than the inbound state has. */
  | {
      readonly event: 'mapping'
      readonly spi: number
      readonly reqid: number
      readonly destination: IpAddress
      readonly from: Endpoint
      readonly to: Endpoint
    }
  /** Events were lost (ENOBUFS); books and kernel must be compared. */
  | { readonly event: 'overrun' }

export interface KernelCapabilities {
  /** One sentence each with the remedy; empty when everything needed is there. */
  readonly missing: readonly string[]
  readonly families: readonly Family[]
  /** Whether it does `move-state`. */
  readonly movesStates: boolean
}
