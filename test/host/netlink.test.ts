/**
 * The real kernel of this machine, in a network namespace of its own. It may have no ESP: what needs it is tested in
 * test/lab/kernel.test.ts, and here what the kernel then says. `ip xfrm` is the witness of what was installed.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, describe, test } from 'node:test'
import { inspect } from 'node:util'

import { toHex } from '../../src/base/bytes.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { type NetlinkKernel, openNetlinkKernel } from '../../src/edge/netlink.ts'
import { Books } from '../../src/kernel/books.ts'
import type { KernelError, KernelEvent, Operation, Outcome } from '../../src/kernel/vocabulary.ts'
import { cbc, counting, installation, LEFT, policy, RIGHT, selector, state } from '../kernel/fixtures.ts'

const INSIDE = 'ESPALIER_TEST_NAMESPACE'

if (process.env[INSIDE] === undefined) {
  test('the kernel of this machine, in a network namespace of its own', () => {
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--net', process.execPath, '--test', '--test-reporter=tap', import.meta.filename],
      {
        env: { ...environment, [INSIDE]: '1' },
        encoding: 'utf8',
        timeout: 300_000,
      },
    )
    assert.equal(status, 0, `${stdout}${stderr}`)
    assert.match(stdout, /^# pass [1-9]/m)
  })
} else {
  inside()
}

function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8' })
}

/** On one line, without what only kernels with CONFIG_XFRM_SUB_POLICY say. */
function policiesListed(): string {
  return ip('xfrm', 'policy')
    .replace(/ ptype main/g, '')
    .replace(/\s+/g, ' ')
}

