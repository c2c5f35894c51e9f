/**
 * A day in the life of two to four gateways, from a seed: tunnels that are rekeyed every few minutes over wires that
 * lose, double, delay and spoil what they carry, with NATs that forget, reboots, sleep, partitions, kernels that refuse
 * and people who type commands. In between everything is left alone for a while, and then it must be in order.
 */
import assert from 'node:assert/strict'

import { EspalierError } from '../../../src/base/errors.ts'
import { DeadlineHeap, MINUTE, SECOND, type Milliseconds } from '../../../src/base/time.ts'
import { ERRNO } from '../../../src/kernel/refusals.ts'
import type { Link } from '../network.ts'
import { echoRequest, type SimulatedNode } from '../node.ts'
import type { Packet } from '../packet.ts'
import type { World } from '../world.ts'
import { checkRest, StepChecks } from './checks.ts'
import { planDay, type Plan, type Tunnel } from './plan.ts'
import { WireWatch } from './wire-watch.ts'

interface Act {
  readonly act: () => void
}

const HOUR = 60 * MINUTE
/** Longer than it takes to find out that a peer is gone, by DPD or a rekey, and to make everything anew. */
const REST = 45 * MINUTE

export async function day(world: World, hours: number): Promise<void> {
  await new Day(planDay(world)).play(hours * HOUR)
}

class Day {
  readonly #plan: Plan
  readonly #watch = new WireWatch()
  /** What is to be done, earliest first. */
  readonly #agenda = new DeadlineHeap<Act>()
  /** What is to be mended before anything comes to rest. */
  readonly #damages = new Set<Act>()
  readonly #mended = new Set<Act>()
  /** A command that failed as none may. */
  #mistake: { readonly error: unknown } | null = null
  #pings = 0
  #isSpoiling = true

  constructor(plan: Plan) {
    this.#plan = plan
    const { world } = plan
    world.network.tap(this.#watch.watch)
    world.network.tap(this.#spoil)
    world.checks.push(new StepChecks(plan).check, () => {
      if (this.#mistake !== null) throw this.#mistake.error
    })
  }

  async play(duration: Milliseconds): Promise<void> {
    const { world, clients, traits, dice, tunnels } = this.#plan
    for (const { gateway } of clients) gateway.start()
    if (traits.isCalm) await world.pass(10 * SECOND)
    const end = world.clock.now() + duration
    for (const tunnel of tunnels) this.#later(0, () => this.#pingNowAndThen(tunnel))
    this.#later(this.#gap(traits.mishapEvery), () => this.#mishaps())
    let restAt = world.clock.now() + traits.restEvery
    while (world.clock.now() < end) {
      const at = Math.min(this.#agenda.next()!, restAt, end)
      await world.pass(Math.max(0, at - world.clock.now()))
      if (restAt <= world.clock.now()) {
        await this.#rest()
        restAt = world.clock.now() + traits.restEvery - dice.below(HOUR)
      } else {
        const due = this.#agenda.take(world.clock.now())?.owner
        if (due !== undefined) this.#do(due)
      }
    }
    await this.#rest()
  }

  #later(delay: Milliseconds, act: () => void): Act {
    const owner = { act }
    this.#agenda.add(this.#plan.world.clock.now() + delay, owner, 'act')
    return owner
  }

  /** What goes wrong is mended after some time. */
  #mend(delay: Milliseconds, act: () => void): void {
    this.#damages.add(this.#later(delay, act))
  }

  #do(due: Act): void {
    // It was mended before its time, because everybody had to rest.
    if (this.#mended.delete(due)) return
    this.#damages.delete(due)
    due.act()
  }

  #gap(mean: Milliseconds): Milliseconds {
    return this.#plan.dice.fraction() * 2 * mean
  }

  // -- traffic -------------------------------------------------------------------------------------------------------

  #pingNowAndThen(tunnel: Tunnel): void {
    const { dice, traits } = this.#plan
    const answered = this.#ping(tunnel, dice.chance(0.5))
    if (traits.isCalm) this.#later(5 * SECOND, () => assert.ok(answered(), `a ping through ${tunnel.child} is answered`))
    this.#later(this.#gap(traits.pingEvery), () => this.#pingNowAndThen(tunnel))
  }

  /** Sends one; returns what tells whether its answer has come. */
  #ping({ client, clientHost, hubHost }: Tunnel, fromClient: boolean): () => boolean {
    const from = fromClient ? client : this.#plan.hub
    const [source, destination] = fromClient ? [clientHost, hubHost] : [hubHost, clientHost]
    const packet = {
      ...echoRequest(source, destination),
      destinationPort: ++this.#pings & 0xffff,
    }
    for (const node of this.#plan.nodes) if (node.delivered.length > 64) node.delivered.splice(0, 32)
    from.sendPlain(packet)
    return () =>
      from.delivered.some(
        (answer) => answer.destinationPort === packet.destinationPort && answer.source.equals(packet.destination),
      )
  }

