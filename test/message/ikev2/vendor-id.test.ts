import { test } from 'node:test'

import { fromHex } from '../../../src/base/bytes.ts'
import { sameBothWays } from './support.ts'

test('a vendor ID is read and written, an empty one too', () => {
  sameBothWays(43, '4048b7d56ebce88525e7de7f00d6c2d3', {
    kind: 'VendorId',
    data: fromHex('4048b7d56ebce88525e7de7f00d6c2d3'),
  })
  sameBothWays(43, '', { kind: 'VendorId', data: new Uint8Array(0) })
})
