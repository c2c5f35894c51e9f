import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { connectionsBetween, connectionsFor } from '../../src/ike/matching.ts'
import { parseProposal } from '../../src/negotiate/proposals.ts'
import { connection } from '../simulation/configuration.ts'

const HERE = new Endpoint(IpAddress.parse('203.0.113.1'), 500)
const between = (connections: readonly ReturnType<typeof connection>[], remote: string): readonly string[] =>
  connectionsBetween(connections, { local: HERE, remote: new Endpoint(IpAddress.parse(remote), 500) }).map(({ name }) => name)

test('the better an address fits, the earlier its connection; among equals the order of the configuration decides', () => {
  const connections = [
    connection({ connection: 'anybody' }),
    connection({ connection: 'any too', remoteAddresses: ['%any'] }),
    connection({ connection: 'subnet', remoteAddresses: ['198.51.100.0/24'] }),
    connection({ connection: 'range', remoteAddresses: ['198.51.100.1-198.51.100.9'] }),
    connection({ connection: 'exact', remoteAddresses: ['198.51.100.7'] }),
    connection({ connection: 'name', remoteAddresses: ['peer.example.org'] }),
    connection({ connection: 'elsewhere', remoteAddresses: ['192.0.2.1'] }),
  ]
  // A range that is no subnet is worth no more than anybody (strongSwan).
  assert.deepEqual(between(connections, '198.51.100.7'), ['exact', 'subnet', 'anybody', 'any too', 'range', 'name'])
  assert.deepEqual(between(connections, '2001:db8::1'), ['anybody', 'any too', 'name'])
})

test('the best of several addresses counts, and the peer’s tells more than ours', () => {
  const connections = [
    connection({ connection: 'ours', localAddresses: ['203.0.113.1'] }),
    connection({ connection: 'theirs', remoteAddresses: ['192.0.2.0/24', '198.51.100.7'] }),
    connection({ connection: 'both', localAddresses: ['203.0.113.0/24'], remoteAddresses: ['198.51.100.7'] }),
    connection({ connection: 'not here', localAddresses: ['203.0.113.2'], remoteAddresses: ['198.51.100.7'] }),
  ]
  assert.deepEqual(between(connections, '198.51.100.7'), ['both', 'theirs', 'ours'])
})

test('a longer prefix, the very port and a version that was said make a better match, in this order', () => {
  const remoteAddresses = ['198.51.100.0/24']
  const connections = [
    connection({ connection: 'other port', remoteAddresses, remotePort: 4500 }),
    connection({ connection: 'subnet', remoteAddresses }),
    { ...connection({ connection: 'version 2', remoteAddresses }), version: 2 as const },
    connection({ connection: 'longer', remoteAddresses: ['198.51.100.0/25'], remotePort: 4500 }),
  ]
  // 25 for the prefix, 1 for the port, times 16; 4 for the version.
  assert.deepEqual(between(connections, '198.51.100.7'), ['version 2', 'subnet', 'longer', 'other port'])
})

const IKE = parseProposal('aes128gcm16-prfsha256-curve25519', 'ike')

/** The names of those a claim may be for. */
function claimed(
  connections: readonly ReturnType<typeof connection>[],
  remoteId: string,
  requestedId: string | null,
): readonly string[] {
  const claim = {
    way: { local: HERE, remote: new Endpoint(IpAddress.parse('198.51.100.7'), 500) },
    remoteId: parseIdentity(remoteId),
    requestedId: requestedId === null ? null : parseIdentity(requestedId),
    proposal: IKE,
  }
  return connectionsFor(connections, claim).map(({ name }) => name)
}

test('identities decide among the connections, the best match first', () => {
  const connections = [
    connection({ connection: 'any', localId: 'gw' }),
    connection({ connection: 'wild', localId: 'gw', remoteId: '*@example.org' }),
    connection({ connection: 'exact', localId: 'gw', remoteId: 'carol@example.org' }),
    connection({ connection: 'dave', localId: 'gw', remoteId: 'dave@example.org' }),
    connection({ connection: 'elsewhere', localId: 'gw', remoteAddresses: ['192.0.2.1'] }),
    connection({ connection: 'other algorithms', localId: 'gw', ikeProposals: ['aes256gcm16-prfsha384-ecp384'] }),
  ]
  assert.deepEqual(claimed(connections, 'carol@example.org', null), ['exact', 'wild', 'any'])
  assert.deepEqual(claimed(connections, 'carol@example.org', 'gw'), ['exact', 'wild', 'any'])
  assert.deepEqual(claimed(connections, 'carol@example.org', 'another'), [])
  assert.deepEqual(claimed(connections, 'someone.else', 'gw'), ['any'])
})

test('a connection without an identity of its own answers to any that is asked for, but after one that has it', () => {
  const open = connection({ connection: 'open' })
  const named = connection({ connection: 'named', localId: 'gw' })
  assert.deepEqual(claimed([open], 'carol@example.org', 'whoever'), ['open'])
  assert.deepEqual(claimed([open, named], 'carol@example.org', 'gw'), ['named', 'open'])
  assert.deepEqual(claimed([open, named], 'carol@example.org', null), ['open', 'named'])
})

test('between a better address and a better identity the order of the configuration decides', () => {
  const address = connection({ connection: 'address', remoteAddresses: ['198.51.100.7'] })
  const identity = connection({ connection: 'identity', remoteId: 'carol@example.org' })
  const both = connection({ connection: 'both', remoteAddresses: ['198.51.100.7'], remoteId: 'carol@example.org' })
  const neither = connection({ connection: 'neither' })
  assert.deepEqual(claimed([address, identity], 'carol@example.org', null), ['address', 'identity'])
  assert.deepEqual(claimed([identity, address], 'carol@example.org', null), ['identity', 'address'])
  assert.deepEqual(claimed([neither, identity, address, both], 'carol@example.org', null), [
    'both',
    'identity',
    'address',
    'neither',
  ])
})
