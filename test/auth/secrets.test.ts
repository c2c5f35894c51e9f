import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { sharedSecretsFor, type SharedSecret } from '../../src/auth/secrets.ts'
import { Secret } from '../../src/crypto/secret.ts'

function secret(name: string, ...owners: string[]): SharedSecret {
  return { name, kind: 'ike', owners: owners.map(parseIdentity), secret: new Secret(new Uint8Array(1)) }
}

function namesFor(secrets: readonly SharedSecret[], local: string, remote: string): string[] {
  return sharedSecretsFor(secrets, parseIdentity(local), parseIdentity(remote)).map((found) => found.name)
}

test('a key that names the peer beats one that names only us, and both beat a key of nobody', () => {
  const secrets = [
    secret('nobody'),
    secret('ours', 'gateway.example'),
    secret('theirs', 'client.example'),
    secret('other', 'else.example'),
  ]
  assert.deepEqual(namesFor(secrets, 'gateway.example', 'client.example'), ['theirs', 'ours', 'nobody'])
})

test('the exact owner beats a wildcard, a wildcard beats %any', () => {
  const secrets = [secret('any', '%any', 'x.example'), secret('wide', '*.example'), secret('exact', 'client.example')]
  assert.deepEqual(namesFor(secrets, 'gateway.test', 'client.example'), ['exact', 'wide', 'any'])
})

test('both ends named beats one end named', () => {
  const secrets = [secret('peer', 'client.example'), secret('both', 'client.example', 'gateway.example')]
  assert.deepEqual(namesFor(secrets, 'gateway.example', 'client.example'), ['both', 'peer'])
})

test('a key of others serves nobody else', () => {
  assert.deepEqual(namesFor([secret('other', 'a.example', 'b.example')], 'c.example', 'd.example'), [])
})
