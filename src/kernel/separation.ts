/**
 * What tells the packets of a CHILD_SA from others with the same addresses and ports: Netfilter marks, which packets
 * have from elsewhere or get from the states, and IDs of XFRM interfaces (mark_in, mark_out, set_mark_in, set_mark_out,
 * if_id_in, if_id_out).
 */
import { markKey } from './selectors.ts'
import type { Mark, PolicyDirection, State } from './vocabulary.ts'

export interface Separation {
  /** Of the inbound policies, and of the inbound state if that is wanted: a state is found by its SPI as well (strongSwan). */
  readonly markIn: Mark | null
  readonly markInOnState: boolean
  /** Of the outbound policies and state. */
  readonly markOut: Mark | null
  /** What packets are marked with after the states. */
  readonly setMarkIn: Mark | null
  readonly setMarkOut: Mark | null
  /** 0 = none. */
  readonly ifIdIn: number
  readonly ifIdOut: number
  /**
   * Not configured, but chosen because another CHILD_SA has the same traffic. Packets without a mark are that one's; of
   * those that would be nobody's when it is gone, this one sees to it that they do not pass in the clear.
   */
  readonly isChosen: boolean
}

/** As nearly all are. */
export const UNSEPARATED: Separation = {
  markIn: null,
  markInOnState: false,
  markOut: null,
  setMarkIn: null,
  setMarkOut: null,
  ifIdIn: 0,
  ifIdOut: 0,
  isChosen: false,
}

/** Text that is equal for two that cannot be told apart (strongSwan: a reqid is per traffic, marks and interface IDs); empty for none. */
export function separationKey({ markIn, markOut, ifIdIn, ifIdOut }: Separation): string {
  if (markIn === null && markOut === null && ifIdIn === 0 && ifIdOut === 0) return ''
  return ` in${markKey(markIn)} if ${ifIdIn} out${markKey(markOut)} if ${ifIdOut}`
}

/** What of it a state has. */
export function ofState(separation: Separation, direction: State['direction']): Pick<State, 'mark' | 'setMark' | 'ifId'> {
  const { markIn, markInOnState, markOut, setMarkIn, setMarkOut, ifIdIn, ifIdOut, isChosen } = separation
  if (direction === 'in') return { mark: markInOnState ? markIn : null, setMark: setMarkIn, ifId: ifIdIn }
  // One that was chosen is found by its policies, with the mark or without.
  return { mark: isChosen ? null : markOut, setMark: setMarkOut, ifId: ifIdOut }
}

/** What of it a policy has. */
export function ofPolicy(
  separation: Separation,
  direction: PolicyDirection,
): { readonly mark: Mark | null; readonly ifId: number } {
  const { markIn, markOut, ifIdIn, ifIdOut } = separation
  return direction === 'out' ? { mark: markOut, ifId: ifIdOut } : { mark: markIn, ifId: ifIdIn }
}
