import assert from 'node:assert/strict'
import { test } from 'node:test'

import { parseIdentity } from '../../src/auth/identity.ts'
import { Endpoint, IpAddress } from '../../src/base/ip.ts'
import { Established } from '../../src/ike/established.ts'
import { IkeSa } from '../../src/ike/sa.ts'
import type { Session } from '../../src/ike/session.ts'
import { connection } from '../simulation/configuration.ts'

function session(): Session {
  const here = new Endpoint(IpAddress.parse('192.0.2.1'), 500)
  const sa = new IkeSa(1, 'responder', 1n, connection({}), here, here, 0)
  sa.remoteId = parseIdentity('carol@example.org')
  sa.state = 'established'
  return { sa } as unknown as Session
}

test('an IKE_SA leaves nothing behind, also when its connection was given other children meanwhile', () => {
  const established = new Established()
  const one = session()
  established.add(one)
  one.sa.connection = connection({ children: [{ name: 'other' }] })
  established.remove(one)
  assert.equal(established.size, 0)
})
