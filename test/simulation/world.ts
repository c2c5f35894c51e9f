/**
 * A whole world from one seed: nodes, NATs, links, one clock. The driver handles one event at a time and lets
 * everything that follows from it settle before the next (DESIGN.md, decision 2): nothing in the core waits for
 * anything but promises that an event resolves, so that settling them is always enough, and the same seed gives the same
 * bytes.
 */
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import { assert } from '../../src/base/assert.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { MINUTE, SECOND, DeadlineHeap, type Milliseconds } from '../../src/base/time.ts'
import type { IkeKeys } from '../../src/crypto/keys.ts'
import type { Gateway, GatewayConfiguration } from '../../src/gateway/gateway.ts'
import type { IkeSa } from '../../src/ike/sa.ts'
import type { Session } from '../../src/ike/session.ts'
import { checkDestroyed, checkEmpty, checkKernelsAgree, checkNodes, checkSecrecy } from './checks.ts'
import { SimulatedClock } from './clock.ts'
import { QuickDice, SeededEntropy, type Dice } from './entropy.ts'
import type { Nat, NatOptions } from './nat.ts'
import { Network, type Realm } from './network.ts'
import { echoRequest, SimulatedNode, type Driver } from './node.ts'

interface Scheduled {
  readonly action: () => void
  /** It does nothing to any node but those that say so themselves (Driver.touch). */
  readonly isQuiet: boolean
}

/** Longer than any exchange takes to be given up (165 s), with its cleaning up. */
const PATIENCE: Milliseconds = 10 * MINUTE

/** So that the test runner is not shut out. */
const TICKS_IN_A_ROW = 1000

const SETTLED = Promise.resolve()

/** More than a thousand strangers do in one instant. */
const STEPS_AT_ONCE = 20_000

export interface WorldOptions {
  /** For days of simulated time: dice that are quick, and key exchanges that are toys. */
  readonly isLong?: boolean
  /** Keeps what was on the wire, said, reported and secret; without, a world that fails is played again with it. */
  readonly remembers?: boolean
}

export class World implements Driver {
  readonly seed: string
  readonly isLong: boolean
  readonly remembers: boolean
  readonly clock = new SimulatedClock()
  readonly network: Network
  readonly nodes: SimulatedNode[] = []
  /** 0 is at once: nothing else can happen in between. */
  kernelLatency: Milliseconds = 0.05
  /** How long a step of a key exchange takes; 0 is on the spot, as quick groups are. */
  keyExchangeLatency: Milliseconds = 0
  /** KEMs are what they are, and not repeatable, instead of toys. */
  hasRealKems = false
  signatureLatency: Milliseconds = 0
  fetchLatency: Milliseconds = 0
  readonly web = new Map<string, Uint8Array>()
  /** Cleared by scenarios whose peer is no gateway, and whose kernels therefore cannot agree. */
  expectsAgreement = true
  /** Cleared while a scenario takes things out of a kernel behind its gateway's back. */
  checksBooks = true
  /** What must hold in this world after every step, besides what must in all: at the nodes where anything may have happened. */
  readonly checks: ((touched: Iterable<SimulatedNode>) => void)[] = []
  /** What must hold after every step in a scenario. */
  readonly invariants: (() => void)[] = []
  readonly #secrets = new Map<string, Uint8Array>()
  /** Of every IKE_SA there ever was, with the gateway it belonged to. */
  readonly #keys = new Map<IkeKeys, Gateway>()
  #stepsAtOnce = 0
  #settled = 0
  readonly #queue = new DeadlineHeap<Scheduled>()
  /** Nodes at which anything may have happened since the last checks. */
  readonly #touched = new Set<SimulatedNode>()

