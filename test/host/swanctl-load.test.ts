/**
 * Configuration by Debian's swanctl: what --load-all and its parts say, leave behind, and leave alone.
 */
import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { tryRun, type Finished } from '../lab/support/process.ts'

const SECRET = 'a key nobody may ever read in a log'

const connection = (name: string, more = ''): string => `
  ${name} {
    remote_addrs = 192.0.2.${name.length}
    local { auth = psk
      id = client.example }
    remote { auth = psk
      id = ${name}.example }
    children { net { local_ts = 10.10.0.0/16, 10.11.0.0/16
      remote_ts = 10.20.0.0/24
      esp_proposals = aes256gcm16, default } }
    ${more}
  }`
const file = (connections: string, more = ''): string =>
  `connections {${connections}\n}\nsecrets {\n ike-1 {\n secret = "${SECRET}"\n id-1 = client.example\n }\n ${more}\n}\n`

class Place {
  readonly espalier: Espalier
  readonly directory: string

  private constructor(espalier: Espalier, directory: string) {
    this.espalier = espalier
    this.directory = directory
  }

  /** A daemon without a configuration, and a directory for swanctl. */
  static async of(t: TestContext): Promise<Place> {
    const lab = new Lab(t)
    const host = await lab.host('gateway')
    const espalier = await Espalier.start(host, { kernel: 'memory', configuration: '' })
    const directory = join(await lab.directory(), 'swanctl-of-the-client')
    await mkdir(directory)
    return new Place(espalier, directory)
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(join(this.directory, path, '..'), { recursive: true })
    await writeFile(join(this.directory, path), text)
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.directory, path))
  }

  try(...args: string[]): Promise<Finished> {
    return tryRun('swanctl', [...args, '--uri', this.espalier.uri], { env: { SWANCTL_DIR: this.directory } })
  }

  async run(...args: string[]): Promise<string> {
    const { stdout, stderr, status } = await this.try(...args)
    assert.equal(status, 0, `swanctl ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  load(): Promise<string> {
    return this.run('--load-all', '--noprompt')
  }
}

test('--load-all loads everything, and again changes nothing; what goes from the file goes', async (t) => {
  const place = await Place.of(t)
  await place.write('swanctl.conf', `${file(connection('home') + connection('away'))}pools { clients { addrs = 10.3.0.0/24 } }\n`)
  const said = [
    `loaded ike secret 'ike-1'`,
    'no authorities found, 0 unloaded',
    `loaded pool 'clients'`,
    'successfully loaded 1 pools, 0 unloaded',
    `loaded connection 'home'`,
    `loaded connection 'away'`,
    'successfully loaded 2 connections, 0 unloaded',
    '',
  ].join('\n')
  assert.equal(await place.load(), said)
  const changes = place.espalier.events('configuration-changed').length
  assert.equal(changes, 4)
  const listed = await place.run('--list-conns', '--raw')
  assert.equal(await place.load(), said)
  assert.equal(await place.run('--list-conns', '--raw'), listed)
  assert.equal(place.espalier.events('configuration-changed').length, changes)

  await place.write('swanctl.conf', file(connection('home'), 'ike-2 {\n secret = 0x0102\n }'))
  assert.match(await place.load(), /no pools found, 1 unloaded\n.*\nsuccessfully loaded 1 connections, 1 unloaded\n$/)
  assert.deepEqual(
    place.espalier
      .events('configuration-changed')
      .slice(changes)
      .map(({ name, change }) => `${String(name)} ${String(change)}`),
    ['ike-2 added', 'clients removed', 'away removed'],
  )
  await place.write('swanctl.conf', '')
  assert.match(await place.run('--load-creds', '--clear', '--noprompt'), /^$/)
  assert.match(await place.run('--load-conns'), /^no connections found, 1 unloaded\n$/)
  assert.equal(await place.run('--list-conns'), '')
  assert.ok(!place.espalier.daemon.lines.join('\n').includes(SECRET))
})

test('--list-conns shows a person what there is', async (t) => {
  const place = await Place.of(t)
  await place.write('swanctl.conf', file(connection('home', 'version = 2\n rekey_time = 2h\n dpd_delay = 30s')))
  await place.load()
  assert.equal(
    await place.run('--list-conns'),
    [
      'home: IKEv2, no reauthentication, rekeying every 7200s, dpd delay 30s',
      '  local:  %any',
      '  remote: 192.0.2.4',
      '  local pre-shared key authentication:',
      '    id: client.example',
      '  remote pre-shared key authentication:',
      '    id: home.example',
      '  net: TUNNEL, rekeying every 3600s, dpd action is none',
      '    local:  10.10.0.0/16 10.11.0.0/16',
      '    remote: 10.20.0.0/24',
      '',
    ].join('\n'),
  )
})

test('what cannot be is refused by name, with the rest loaded', async (t) => {
  const place = await Place.of(t)
  const broken =
    connection('home') +
    connection('labelled').replace('net {', 'net { label = secret\n') +
    connection('slip', 'rekey_tim = 1h') +
    connection('unready', 'rekey_time = soon')
  await place.write('swanctl.conf', file(broken))
  const { stderr, status } = await place.try('--load-conns')
  assert.notEqual(status, 0)
  assert.deepEqual(
    stderr.split('\n').filter((line) => line !== ''),
    [
      `loading connection 'labelled' failed: not supported: label, config discarded: connections.labelled.children.net.label: not supported: policies without the security label would apply to other traffic`,
      `loading connection 'slip' failed: unknown option: rekey_tim, config discarded: connections.slip.rekey_tim: unknown key 'rekey_tim'; did you mean 'rekey_time'?`,
      `loading connection 'unready' failed: invalid value for: rekey_time, config discarded: connections.unready.rekey_time: expected a time such as 90, 90s, 5m, 4h or 1d, not 'soon'`,
      `loaded 1 of 4 connections, 3 failed to load, 0 unloaded`,
    ],
  )
  assert.match(await place.run('--list-conns', '--raw'), /^list-conn event \{home \{/)
})

test('secrets of other kinds are taken, authorities without a certificate refused', async (t) => {
  const place = await Place.of(t)
  await place.write('swanctl.conf', file(connection('home'), 'eap-carol {\n secret = word\n id = carol\n }'))
  assert.match(await place.load(), /loaded eap secret 'eap-carol'/)
  assert.match(
    (await place.espalier.event('configuration-warning')).msg,
    /^eap-carol: kept, and not used: EAP is not supported yet$/,
  )
  await place.write('swanctl.conf', `${file(connection('home'))}authorities {\n ca {\n file = /ca.pem\n }\n}\n`)
  const { stderr, status } = await place.try('--load-authorities')
  assert.notEqual(status, 0)
  assert.match(stderr, /^loading authority 'ca' failed: CA certificate missing: ca: \/ca\.pem: there is no such file\n/)
  for (const list of ['--list-authorities', '--list-certs', '--list-pools']) assert.equal(await place.run(list), '')
  assert.equal(await place.run('--flush-certs', '--raw'), 'flush-certs reply {success=yes}\n')
})

test('keys that are ours alone come through swanctl, and through espalier load, and are heeded or refused as in a file', async (t) => {
  const place = await Place.of(t)
  const ours = 'nat = refuse\n public_addrs = 203.0.113.5, 2001:db8::5'
  await place.write('swanctl.conf', file(connection('cloud', ours)))
  assert.match(await place.load(), /loaded connection 'cloud'/)
  // The same to both: a second load by either changes nothing.
  const main = join(import.meta.dirname, '../../src/main.ts')
  const env = { SWANCTL_DIR: place.directory }
  const again = await tryRun(process.execPath, [main, 'load', '--uri', place.espalier.uri], { env })
  assert.deepEqual([again.status, again.stderr], [0, ''])
  assert.match(again.stdout, /^1 secret, 1 connection loaded/m)

  await place.write('swanctl.conf', file(connection('cloud', 'nat = refuse\n encap = yes')))
  const { stdout, stderr, status } = await place.try('--load-all', '--noprompt')
  assert.notEqual(status, 0)
  assert.match(stdout + stderr, /invalid value for: nat, config discarded: .*encap = yes/)
})
