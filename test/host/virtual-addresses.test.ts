/**
 * What a gateway for clients with virtual addresses does on a machine besides packets: leases that outlive the daemon,
 * however it ends, and the commands of children, Debian's own among them. Handshakes are real, the kernel is in memory.
 */
import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { type Host, Lab } from '../lab/support/network.ts'
import { eventually } from '../lab/support/process.ts'

const GATEWAY = '192.0.2.1'

interface Place {
  readonly lab: Lab
  readonly gateway: Host
  readonly clients: readonly Host[]
}

async function place(t: TestContext): Promise<Place> {
  const lab = new Lab(t)
  const gateway = await lab.host('gateway')
  const clients = [await lab.host('alice'), await lab.host('bob')]
  await lab.network('wire', [[gateway, `${GATEWAY}/24`], ...clients.map((host, at) => [host, `192.0.2.${at + 2}/24`] as const)])
  return { lab, gateway, clients }
}

const secret = 'secrets { ike-1 { secret = "the gardener keeps the key" } }\n'
const gatewayText = (child = ''): string => `
connections {
  clients {
    pools = clients
    local { auth = psk
      id = gateway.example }
    remote { auth = psk }
    children { net { local_ts = 10.20.0.0/24, 10.21.0.0/24
      remote_ts = dynamic
      ${child} } }
  }
}
pools { clients { addrs = 10.3.0.0/29 } }
${secret}`
const clientText = (name: string): string => `
connections {
  gateway {
    remote_addrs = ${GATEWAY}
    vips = 0.0.0.0
    local { auth = psk
      id = ${name} }
    remote { auth = psk
      id = gateway.example }
    children { net { local_ts = dynamic
      remote_ts = 0.0.0.0/0 } }
  }
}
${secret}`

/** Initiates as `name`, and returns the address that it gets. */
async function addressOf(host: Host, name: string): Promise<string> {
  const client = await Espalier.start(host, { kernel: 'memory', configuration: clientText(name) })
  await client.swanctl('--initiate', '--child', 'net')
  const listed = await client.swanctl('--list-sas')
  await client.kill()
  const [, address] = /local {2}'.*' @ .* \[(10\.3\.0\.\d+)\]/.exec(listed) ?? []
  assert.ok(address !== undefined, listed)
  return address
}

const kept = async (gateway: Espalier): Promise<string> =>
  await readFile(join(gateway.directory, 'state/leases'), 'utf8').catch(() => '')

for (const end of ['SIGKILL', 'SIGTERM'] as const) {
  test(`who had an address has it again after ${end} and a new start of the daemon, whoever comes first`, async (t) => {
    const { gateway, clients } = await place(t)
    const start = (): Promise<Espalier> => Espalier.start(gateway, { kernel: 'memory', configuration: gatewayText() })
    const before = await start()
    const first = await addressOf(clients[0]!, 'alice.example')
    const second = await addressOf(clients[1]!, 'bob.example')
    assert.notEqual(first, second)
    if (end === 'SIGKILL') {
      await eventually('both are in the file', async () => ((await kept(before)).includes('\nend 2\n') ? true : undefined))
      await before.kill()
    } else await before.stop()
    const after = await start()
    assert.deepEqual(after.events('lease-file-trouble'), [])
    const listed = await after.swanctl('--list-pools', '--leases')
    assert.match(listed, /clients\s+10\.3\.0\.1\s+0 \/ 2 \/ 6/)
    const third = await addressOf(clients[1]!, 'carol.example')
    assert.ok(![first, second].includes(third), third)
    assert.equal(await addressOf(clients[1]!, 'bob.example'), second)
    assert.equal(await addressOf(clients[0]!, 'alice.example'), first)
  })
}

test('a file of leases that is none, and a place for it that there is not, are told and no reason not to start', async (t) => {
  const { gateway, clients } = await place(t)
  const directory = await gateway.lab.directory()
  const file = join(directory, 'leases')
  await writeFile(file, 'espalier leases 1\n["clients","10.3')
  const settings = `lease_file = ${file}`
  const first = await Espalier.start(gateway, { kernel: 'memory', configuration: gatewayText(), settings })
  assert.match((await first.event('lease-file-trouble')).msg, /put aside as .*leases\.broken: its end is missing/)
  assert.equal(await addressOf(clients[0]!, 'alice.example'), '10.3.0.1')
  await first.stop()
  assert.match(
    await readFile(file, 'utf8'),
    /^espalier leases 1\n\["clients","10\.3\.0\.1","2 alice\.example","alice\.example"\]\nend 1\n$/,
  )

  const nowhere = `lease_file = ${directory}/no/such/place/leases`
  const second = await Espalier.start(gateway, { kernel: 'memory', configuration: gatewayText(), settings: nowhere })
  await addressOf(clients[0]!, 'alice.example')
  assert.match((await second.event('lease-file-trouble')).msg, /^who has which virtual address is not kept/)
  await addressOf(clients[1]!, 'bob.example')
  await writeFile(join(second.directory, 'strongswan.conf'), `charon { lease_file = ${file}\n}`)
  second.daemon.signal('SIGHUP')
  assert.match((await second.event('reload-partial')).msg, /they count from the next start on/)
  await second.stop()
  assert.equal(second.events('lease-file-trouble').length, 1)
})

