/**
 * Some minutes in which nobody is spared, from a seed: two gateways that both make anew what they lose, over wires that
 * lose a third of what they carry, and people at both ends who begin, end, renew and lose IKE_SAs, before what was begun
 * is over. Then everything is left alone on good wires, and one tunnel of each kind must be left. A day (day.ts) has more
 * of everything else; here is what it hardly ever comes to: IKE_SAs that are begun, lost, renewed and deleted at once.
 */
import assert from 'node:assert/strict'

import { EspalierError } from '../../../src/base/errors.ts'
import { MINUTE, SECOND } from '../../../src/base/time.ts'
import { reauthenticate } from '../../../src/ike/reauthenticate.ts'
import { rekeyIkeSa } from '../../../src/ike/rekey-ike.ts'
import type { Session } from '../../../src/ike/session.ts'
import type { ConnectionWords } from '../configuration.ts'
import type { Dice } from '../entropy.ts'
import type { SimulatedNode } from '../node.ts'
import { addClient, addGateway, CLIENT, HOME_HOST } from '../places.ts'
import type { World } from '../world.ts'
import { checkRest, StepChecks } from './checks.ts'

/** By the name of the child: what is behind the gateway. */
const NETWORKS = [
  { name: 'net', network: '10.1.0.0/16', host: '10.1.0.9' },
  { name: 'lab', network: '10.3.0.0/16', host: '10.3.0.9' },
] as const
const HOME = '10.2.0.0/16'

/** Longer than it takes to find out that a peer is gone, and to make everything anew. */
const REST = 15 * MINUTE

export async function harsh(world: World): Promise<void> {
  await new Harsh(world).play()
}

class Harsh {
  readonly #world: World
  readonly #dice: Dice
  readonly #client: SimulatedNode
  readonly #gateway: SimulatedNode
  readonly #networks: readonly (typeof NETWORKS)[number][]
  /** Children that may be gone: somebody took an IKE_SA away, and has not asked for them since, or was told that they are up elsewhere. */
  readonly #given = new Set<string>()
  /** A command that failed as none may. */
  #mistake: { readonly error: unknown } | null = null

