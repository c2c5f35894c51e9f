/**
 * What a day is like, decided by the seed: who there is, how good the wires are, how long SAs live, and how much goes
 * wrong.
 */
import { IpAddress } from '../../../src/base/ip.ts'
import { MINUTE, SECOND, type Milliseconds } from '../../../src/base/time.ts'
import type { GatewayConfiguration } from '../../../src/gateway/gateway.ts'
import type { Action, ChildConnection, Connection } from '../../../src/ike/connection.ts'
import { configuration, type ChildWords, type ConnectionWords } from '../configuration.ts'
import type { Dice } from '../entropy.ts'
import { preservingPort, type Nat } from '../nat.ts'
import type { Link } from '../network.ts'
import type { SimulatedNode } from '../node.ts'
import type { World } from '../world.ts'

const HUB = '203.0.113.1'

/** One configured child of a client, and a host at each end of it. */
export interface Tunnel {
  readonly client: SimulatedNode
  /** Between the two. */
  readonly nat: Nat | null
  readonly child: string
  readonly clientHost: IpAddress
  readonly hubHost: IpAddress
  /** Somebody took it down on purpose, and nobody has asked for it since. */
  isDown: boolean
}

export interface Traits {
  /** Nothing goes wrong but time: no packet may be lost. */
  readonly isCalm: boolean
  readonly link: Link
  /** Probability that a datagram arrives with one bit turned over. */
  readonly corruption: number
  readonly refusals: boolean
  readonly mishapEvery: Milliseconds
  readonly pingEvery: Milliseconds
  readonly restEvery: Milliseconds
}

export interface Plan {
  readonly world: World
  readonly dice: Dice
  readonly traits: Traits
  readonly hub: SimulatedNode
  readonly clients: readonly SimulatedNode[]
  readonly nodes: readonly SimulatedNode[]
  readonly nats: readonly Nat[]
  readonly tunnels: readonly Tunnel[]
}

export function planDay(world: World): Plan {
  const dice = world.entropyFor('day')
  const thrown = throwTraits(dice)
  world.kernelLatency = dice.chance(0.6) ? 0 : dice.chance(0.5) ? 0.05 : dice.below(50)
  world.keyExchangeLatency = dice.chance(0.8) ? 0 : dice.below(200)
  const clientCount = dice.chance(0.75) ? 1 : dice.chance(0.7) ? 2 : 3
  const lives = { ...throwLives(dice, thrown.isCalm), ...throwMore(world.entropyFor('more key exchanges')) }
  // A packet that is overtaken by the delete of the IKE_SA it was sent in finds nobody.
  const keepsOrder = thrown.isCalm && lives.reauth > 0
  const traits = keepsOrder ? { ...thrown, link: { ...thrown.link, jitter: 0 } } : thrown
  world.network.defaultLink = { ...traits.link }
  const childCount = dice.chance(0.75) ? 1 : 2
  const sites = Array.from({ length: clientCount }, (_, i) => throwSite(i, childCount, dice))

  const hub = world.addNode(
    'hub',
    HUB,
    configured(
      sites.map((site) => hubSide(site, lives)),
      lives,
      dice,
      // It finds its clients again as they find it, but for those that a NAT has forgotten: one tunnel is to be left.
      world.entropyFor('hub').chance(0.3) ? { ...NO_WISHES, dpd: { start: true, trap: false } } : NO_WISHES,
    ),
  )
  const natOf = new Map<SimulatedNode, Nat | null>()
  const clients = sites.map((site, i) => {
    const nat = site.hasNat ? world.addNat(`nat${i}`, `192.0.2.${i + 1}`, throwNat(dice)) : null
    // What comes by itself where an IKE_SA ends cannot know that its peer is about to make another (swanctl.conf says so).
    const trap = (): boolean => lives.makeBeforeBreak && dice.chance(0.25)
    const wishes: Wishes = {
      start: { start: true, trap: trap() },
      dpd: { start: true, trap: trap() },
      close: { start: lives.makeBeforeBreak && dice.chance(0.5), trap: trap() },
    }
    const address = nat === null ? `198.51.100.${i + 1}` : `192.168.${i}.7`
    const client = world.addNode(`client${i}`, address, configured([clientSide(site, lives)], lives, dice, wishes), nat)
    natOf.set(client, nat)
    return client
  })
  const nats = [...natOf.values()].filter((nat) => nat !== null)
  const tunnels = clients.flatMap((client, i) =>
    Array.from({ length: childCount }, (_, child): Tunnel => {
      return {
        client,
        nat: natOf.get(client)!,
        child: childName(child),
        clientHost: IpAddress.parse(`10.${100 + i}.0.9`),
        hubHost: IpAddress.parse(`10.${1 + child}.0.9`),
        isDown: false,
      }
    }),
  )
  return { world, dice, traits, hub, clients, nodes: [hub, ...clients], nats, tunnels }
}

