/** load-shared and its like, and what certificates and private keys answer until there are any. */
import assert from 'node:assert/strict'

import { formatIdentity } from '../../src/auth/identity.ts'
import { configuration } from '../simulation/configuration.ts'
import { addClient, addGateway } from '../simulation/places.ts'
import { scenario, type World } from '../simulation/world.ts'
import { Operator, type Plain } from './operator.ts'

/** At the controls of a gateway that has nothing any more. */
async function blank(world: World): Promise<Operator> {
  const operator = new Operator(world, world.addNode('client', '198.51.100.7', configuration([])))
  await operator.command('clear-creds')
  return operator
}

async function keys(operator: Operator): Promise<unknown> {
  return (await operator.command('get-shared'))['keys']
}

/** Of the secrets of the first node: identifier, kind, owners, text. */
function kept(world: World): readonly (readonly string[])[] {
  return world.nodes[0]!.gateway.configured.secrets().map(({ name, kind, owners, secret }) => [
    name.startsWith('\0') ? '' : name,
    kind,
    owners.map(formatIdentity).join(' '),
    Buffer.from(secret.dangerouslyReveal()).toString(),
  ])
}

scenario('secrets are loaded, replaced by their identifier, and unloaded', async (world) => {
  const operator = await blank(world)
  const load = (id: string, data: string, owners: readonly string[] = [], type = 'IKE'): Promise<Plain> =>
    operator.command('load-shared', { id, type, data, owners })
  assert.deepEqual(await load('ike-1', 'one', ['moon', '*@example.org']), { success: 'yes' })
  assert.deepEqual(await load('ike-2', 'two'), { success: 'yes' })
  assert.deepEqual(await load('ike-3', 'three', ['%any']), { success: 'yes' })
  assert.deepEqual(await keys(operator), ['ike-1', 'ike-2', 'ike-3'])
  const events = world.nodes[0]!.events.length
  await load('ike-2', 'two')
  assert.equal(world.nodes[0]!.events.length, events, 'the same again is nothing')
  await load('ike-1', 'uno')
  assert.deepEqual(kept(world), [
    ['ike-1', 'ike', '', 'uno'],
    ['ike-2', 'ike', '', 'two'],
    ['ike-3', 'ike', '', 'three'],
  ])
  assert.deepEqual(await operator.command('unload-shared', { id: 'ike-2' }), { success: 'yes' })
  assert.deepEqual(await operator.command('unload-shared', { id: 'ike-2' }), { success: 'yes' }, 'as strongSwan has it')
  assert.equal((await operator.command('unload-shared'))['errmsg'], 'unique identifier missing')
  assert.deepEqual(await keys(operator), ['ike-1', 'ike-3'])
  assert.deepEqual(await operator.command('clear-creds'), { success: 'yes' })
  assert.deepEqual([await keys(operator), kept(world)], [[], []])
})

scenario('secrets without an identifier are used, told apart by what they are, and not listed', async (world) => {
  const operator = await blank(world)
  for (const data of ['one', 'two', 'one']) await operator.command('load-shared', { type: 'ike', data, owners: ['moon'] })
  assert.deepEqual(kept(world), [
    ['', 'ike', 'moon', 'one'],
    ['', 'ike', 'moon', 'two'],
  ])
  assert.deepEqual(await keys(operator), [])
})

scenario('secrets of other kinds are kept and warned of, and no pre-shared key of IKE', async (world) => {
  const operator = await blank(world)
  for (const [type, kind, why] of [
    ['EAP', 'eap', 'EAP is not supported yet'],
    ['xauth', 'eap', 'EAP is not supported yet'],
    ['NTLM', 'ntlm', 'EAP is not supported yet'],
    ['ppk', 'ppk', 'post-quantum pre-shared keys are not supported yet'],
  ] as const) {
    const answer = await operator.command('load-shared', { id: type, type, data: 'the word', owners: [] })
    assert.deepEqual(answer, { success: 'yes', warnings: [`${type}: kept, and not used: ${why}`] })
    assert.equal(kept(world).at(-1)![1], kind)
  }
  assert.deepEqual(await keys(operator), ['EAP', 'xauth', 'NTLM', 'ppk'])
})

scenario('a peer is authenticated by a loaded key, but not by one of another kind', async (world) => {
  addGateway(world, {}, { secrets: [{ text: 'the shared one' }] })
  const client = addClient(world, {}, { secrets: [] })
  const operator = new Operator(world, client)
  await operator.command('load-shared', { id: 'eap-1', type: 'eap', data: 'the shared one', owners: [] })
  assert.equal((await world.failure(client.gateway.initiate('home', 'net'))).code, 'NO_SHARED_SECRET')
  await operator.command('load-shared', { id: 'ike-1', type: 'IKE', data: 'the shared one', owners: ['gateway.example.org'] })
  await world.initiate(client)
})

scenario('what is wrong with a secret is said, but never the secret', async (world) => {
  const operator = await blank(world)
  const errmsg = async (request: Plain): Promise<unknown> => (await operator.command('load-shared', request))['errmsg']
  assert.equal(await errmsg({ data: 'geheim' }), 'shared key type missing')
  assert.equal(await errmsg({ type: 'rsa', data: 'geheim' }), 'invalid shared key type: rsa')
  assert.equal(await errmsg({ type: 'ike' }), 'shared key data missing')
  assert.equal(await errmsg({ type: 'ike', data: '' }), 'shared key data missing')
  assert.match(String(await errmsg({ type: 'ike', data: 'geheim', owners: ['{999}:x'] })), /^parsing shared key owners failed: /)
  assert.match(String(await errmsg({ type: 'ike', data: 'geheim', owners: 'moon' })), /^parsing shared key owners failed: /)
  assert.deepEqual(kept(world), [])
  assert.ok(!JSON.stringify(world.nodes[0]!.lines).includes('geheim'))
})
