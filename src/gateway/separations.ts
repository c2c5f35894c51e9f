/**
 * Marks and interface IDs of CHILD_SAs: what is configured, with the numbers that %unique and %unique-dir ask for, and
 * those that we choose ourselves where two peers behind one NAT have the same traffic in transport mode.
 */
import type { ChildConnection, Connection, InterfaceId, Mark as ConfiguredMark } from '../ike/connection.ts'
import type { SeparationKeeper } from '../ike/environment.ts'
import type { InterfaceIds } from '../ike/sa.ts'
import type { Separation } from '../kernel/separation.ts'
import { UNSEPARATED } from '../kernel/separation.ts'
import type { Mark } from '../kernel/vocabulary.ts'
import type { Flows } from '../ports.ts'

/** Marks that we choose have these upper bits ("ES"), so that they are nobody else's, and a number in the lower ones. */
export const CHOSEN_MARKS = 0x4553_0000
const CHOSEN_NUMBERS = 0xffff
/** Our limit: chosen marks in use at once. */
const CHOSEN_MAX = 4096
/** strongSwan's own values for %unique and the like are above. */
const LARGEST_UNIQUE = 0xffff_fff0
const ALL_BITS = 0xffff_ffff

const NO_INTERFACE_IDS: InterfaceIds = { in: 0, out: 0 }

export class Separations implements SeparationKeeper {
  readonly #flows: Flows | null
  /** How many CHILD_SAs have a mark that we chose. */
  readonly #holders = new Map<number, number>()
  #lastMark = 0
  #lastInterfaceId = 0
  #lastChosen = 0

  constructor(flows: Flows | null) {
    this.#flows = flows
  }

  interfaceIdsOf({ interfaceIdIn, interfaceIdOut }: Pick<Connection, 'interfaceIdIn' | 'interfaceIdOut'>): InterfaceIds {
    if (interfaceIdIn === 0 && interfaceIdOut === 0) return NO_INTERFACE_IDS
    const [first, second] = unique(interfaceIdIn, interfaceIdOut, () => this.#nextInterfaceId())
    return { in: first, out: second }
  }

  configured(child: ChildConnection, inherited: InterfaceIds): Separation {
    const idIn: InterfaceId = child.interfaceIdIn === 0 ? inherited.in : child.interfaceIdIn
    const idOut: InterfaceId = child.interfaceIdOut === 0 ? inherited.out : child.interfaceIdOut
    if (!hasMarks(child) && idIn === 0 && idOut === 0) return UNSEPARATED
    const [ifIdIn, ifIdOut] = unique(idIn, idOut, () => this.#nextInterfaceId())
    const [inward, outward] = unique(valueOf(child.markIn), valueOf(child.markOut), () => this.#nextMark())
    return {
      markIn: markOf(inward, child.markIn),
      markInOnState: child.markInOnState,
      markOut: markOf(outward, child.markOut),
      setMarkIn: markOf(child.setMarkIn.value === 'same' ? inward : valueOf(child.setMarkIn), child.setMarkIn),
      setMarkOut: markOf(child.setMarkOut.value === 'same' ? outward : valueOf(child.setMarkOut), child.setMarkOut),
      ifIdIn,
      ifIdOut,
      isChosen: false,
    }
  }

  choose(): Separation | null {
    if (this.#flows === null || this.#holders.size >= CHOSEN_MAX) return null
    do this.#lastChosen = (this.#lastChosen % CHOSEN_NUMBERS) + 1
    while (this.#holders.has(CHOSEN_MARKS + this.#lastChosen))
    const mark: Mark = { value: CHOSEN_MARKS + this.#lastChosen, mask: ALL_BITS }
    return {
      ...UNSEPARATED,
      markIn: mark,
      markOut: mark,
      setMarkIn: mark,
      // What leaves encrypted has served its purpose: no rule or route for marks is to see it.
      setMarkOut: { value: 0, mask: ALL_BITS },
      isChosen: true,
    }
  }

  async hold(separation: Separation): Promise<void> {
    const { isChosen, markIn } = separation
    if (!isChosen || markIn === null) return
    const holders = this.#holders.get(markIn.value) ?? 0
    this.#holders.set(markIn.value, holders + 1)
    if (holders > 0 || this.#flows === null) return
    try {
      await this.#flows.keepApart(markIn.value)
    } catch (error) {
      this.release(separation)
      throw error
    }
  }

  release({ isChosen, markIn }: Separation): void {
    if (!isChosen || markIn === null) return
    const holders = (this.#holders.get(markIn.value) ?? 0) - 1
    if (holders > 0) {
      this.#holders.set(markIn.value, holders)
    } else {
      this.#holders.delete(markIn.value)
      this.#flows?.letGo(markIn.value)
    }
  }

  /** Marks of our choice that CHILD_SAs have. */
  get chosenCount(): number {
    return this.#holders.size
  }

  #nextMark(): number {
    this.#lastMark = (this.#lastMark % LARGEST_UNIQUE) + 1
    return this.#lastMark
  }

  #nextInterfaceId(): number {
    this.#lastInterfaceId = (this.#lastInterfaceId % LARGEST_UNIQUE) + 1
    return this.#lastInterfaceId
  }
}

/** strongSwan: one number for both directions, or one for each if either asks for that. */
function unique(first: InterfaceId, second: InterfaceId, next: () => number): readonly [number, number] {
  const isPerDirection = first === 'unique-dir' || second === 'unique-dir'
  let shared: number | null = null
  const numberFor = (wanted: InterfaceId): number => {
    if (typeof wanted === 'number') return wanted
    if (isPerDirection) return next()
    shared ??= next()
    return shared
  }
  const one = numberFor(first)
  return [one, numberFor(second)]
}

function hasMarks({ markIn, markOut, setMarkIn, setMarkOut }: ChildConnection): boolean {
  return [markIn, markOut, setMarkIn, setMarkOut].some(({ value, mask }) => value !== 0 || mask !== 0)
}

function valueOf({ value }: ConfiguredMark): InterfaceId {
  return value === 'same' ? 0 : value
}

/** 0 in no bit is no mark. */
function markOf(value: InterfaceId, { value: asked, mask }: ConfiguredMark): Mark | null {
  if (typeof value !== 'number' || (asked === 0 && mask === 0)) return null
  return { value, mask }
}
