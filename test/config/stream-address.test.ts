import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { formatStreamAddress, parseStreamAddress } from '../../src/config/stream-address.ts'

test('paths, and ports of the machine itself, are where a control socket can be', () => {
  for (const text of ['unix:///var/run/charon.vici', 'tcp://127.0.0.1:4502', 'tcp://127.1.2.3:1', 'tcp://[::1]:65535'])
    assert.equal(formatStreamAddress(parseStreamAddress(text)), text)
  assert.deepEqual(parseStreamAddress('tcp://localhost:4502'), { kind: 'tcp', address: '127.0.0.1', port: 4502 })
  assert.deepEqual(parseStreamAddress('tcp://[0:0::0:1]:4502'), { kind: 'tcp', address: '0:0::0:1', port: 4502 })
})

const refused: readonly [string, RegExp][] = [
  ['tcp://192.0.2.1:4502', /neither encrypted nor authenticated/],
  ['tcp://0.0.0.0:4502', /neither encrypted nor authenticated/],
  ['tcp://[::]:4502', /neither encrypted nor authenticated/],
  ['tcp://[::ffff:127.0.0.1]:4502', /neither encrypted nor authenticated/],
  ['tcp://gateway.example:4502', /neither encrypted nor authenticated/],
  ['tcp://127.0.0.1', /neither unix:\/\/\/path nor tcp/],
  ['tcp://::1:4502', /neither unix:\/\/\/path nor tcp/],
  ['tcp://127.0.0.1:65536', /65536 is no port/],
  ['systemd://vici', /neither unix:\/\/\/path nor tcp/],
  ['/var/run/charon.vici', /neither unix:\/\/\/path nor tcp/],
  ['unix://charon.vici', /from the root/],
  [`unix:///${'x'.repeat(107)}`, /longer than 107 bytes/],
]

for (const [text, reason] of refused) {
  test(`${text.slice(0, 40)} is refused with the reason`, () => {
    assert.throws(
      () => parseStreamAddress(text),
      (error) => error instanceof EspalierError && error.code === 'VALUE_INVALID' && reason.test(error.message),
    )
  })
}
