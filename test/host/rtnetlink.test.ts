/**
 * Links, addresses and routes of the real kernel, in a network namespace of its own: what there is, what changes, and
 * what is not there. `ip` changes them.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { native } from '../../src/edge/native.ts'
import { openHostNetwork, type HostNetworkOptions, type OpenHostNetwork } from '../../src/edge/rtnetlink.ts'
import { openTunnelNetwork } from '../../src/edge/tunnel-network.ts'

const INSIDE = 'ESPALIER_TEST_NAMESPACE'

if (process.env[INSIDE] === undefined) {
  test('the network of this machine, in a network namespace of its own', () => {
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--net', process.execPath, '--test', '--test-reporter=tap', import.meta.filename],
      { env: { ...environment, [INSIDE]: '1' }, encoding: 'utf8', timeout: 300_000 },
    )
    assert.equal(status, 0, `${stdout}${stderr}`)
    assert.match(stdout, /^# pass [1-9]/m)
  })
} else {
  inside()
}

function ip(words: string): string {
  return execFileSync('ip', words.split(' '), { encoding: 'utf8' })
}

/** The network of this namespace, followed as the daemon does when nobody has configured otherwise. */
function open(options: Partial<HostNetworkOptions> = {}): Promise<OpenHostNetwork> {
  return openHostNetwork({
    onChange: () => undefined,
    onTrouble: assert.fail,
    isIgnored: () => false,
    prefersTemporary: false,
    followsRoutes: true,
    ownTable: 220,
    ...options,
  })
}

/** Waits until `isSo`, and gives what it gives; fails with `what` after a while that no machine needs. */
async function until<T>(isSo: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  for (let n = 0; ; n++) {
    const found = await isSo()
    if (found) return found
    assert.ok(n < 1000, what)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Waits until a count stays as it is for a second and a half: the kernel tells of links once in a second. */
async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count();) {
    before = count()
    await new Promise((resolve) => setTimeout(resolve, 1500))
  }
}