  /** A tap: turns over one bit of what is on the wire, now and then. */
  readonly #spoil = (packet: Packet): readonly Packet[] => {
    const { dice, traits } = this.#plan
    if (!this.#isSpoiling || !dice.chance(traits.corruption)) return [packet]
    if (packet.esp !== null) return [{ ...packet, esp: { ...packet.esp, seal: 'spoilt' } }]
    const bytes = packet.bytes.slice()
    bytes[dice.below(bytes.length)]! ^= 1 << dice.below(8)
    return [{ ...packet, bytes }]
  }

  // -- what goes wrong -----------------------------------------------------------------------------------------------

  #mishaps(): void {
    const { traits } = this.#plan
    if (traits.isCalm) this.#rekeySomething()
    else this.#mishap()
    this.#later(this.#gap(traits.mishapEvery), () => this.#mishaps())
  }

  #mishap(): void {
    const { dice, nodes, nats, clients, traits, tunnels } = this.#plan
    const node = pick(nodes)
    function pick<T>(choices: readonly T[]): T {
      return choices[dice.below(choices.length)]!
    }
    switch (dice.below(16)) {
      case 0:
        return nats.length === 0 ? undefined : pick(nats).flush()
      case 1:
        return this.#reboot(node)
      case 2:
      case 3:
        return this.#partition(pick([...nodes, ...nats]).link)
      case 4:
        return this.#sleep(node)
      case 5:
        return this.#command(node)
      case 6:
        return this.#initiate(pick(tunnels))
      case 7:
        return traits.refusals ? this.#refuse(node) : undefined
      case 8:
        return this.#loseState(node, false)
      case 9:
        return this.#loseState(node, true)
      case 10:
        for (const both of [this.#plan.hub, pick(clients)]) this.#terminate(both)
        return
      case 11:
        return this.#terminate(node)
      default:
        return this.#rekeySomething()
    }
  }

  /** As after a power cut: silent for a while, then there again with nothing in memory. */
  #reboot(node: SimulatedNode): void {
    const { dice, tunnels } = this.#plan
    node.isAsleep = true
    this.#mend(dice.below(3) * MINUTE + SECOND, () => {
      node.isAsleep = false
      node.boot()
      for (const tunnel of tunnels) if (tunnel.client === node) tunnel.isDown = false
      node.gateway.start()
    })
  }

  #sleep(node: SimulatedNode): void {
    node.isAsleep = true
    this.#mend(this.#gap(5 * MINUTE), () => void (node.isAsleep = false))
  }

  #partition(link: Link): void {
    link.loss = 1
    this.#mend(this.#gap(4 * MINUTE), () => void (link.loss = this.#plan.traits.link.loss))
  }

  #refuse(node: SimulatedNode): void {
    const { dice } = this.#plan
    const errno = dice.chance(0.5) ? ERRNO.ENOBUFS : ERRNO.EINVAL
    node.refuse = () => (dice.chance(0.3) ? errno : null)
    this.#mend(this.#gap(2 * MINUTE), () => void (node.refuse = null))
  }

  /** The kernel says that a limit is reached: one nobody expected, or the last. */
  #loseState(node: SimulatedNode, hard: boolean): void {
    const states = node.kernel.states()
    const state = states[this.#plan.dice.below(states.length)]
    if (state === undefined) return
    const { spi, source, destination, reqid } = state
    node.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard })
  }

  // -- commands ------------------------------------------------------------------------------------------------------

  #command(node: SimulatedNode): void {
    const { dice } = this.#plan
    const sessions = node.sessions()
    const session = sessions[dice.below(sessions.length)]
    if (session === undefined) return
    // Who is behind a NAT that forgets it is not found again when what it had is broken before it is made anew.
    const isLost = session.sa.nat.there && !node.configuration.settings.makeBeforeBreak
    const reauth = dice.chance(0.3) && !isLost
    node.gateway.control.rekey({ ike: null, ikeId: session.sa.uniqueId, child: null, childId: null }, reauth)
  }

  /** By one side, or by both in the same moment or nearly. */
  #rekeySomething(): void {
    const { dice, hub, clients } = this.#plan
    const client = clients[dice.below(clients.length)]!
    const sides = dice.chance(0.5) ? [hub, client] : [dice.chance(0.5) ? hub : client]
    for (const side of sides) this.#later(dice.below(100), () => this.#rekeyOneOf(side))
  }

  #rekeyOneOf(node: SimulatedNode): void {
    const { dice } = this.#plan
    const sessions = node.sessions()
    const session = sessions[dice.below(sessions.length)]
    if (session === undefined) return
    const child = session.sa.children[dice.below(session.sa.children.length)]
    const [ikeId, childId] = dice.chance(0.5) || child === undefined ? [session.sa.uniqueId, null] : [null, child.uniqueId]
    node.gateway.control.rekey({ ike: null, ikeId, child: null, childId }, false)
  }

  #terminate(node: SimulatedNode): void {
    const { dice, tunnels } = this.#plan
    const sessions = node.sessions()
    const session = sessions[dice.below(sessions.length)]
    if (session === undefined) return
    const child = session.sa.children[dice.below(session.sa.children.length)]
    const [ikeId, childId] = dice.chance(0.5) || child === undefined ? [session.sa.uniqueId, null] : [null, child.uniqueId]
    for (const tunnel of tunnels) tunnel.isDown = true
    const force = dice.chance(0.3)
    this.#expect(
      node.gateway.control
        .terminate({ ike: null, ikeId, child: null, childId }, { patience: dice.chance(0.5) ? 'for-ever' : 'not-at-all', force })
        .carryOut(),
    )
  }

  #initiate({ client, child }: Tunnel): void {
    const filter = { ike: 'home', child }
    this.#expect(client.gateway.control.initiate(filter, { patience: 'not-at-all', limits: false }, () => undefined))
  }

  /** It may fail, but not by a mistake of our own. */
  #expect(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      if (!(error instanceof EspalierError)) this.#mistake = { error }
    })
  }

  // -- rest ----------------------------------------------------------------------------------------------------------

  /** Wires and kernels are as they should be, and nobody does anything: everything must come to order by itself. */
  async #rest(): Promise<void> {
    const { world, nodes, nats, traits, tunnels } = this.#plan
    for (const damage of this.#damages) {
      damage.act()
      this.#mended.add(damage)
    }
    this.#damages.clear()
    for (const { link } of [...nodes, ...nats]) Object.assign(link, { loss: 0, duplication: 0, jitter: 0 })
    this.#isSpoiling = false
    await world.pass(REST)
    await world.until(() => world.isQuiet(), 'everything comes to rest', HOUR)
    checkRest(this.#plan)
    for (const tunnel of tunnels) await this.#checkTunnel(tunnel)
    this.#isSpoiling = true
    for (const { link } of [...nodes, ...nats]) Object.assign(link, traits.link)
  }

  /** It is up, unless somebody or something gave it up for good; then it can be brought up. Packets flow both ways. */
  async #checkTunnel(tunnel: Tunnel): Promise<void> {
    const { world, traits } = this.#plan
    const { client, child, nat } = tunnel
    const mayBeDown = tunnel.isDown || traits.refusals || traits.corruption > 0
    // Others are at work again, and a reauthentication may be breaking it before it makes it anew.
    if (!mayBeDown) await world.until(() => isUp(tunnel), `${child} of ${client.name} comes up again by itself`, 5 * MINUTE)
    if (!isUp(tunnel)) await this.#bringUp(tunnel)
    if (await this.#flows(tunnel)) return
    // Nobody follows a NAT to another port yet (RFC 7296 2.23).
    assert.ok(nat !== null, `packets flow through ${child} of ${client.name}`)
    await world.outcome(Promise.all(client.sessions().map((session) => session.run(() => session.close('deleted-by-us')))))
    await this.#bringUp(tunnel)
    assert.ok(await this.#flows(tunnel), `packets flow through ${child} of ${client.name} again`)
  }

  async #bringUp(tunnel: Tunnel): Promise<void> {
    const { world } = this.#plan
    const { client, child } = tunnel
    const filter = { ike: 'home', child }
    await world.outcome(client.gateway.control.initiate(filter, { patience: 'for-ever', limits: false }, () => undefined))
    await world.pass(SECOND)
    tunnel.isDown = false
  }

  async #flows(tunnel: Tunnel): Promise<boolean> {
    const { world } = this.#plan
    for (let attempt = 0; attempt < 3; attempt++) {
      const pings = [true, false].map((fromClient) => this.#ping(tunnel, fromClient))
      await world.pass(5 * SECOND)
      if (pings.every((answered) => answered())) return true
      await world.pass(20 * SECOND)
    }
    return false
  }
}

function isUp({ client, child }: Tunnel): boolean {
  return client.sessions().some(({ sa }) => sa.children.some(({ connection }) => connection.name === child))
}
