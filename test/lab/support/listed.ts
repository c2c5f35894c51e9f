/** The SAs of a daemon as swanctl lists them, of charon and of espalier alike. */
import type { Charon } from './charon.ts'
import type { Espalier } from './espalier.ts'
import { eventually } from './process.ts'

export type Peer = Charon | Espalier

export interface ListedSa {
  readonly name: string
  /** Its number, which no other has had at this daemon. */
  readonly id: number
  readonly state: string
}

export interface ListedSas {
  readonly ike: readonly ListedSa[]
  readonly child: readonly ListedSa[]
}

/** In whatever state they are. */
export async function listedSas(daemon: Peer): Promise<ListedSas> {
  const listing = await daemon.swanctl('--list-sas')
  const found = (pattern: RegExp): ListedSa[] =>
    [...listing.matchAll(pattern)].map(([, name, id, state]) => ({ name: name!, id: Number(id), state: state! }))
  return { ike: found(/^(\S+): #(\d+), (\w+)/gm), child: found(/^ {2}(\S+): #(\d+), reqid \d+, (\w+)/gm) }
}

/** Waits until the daemon has so many IKE_SAs that are established and CHILD_SAs that are installed. */
export async function comesTo(daemon: Peer, ike: number, child: number): Promise<void> {
  let now: ListedSas = { ike: [], child: [] }
  await eventually(
    () => `${daemon.host.name} has ${ike} IKE_SAs and ${child} CHILD_SAs, but it has ${JSON.stringify(now)}`,
    async () => {
      now = await listedSas(daemon)
      const count = (sas: readonly ListedSa[], state: string): number => sas.filter((sa) => sa.state === state).length
      return count(now.ike, 'ESTABLISHED') === ike && count(now.child, 'INSTALLED') === child ? true : undefined
    },
    240_000,
  )
}

/** What `swanctl --list-conns --raw` and `--pretty` have of proposals, which strongSwan tells since 6.0.7. */
export const LISTED_PROPOSALS =
  / (?:esp_|ah_)?proposals \{(?:\d+ \{[^{}]*\} ?)*\}|^( *)(?:esp_|ah_)?proposals \{\n(?:\1 +.*\n)*\1\}\n/gm