/** Waits until `condition` holds; fails with `what` after a while that no machine needs. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let n = 0; !condition(); n++) {
    assert.ok(n < 1000, what)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function inside(): void {
  const events: KernelEvent[] = []
  const troubles: string[] = []
  let kernel: NetlinkKernel

  const perform = async (operation: Operation): Promise<Outcome> => {
    const [outcome] = await kernel.perform([operation])
    return outcome!
  }
  const refusal = async (operation: Operation): Promise<KernelError> => {
    const outcome = await perform(operation)
    assert.ok(outcome.kind === 'refused', `${operation.op} was to be refused`)
    return outcome.error
  }
  const hasEsp = (): boolean => kernel.capabilities.families.includes(4)

  describe('kernel', () => {
    before(async () => {
      // Routes over the loopback device go past all policies.
      ip('link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'out1')
      for (const device of ['out0', 'out1']) ip('link', 'set', device, 'up')
      ip('address', 'add', '192.0.2.1/24', 'dev', 'out0')
      ip('route', 'add', '203.0.113.0/24', 'dev', 'out0', 'src', '192.0.2.1')
      const algorithms = [
        { encryption: { id: 12, keyLength: 256 }, integrity: 12 },
        { encryption: { id: 99, keyLength: 256 }, integrity: 12 },
      ]
      kernel = await openNetlinkKernel({
        onEvent: (event) => events.push(event),
        onTrouble: (sentence) => troubles.push(sentence),
        algorithms,
      })
    })
    after(() => kernel.close())
    afterEach(() => {
      ip('xfrm', 'state', 'flush')
      ip('xfrm', 'policy', 'flush')
    })

    test('edge case 61: the check names what is missing with its remedy, and leaves nothing behind', () => {
      const { missing, families } = kernel.capabilities
      assert.ok(
        missing.includes('Linux has no name for encryption transform 99 with hmac(sha256): take it out of esp_proposals.'),
      )
      const noEsp = 'This kernel has no ESP for IPv4: load the module esp4 (modprobe esp4) or use a kernel with CONFIG_INET_ESP.'
      assert.equal(missing.includes(noEsp), !families.includes(4))
      assert.equal(missing.length, hasEsp() ? 1 + (families.includes(6) ? 0 : 1) : 3)
      assert.equal(ip('xfrm', 'state'), '')
    })

    test('reserved SPIs live as long as an exchange with all its retransmissions', () => {
      assert.equal(readFileSync('/proc/sys/net/core/xfrm_acq_expires', 'utf8').trim(), '165')
    })

    test('SPIs are reserved in our range, and given back', async () => {
      const outcome = await perform({ op: 'allocate-spi', source: RIGHT, destination: LEFT, reqid: 5, mode: 'tunnel' })
      assert.ok(outcome.kind === 'spi')
      assert.equal(outcome.spi >>> 28, 0xc)
      const listing = ip('xfrm', 'state')
      assert.match(
        listing,
        new RegExp(`src 198.51.100.2 dst 192.0.2.1\\s+proto esp spi 0x${outcome.spi.toString(16)} reqid 5 mode tunnel`),
      )
      const id = { spi: outcome.spi, source: RIGHT, destination: LEFT }
      const usage = await perform({ op: 'query-state', id })
      assert.ok(usage.kind === 'usage' && usage.usage.packets === 0n)
      assert.equal((await perform({ op: 'delete-state', id })).kind, 'done')
      assert.equal(ip('xfrm', 'state'), '')
      assert.equal((await refusal({ op: 'delete-state', id })).code, 'KERNEL_NO_SUCH_STATE')
      assert.equal((await refusal({ op: 'query-state', id })).code, 'KERNEL_NO_SUCH_STATE')
    })

    test('a state that cannot be is refused in the words of the kernel, without its key', async () => {
      // Without ESP every state; with it one whose key is no AES key.
      const { encryption, integrity } = cbc(0x41)
      const short = { encryption: { id: 20, keyLength: 64, key: encryption.key.slice(0, 12) }, integrity: null }
      const error = await refusal({ op: 'add-state', state: state(hasEsp() ? short : { encryption, integrity }) })
      if (hasEsp()) {
        assert.equal(error.code, 'KERNEL_REFUSED')
        assert.ok(error.kernelText !== null && error.message.endsWith(`: EINVAL (${error.kernelText})`), error.message)
      } else {
        assert.equal(error.code, 'KERNEL_UNSUPPORTED')
        assert.equal(error.kernelText, 'Requested type not found')
        assert.match(
          error.message,
          /^the kernel refused to add the inbound state 0xc1020304 .*: EPROTONOSUPPORT \(Requested type not found\)$/,
        )
      }
      const key = counting(0x41, 8)
      for (const text of [toHex(key), Buffer.from(key).toString('latin1')]) assert.ok(!inspect(error).includes(text))
    })

    test('an algorithm the kernel has not is named by it', async () => {
      const error = await refusal({ op: 'add-state', state: state({ ...cbc(), encryption: { ...cbc().encryption, id: 99 } }) })
      assert.deepEqual([error.code, error.kernelText], ['KERNEL_UNSUPPORTED', 'no kernel name for encryption transform 99'])
    })

    test('policies of both modes and families are what `ip xfrm policy` reads', async () => {
      const v6 = { source: IpAddress.parse('2001:db8::1'), destination: IpAddress.parse('2001:db8::2') }
      const policies = [
        policy(),
        policy({ direction: 'fwd', template: { source: RIGHT, destination: LEFT, mode: 'tunnel', reqid: 7, spi: 0xcabbccdd } }),
        policy({
          direction: 'in',
          selector: selector('2001:db8::2', '2001:db8::1', { protocol: 17, destinationPorts: { first: 1701, last: 1701 } }),
          priority: 12345,
          template: { ...v6, mode: 'transport', reqid: 9, spi: 0 },
        }),
        policy({ selector: selector('10.7.0.0/16', '0.0.0.0/0'), action: 'block', template: null }),
      ]
      for (const outcome of await kernel.perform(policies.map((one) => ({ op: 'set-policy', policy: one }))))
        assert.equal(outcome.kind, 'done')
      const listing = policiesListed()
      for (const expected of [
        'src 10.1.0.0/16 dst 10.2.3.0/24 dir out priority 375935 tmpl src 192.0.2.1 dst 198.51.100.2 proto esp spi 0xcabbccdd reqid 7 mode tunnel',
        'src 10.1.0.0/16 dst 10.2.3.0/24 dir fwd priority 375935 tmpl src 198.51.100.2 dst 192.0.2.1 proto esp reqid 7 mode tunnel',
        'src 2001:db8::2/128 dst 2001:db8::1/128 proto udp dport 1701 dir in priority 12345 tmpl src :: dst :: proto esp reqid 9 mode transport',
        'src 10.7.0.0/16 dst 0.0.0.0/0 dir out action block priority 375935',
      ])
        assert.ok(listing.includes(expected), `${expected} in ${listing}`)

      assert.equal((await perform({ op: 'set-policy', policy: { ...policies[0]!, priority: 1 } })).kind, 'done')
      assert.match(policiesListed(), /src 10.1.0.0\/16 dst 10.2.3.0\/24 dir out priority 1 /)
      for (const outcome of await kernel.perform(policies.map((id) => ({ op: 'delete-policy', id }))))
        assert.equal(outcome.kind, 'done')
      assert.equal(ip('xfrm', 'policy'), '')
      assert.equal((await refusal({ op: 'delete-policy', id: policies[0]! })).code, 'KERNEL_NO_SUCH_POLICY')
    })

    test('a packet without a state raises an acquire, and policies bring it about', async () => {
      const template = { source: LEFT, destination: IpAddress.parse('192.0.2.200'), mode: 'tunnel', reqid: 77, spi: 0 } as const
      const trap = policy({ selector: selector('192.0.2.1', '203.0.113.0/24', { protocol: 17 }), template })
      assert.equal((await perform({ op: 'set-policy', policy: trap })).kind, 'done')
      events.length = 0
      const socket = createSocket('udp4')
      await new Promise((resolve) => socket.send('x', 5353, '203.0.113.9', resolve))
      const { port } = socket.address()
      socket.close()
      await until(() => events.length > 0, 'an acquire comes')
      const [event] = events
      assert.ok(event?.event === 'acquire')
      assert.ok(event.sequence > 0)
      assert.deepEqual([event.reqid, event.source, event.destination], [77, LEFT, template.destination])
      assert.deepEqual(event.policy, trap.selector)
      assert.equal(event.packet.destination.toString(), '203.0.113.9/32')
      assert.deepEqual([event.packet.sourcePorts.first, event.packet.destinationPorts.first], [port, 5353])
    })

    test('a thousand operations at once are answered each, in several sends', async () => {
      const operations = Array.from({ length: 1000 }, (_, i): Operation =>
        i % 2 === 0
          ? { op: 'set-policy', policy: policy({ selector: selector('10.0.0.0/8', `172.16.${i >> 8}.${i & 255}`) }) }
          : { op: 'query-state', id: { spi: i, source: RIGHT, destination: LEFT } },
      )
      const outcomes = await kernel.perform(operations)
      assert.deepEqual(new Set(outcomes.filter((_, i) => i % 2 === 0).map(({ kind }) => kind)), new Set(['done']))
      assert.deepEqual(
        new Set(outcomes.filter((_, i) => i % 2 === 1).map((outcome) => outcome.kind === 'refused' && outcome.error.code)),
        new Set(['KERNEL_NO_SUCH_STATE']),
      )
      const deletions = operations
        .filter((operation) => operation.op === 'set-policy')
        .map((operation): Operation => ({ op: 'delete-policy', id: operation.policy }))
      assert.deepEqual(new Set((await kernel.perform(deletions)).map(({ kind }) => kind)), new Set(['done']))
      assert.equal(ip('xfrm', 'policy'), '')
    })

    test('a CHILD_SA goes in whole or not at all', async () => {
      const books = new Books(kernel)
      const spi = await books.allocateSpi(LEFT, RIGHT, 'tunnel')
      const install = books.install(installation(spi, { inbound: cbc(1), outbound: cbc(2) }))
      if (hasEsp()) {
        await books.remove(await install)
      } else {
        await assert.rejects(install, { code: 'KERNEL_UNSUPPORTED' })
      }
      await books.allocateSpi(LEFT, RIGHT, 'tunnel')
      assert.deepEqual(await books.removeAll(), [])
      assert.equal(ip('xfrm', 'state') + ip('xfrm', 'policy'), '')
    })

    test('edge case 57: lost events are told of as an overrun, and the next ones arrive again', async (context) => {
      const template = { source: LEFT, destination: RIGHT, mode: 'transport', reqid: 78, spi: 0 } as const
      const seen: KernelEvent[] = []
      const said: string[] = []
      const small = await openNetlinkKernel({
        onEvent: (event) => seen.push(event),
        onTrouble: (sentence) => said.push(sentence),
        receiveBufferBytes: 1,
      })
      context.after(() => small.close())
      const trap = policy({ selector: selector('192.0.2.1', '203.0.113.0/24', { protocol: 17 }), template })
      await perform({ op: 'set-policy', policy: trap })
      const send = (count: number): void => {
        const program = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${count}):
  try: s.sendto(b'x', ('203.0.113.%d' % (1 + i), 9))
  except OSError: pass`
        // Blocking, so that nobody reads events meanwhile. Each destination is an acquire of its own in transport mode.
        spawnSync('python3', ['-c', program])
      }
      send(100)
      await until(() => seen.some(({ event }) => event === 'overrun'), 'an overrun is told of')
      assert.ok(seen.filter(({ event }) => event === 'acquire').length < 100)
      assert.deepEqual(said, [])
      ip('xfrm', 'state', 'flush')
      seen.length = 0
      send(1)
      await until(() => seen.some(({ event }) => event === 'acquire'), 'events arrive again')
      assert.equal((await small.perform([{ op: 'delete-policy', id: trap }]))[0]?.kind, 'done')
    })

    test('what goes wrong with whom events are told is reported as any other exception', async () => {
      const template = { source: LEFT, destination: RIGHT, mode: 'tunnel', reqid: 79, spi: 0 } as const
      await perform({ op: 'set-policy', policy: policy({ selector: selector('192.0.2.1', '203.0.113.0/24'), template }) })
      const program = `
        import { spawnSync } from 'node:child_process'
        import { openNetlinkKernel } from ${JSON.stringify(new URL('../../src/edge/netlink.ts', import.meta.url).href)}
        process.on('uncaughtException', (error) => { console.log(error.message); process.exit(7) })
        await openNetlinkKernel({ onEvent: () => { throw new Error('mine') } })
        console.log('open')
        const send = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('203.0.113.1', 9))"
        setInterval(() => void spawnSync('python3', ['-c', send]), 100)`
      const { stdout, status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
        encoding: 'utf8',
        timeout: 60_000,
      })
      assert.deepEqual({ stdout, status, signal }, { stdout: 'open\nmine\n', status: 7, signal: null })
    })

    test('after close every operation is refused, those on their way as well', async () => {
      const other = await openNetlinkKernel({ onEvent: () => undefined })
      const onItsWay = other.perform([{ op: 'query-state', id: { spi: 1, source: RIGHT, destination: LEFT } }])
      await other.close()
      await other.close()
      const codeOf = ([outcome]: readonly Outcome[]): unknown => outcome?.kind === 'refused' && outcome.error.code
      assert.equal(codeOf(await onItsWay), 'KERNEL_UNAVAILABLE')
      assert.equal(
        codeOf(await other.perform([{ op: 'query-state', id: { spi: 1, source: RIGHT, destination: LEFT } }])),
        'KERNEL_UNAVAILABLE',
      )
    })

    test('a loop that was blocked for longer than the time-out still reads the answers', async () => {
      const impatient = await openNetlinkKernel({ onEvent: () => undefined, replyTimeout: 20 })
      const query = impatient.perform([{ op: 'query-state', id: { spi: 1, source: RIGHT, destination: LEFT } }])
      // The request leaves in a microtask; then nothing runs until well after the time-out.
      await Promise.resolve()
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      const [outcome] = await query
      assert.equal(outcome?.kind === 'refused' && outcome.error.code, 'KERNEL_NO_SUCH_STATE')
      await impatient.close()
    })

    test('without CAP_NET_ADMIN the check says so and nothing is refused but politely', () => {
      const program = `
        import { openNetlinkKernel } from ${JSON.stringify(new URL('../../src/edge/netlink.ts', import.meta.url).href)}
        const kernel = await openNetlinkKernel({ onEvent: () => undefined })
        console.log(JSON.stringify(kernel.capabilities))
        await kernel.close()`
      const { stdout, stderr } = spawnSync(
        'setpriv',
        ['--bounding-set=-net_admin', '--inh-caps=-net_admin', process.execPath, '--input-type=module', '-e', program],
        { encoding: 'utf8' },
      )
      assert.equal(stderr, '')
      const { missing, families } = JSON.parse(stdout) as { missing: string[]; families: number[] }
      assert.equal(missing.length, 1)
      assert.match(missing[0]!, /capability CAP_NET_ADMIN/)
      assert.deepEqual(families, [])
    })

    test('nothing troubled the sockets', () => {
      assert.deepEqual(troubles, [])
    })
  })
}