function throwTraits(dice: Dice): Traits {
  const isCalm = dice.chance(0.1)
  // Over the two links of a path, or three with a NAT: up to 30 % of what is sent is lost.
  const loss = isCalm ? 0 : 1 - Math.sqrt(1 - dice.fraction() * 0.3)
  return {
    isCalm,
    link: {
      latency: 1 + dice.below(80),
      jitter: dice.below(dice.chance(0.5) ? 20 : 400),
      loss,
      duplication: isCalm || dice.chance(0.4) ? 0 : dice.fraction() * 0.15,
    },
    corruption: isCalm || dice.chance(0.5) ? 0 : dice.fraction() * 0.02,
    refusals: !isCalm && dice.chance(0.25),
    mishapEvery: (5 + dice.below(25)) * MINUTE,
    pingEvery: (isCalm ? 1 : 3 + dice.below(12)) * MINUTE,
    restEvery: (4 + dice.below(5)) * 60 * MINUTE,
  }
}

/** How long SAs live, the same for all of a day. */
interface Lives {
  readonly child: Milliseconds
  readonly ike: Milliseconds
  readonly reauth: Milliseconds
  readonly dpd: Milliseconds
  readonly makeBeforeBreak: boolean
  readonly withKeyExchange: boolean
  /** Additional key exchanges (RFC 9370) of IKE_SAs and CHILD_SAs, as the end of a proposal. */
  readonly moreOfIke: string
  readonly moreOfChild: string
}

/** By dice of their own: those of a day fall as they did before there were any. */
function throwMore(dice: Dice): Pick<Lives, 'moreOfIke' | 'moreOfChild'> {
  if (!dice.chance(0.2)) return { moreOfIke: '', moreOfChild: '' }
  // A long one goes in fragments, and takes its time.
  const more = (): string => (dice.chance(0.1) ? '-ke2_mlkem768' : ['', '-ke1_x448', '-ke1_x448-ke3_ecp256'][dice.below(3)]!)
  return { moreOfIke: more(), moreOfChild: more() }
}

function throwLives(dice: Dice, isCalm: boolean): Omit<Lives, 'moreOfIke' | 'moreOfChild'> {
  return {
    child: (4 + dice.below(8)) * MINUTE,
    ike: (12 + dice.below(30)) * MINUTE,
    reauth: dice.chance(0.15) ? (30 + dice.below(60)) * MINUTE : 0,
    dpd: (2 + dice.below(4)) * MINUTE,
    makeBeforeBreak: isCalm || dice.chance(0.5),
    withKeyExchange: dice.chance(0.5),
  }
}

interface Site {
  readonly index: number
  readonly children: number
  readonly hasNat: boolean
  readonly encap: boolean
  readonly hubRekeys: boolean
  readonly clientRekeys: boolean
}

function throwSite(index: number, children: number, dice: Dice): Site {
  const who = dice.below(4)
  return { index, children, hasNat: dice.chance(0.5), encap: dice.chance(0.1), hubRekeys: who !== 1, clientRekeys: who !== 2 }
}

