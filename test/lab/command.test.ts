/**
 * What `espalier sas` shows of tunnels that carry something: two clients behind one NAT, the gateway's and a client's
 * view, with what the kernel has counted.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'

import { Espalier } from './support/espalier.ts'
import { run } from './support/process.ts'
import { carryBothWays, clientConfiguration, gatewayConfiguration, scene } from './support/scene.ts'
import { TRANSFER_BYTES } from './support/transfer.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

test('sas shows both clients behind their NAT, with the bytes that the kernel counted', async (t) => {
  const { gateway, inside } = await scene(t)
  const server = await Espalier.start(gateway, { configuration: gatewayConfiguration() })
  const sas = (of: Espalier, ...args: string[]): Promise<string> => run(process.execPath, [main, 'sas', '--uri', of.uri, ...args])
  for (const client of inside) {
    const espalier = await Espalier.start(client.host, { configuration: clientConfiguration(client, { start: true }) })
    await espalier.event('child-established')
    await carryBothWays(client, gateway)
    const table = await sas(espalier)
    t.diagnostic(table)
    assert.match(table, /^gateway\[1\] +192\.0\.2\.2:4500 +10\.1\.0\.\d:4500 /m)
    assert.match(table, /^ +no NAT +behind NAT /m)
  }
  const table = await sas(server)
  t.diagnostic(table)
  // The memory of a NAT: each client comes from the same address and a port of its own.
  assert.equal(new Set(table.match(/192\.0\.2\.1:2\d{4}/g)).size, 2)
  assert.equal(table.match(/^ +behind NAT +no NAT /gm)?.length, 2)
  assert.equal(table.match(/^ +in 1\.\d MB, \d+[sm] ago +out 1\.\d MB, \d+[sm] ago +in UDP$/gm)?.length, 2, table)
  const listed = JSON.parse(await sas(server, '--json')) as { 'child-sas': { 'bytes-in': number; 'bytes-out': number }[] }[]
  for (const { 'child-sas': children } of listed)
    for (const child of children) assert.ok(child['bytes-in'] > TRANSFER_BYTES && child['bytes-out'] > TRANSFER_BYTES)
})
