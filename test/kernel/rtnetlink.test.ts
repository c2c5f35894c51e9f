import assert from 'node:assert/strict'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { decodeAddress, decodeLink, decodeRouteTable, encodeDump, encodeRouteQuery } from '../../src/kernel/rtnetlink.ts'
import { RTM } from '../../src/kernel/rtnetlink-constants.ts'
import { readMessages, type ReceivedMessage } from '../../src/kernel/xfrm/attributes.ts'

/** As a kernel of a little-endian machine writes them. */
function message(type: number, hex: string): ReceivedMessage {
  return { type, flags: 0, sequence: 1, payload: Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')) }
}

test('a link: its name, whether it is up and plugged in, whether anything leaves by it', () => {
  const link = (flags: string, name: string): ReceivedMessage =>
    message(RTM.NEWLINK, `00000100 07000000 ${flags} 00000000 ${name}`)
  const eth0 = '09000300 65746830 00000000'
  assert.deepEqual(decodeLink(link('43100100', eth0)), { index: 7, name: 'eth0', isUp: true, isAside: false, mtu: 0 })
  // Up without a carrier, and down.
  assert.equal(decodeLink(link('03100000', eth0)).isUp, false)
  assert.equal(decodeLink(link('02100000', eth0)).isUp, false)
  assert.deepEqual(decodeLink(link('49000100', '07000300 6c6f0000')), { index: 7, name: 'lo', isUp: true, isAside: true, mtu: 0 })
  assert.equal(decodeLink(link('c3000100', eth0)).isAside, true)
})

test('an address: ours of a point-to-point link, not for one link alone, tentative, deprecated or temporary', () => {
  const four = (scope: string, attributes: string): ReceivedMessage =>
    message(RTM.NEWADDR, `02 18 80 ${scope} 02000000 ${attributes}`)
  assert.deepEqual(decodeAddress(four('00', '08000100 0a000002 08000200 0a000001')), {
    interfaceIndex: 2,
    address: IpAddress.parse('10.0.0.1'),
    isRegular: true,
    isTemporary: false,
  })
  assert.equal(decodeAddress(four('fd', '08000100 0a000001'))?.isRegular, false)
  assert.equal(decodeAddress(four('00', '')), null)
  const six = (flags: string): ReceivedMessage =>
    message(RTM.NEWADDR, `0a 40 00 00 02000000 14000100 20010db8 00000000 00000000 00000001 08000800 ${flags}`)
  assert.equal(decodeAddress(six('80000000'))?.isRegular, true)
  for (const flags of ['40000000', '08000000', '20000000']) assert.equal(decodeAddress(six(flags))?.isRegular, false, flags)
  assert.equal(decodeAddress(six('01000000'))?.isTemporary, true)
  assert.equal(decodeAddress(message(RTM.NEWADDR, '10 00 00 00 02000000 06000100 0102 0000')), null)
})

test('the table of a route, of more than 255 tables too; a remembered lookup is none', () => {
  assert.equal(decodeRouteTable(message(RTM.NEWROUTE, '02 18 00 00 dc 04 00 01 00000000')), 220)
  assert.equal(decodeRouteTable(message(RTM.NEWROUTE, '02 18 00 00 fc 04 00 01 00000000 08000f00 e8030000')), 1000)
  assert.equal(decodeRouteTable(message(RTM.NEWROUTE, '02 20 00 00 fe 00 00 01 00020000')), null)
})

test('what is asked: dumps of all families, and the route between two addresses by one interface', () => {
  const [dump] = readMessages(encodeDump(RTM.GETADDR, 5))
  assert.deepEqual([dump?.type, dump?.flags, dump?.sequence, dump?.payload.length], [22, 0x301, 5, 8])
  const local = IpAddress.parse('192.0.2.1')
  const remote = IpAddress.parse('203.0.113.1')
  const [query] = readMessages(encodeRouteQuery({ local, remote, interfaceIndex: 3 }, 6))
  assert.equal(
    Buffer.from(query!.payload).toString('hex'),
    '02202000 00000000 00200000 08000100cb007101 08000200c0000201 0800040003000000'.replaceAll(' ', ''),
  )
  const [anywhere] = readMessages(encodeRouteQuery({ local, remote, interfaceIndex: null }, 7))
  assert.equal(anywhere!.payload.length, 12 + 16)
})

test('what is cut short is refused, not read', () => {
  assert.throws(() => decodeLink(message(RTM.NEWLINK, '0000')), /bytes/)
  assert.throws(() => decodeAddress(message(RTM.NEWADDR, '0218')), /bytes/)
  assert.throws(() => decodeRouteTable(message(RTM.NEWROUTE, '02')), /bytes/)
})
