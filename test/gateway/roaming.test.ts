import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { Roaming } from '../../src/gateway/roaming.ts'
import { Timeouts } from '../../src/gateway/timeouts.ts'

async function settled(): Promise<void> {
  await new Promise((resolve) => void setImmediate(resolve))
}

test('news is gathered for 100 ms, longer where there are very many IKE_SAs, and tells whether addresses changed', async () => {
  let [now, ikeSas] = [0, 1]
  let addresses = ['192.0.2.1', '192.0.2.2']
  const told: boolean[] = []
  const timeouts = new Timeouts(
    () => now,
    () => undefined,
  )
  const host = {
    addresses: () => addresses.map((text) => ({ address: IpAddress.parse(text), interface: 'eth0' })),
    isIgnored: () => false,
    reaches: () => Promise.resolve(true),
    mtu: () => Promise.resolve(null),
    interfaceTo: () => Promise.resolve(null),
    interfaceIndex: () => null,
  }
  const roaming = new Roaming(
    host,
    timeouts,
    () => ikeSas,
    (changed) => void told.push(changed),
  )
  const passes = async (duration: number): Promise<void> => {
    now += duration
    timeouts.handleDue()
    await settled()
  }
  for (let i = 0; i < 1000; i++) roaming.handleChange()
  assert.equal(timeouts.size, 1)
  await passes(99)
  assert.deepEqual(told, [])
  await passes(1)
  assert.deepEqual(told, [false])
  // Another order is the same; one more is not.
  addresses = ['192.0.2.2', '192.0.2.1']
  roaming.handleChange()
  await passes(100)
  addresses = ['192.0.2.2']
  roaming.handleChange()
  await passes(100)
  assert.deepEqual(told, [false, false, true])
  ikeSas = 50_000
  roaming.handleChange()
  await passes(9_999)
  assert.equal(told.length, 3)
  await passes(1)
  assert.deepEqual(told, [false, false, true, false])
})
