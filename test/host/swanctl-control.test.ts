/**
 * Debian's swanctl at the controls of a running espalier with a peer: bringing SAs up and down, looking at them, hearing
 * of them. The kernel is in memory.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, test, type TestContext } from 'node:test'

import { Espalier } from '../lab/support/espalier.ts'
import { Lab } from '../lab/support/network.ts'
import { tryRun } from '../lab/support/process.ts'

const configuration = (own: string, other: string, more: string): string => `
connections {
  gw {
    local { auth = psk
      id = ${own} }
    remote { auth = psk
      id = ${other} }
    proposals = aes256-sha256-x25519
    ${more}
  }
}
secrets {
  ike-1 {
    secret = "a key that both sides have"
  }
}
`
const GATEWAY = configuration(
  'gateway.example',
  'client.example',
  'children { net { local_ts = 10.20.0.0/24\n remote_ts = 10.10.0.0/16\n esp_proposals = aes128gcm16 } }',
)
const CLIENT = configuration(
  'client.example',
  'gateway.example',
  'remote_addrs = 192.0.2.2\n children { net { local_ts = 10.10.1.0/24\n remote_ts = 10.20.0.0/24\n esp_proposals = aes128gcm16 } }',
)

interface Pair {
  readonly gateway: Espalier
  readonly client: Espalier
}

async function pair(t: TestContext): Promise<Pair> {
  const lab = new Lab(t)
  const left = await lab.host('client')
  const right = await lab.host('gateway')
  await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', '192.0.2.2/24')
  const gateway = await Espalier.start(right, { kernel: 'memory', configuration: GATEWAY })
  const client = await Espalier.start(left, { kernel: 'memory', configuration: CLIENT })
  return { gateway, client }
}

interface Said {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
}

async function swanctl(of: Espalier, ...args: string[]): Promise<Said> {
  const { stdout, stderr, status } = await tryRun('swanctl', [...args, '--uri', of.uri])
  return { stdout, stderr, status }
}

/** What it prints, when it is content. */
async function asked(of: Espalier, ...args: string[]): Promise<string> {
  const { stdout, stderr, status } = await swanctl(of, ...args)
  assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

describe('swanctl at the controls', () => {
  test('--initiate shows the progress and ends when the child is up; --list-sas shows it; --terminate ends it', async (t) => {
    const { client, gateway } = await pair(t)
    const progress = await asked(client, '--initiate', '--child', 'net')
    assert.match(progress, /^\[IKE\] initiating IKE_SA gw\[1\] to 192\.0\.2\.2$/m)
    assert.match(
      progress,
      /^\[IKE\] IKE_SA gw\[1\] established between 192\.0\.2\.1\[client\.example\]\.\.\.192\.0\.2\.2\[gateway\.example\]$/m,
    )
    assert.match(
      progress,
      /^\[IKE\] CHILD_SA net\{1\} established with SPIs [0-9a-f]{8}_i [0-9a-f]{8}_o and TS 10\.10\.1\.0\/24 === 10\.20\.0\.0\/24$/m,
    )
    assert.match(progress, /^initiate completed successfully\n$/m)

    assert.match(
      await asked(client, '--list-sas'),
      new RegExp(
        [
          String.raw`^gw: #1, ESTABLISHED, IKEv2, [0-9a-f]{16}_i\* [0-9a-f]{16}_r`,
          String.raw`  local  'client\.example' @ 192\.0\.2\.1\[4500\]`,
          String.raw`  remote 'gateway\.example' @ 192\.0\.2\.2\[4500\]`,
          String.raw`  AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519`,
          String.raw`  established \d+s ago, rekeying in \d+s`,
          String.raw`  net: #1, reqid 1, INSTALLED, TUNNEL, ESP:AES_GCM_16-128`,
          String.raw`    installed \d+s ago, rekeying in \d+s, expires in \d+s`,
          String.raw`    in  [0-9a-f]{8},      0 bytes,     0 packets`,
          String.raw`    out [0-9a-f]{8},      0 bytes,     0 packets`,
          String.raw`    local  10\.10\.1\.0/24`,
          String.raw`    remote 10\.20\.0\.0/24`,
          '$',
        ].join('\n'),
      ),
    )
    assert.match(
      await asked(gateway, '--list-sas', '--raw'),
      /^list-sa event \{gw \{uniqueid=1 version=2 state=ESTABLISHED local-host=192\.0\.2\.2 /,
    )
    assert.match(
      await asked(gateway, '--list-sas', '--pretty', '--ike', 'gw', '--child', 'net'),
      /^ {6}net-1 \{\n {8}name = net$/m,
    )
    assert.doesNotMatch(await asked(gateway, '--list-sas', '--ike', 'other'), /gw/)

    const again = await swanctl(client, '--initiate', '--child', 'net')
    assert.notEqual(again.status, 0)
    assert.match(again.stderr, /initiate failed: establishing CHILD_SA 'net' failed: it is up already, as net\{1\} of gw\[1\]/)

    assert.match(await asked(client, '--terminate', '--child', 'net'), /terminate completed successfully/)
    assert.match(await asked(client, '--list-sas'), /^gw: #1, ESTABLISHED/)
    const goodbye = await asked(client, '--terminate', '--ike-id', '1')
    assert.match(goodbye, /^\[IKE\] deleting IKE_SA gw\[1\] between/m)
    assert.equal(await asked(client, '--list-sas'), '')
    await gateway.event('ike-closed')
  })

  test('what fails says so, and swanctl ends with an error', async (t) => {
    const { client, gateway } = await pair(t)
    const failure = async (...args: string[]): Promise<string> => {
      const { stderr, status } = await swanctl(client, ...args)
      assert.notEqual(status, 0)
      return stderr
    }
    assert.match(await failure('--initiate', '--child', 'nett'), /CHILD_SA config 'nett' not found/)
    assert.match(await failure('--terminate', '--ike', 'gw'), /no matching SAs to terminate found/)
    assert.match(await failure('--rekey', '--ike', 'gw'), /no matching SAs to rekey found/)
    assert.match(await failure('--redirect', '--ike', 'gw', '--gateway', '192.0.2.9'), /no matching SAs to redirect found/)
    assert.match(await failure('--install', '--child', 'nett'), /configuration name not found/)
    assert.match(await failure('--uninstall', '--child', 'net'), /policy 'net' not found/)
    await gateway.daemon.stop('SIGKILL')
    assert.match(await failure('--initiate', '--child', 'net', '--timeout', '1'), /CHILD_SA 'net' not established after 1000ms/)
    assert.match(await asked(client, '--terminate', '--ike', 'gw', '--force'), /terminate completed successfully/)
  })

  test('--monitor-sa hears of SAs coming and going', async (t) => {
    const { client } = await pair(t)
    const monitor = spawn('swanctl', ['--monitor-sa', '--raw', '--uri', client.uri])
    t.after(() => monitor.kill())
    let heard = ''
    monitor.stdout.on('data', (text) => (heard += String(text)))
    const hears = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(heard)) await new Promise((resolve) => monitor.stdout.once('data', resolve))
    }
    // Whether it has registered shows when it hears of something: it hears of the first SA that comes up after that.
    const cycles = async (): Promise<void> => {
      if (heard !== '') return
      await asked(client, '--initiate', '--child', 'net')
      await asked(client, '--terminate', '--ike', 'gw')
      await cycles()
    }
    await cycles()
    await hears(
      /ike-updown event \{up=yes gw \{uniqueid=(\d+) [^]*child-updown event \{up=yes gw \{uniqueid=\1 [^]*ike-updown event \{gw \{uniqueid=\1 [^]*child-updown event \{gw \{uniqueid=\1 /,
    )
  })

  test('--stats, --counters, --reset-counters, --list-algs, --list-pols', async (t) => {
    const { client } = await pair(t)
    await asked(client, '--initiate', '--child', 'net')
    const stats = await asked(client, '--stats')
    assert.match(stats, /^uptime: \d+ seconds?, since \w{3} \d\d \d\d:\d\d:\d\d \d{4}$/m)
    assert.match(stats, /^worker threads: 1 total, 0 idle, working: 0\/0\/1\/0$/m)
    assert.match(stats, /^job queues: 0\/0\/0\/0$/m)
    assert.match(stats, /^jobs scheduled: \d+$/m)
    assert.match(stats, /^IKE_SAs: 1 total, 0 half-open$/m)
    assert.match(stats, /^mallinfo: sbrk \d+, mmap \d+, used \d+, free \d+$/m)
    assert.match(stats, /^loaded plugins: .*vici/m)
    assert.match(await asked(client, '--counters'), /^ *ike-init-out-req\s*: 1$/m)
    assert.match(await asked(client, '--counters', '--name', 'gw'), /^ *ike-auth-in-resp\s*: 1$/m)
    await asked(client, '--counters', '--reset')
    assert.match(await asked(client, '--counters'), /^ *ike-init-out-req\s*: 0$/m)
    assert.match(await asked(client, '--list-algs'), /AES_GCM_16\[openssl\]/)
    assert.equal(await asked(client, '--list-pols'), '')
  })
})