  constructor(world: World) {
    this.#world = world
    const dice = world.entropyFor('harsh')
    this.#dice = dice
    this.#networks = NETWORKS.slice(0, dice.chance(0.25) ? 1 : 2)
    const connection: ConnectionWords = {
      unique: (['no', 'replace', 'keep'] as const)[dice.below(3)]!,
      keyingTries: 0,
      dpdDelay: 30 + dice.below(60),
      lifetime: { rekey: dice.chance(0.5) ? 3 * MINUTE : 0, reauth: 0, over: MINUTE, rand: 30 * SECOND },
    }
    const actions = { dpdAction: 'start', closeAction: dice.chance(0.3) ? 'start' : 'none' }
    const gatewaysActions = dice.chance(0.8) ? actions : { dpdAction: 'none', closeAction: 'none' }
    // Who knows whom it expects says INITIAL_CONTACT.
    const known = dice.chance(0.5) ? { remoteId: 'client@example.org' } : {}
    const settings = { makeBeforeBreak: dice.chance(0.5) }
    this.#gateway = addGateway(
      world,
      {
        ...connection,
        ...known,
        remoteAddresses: [CLIENT],
        children: this.#networks.map(({ name, network }) => ({ name, local: [network], remote: [HOME], ...gatewaysActions })),
      },
      { settings },
    )
    this.#client = addClient(
      world,
      {
        ...connection,
        children: this.#networks.map(({ name, network }) => ({ name, local: [HOME], remote: [network], ...actions })),
      },
      { settings },
    )
    world.checks.push(new StepChecks({ world }).check, () => {
      if (this.#mistake !== null) throw this.#mistake.error
    })
  }

  get #nodes(): readonly SimulatedNode[] {
    return [this.#client, this.#gateway]
  }

  async play(): Promise<void> {
    const world = this.#world
    const dice = this.#dice
    for (const { name } of this.#networks) {
      this.#initiate(this.#client, name)
      await world.pass(SECOND)
    }
    const loss = dice.fraction() * 0.35
    for (const { link } of this.#nodes)
      Object.assign(link, { loss, latency: 1 + dice.below(60), jitter: dice.below(60), duplication: dice.fraction() * 0.1 })
    const acts = 4 + dice.below(9)
    for (let i = 0; i < acts; i++) {
      await this.#act(this.#nodes[dice.below(2)]!)
      await world.pass(dice.chance(0.6) ? dice.below(3000) : dice.below(60) * SECOND)
    }
    for (const { link } of this.#nodes) Object.assign(link, { loss: 0, duplication: 0, jitter: 0 })
    await world.pass(REST)
    await world.until(() => world.isQuiet(), 'everything comes to rest')
    await this.#check()
  }

  /** By one side, or by both in the same moment. */
  async #act(node: SimulatedNode): Promise<void> {
    const dice = this.#dice
    const sides = dice.chance(0.5) ? this.#nodes : [node]
    switch (dice.below(8)) {
      case 0:
      case 1:
        for (const side of sides) this.#withOldest(side, (session) => session.losePeer())
        return
      case 2:
        for (const side of sides) this.#initiate(side, this.#networks[dice.below(this.#networks.length)]!.name)
        return
      case 3:
        for (const side of sides) this.#withOldest(side, (session) => reauthenticate(session))
        return
      case 4:
        return void this.#pick(node)?.runExchange(rekeyIkeSa, 'rekey-ike')
      case 5:
        // It may have been about to make anew what it had deleted for that.
        this.#giveUp()
        node.boot()
        return this.#initiate(node, 'net')
      case 6:
        node.isAsleep = true
        await this.#world.pass(dice.below(180) * SECOND)
        node.isAsleep = false
        return
      case 7:
        return this.#terminate(node)
    }
  }

  #standing(node: SimulatedNode): readonly Session[] {
    return node.sessions().filter(({ sa }) => sa.state === 'established')
  }

  #withOldest(node: SimulatedNode, act: (session: Session) => void | Promise<void>): void {
    const [oldest] = this.#standing(node)
    oldest?.enqueue(() => act(oldest))
  }

  #pick(node: SimulatedNode): Session | undefined {
    const sessions = this.#standing(node)
    return sessions[this.#dice.below(sessions.length)]
  }

  /** It may fail, but not by a mistake of our own. */
  #initiate(node: SimulatedNode, child: string): void {
    node.gateway.control
      .initiate({ ike: 'home', child }, { patience: 'not-at-all', limits: false }, () => undefined)
      .then(
        () => this.#given.delete(child),
        (error: unknown) => {
          if (!(error instanceof EspalierError)) this.#mistake = { error }
        },
      )
  }

  #giveUp(): void {
    for (const { name } of this.#networks) this.#given.add(name)
  }

  async #terminate(node: SimulatedNode): Promise<void> {
    const session = this.#pick(node)
    const force = this.#dice.chance(0.5)
    if (session === undefined) return this.#initiate(node, 'net')
    this.#giveUp()
    const filter = { ike: null, ikeId: session.sa.uniqueId, child: null, childId: null }
    await this.#world.outcome(node.gateway.control.terminate(filter, { patience: 'for-ever', force }).carryOut())
    this.#initiate(node, 'net')
  }

  /** What nobody gave up is there, all else can be made, and packets flow through all of it. */
  async #check(): Promise<void> {
    const world = this.#world
    checkRest({ nodes: this.#nodes })
    for (const { name, host } of this.#networks) {
      const isUp = (): boolean =>
        this.#client.sessions().some(({ sa }) => sa.children.some(({ connection }) => connection.name === name))
      if (!isUp()) {
        assert.ok(this.#given.has(name), `${name} comes up again by itself`)
        this.#initiate(this.#client, name)
        await world.pass(MINUTE)
        await world.until(() => world.isQuiet(), 'everything comes to rest')
        checkRest({ nodes: this.#nodes })
      }
      const ways = [
        [this.#client, HOME_HOST, host],
        [this.#gateway, host, HOME_HOST],
      ] as const
      for (const [from, source, destination] of ways)
        assert.ok(await world.ping(from, source, destination), `packets flow through ${name} from the ${from.name}`)
    }
  }
}