function hubSide(site: Site, lives: Lives): ConnectionWords {
  return {
    // Behind a NAT that has forgotten it nobody finds the client to make anew what was broken first.
    ...common(site, site.hasNat && !lives.makeBeforeBreak ? { ...lives, reauth: 0 } : lives, site.hubRekeys),
    connection: `site${site.index}`,
    // Longer than anything goes wrong: it reauthenticates as well, and nobody else brings up what it broke for that.
    keyingTries: 6,
    localId: 'hub.example.org',
    remoteId: `client${site.index}@example.org`,
    children: childrenOf(site, lives, site.hubRekeys).map(([hub, client, words]) => ({
      ...words,
      local: [hub],
      remote: [client],
    })),
  }
}

function clientSide(site: Site, lives: Lives): ConnectionWords {
  return {
    ...common(site, lives, site.clientRekeys),
    remoteAddresses: [HUB],
    localId: `client${site.index}@example.org`,
    remoteId: 'hub.example.org',
    keyingTries: 0,
    children: childrenOf(site, lives, site.clientRekeys).map(([hub, client, words]) => ({
      ...words,
      local: [client],
      remote: [hub],
    })),
  }
}

function common(site: Site, { ike, reauth, makeBeforeBreak, moreOfIke }: Lives, rekeys: boolean): ConnectionWords {
  const over = Math.max(4 * MINUTE, ike / 10)
  // Who broke a tunnel to make it anew goes on trying, and so may its peer, when it finds out.
  const unique = reauth > 0 && !makeBeforeBreak ? 'replace' : 'no'
  const ikeProposals = [`aes128gcm16-prfsha256-curve25519${moreOfIke}`]
  return {
    unique,
    ikeProposals,
    encap: site.encap,
    lifetime: { rekey: rekeys ? ike : 0, reauth: rekeys ? reauth : 0, over, rand: ike / 5 },
  }
}

function childrenOf(
  { index, children }: Site,
  lives: Lives,
  rekeys: boolean,
): [hub: string, client: string, words: ChildWords][] {
  return Array.from({ length: children }, (_, i) => [
    `10.${1 + i}.0.0/16`,
    `10.${100 + index}.0.0/16`,
    {
      name: childName(i),
      proposals: [
        lives.withKeyExchange || lives.moreOfChild !== '' ? `aes128gcm16-curve25519${lives.moreOfChild}` : 'aes128gcm16',
      ],
      childLifetime: { time: rekeys ? { rekey: lives.child, life: lives.child + 5 * MINUTE, rand: lives.child / 5 } : NO_LIMIT },
    },
  ])
}

const NO_LIMIT = { rekey: 0, life: 0, rand: 0 }

function childName(index: number): string {
  return ['net', 'lab'][index]!
}

interface Wishes {
  readonly start: Action
  readonly dpd: Action
  readonly close: Action
}

const NOTHING: Action = { trap: false, start: false }
const NO_WISHES: Wishes = { start: NOTHING, dpd: NOTHING, close: NOTHING }

function configured(words: readonly ConnectionWords[], lives: Lives, dice: Dice, wishes: Wishes): GatewayConfiguration {
  const settings = {
    makeBeforeBreak: lives.makeBeforeBreak,
    retransmitJitter: dice.chance(0.5) ? 20 : 0,
    keepAlive: (40 + dice.below(15)) * SECOND,
  }
  const { connections, ...rest } = configuration(words, settings)
  const withWishes = (child: ChildConnection): ChildConnection => ({
    ...child,
    startAction: wishes.start,
    dpdAction: wishes.dpd,
    closeAction: wishes.close,
  })
  const complete = (connection: Connection): Connection => ({
    ...connection,
    dpdDelay: lives.dpd,
    children: connection.children.map(withWishes),
  })
  return { ...rest, connections: connections.map(complete) }
}

function throwNat(dice: Dice): { readonly timeout: Milliseconds; readonly portFor?: typeof preservingPort } {
  const timeout = (60 + dice.below(120)) * SECOND
  return dice.chance(0.5) ? { timeout, portFor: preservingPort } : { timeout }
}