function inside(): void {
  test('addresses and routes come and go, and are followed', async () => {
    ip('link set lo up')
    // Pairs, each end of which is up: dummies are a module that not every machine has.
    for (const name of ['eth0', 'aside']) ip(`link add ${name} type veth peer name ${name}-peer`)
    ip('link set aside arp off')
    ip('address add 192.0.2.1/24 dev eth0')
    ip('address add 2001:db8::1/64 dev eth0 nodad')
    ip('address add 198.51.100.1/32 dev aside')
    for (const name of ['eth0', 'eth0-peer', 'aside', 'aside-peer']) ip(`link set ${name} up`)
    const troubles: string[] = []
    let changes = 0
    const host = await open({
      onChange: () => void changes++,
      onTrouble: (sentence) => void troubles.push(sentence),
      isIgnored: (name) => name === 'ignored',
    })
    try {
      const reaches = (local: string, remote: string): Promise<boolean> =>
        host.reaches(IpAddress.parse(local), IpAddress.parse(remote))
      const has = (text: string): boolean => host.addresses().some(({ address }) => address.toString() === text)
      await until(() => has('192.0.2.1') && has('198.51.100.1'), 'both have their carriers')
      // Neither what is for this machine alone, nor for one link.
      assert.deepEqual(
        host
          .addresses()
          .map(({ address, interface: name }) => `${name} ${address.toString()}`)
          .toSorted(),
        ['aside 198.51.100.1', 'eth0 192.0.2.1', 'eth0 2001:db8::1'],
      )
      assert.equal(await reaches('192.0.2.1', '192.0.2.9'), true)
      assert.equal(await reaches('2001:db8::1', '2001:db8::9'), true)
      assert.equal(await reaches('127.0.0.1', '127.0.0.1'), true)
      // No route, none from an address that is not ours, none by its interface; one that is aside may go by any.
      assert.equal(await reaches('192.0.2.1', '203.0.113.1'), false)
      assert.equal(await reaches('192.0.2.2', '192.0.2.9'), false)
      assert.equal(await reaches('198.51.100.1', '192.0.2.9'), true)
      ip('route add 203.0.113.0/24 via 192.0.2.9')
      await until(() => reaches('192.0.2.1', '203.0.113.1'), 'the route is there')
      const before = changes
      await until(() => changes >= before, 'it was told')
      ip('link add ignored type veth peer name ignored-peer')
      ip('link set ignored-peer up')
      ip('address add 198.51.100.9/32 dev ignored')
      ip('link set ignored up')
      ip('address add 192.0.2.77/24 dev eth0')
      await until(() => has('192.0.2.77'), 'an address comes')
      assert.ok(!has('198.51.100.9'))
      ip('address delete 192.0.2.77/24 dev eth0')
      await until(() => !has('192.0.2.77'), 'an address goes')
      ip('link set eth0-peer down')
      await until(() => !has('192.0.2.1'), 'the other end is unplugged')
      assert.equal(await reaches('192.0.2.1', '192.0.2.9'), false)
      assert.ok(changes > 0)
      assert.deepEqual(troubles, [])
    } finally {
      await host.close()
    }
  })

  test('an address that is put where it is already is no news', async () => {
    ip('link add virtual type veth peer name virtual-peer')
    for (const name of ['virtual', 'virtual-peer']) ip(`link set ${name} addrgenmode none up`)
    let changes = 0
    const host = await open({ onChange: () => void changes++ })
    const tunnels = await openTunnelNetwork({ table: 220, priority: 220, onTrouble: assert.fail })
    try {
      const addresses = ['192.0.2.55', '2001:db8:55::1'].map((text) => IpAddress.parse(text))
      const add = async (): Promise<void> => {
        for (const address of addresses)
          assert.equal(await tunnels.addAddress(address, host.interfaceIndex('virtual')!), null, address.toString())
      }
      const isThere = (address: IpAddress): boolean => ip('-o address show dev virtual').includes(` ${address.toString()}/`)
      await add()
      assert.ok(addresses.every(isThere))
      await settled(() => changes)
      const before = changes
      await add()
      await settled(() => changes)
      assert.equal(changes, before)
      for (const address of addresses) await tunnels.removeAddress(address, host.interfaceIndex('virtual')!)
      assert.ok(!addresses.some(isThere))
    } finally {
      await tunnels.close()
      await host.close()
    }
  })

  test('IPv6 addresses that change for privacy are told of and sent from only if they are preferred', async () => {
    ip('link add private type veth peer name private-peer')
    for (const name of ['private', 'private-peer']) ip(`link set ${name} addrgenmode none up`)
    writeFileSync('/proc/sys/net/ipv6/conf/private/use_tempaddr', '1')
    ip('address add 2001:db8:7::1/64 dev private nodad mngtmpaddr')
    const addressesOf = async (prefersTemporary: boolean): Promise<readonly string[]> => {
      const host = await open({ isIgnored: (name) => name !== 'private', prefersTemporary })
      await host.close()
      return host.addresses().map(({ address }) => address.toString())
    }
    // Made by the kernel, and looked at for a while whether somebody else has it.
    const temporary = await until(async () => (await addressesOf(true)).find((text) => text !== '2001:db8:7::1'), 'it is there')
    assert.deepEqual(await addressesOf(true), [temporary])
    assert.deepEqual(await addressesOf(false), ['2001:db8:7::1'])
    const to = IpAddress.parse('2001:db8:7::9').bytes
    const source = (prefersTemporary: boolean): string =>
      new IpAddress(native.sourceAddress(to, 0, false, prefersTemporary)).toString()
    assert.deepEqual([source(true), source(false)], [temporary, '2001:db8:7::1'])
  })

  test('where news of routes is not wanted, only addresses and links are followed, and routes are still there to be asked for', async () => {
    let changes = 0
    const host = await open({ onChange: () => void changes++, followsRoutes: false })
    try {
      ip('link add quiet type veth peer name quiet-peer')
      for (const name of ['quiet', 'quiet-peer']) ip(`link set ${name} addrgenmode none up`)
      ip('address add 192.0.2.150/24 dev quiet')
      const has = (text: string): boolean => host.addresses().some(({ address }) => address.toString() === text)
      await until(() => has('192.0.2.150'), 'an address comes')
      await settled(() => changes)
      const before = changes
      ip('route add 198.18.0.0/24 dev quiet')
      ip('rule add to 198.18.1.0/24 lookup 77')
      assert.equal(await host.reaches(IpAddress.parse('192.0.2.150'), IpAddress.parse('198.18.0.1')), true)
      await settled(() => changes)
      assert.equal(changes, before)
      ip('address add 192.0.2.151/24 dev quiet')
      await until(() => has('192.0.2.151') && changes > before, 'an address is news')
    } finally {
      await host.close()
    }
  })

  test('a storm of changes does no harm: what is lost is read anew', async () => {
    const troubles: string[] = []
    const host = await open({ onTrouble: (sentence) => void troubles.push(sentence) })
    try {
      ip('link add storm type veth peer name storm-peer')
      // Without IPv6, whose addresses come by themselves, a while later.
      for (const name of ['storm', 'storm-peer']) ip(`link set ${name} addrgenmode none up`)
      const has = (text: string): boolean => host.addresses().some(({ address }) => address.toString() === text)
      ip('address add 192.0.2.199/24 dev storm')
      await until(() => has('192.0.2.199'), 'all until now is known')
      await new Promise((resolve) => setTimeout(resolve, 1500))
      const batch = Array.from({ length: 20_000 }, (_, i) => `route add 10.${i >> 8}.${i & 255}.0/24 dev storm`)
      // All of it happens while nothing can be read.
      execFileSync('ip', ['-batch', '-'], { input: batch.join('\n') })
      ip('address add 192.0.2.200/24 dev storm')
      await until(() => has('192.0.2.200'), 'the last is known')
      assert.equal(await host.reaches(IpAddress.parse('192.0.2.200'), IpAddress.parse('10.0.7.1')), true)
      assert.deepEqual(troubles, [])
    } finally {
      await host.close()
    }
  })
}
