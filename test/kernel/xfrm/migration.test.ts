/**
 * XFRM_MSG_MIGRATE against bytes put together by hand from linux/xfrm.h. The bytes are those of little-endian 64-bit
 * machines. That a kernel takes it is shown in test/lab/kernel.test.ts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toHex } from '../../../src/base/bytes.ts'
import { IpAddress } from '../../../src/base/ip.ts'
import { LITTLE_ENDIAN } from '../../../src/kernel/xfrm/constants.ts'
import { encodeMigration, migrationPolicy } from '../../../src/kernel/xfrm/migration.ts'
import { state } from '../fixtures.ts'

const HEX = { skip: LITTLE_ENDIAN ? false : 'the expected bytes are those of little-endian machines' }

const zeros = (count: number): string => '00'.repeat(count)
const v4 = (hex: string): string => hex + zeros(12)

test(
  'a state is named by reqid, mode and addresses, beside a policy that no packet meets, with its new addresses and ports',
  HEX,
  () => {
    const from = state()
    const to = { ...from, source: IpAddress.parse('203.0.113.7'), encapsulation: { sourcePort: 32100, destinationPort: 4500 } }
    const policy = migrationPolicy(from)
    assert.deepEqual(policy.template, {
      source: from.source,
      destination: from.destination,
      mode: 'tunnel',
      reqid: from.reqid,
      spi: 0,
    })
    // From 0.0.0.0/32 to 0.0.0.0/32, in.
    const selector = `${zeros(40)} 0200 20 20 ${zeros(12)}`
    const migrate = `5000 1100 ${v4('c0000201')} ${v4('c6336402')} ${v4('c0000201')} ${v4('cb007107')} 32 01 0000 07000000 0200 0200`
    const encap = `1c00 0400 0200 7d64 1194 0000 ${zeros(16)}`
    const expected = (attributes: string, length: string): string =>
      `${length} 2100 0500 09000000 00000000 ${selector} ${zeros(8)} ${attributes}`.replaceAll(/\s+/g, '')
    assert.equal(toHex(encodeMigration(from, to, policy, 9)), expected(`${migrate} ${encap}`, 'bc000000'))
    assert.equal(toHex(encodeMigration(from, { ...to, encapsulation: null }, policy, 9)), expected(migrate, 'a0000000'))
  },
)