test("Debian's own _updown opens the firewall for a client, and closes it when the client goes", async (t) => {
  const { lab, gateway, clients } = await place(t)
  const directory = await lab.directory()
  const programs = join(directory, 'programs')
  const record = join(directory, 'record')
  await mkdir(programs)
  // What stands in for iptables notes what it is asked for, and says something.
  await writeFile(join(programs, 'iptables'), `#!/bin/sh\necho "$@" >>${record}\necho "asked for $1 $2"\n`)
  // It looks for that where it is usual, and nowhere else.
  const updown = await readFile('/usr/lib/ipsec/_updown', 'utf8')
  assert.match(updown, /^PATH="/m)
  await writeFile(join(programs, 'updown'), updown.replace(/^PATH="/m, `PATH="${programs}:`))
  for (const name of ['iptables', 'updown']) await chmod(join(programs, name), 0o755)
  const daemon = await Espalier.start(gateway, {
    kernel: 'memory',
    configuration: gatewayText(`updown = ${programs}/updown iptables\n hostaccess = yes`),
  })
  const client = await Espalier.start(clients[0]!, { kernel: 'memory', configuration: clientText('alice.example') })
  await client.swanctl('--initiate', '--child', 'net')
  const recorded = async (count: number): Promise<readonly string[]> =>
    await eventually(`${count} calls of iptables`, async () => {
      const lines = (await readFile(record, 'utf8').catch(() => '')).split('\n').slice(0, -1)
      return lines.length >= count ? lines : undefined
    })
  const opened = await recorded(8)
  const policy = /-m policy --pol ipsec --proto esp --reqid \d+ --dir (in|out)/
  assert.deepEqual(
    opened.map((line) => line.replace(policy, 'POLICY $1')),
    ['10.20.0.0/24', '10.21.0.0/24'].flatMap((network) => [
      `-I FORWARD 1 -o wire -p 0 -s ${network} -d 10.3.0.1/32 POLICY out -j ACCEPT`,
      `-I FORWARD 1 -i wire -p 0 -s 10.3.0.1/32 -d ${network} POLICY in -j ACCEPT`,
      `-I INPUT 1 -i wire -p 0 -s 10.3.0.1/32 -d ${network} POLICY in -j ACCEPT`,
      `-I OUTPUT 1 -o wire -p 0 -s ${network} -d 10.3.0.1/32 POLICY out -j ACCEPT`,
    ]),
  )
  assert.equal((await daemon.event('script-said')).msg, 'updown: asked for -I FORWARD')
  await client.swanctl('--rekey', '--child', 'net')
  await client.swanctl('--rekey', '--ike', 'gateway')
  await client.stop()
  const all = await recorded(16)
  assert.deepEqual(
    all.slice(8).map((line) => line.replace('-D FORWARD', '-I FORWARD 1').replace(/-D (IN|OUT)PUT/, '-I $1PUT 1')),
    opened,
  )
  await daemon.stop()
  assert.equal((await recorded(16)).length, 16)
  assert.deepEqual(daemon.events('script-trouble'), [])
})

test('at the end of the daemon every command has its turn', async (t) => {
  const { lab, gateway, clients } = await place(t)
  const record = join(await lab.directory(), 'record')
  const daemon = await Espalier.start(gateway, {
    kernel: 'memory',
    configuration: gatewayText(`updown = "sh -c 'echo $PLUTO_VERB $PLUTO_PEER_ID $PLUTO_MY_CLIENT >>${record}; exit 7'"`),
  })
  for (const [at, host] of clients.entries()) await addressOf(host, `client-${at}.example`)
  await daemon.stop()
  const lines = (await readFile(record, 'utf8')).split('\n').slice(0, -1)
  for (const verb of ['up-client', 'down-client'])
    for (const name of ['client-0.example', 'client-1.example'])
      for (const network of ['10.20.0.0/24', '10.21.0.0/24'])
        assert.equal(lines.filter((line) => line === `${verb} ${name} ${network}`).length, 1, `${verb} ${name} ${network}`)
  assert.equal(daemon.events('script-trouble').length, 8)
  assert.match(daemon.events('script-trouble')[0]!.msg, /^updown \(up-client\): exit status 7$/)
})
