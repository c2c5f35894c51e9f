import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { connectionsBetween, connectionsFor } from '../../src/ike/matching.ts'
import { connection } from '../simulation/configuration.ts'

const HERE = new Endpoint(IpAddress.parse('203.0.113.1'), 500)
const between = (connections: readonly ReturnType<typeof connection>[], remote: string): readonly string[] =>
  connectionsBetween(connections, HERE, new Endpoint(IpAddress.parse(remote), 500)).map(({ name }) => name)

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
  assert.deepEqual(between(connections, '198.51.100.7'), ['exact', 'subnet', 'range', 'anybody', 'any too', 'name'])
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

test('identities decide among the candidates, the best match first', () => {
  const candidates = [
    connection({ connection: 'any', localId: 'gw' }),
    connection({ connection: 'wild', localId: 'gw', remoteId: '*@example.org' }),
    connection({ connection: 'exact', localId: 'gw', remoteId: 'carol@example.org' }),
    connection({ connection: 'dave', localId: 'gw', remoteId: 'dave@example.org' }),
  ]
  const names = (remote: string, requested: string | null): readonly string[] =>
    connectionsFor(candidates, parseIdentity(remote), requested === null ? null : parseIdentity(requested)).map(
      ({ name }) => name,
    )
  assert.deepEqual(names('carol@example.org', null), ['exact', 'wild', 'any'])
  assert.deepEqual(names('carol@example.org', 'gw'), ['exact', 'wild', 'any'])
  assert.deepEqual(names('carol@example.org', 'another'), [])
  assert.deepEqual(names('someone.else', 'gw'), ['any'])
})

test('a connection without an identity of its own answers to any that is asked for', () => {
  const open = [connection({ connection: 'open' })]
  assert.equal(connectionsFor(open, parseIdentity('carol@example.org'), parseIdentity('whoever')).length, 1)
})
