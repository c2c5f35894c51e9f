/**
 * A day in which everything goes wrong, over and over: whatever happens, no mistake of our own comes up, books and
 * kernel stay equal (checked at every step), and in the end nothing is left anywhere (checked at the end).
 */
import assert from 'node:assert/strict'

import { SECOND } from '../../src/base/time.ts'
import { ERRNO } from '../../src/kernel/refusals.ts'
import { preservingPort } from './nat.ts'
import type { SimulatedNode } from './node.ts'
import { addClient, addGateway, flows } from './places.ts'
import { scenarioOverSeeds } from './world.ts'

function expireHard(node: SimulatedNode, pick: number): void {
  const state = node.kernel.states()[pick]
  if (state === undefined) return
  const { spi, source, destination, reqid } = state
  node.gateway.handleKernelEvent({ event: 'expire', id: { spi, source, destination }, reqid, hard: true })
}

scenarioOverSeeds(
  'a bad day: loss, NATs that forget, slow and refusing kernels, expiring states, reboots, sleep',
  120,
  async (world) => {
    const dice = world.entropyFor('day')
    world.network.defaultLink = {
      latency: 1 + dice.below(60),
      jitter: dice.below(200),
      loss: dice.fraction() * 0.3,
      duplication: dice.fraction() * 0.3,
    }
    world.kernelLatency = dice.chance(0.5) ? 0.05 : dice.below(3000)
    world.expectsAgreement = false
    world.keyExchangeLatency = dice.chance(0.5) ? 0 : dice.below(3000)
    const nat = world.addNat('router', '192.0.2.1', {
      timeout: (10 + dice.below(100)) * SECOND,
      ...(dice.chance(0.5) ? { portFor: preservingPort } : {}),
    })
    const settings = { cookieThreshold: dice.below(3), keepAliveDpdMargin: dice.below(2) * 5 * SECOND }
    // Handshakes and rekeys of several exchanges, in half of the days.
    const additional = world.entropyFor('additional key exchanges').chance(0.5)
      ? {
          ikeProposals: ['aes128gcm16-prfsha256-curve25519-ke1_mlkem768-ke2_ecp256'],
          proposals: ['aes128gcm16-curve25519-ke1_mlkem512'],
        }
      : {}
    const gateway = addGateway(world, { encap: dice.chance(0.2), ...additional }, { settings })
    const client = addClient(
      world,
      { keyingTries: dice.below(3), encap: dice.chance(0.2), mobike: dice.chance(0.5), ...additional },
      { behind: dice.chance(0.7) ? nat : null, settings },
    )
    const nodes = [gateway, client]
    const initiate = (): void => void client.gateway.initiate('home', 'net').catch(() => undefined)
    initiate()
    for (let i = 0; i < 15; i++) {
      await world.pass(dice.below(dice.chance(0.5) ? 300 : 30_000))
      const node = nodes[dice.below(2)]!
      switch (dice.below(9)) {
        case 0:
          nat.flush()
          break
        case 1:
          initiate()
          break
        case 2:
          node.refuse = dice.chance(0.5) ? null : () => (dice.chance(0.3) ? ERRNO.ENOBUFS : null)
          break
        case 3:
          expireHard(node, dice.below(4))
          break
        case 4:
          // What the boot before still awaits of its kernel is never heard of again.
          if (dice.chance(0.3)) node.boot()
          break
        case 5:
          node.isAsleep = !node.isAsleep
          break
        case 6:
          await flows(world, client, gateway)
          break
        case 7:
          expireHard(gateway, 0)
          expireHard(client, 0)
          break
        case 8:
          await world.pass(180 * SECOND)
          break
      }
    }
    for (const node of nodes) node.isAsleep = false
    // Whoever still lives can be spoken to again once the network behaves.
    for (const attached of [nat, gateway, client]) Object.assign(attached.link, { loss: 0, jitter: 0, duplication: 0 })
    for (const node of nodes) node.refuse = null
    await world.pass(1000 * SECOND)
    world.kernelLatency = 0.05
    world.keyExchangeLatency = 0
    client.boot()
    await world.pass(40 * SECOND)
    await world.initiate(client)
    assert.ok(await flows(world, client, gateway))
  },
)
