/** What must hold in every world, whatever happens in it. */
import assert from 'node:assert/strict'

import type { IkeKeys } from '../../src/crypto/keys.ts'
import type { TraceEntry } from './network.ts'
import type { SimulatedNode } from './node.ts'

/** At any time: no mistake of our own came up, and books and kernel have the same. */
export function checkNodes(nodes: Iterable<SimulatedNode>, checksBooks: boolean): void {
  for (const node of nodes) {
    if (node.broken !== null) throw node.broken.error
    if (!checksBooks || node.kernelOperationsPending > 0) continue
    const { states, policies, spis, leftovers } = node.gateway.books.installed
    // A deletion that the kernel refused is in nobody's books but the leftovers.
    if (leftovers > 0) continue
    const kernel = node.kernel.counts
    // Compared first, and put into words only then: this is done after every step.
    const missing = states - kernel.states
    if (missing !== 0 && (missing < 0 || missing > 2 * hardExpired(node)))
      assert.equal(states, kernel.states, `the books of ${node.name} have the states of its kernel`)
    if (policies !== kernel.policies)
      assert.equal(policies, kernel.policies, `the books of ${node.name} have the policies of its kernel`)
    // A reservation may have expired in the kernel, never the other way round.
    if (spis < kernel.reservations) assert.fail(`the books of ${node.name} have the reserved SPIs of its kernel`)
  }
}

/** CHILD_SAs whose states the kernel threw away; they are in the books until they are replaced. */
function hardExpired(node: SimulatedNode): number {
  return node.sessions().reduce((sum, { sa }) => sum + sa.children.filter(({ expiry }) => expiry === 'hard').length, 0)
}

/** When nothing is under way: every inbound state has exactly its outbound one at another node, and the other way round. */
export function checkKernelsAgree(nodes: readonly SimulatedNode[]): void {
  const ends = new Map<string, string[]>()
  for (const node of nodes) {
    for (const state of node.kernel.states()) {
      const key = `${state.seal} ${state.spi} ${state.mode} ${state.encapsulation === null ? 'bare' : 'UDP'}`
      ends.set(key, [...(ends.get(key) ?? []), `${state.direction} of ${node.name}`])
    }
  }
  // What a kernel would not let go stands alone until the next deletion, with which it is tried again.
  let left = nodes.reduce((sum, { gateway, kernel }) => {
    const { states, leftovers } = gateway.books.installed
    return sum + Math.max(0, Math.min(leftovers, kernel.counts.states - states))
  }, 0)
  for (const [key, both] of ends) {
    const isPair = both.length === 2 && both.some((end) => end.startsWith('in ')) && both.some((end) => end.startsWith('out '))
    if (!isPair && both.length === 1 && left-- > 0) continue
    assert.ok(isPair, `both ends of an SA exist: ${both.join(', ')} (${key.slice(65)})`)
  }
}

/** After shutdown: nothing in the kernel, nothing in the books, no IKE_SA, no deadline. */
export function checkEmpty(node: SimulatedNode): void {
  const { kernel, gateway } = node
  assert.deepEqual(kernel.states(), [], `no state is left at ${node.name}`)
  assert.deepEqual(kernel.policies(), [], `no policy is left at ${node.name}`)
  assert.deepEqual(kernel.reservations(), [], `no SPI is left at ${node.name}`)
  assert.deepEqual(
    gateway.books.installed,
    { children: 0, states: 0, policies: 0, spis: 0, leftovers: 0 },
    `the books of ${node.name} are empty`,
  )
  assert.equal(gateway.books.reqids.size, 0, `no reqid is held at ${node.name}`)
  assert.equal(gateway.traffic.size, 0, `no traffic is claimed at ${node.name}`)
  assert.equal(node.flows.marks.size, 0, `no mark is kept apart at ${node.name}`)
  assert.equal(gateway.sessions().length, 0, `no IKE_SA is left at ${node.name}`)
  for (const { name } of gateway.configured.connections())
    assert.deepEqual(gateway.sessionsOf(name), [], `no IKE_SA of ${name} is kept at ${node.name}`)
  assert.equal(gateway.halfOpenCount, 0, `no half-open IKE_SA is counted at ${node.name}`)
  assert.equal(gateway.nextDeadline(), null, `no deadline is left at ${node.name}`)
}

/** Keys of IKE_SAs that are over are overwritten. */
export function checkDestroyed(keys: readonly IkeKeys[]): void {
  for (const { d, ai, ar, ei, er, pi, pr } of keys) {
    for (const secret of [d, ai, ar, ei, er, pi, pr]) {
      assert.ok(secret === null || secret.isDestroyed, 'the keys of an IKE_SA that is over are zeros')
    }
  }
}

/** No secret in any report line or on the wire. */
export function checkSecrecy(
  nodes: readonly SimulatedNode[],
  trace: readonly TraceEntry[],
  secrets: readonly Uint8Array[],
): void {
  // A key that was destroyed before it was looked at would be found in any run of zeros.
  const real = secrets.filter((secret) => secret.length >= 8 && secret.some((byte) => byte !== 0))
  assert.ok(real.length > 0, 'there are secrets to look for')
  const lines = Buffer.from(nodes.flatMap((node) => node.lines.map((line) => JSON.stringify(line))).join('\n'))
  const wire = Buffer.concat(trace.filter(({ fate }) => fate === 'sent').map(({ bytes }) => bytes))
  for (const secret of real) {
    const bytes = Buffer.from(secret)
    for (const form of [bytes, bytes.toString('hex'), bytes.toString('base64')]) {
      assert.ok(!lines.includes(form), 'no secret gets into a report line')
    }
    assert.ok(!wire.includes(bytes), 'no secret gets onto the wire')
  }
}