  constructor(seed: string, { isLong = false, remembers = true }: WorldOptions = {}) {
    this.seed = seed
    this.isLong = isLong
    this.remembers = remembers
    this.network = new Network(this.clock, this.entropyFor('network'), (delay, action) => this.#schedule(delay, action, true))
    this.network.keepsTrace = remembers
  }

  addNode(
    name: string,
    address: string | readonly string[],
    configuration: GatewayConfiguration,
    behind: Nat | null = null,
  ): SimulatedNode {
    const addresses = (typeof address === 'string' ? [address] : address).map((text) => IpAddress.parse(text))
    const node = new SimulatedNode(this, name, addresses, behind?.inside ?? this.network.internet, configuration)
    this.nodes.push(node)
    return node
  }

  addNat(name: string, address: string, options: NatOptions = {}, behind: Nat | null = null): Nat {
    return this.network.addNat(name, IpAddress.parse(address), options, behind?.inside ?? this.network.internet)
  }

  get internet(): Realm {
    return this.network.internet
  }

  schedule(delay: Milliseconds, action: () => void): void {
    this.#schedule(delay, action, false)
  }

  /** Part of Driver. */
  scheduleAt(node: SimulatedNode, delay: Milliseconds, action: () => void): void {
    this.#schedule(
      delay,
      () => {
        this.touch(node)
        action()
      },
      true,
    )
  }

