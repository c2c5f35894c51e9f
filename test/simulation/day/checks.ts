/** What must hold throughout a day, after every step; and what must hold besides when all has come to rest. */
import assert from 'node:assert/strict'

import type { Milliseconds } from '../../../src/base/time.ts'
import { MINUTE } from '../../../src/base/time.ts'
import type { ChildSa } from '../../../src/ike/sa.ts'
import type { Session } from '../../../src/ike/session.ts'
import { formatSelector } from '../../../src/negotiate/selectors.ts'
import { checkKernelsAgree } from '../checks.ts'
import type { SimulatedNode } from '../node.ts'
import type { Plan } from './plan.ts'

/** Commands that wait, initiations that are put off. */
const TIMEOUTS_MAX = 2
/** Longer than any exchange that puts an end to one of two. */
const TWINS_END_WITHIN: Milliseconds = 15 * MINUTE

export class StepChecks {
  readonly #plan: Pick<Plan, 'world'>
  /** Since when an IKE_SA there, or the one that took its place, has had two CHILD_SAs with the same traffic. */
  readonly #twins = new Map<SimulatedNode, Milliseconds>()

  constructor(plan: Pick<Plan, 'world'>) {
    this.#plan = plan
  }

  readonly check = (touched: Iterable<SimulatedNode>): void => {
    for (const node of touched) {
      const sessions = node.sessions()
      let set = 0
      for (const { deadlines } of sessions) set += countSet(deadlines)
      if (node.gateway.scheduledCount > set + TIMEOUTS_MAX)
        assert.fail(`${node.name} has ${node.gateway.scheduledCount} deadlines, ${set} of them by the name of an IKE_SA`)
      this.#checkChildren(
        node,
        sessions.find(({ sa }) => hasTwins(sa.children)),
      )
    }
  }

  /** Both sides may make one anew in the same moment; then one of the two goes. */
  #checkChildren(node: SimulatedNode, session: Session | undefined): void {
    if (session === undefined) return void this.#twins.delete(node)
    const now = this.#plan.world.clock.now()
    const since = this.#twins.get(node) ?? now
    this.#twins.set(node, since)
    if (now - since > TWINS_END_WITHIN) assert.fail(`${session.toString()} of ${node.name} has the same CHILD_SA twice`)
  }
}

/** An IKE_SA has one of each name at most (deadlines.ts). */
function countSet(deadlines: Session['deadlines']): number {
  let count = 0
  for (const name in deadlines) if (deadlines[name as keyof typeof deadlines] !== null) count++
  return count
}

function hasTwins(children: readonly ChildSa[]): boolean {
  // Traffic first, by which most differ, and nothing is made: this is done after every step.
  for (let i = 1; i < children.length; i++) {
    const child = children[i]!
    for (let j = 0; j < i; j++) {
      const other = children[j]!
      if (other.traffic === child.traffic && isLive(child, children) && isLive(other, children)) return true
    }
  }
  return false
}

/** Carries traffic, as far as this side knows; of one and what is to replace it, the one. */
function isLive(child: ChildSa, all: readonly ChildSa[]): boolean {
  return isThere(child) && !all.some((old) => old.successor === child && isThere(old))
}

function isThere({ state, expiry }: ChildSa): boolean {
  return (state === 'installed' && expiry !== 'hard') || state === 'rekeying'
}

/** Nothing is under way and nothing is wrong with the wires. */
export function checkRest({ nodes }: Pick<Plan, 'nodes'>): void {
  checkKernelsAgree(nodes)
  for (const node of nodes) {
    checkOwners(node)
    checkPeers(node, nodes)
  }
}

/** No state without an owner, no policy without a state or a trap, nothing claimed that nobody has. */
function checkOwners(node: SimulatedNode): void {
  const { books, traffic, traps, halfOpenCount } = node.gateway
  const children = node.sessions().flatMap(({ sa }) => sa.children)
  assert.deepEqual(
    { ...books.installed, policies: 0, leftovers: 0 },
    { children: children.length, states: 2 * children.length, policies: 0, spis: 0, leftovers: 0 },
    `every state of ${node.name} has an owner, and no SPI is reserved in vain`,
  )
  assert.deepEqual([traffic.size > children.length, halfOpenCount], [false, 0], `${node.name} claims what it has`)
  const reqids = new Set([...children.map(({ reqid }) => reqid), ...traps.inForce().map(({ reqid }) => reqid)])
  assert.ok(books.reqids.size <= reqids.size, `${node.name} holds ${books.reqids.size} reqids and uses ${reqids.size}`)
  // What the kernel would not let go is tried again with the next deletion, and there was none.
  if (books.installed.leftovers > 0) return
  for (const { template } of node.kernel.policies())
    assert.ok(template === null || reqids.has(template.reqid), `every policy of ${node.name} has a state or a trap`)
}

/** Every IKE_SA has its other end, which has the same CHILD_SAs; there is one of each. */
function checkPeers(node: SimulatedNode, nodes: readonly SimulatedNode[]): void {
  const seen = new Set<string>()
  for (const session of node.sessions()) {
    const { sa } = session
    assert.equal(sa.state, 'established', `IKE_SA ${session.toString()} of ${node.name} stands`)
    const others = nodes.flatMap((other) => (other === node ? [] : other.sessions()))
    const peer = others.find((other) => other.sa.ownSpi === sa.peerSpi && other.sa.peerSpi === sa.ownSpi)
    assert.ok(peer !== undefined, `IKE_SA ${session.toString()} of ${node.name} has another end`)
    assert.deepEqual(
      sa.children.map((child) => [child.inboundSpi, child.outboundSpi, ...selectors(child, 'own')].join()).toSorted(),
      peer.sa.children.map((child) => [child.outboundSpi, child.inboundSpi, ...selectors(child, 'peer')].join()).toSorted(),
      `both ends of IKE_SA ${session.toString()} of ${node.name} have the same CHILD_SAs`,
    )
    for (const child of sa.children) {
      assert.ok(!seen.has(child.traffic), `${node.name} has one CHILD_SA for ${child.traffic}`)
      seen.add(child.traffic)
    }
  }
}

function selectors({ localSelectors, remoteSelectors }: ChildSa, side: 'own' | 'peer'): readonly string[] {
  const [first, second] = side === 'own' ? [localSelectors, remoteSelectors] : [remoteSelectors, localSelectors]
  return [first.map(formatSelector).join(' '), second.map(formatSelector).join(' ')]
}
