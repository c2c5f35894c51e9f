/** Name servers in a resolver: by commands that stand in for resolvconf and resolvectl, and in a file. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { IpAddress } from '../../src/base/ip.ts'
import { systemResolver } from '../../src/edge/resolver.ts'
import { ShellScripts } from '../../src/edge/scripts.ts'
import type { NameServer, Resolver } from '../../src/ports.ts'

const servers = (...texts: readonly string[]): readonly NameServer[] =>
  texts.map((text) => ({ address: IpAddress.parse(text), interface: 'eth0' }))

class Place {
  readonly directory: string
  readonly lines: string[] = []
  readonly record: string

  constructor(t: TestContext) {
    this.directory = mkdtempSync(join(tmpdir(), 'espalier-test-'))
    t.after(() => rmSync(this.directory, { recursive: true, force: true }))
    this.record = join(this.directory, 'record')
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** A command that notes how it is called and what it reads. */
  command(name: string, more = ''): string {
    writeFileSync(
      this.path(name),
      `#!/bin/sh\n{ echo "${name} $(printf '<%s>' "$@")"; [ "$1" = -a ] && cat; ${more} true; } >>${this.record}\n`,
    )
    chmodSync(this.path(name), 0o755)
    return this.path(name)
  }

  recorded(): readonly string[] {
    const text = existsSync(this.record) ? readFileSync(this.record, 'utf8') : ''
    rmSync(this.record, { force: true })
    return text.split('\n').slice(0, -1)
  }

  resolver(configured: string | null = null): Resolver {
    return systemResolver(
      { file: this.path('resolv.conf'), resolvconf: configured, interface: 'lo.ipsec' },
      new ShellScripts({ path: process.env['PATH'] }),
      (line) => void this.lines.push(line),
      { resolvconf: this.path('resolvconf'), resolvectl: this.path('resolvectl'), resolved: this.path('resolve') },
    )
  }
}

test('resolvconf, where there is one, is told of all of them, and at the end that there are none', async (t) => {
  const place = new Place(t)
  place.command('resolvconf')
  const resolver = place.resolver()
  assert.equal(resolver.place, 'via resolvconf')
  assert.equal(await resolver.use(servers('10.1.0.53')), null)
  assert.equal(await resolver.use(servers('10.1.0.53', 'fd00:1::53')), null)
  assert.equal(await resolver.use([]), null)
  assert.deepEqual(place.recorded(), [
    'resolvconf <-a><lo.ipsec>',
    'nameserver 10.1.0.53',
    'resolvconf <-a><lo.ipsec>',
    'nameserver 10.1.0.53',
    'nameserver fd00:1::53',
    'resolvconf <-d><lo.ipsec>',
  ])
})

test('a configured command comes before what there is, and may have arguments; what it says and how it ends is told', async (t) => {
  const place = new Place(t)
  place.command('resolvconf')
  const other = place.command('other')
  const resolver = place.resolver(`${other} -x`)
  await resolver.use(servers('10.1.0.53'))
  assert.deepEqual(place.recorded(), ['other <-x><-a><lo.ipsec>'])
  const failing = place.resolver('sh -c "echo no; exit 2" x')
  assert.equal(await failing.use(servers('10.1.0.53')), 'exit status 2')
  assert.deepEqual(place.lines, ['resolvconf: no'])
})

test('systemd-resolved gets them before those of the interface, which are left alone in the end', async (t) => {
  const place = new Place(t)
  mkdirSync(place.path('resolve'))
  place.command('resolvectl', '[ $# = 2 ] && echo "Link 2 (eth0): 192.0.2.53 2001:db8::53" >&2;')
  // systemd has a resolvconf of its own, which is another thing than the real one.
  symlinkSync('resolvectl', place.path('resolvconf'))
  const resolver = place.resolver()
  assert.equal(resolver.place, 'via systemd-resolved')
  for (const now of [servers('10.1.0.53'), servers('10.1.0.53', '10.1.0.54'), []]) assert.equal(await resolver.use(now), null)
  assert.deepEqual(place.recorded(), [
    'resolvectl <dns><eth0>',
    'resolvectl <dns><eth0><10.1.0.53><192.0.2.53><2001:db8::53>',
    'resolvectl <dns><eth0><10.1.0.53><10.1.0.54><192.0.2.53><2001:db8::53>',
    'resolvectl <dns><eth0><192.0.2.53><2001:db8::53>',
  ])
})

test('an interface that had none has none again; its name is no text for the shell', async (t) => {
  const place = new Place(t)
  mkdirSync(place.path('resolve'))
  place.command('resolvectl')
  const resolver = place.resolver()
  const name = '$(reboot);x'
  await resolver.use([{ address: IpAddress.parse('10.1.0.53'), interface: name }])
  await resolver.use([])
  assert.deepEqual(place.recorded(), [
    `resolvectl <dns><${name}>`,
    `resolvectl <dns><${name}><10.1.0.53>`,
    `resolvectl <dns><${name}><>`,
  ])
  assert.equal(
    await resolver.use([{ address: IpAddress.parse('10.1.0.53'), interface: null }]),
    'there is no interface that leads to the peer',
  )
})

test('without either, they stand in resolv.conf before all others, and go from there', async (t) => {
  const place = new Place(t)
  const file = place.path('resolv.conf')
  const before = 'search example.org\nnameserver 192.0.2.53\n# a comment\n'
  writeFileSync(file, before)
  const resolver = place.resolver()
  assert.equal(resolver.place, `to ${file}`)
  assert.equal(await resolver.use(servers('10.1.0.53', 'fd00:1::53')), null)
  assert.equal(
    readFileSync(file, 'utf8'),
    `nameserver 10.1.0.53   # by espalier\nnameserver fd00:1::53   # by espalier\n${before}`,
  )
  assert.equal(await resolver.use(servers('fd00:1::53')), null)
  assert.equal(readFileSync(file, 'utf8'), `nameserver fd00:1::53   # by espalier\n${before}`)
  assert.equal(await resolver.use([]), null)
  assert.equal(readFileSync(file, 'utf8'), before)
  assert.deepEqual(readdirSync(place.directory), ['resolv.conf'])
})

test('what one that was killed left there goes when the next one begins, and nothing else', (t) => {
  const place = new Place(t)
  const file = place.path('resolv.conf')
  writeFileSync(file, 'nameserver 10.1.0.53   # by espalier\nnameserver 192.0.2.53   # by strongSwan\n')
  place.resolver()
  assert.equal(readFileSync(file, 'utf8'), 'nameserver 192.0.2.53   # by strongSwan\n')
})

test('a link stays a link, a missing file is made, one that cannot be is told', async (t) => {
  const place = new Place(t)
  const file = place.path('resolv.conf')
  writeFileSync(place.path('elsewhere'), 'nameserver 192.0.2.53\n')
  symlinkSync('elsewhere', file)
  await place.resolver().use(servers('10.1.0.53'))
  assert.ok(lstatSync(file).isSymbolicLink())
  assert.match(readFileSync(place.path('elsewhere'), 'utf8'), /^nameserver 10\.1\.0\.53/)
  rmSync(file)
  assert.equal(await place.resolver().use(servers('10.1.0.53')), null)
  assert.equal(readFileSync(file, 'utf8'), 'nameserver 10.1.0.53   # by espalier\n')
  rmSync(file)
  mkdirSync(file)
  assert.match((await place.resolver().use(servers('10.1.0.53')))!, /is no resolv\.conf/)
})