  #schedule(delay: Milliseconds, action: () => void, isQuiet: boolean): void {
    this.#queue.add(this.clock.now() + delay, { action, isQuiet }, 'event')
  }

  /** Part of Driver. */
  touch(node: SimulatedNode): void {
    this.#touched.add(node)
  }

  entropyFor(name: string): Dice {
    return new (this.isLong ? QuickDice : SeededEntropy)(`${this.seed} ${name}`)
  }

  noteSecret(bytes: Uint8Array): void {
    if (!this.remembers) return
    const copy = bytes.slice()
    this.#secrets.set(Buffer.from(copy).toString('hex'), copy)
  }

  /** When something happens next, or null when nothing ever will by itself. */
  nextTime(): Milliseconds | null {
    let next = this.#queue.next() ?? Infinity
    for (const node of this.nodes) if (!node.isAsleep) next = Math.min(next, this.#wakeOf(node))
    return next === Infinity ? null : next
  }

  #wakeOf(node: SimulatedNode): Milliseconds {
    return (this.isLong ? node.wakesAt : null) ?? wakeOf(node)
  }

  /** Lets the next thing happen, and all that follows from it at once. False when there is nothing to wait for. */
  async step(): Promise<boolean> {
    const next = this.nextTime()
    if (next === null) return false
    this.#handle(next)
    await this.settle()
    return true
  }

  /** Returns whether anything can follow at once: not when a packet came from one link to the next. */
  #handle(next: Milliseconds): boolean {
    if (next > this.clock.now()) this.#stepsAtOnce = 0
    assert(++this.#stepsAtOnce < STEPS_AT_ONCE, 'time goes on: no deadline is set for now, again and again')
    // A node that slept has deadlines in the past.
    this.clock.moveTo(Math.max(next, this.clock.now()))
    this.#handleNext()
    return !this.isLong || this.#touched.size > 0
  }

  #handleNext(): void {
    const now = this.clock.now()
    const scheduled = this.#queue.take(now)
    if (scheduled !== null) {
      if (!scheduled.owner.isQuiet) this.#touchAll()
      return scheduled.owner.action()
    }
    for (const node of this.nodes) {
      if (node.isAsleep || this.#wakeOf(node) > now) continue
      this.touch(node)
      if ((node.gateway.nextDeadline() ?? Infinity) <= now) return node.gateway.handleDeadlines()
      return node.kernel.handleTimeout()
    }
  }

  #touchAll(): void {
    for (const node of this.nodes) this.touch(node)
  }

  /** Waits until no promise has anything left to do, and checks what must hold at any time. */
  async settle(): Promise<void> {
    this.#touchAll()
    await this.#turns(() => false)
  }

  /**
   * Begins with a turn in which nothing happens but what has been begun; after each turn checks what must hold at any
   * time. `happens` lets things happen until something may follow from them, and says that it did; with false it is over.
   * These are a thousand turns for each simulated hour, so none of them makes a promise.
   */
  #turns(happens: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const settled = (): void => {
        try {
          this.#check()
          if (happens()) void SETTLED.then(settling)
          else resolve()
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)))
        }
      }
      const settling = (): void => this.#whenSettled(settled)
      void SETTLED.then(settling)
    })
  }

  /**
   * To be called while promises settle: ticks that are asked for then begin when none is left; a turn of the real event
   * loop costs more, and is needed only where a scenario waits for two things at once.
   */
  #whenSettled(then: () => void): void {
    if (this.isLong && ++this.#settled % TICKS_IN_A_ROW !== 0) process.nextTick(then)
    else setImmediate(then)
  }

  #check(): void {
    if (!this.isLong) this.#touchAll()
    const touched = this.#touched
    for (const node of touched) {
      for (const { sa } of node.sessions()) this.#noteKeys(sa, node)
      node.wakesAt = wakeOf(node)
    }
    checkNodes(touched, this.checksBooks)
    for (const invariant of this.invariants) invariant()
    for (const check of this.checks) check(touched)
    touched.clear()
  }

  #noteKeys({ keys }: IkeSa, { gateway }: SimulatedNode): void {
    if (keys === null || this.#keys.has(keys)) return
    this.#keys.set(keys, gateway)
    if (!this.remembers) return
    for (const secret of Object.values(keys))
      if (secret !== null && typeof secret === 'object') this.noteSecret(secret.dangerouslyReveal())
  }

  /** Lets `duration` pass. */
  async pass(duration: Milliseconds): Promise<void> {
    this.#touchAll()
    const end = this.clock.now() + duration
    await this.#turns(() => {
      for (;;) {
        const next = this.nextTime()
        if (next === null || next > end) return false
        if (this.#handle(next)) return true
      }
    })
    this.clock.moveTo(end)
  }

  /** Lets things happen until `isReached`; what takes longer than any exchange can is a failure. */
  async until(isReached: () => boolean, what: string, patience = PATIENCE): Promise<void> {
    this.#touchAll()
    const end = this.clock.now() + patience
    await this.#turns(() => {
      while (!isReached()) {
        const next = this.nextTime()
        assert(next !== null && next <= end, `it comes to this: ${what}`)
        if (this.#handle(next)) return true
      }
      return false
    })
  }

  /** What a promise of a gateway comes to. */
  async outcome<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = (): void => {
      isSettled = true
    }
    promise.then(settled, settled)
    await this.until(() => isSettled, 'a command of a gateway ends')
    return promise
  }

  /** Brings up a child, and lets the peer finish as well. */
  async initiate(node: SimulatedNode, connectionName = 'home', childName = 'net'): Promise<Session> {
    const session = await this.outcome(node.gateway.initiate(connectionName, childName))
    await this.pass(SECOND)
    return session
  }

  /** The error that an initiation must end with. */
  async failure(promise: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
    try {
      await this.outcome(promise)
    } catch (error) {
      assert(error instanceof Error && 'code' in error, `a gateway rejects with a catalogued error, not ${String(error)}`)
      return error as Error & { readonly code: string }
    }
    throw new Error('it succeeded, and should have failed')
  }

  /** Whether an echo request from behind one node comes back from behind another, through their tunnel. */
  async ping(from: SimulatedNode, source: string, destination: string): Promise<boolean> {
    const [here, there] = [IpAddress.parse(source), IpAddress.parse(destination)]
    const before = from.delivered.length
    if (from.sendPlain(echoRequest(here, there)) !== 'protected') return false
    await this.pass(SECOND)
    return from.delivered.slice(before).some((packet) => packet.source.equals(there) && packet.destination.equals(here))
  }

  /** Digest of everything that was ever on the wire, when and what became of it. */
  traceHash(): string {
    const digest = createHash('sha256')
    for (const { time, fate, from, to, summary, bytes } of this.network.trace)
      digest.update(`${time} ${fate} ${from} ${to} ${summary} `).update(bytes)
    return digest.digest('hex')
  }

  /** What nodes sent, as lines `moon IKE_AUTH request 1`, addresses instead of names where nobody has them. */
  sent(since = 0): readonly string[] {
    return this.network.trace
      .slice(since)
      .filter(({ fate }) => fate === 'sent')
      .map(({ from, to, summary }) => `${from} > ${to} ${summary}`)
  }

  /** How many datagrams of this kind were sent. */
  countSent(pattern: string | RegExp, since = 0): number {
    return this.sent(since).filter((line) => (typeof pattern === 'string' ? line.includes(pattern) : pattern.test(line))).length
  }

  get mark(): number {
    return this.network.trace.length
  }

  /** The end of a scenario: kernels agree, gateways stop, and nothing of them is left anywhere. */
  async end(): Promise<void> {
    // Of what is lost at both ends some may be asked for in vain, one after the other, on wires that lose a third.
    await this.until(() => this.isQuiet(), 'no exchange is under way any more', 60 * MINUTE)
    if (this.expectsAgreement) checkKernelsAgree(this.nodes)
    for (const node of this.nodes) node.refuse = null
    await this.outcome(Promise.all(this.nodes.map((node) => node.gateway.stop('shutdown'))))
    await this.pass(MINUTE)
    const kept = await this.outcome(Promise.all(this.nodes.map((node) => node.gateway.abandon('shutdown'))))
    assert(
      kept.every((errors) => errors.length === 0),
      'the kernels let everything go',
    )
    for (const node of this.nodes) checkEmpty(node)
    // What a reboot interrupted was never closed.
    checkDestroyed(
      [...this.#keys].filter(([, gateway]) => this.nodes.some((node) => node.gateway === gateway)).map(([keys]) => keys),
    )
    if (this.remembers) checkSecrecy(this.nodes, this.network.trace, [...this.#secrets.values()])
  }

  /** Nobody waits for an answer, for the end of a replaced SA, for a half-open IKE_SA or for the kernel, and nothing is on the wire. */
  isQuiet(): boolean {
    if (this.#queue.size > 0) return false
    return this.nodes.every(
      (node) =>
        node.kernelOperationsPending === 0 &&
        node.gateway.halfOpenCount === 0 &&
        node
          .sessions()
          .every(
            ({ sa, exchanges }) =>
              !exchanges.isWaiting &&
              sa.state !== 'rekeyed' &&
              sa.state !== 'deleting' &&
              sa.children.every(({ dueAt }) => dueAt === null),
          ),
    )
  }

  /** For people, when a scenario failed. */
  describe(): string {
    const time = (at: Milliseconds): string => ((at - 1_234_567) / 1000).toFixed(3).padStart(9)
    const wire = this.network.trace
      .slice(-40)
      .map((entry) => `${time(entry.time)} ${entry.fate.padEnd(7)} ${entry.from} > ${entry.to} ${entry.summary}`)
    const reports = this.nodes.map(
      (node) =>
        `${node.name}:\n${node.lines
          .slice(-12)
          .map(
            (line) =>
              `  ${line.level} ${line.message}${typeof line.fields['stack'] === 'string' ? `\n${line.fields['stack']}` : ''}`,
          )
          .join('\n')}`,
    )
    return [`at ${this.clock.toString()}, seed ${this.seed}`, ...wire, ...reports].join('\n')
  }
}

/** When a node does something by itself; Infinity if never. */
function wakeOf({ gateway, kernel }: SimulatedNode): Milliseconds {
  return Math.min(gateway.nextDeadline() ?? Infinity, kernel.nextTimeout() ?? Infinity)
}

/** SIMULATION_SEED plays another run, or a failed one again. */
export const SEED = process.env['SIMULATION_SEED'] ?? '1'

/** Plays a scenario to its end with every check; a failure tells the seed to play it again. */
export async function play(seed: string, body: (world: World) => Promise<void>, options: WorldOptions = {}): Promise<World> {
  const world = new World(seed, options)
  try {
    await body(world)
    await world.end()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (!world.remembers) {
      await play(seed, body, { ...options, remembers: true })
      throw new Error(`${message}\nand played again with SIMULATION_SEED=${seed} it does not fail`, { cause: error })
    }
    throw new Error(`${message}\nplay again with SIMULATION_SEED=${seed}\n${world.describe()}`, { cause: error })
  }
  return world
}

/** A test that is one scenario. */
export function scenario(title: string, body: (world: World) => Promise<void>): void {
  test(title, async () => void (await play(SEED, body)))
}

/** A test that plays one scenario with many seeds. SIMULATION_SEED leaves only that one. */
export function scenarioOverSeeds(title: string, count: number, body: (world: World) => Promise<void>): void {
  test(title, async () => {
    const seeds = process.env['SIMULATION_SEED'] === undefined ? Array.from({ length: count }, (_, i) => `${SEED}.${i}`) : [SEED]
    for (const seed of seeds) await play(seed, body)
  })
}
