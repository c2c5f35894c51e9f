/**
 * What each command asks the daemon, and what it prints, on a terminal of 80 columns and into a pipe.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { textOf, writeViciMessage, type ViciSection } from '../../src/vici/message.ts'
import { keyPair, makeCa, makeCertificate, type TestCertificate } from '../support/pki.ts'
import { makeCrl } from '../support/revocation.ts'
import { BERN, run, tree, UP, type FakeDaemon, type Plain } from './fake.ts'

const lines = (...all: string[]): string => all.map((line) => `${line}\n`).join('')

const IPV6: Plain = {
  ...BERN,
  'uniqueid': '12',
  'state': 'CONNECTING',
  'local-host': '2001:db8:1234:5678:9abc:def0:1234:5678',
  'remote-host': '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff',
  'remote-id': 'C=CH, O=Example with a long name, CN=somebody.example.org',
  'child-sas': {},
}

describe('sas', () => {
  test('80 columns show peers, NAT, ciphers, traffic and what comes next', async () => {
    const { stdout, status, requests } = await run(['sas'], UP, { columns: 80 })
    assert.equal(
      stdout,
      lines(
        'SA          PEER                 HERE                 CIPHER       AGE    REKEY',
        'bern[1]     198.51.100.77:29009  203.0.113.5:4500     aes256       2h05m  50m',
        '            bern.example.org     gateway.example.org  sha256              reauth',
        '            behind NAT           no NAT               x25519',
        ' office{3}  10.1.0.0/24          10.20.0.0/24         aes256gcm16  45s    now',
        '            10.2.0.0/24          out 999 B, 1m ago    in UDP',
        '            in 1.2 MB, 3s ago',
      ),
    )
    assert.equal(status, 0)
    assert.deepEqual(
      requests.map(({ command }) => command),
      ['list-sas'],
    )
  })

  test('additional key exchanges stand below the first', async () => {
    const sas = { ...BERN, ake1: 'ML_KEM_768', ake7: 'ECP_384' }
    const { stdout } = await run(['sas'], { answers: { 'list-sas': { events: [{ bern: sas }] } } })
    assert.match(stdout, / x25519 *\n *mlkem768 *\n *ecp384 *\n/)
  })

  test('a CHILD_SA that may not work, or does not, says so, and how large packets may be', async () => {
    const sas = (more: Plain): FakeDaemon => {
      const child = { ...((BERN['child-sas'] as Plain)['office-3'] as Plain), mtu: '1438', ...more }
      return { answers: { 'list-sas': { events: [{ bern: { ...BERN, 'child-sas': { 'office-3': child } } }] } } }
    }
    const suspect = await run(['sas'], sas({ 'health': 'suspect', 'health-reason': 'no-return' }), { columns: 80, colours: true })
    assert.match(suspect.stdout, /^<yellow> {2}suspect: no-return /m)
    assert.match(suspect.stdout, /MTU 1438/)
    const failing = await run(['sas'], sas({ 'health': 'failing', 'health-reason': 'not-authentic' }), { colours: true })
    assert.match(failing.stdout, /^<red> {2}failing: not-authentic /m)
    for (const health of ['good', 'untested']) assert.ok(!(await run(['sas'], sas({ health }))).stdout.includes(health))
  })

  test('nothing is wider than the terminal, whatever the peers are called, and nothing is lost', async () => {
    const daemon = { answers: { 'list-sas': { events: [{ bern: BERN }, { 'a-connection-with-a-long-name': IPV6 }] } } }
    for (const columns of [80, 100, 132]) {
      const { stdout } = await run(['sas'], daemon, { columns })
      assert.ok(
        stdout.split('\n').every((line) => line.length <= columns),
        stdout,
      )
      for (const word of ['connecting', '[12]', 'somebody', 'ffff']) assert.ok(stdout.includes(word), `${word} in ${stdout}`)
    }
  })

  test('a pipe gets whole lines, without colours, and nothing where nothing is up', async () => {
    const { stdout } = await run(['sas'], { answers: { 'list-sas': { events: [{ bern: IPV6 }] } } })
    assert.match(stdout, / {2}\[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff\]:29009 +\[2001:db8:1234:5678:9abc:def0:1234:5678\]:4500 /)
    assert.match(stdout, /C=CH, O=Example with a long name, CN=somebody\.example\.org/)
    assert.match(stdout, /^bern\[12\].* -$/m)
    assert.deepEqual(await run(['sas']), { status: 0, stdout: '', stderr: '', requests: (await run(['sas'])).requests })
    assert.equal((await run(['sas'], {}, { columns: 80 })).stdout, 'No IKE_SA is up.\n')
  })

  test('colours say how it stands', async () => {
    const { stdout } = await run(
      ['sas'],
      { answers: { 'list-sas': { events: [{ bern: BERN }, { zug: IPV6 }] } } },
      { colours: true },
    )
    assert.match(stdout, /^<green>bern\[1\]/m)
    assert.match(stdout, /<yellow>behind NAT/)
    assert.match(stdout, /^<yellow>zug\[12\]/m)
  })

  test('what a peer says of itself cannot command the terminal', async () => {
    const hostile = { ...BERN, 'remote-id': 'moon\x1b]0;owned\x07' }
    const { stdout } = await run(['sas'], { answers: { 'list-sas': { events: [{ bern: hostile }] } } })
    assert.ok(stdout.includes('moon\\x1b]0;owned\\x07'), stdout)
    assert.ok(!stdout.includes('\x1b'))
  })

  test('NAME is a connection or a child; one that is not up is a failure', async () => {
    for (const name of ['bern', 'office']) assert.match((await run(['sas', name], UP)).stdout, /^bern\[1\]/m)
    const { status, stdout, stderr } = await run(['sas', 'zug'], UP)
    assert.deepEqual([status, stdout, stderr], [1, '', "espalier: no SA called 'zug' is up\n"])
  })

  test('--json has numbers for numbers and says NAT or no NAT', async () => {
    const { stdout } = await run(['sas', '--json'], UP)
    const [sa] = JSON.parse(stdout) as [Record<string, unknown>]
    assert.deepEqual(
      ['name', 'uniqueid', 'remote-port', 'nat-local', 'nat-remote', 'encr-alg', 'rekey-time'].map((key) => sa[key]),
      ['bern', 1, 29009, false, true, 'AES_CBC', 6000],
    )
    const [child] = sa['child-sas'] as [Record<string, unknown>]
    assert.deepEqual(
      ['name', 'encap', 'bytes-in', 'remote-ts'].map((key) => child[key]),
      ['office', true, 1234567, ['10.1.0.0/24', '10.2.0.0/24']],
    )
    assert.deepEqual(JSON.parse((await run(['sas', '--json'])).stdout), [])
  })

  test('--watch fills the terminal and no more; Ctrl-C ends it well', async () => {
    const many = Array.from({ length: 30 }, (_, i): Plain => ({ [`peer-${i}`]: BERN }))
    const { stdout, status } = await run(
      ['sas', '--watch', '60'],
      { answers: { 'list-sas': { events: many } } },
      { columns: 100, rows: 24 },
    )
    assert.equal(status, 0)
    const title = stdout.split('\n')[0]!
    assert.ok(title.startsWith('\x1b[H\x1b[2J'), title)
    assert.match(title, /\d\d:\d\d:\d\d {2}30 IKE_SAs, 30 CHILD_SAs {2}every 60 s, Ctrl-C ends$/)
    assert.match(stdout, /\n\.\.\. \d+ more lines\n$/)
    assert.equal(stdout.split('\n').length - 1, 22)
  })

  test('--watch into a pipe prints one after the other, --json a line each', async () => {
    assert.match((await run(['sas', '--watch'], UP)).stdout, /^\d\d:\d\d:\d\d {2}1 IKE_SA, 1 CHILD_SA\nSA .*\n\n$/s)
    const { stdout } = await run(['sas', '--watch', '--json'], UP)
    assert.equal((JSON.parse(stdout.split('\n')[0]!) as unknown[]).length, 1)
  })
})

describe('up, down, rekey', () => {
  const answering = (command: string, response: Plain, events: readonly Plain[] = []): FakeDaemon => ({
    answers: { ...UP.answers, [command]: { response, events } },
  })
  const texts = (request: ViciSection): Record<string, string | null> =>
    Object.fromEntries([...request.keys()].map((key) => [key, textOf(request, key)]))

  test('up shows the progress line by line and asks for each child of a connection', async () => {
    const daemon = answering('initiate', { success: 'yes' }, [
      { group: 'IKE', msg: 'initiating IKE_SA bern[1] to 198.51.100.77' },
    ])
    const { stdout, requests, status } = await run(['up', 'bern', '--timeout', '2.5'], daemon)
    const progress = '[IKE] initiating IKE_SA bern[1] to 198.51.100.77'
    assert.equal(stdout, lines(progress, 'bern/office is up', progress, 'bern/voice is up'))
    assert.equal(status, 0)
    assert.deepEqual(
      requests.filter(({ command }) => command === 'initiate').map(({ request }) => texts(request)),
      [
        { child: 'office', ike: 'bern', timeout: '2500' },
        { child: 'voice', ike: 'bern', timeout: '2500' },
      ],
    )
  })

  test('up that fails says why in one line, status 1, and tries the other children', async () => {
    const daemon = answering('initiate', { success: 'no', errmsg: 'establishing CHILD_SA failed' })
    const { stderr, status } = await run(['up', 'bern'], daemon)
    assert.equal(stderr, 'espalier: 2 of 2 failed: establishing CHILD_SA failed; establishing CHILD_SA failed\n')
    assert.equal(status, 1)
  })

  test('down by name and by number', async () => {
    const daemon = answering('terminate', { success: 'yes', matches: '1', terminated: '1' })
    const asked = async (...args: string[]): Promise<Record<string, string | null>> => {
      const { requests, status, stderr } = await run(['down', ...args], daemon)
      assert.equal(status, 0, stderr)
      return texts(requests.at(-1)!.request)
    }
    assert.deepEqual(await asked('bern', '--force'), { ike: 'bern', force: 'yes' })
    assert.deepEqual(await asked('office'), { child: 'office' })
    assert.deepEqual(await asked('#1', '--timeout', '1'), { 'ike-id': '1', 'timeout': '1000' })
    assert.deepEqual(await asked('office{3}'), { 'child-id': '3' })
    assert.match((await run(['down', '1'], daemon)).stdout, /^#1 is down, 1 IKE_SA ended\n$/)
  })

  test('down that fails gives the reason of the daemon', async () => {
    const daemon = answering('terminate', { success: 'no', matches: '1', terminated: '0', errmsg: 'terminating SA failed' })
    const { stderr, status } = await run(['down', 'bern'], daemon)
    assert.deepEqual([stderr, status], ['espalier: terminating SA failed\n', 1])
  })

  test('rekey, and what only an IKE_SA can', async () => {
    const daemon = answering('rekey', { success: 'yes', matches: '1' })
    const { requests, stdout } = await run(['rekey', 'bern', '--reauth'], daemon)
    assert.deepEqual(texts(requests.at(-1)!.request), { ike: 'bern', reauth: 'yes' })
    assert.equal(stdout, "reauthenticating 1 SA; 'espalier log' shows how it goes\n")
    const refused = await run(['rekey', 'office', '--reauth'], daemon)
    assert.deepEqual([refused.status, refused.requests.length], [2, 1])
  })

  test('a number that the shell took for a comment is explained', async () => {
    const { stderr, status } = await run(['down'], UP)
    assert.match(
      stderr,
      /^espalier: missing required argument 'NAME\|#ID'; a shell takes #1 for a comment, write '#1' or 1; see 'espalier down --help'\n$/,
    )
    assert.equal(status, 2)
  })
})

describe('what is loaded', () => {
  const conns: FakeDaemon = {
    answers: {
      'list-conns': {
        events: [
          {
            bern: {
              'local_addrs': ['203.0.113.5'],
              'remote_addrs': ['%any'],
              'local_port': '500',
              'remote_port': '4510',
              'version': 'IKEv2',
              'reauth_time': '0',
              'rekey_time': '14400',
              'local-1': { id: 'gateway.example.org', class: 'pre-shared key', groups: [] },
              'remote-1': { class: 'pre-shared key', groups: [] },
              'children': {
                office: { 'mode': 'TUNNEL', 'rekey_time': '3600', 'local-ts': ['10.20.0.0/24'], 'remote-ts': ['dynamic'] },
              },
            },
          },
        ],
      },
    },
  }

  test('conns', async () => {
    assert.equal(
      (await run(['conns'], conns, { columns: 80 })).stdout,
      lines(
        'CONNECTION  PEER                   HERE                 REKEY',
        'bern        any address port 4510  203.0.113.5          4h',
        ' IKEv2      anyone                 gateway.example.org',
        '            pre-shared key         pre-shared key',
        '  office    dynamic                10.20.0.0/24         1h',
        '   tunnel',
      ),
    )
    const [json] = JSON.parse((await run(['conns', 'bern', '--json'], conns)).stdout) as [Record<string, unknown>]
    assert.deepEqual([json['name'], json['remote_port'], json['local_addrs']], ['bern', 4510, ['203.0.113.5']])
    const missing = await run(['conns', 'zug'], conns)
    assert.deepEqual([missing.status, missing.stderr], [1, "espalier: there is no connection 'zug'\n"])
    assert.match((await run(['conns'], {}, { columns: 80 })).stdout, /^No connection is loaded; 'espalier load' loads/)
  })

  test('pools with their leases', async () => {
    const lease = { address: '10.3.0.1', identity: 'bern.example.org', status: 'online' }
    const clients = { base: '10.3.0.1', size: '254', online: '1', offline: '0', leases: { 0: lease } }
    const daemon = { answers: { 'get-pools': { response: { clients } } } }
    assert.equal(
      (await run(['pools'], daemon)).stdout,
      lines(
        'POOL     FROM      SIZE  ONLINE  OFFLINE  LEASES',
        'clients  10.3.0.1  254   1       0        10.3.0.1 bern.example.org online',
      ),
    )
  })

  test('policies', async () => {
    const policy = { 'child': 'office', 'mode': 'TUNNEL', 'local-ts': ['10.20.0.0/24'], 'remote-ts': ['10.1.0.0/24'] }
    const daemon = { answers: { 'list-policies': { events: [{ 'bern/office': policy }] } } }
    assert.equal(
      (await run(['policies'], daemon)).stdout,
      lines('POLICY       MODE    THERE        HERE', 'bern/office  tunnel  10.1.0.0/24  10.20.0.0/24'),
    )
  })

  test('certs: whose, by whom, with which key, until when', async () => {
    const daemon = (...events: Plain[]): FakeDaemon => ({ answers: { 'list-certs': { events } } })
    const listed = (cert: TestCertificate, more: Plain = {}): Plain => ({ type: 'X509', flag: 'NONE', ...more, data: cert.der })
    const ca = makeCa('C=CH, CN=CA', { key: 'rsa-2048' })
    const moon = makeCertificate({
      subject: 'CN=moon',
      issuer: ca,
      san: ['dns:moon.example.org', 'ip:192.0.2.1'],
      notAfter: Date.UTC(2026, 10, 30, 12),
    })
    const key = keyPair('ed25519', 'raw')
    const all = daemon(
      { type: 'PUBKEY', subject: 'sun.example.org', data: key.spki },
      listed(moon, { has_privkey: 'yes' }),
      listed(ca, { flag: 'CA' }),
      { type: 'X509_CRL', data: makeCrl({ issuer: ca, revoked: [{ certificate: moon }], nextUpdate: Date.UTC(2027, 0, 1) }) },
      { type: 'X509', flag: 'NONE', data: Buffer.from('no certificate') },
    )
    const at = (time: number): Promise<{ readonly stdout: string }> => run(['certs'], all, { now: time })
    assert.equal(
      (await at(Date.UTC(2026, 10, 21, 12))).stdout,
      lines(
        'SUBJECT                ISSUER       KIND      KEY          EXPIRES',
        'sun.example.org                     PUBKEY    ed25519 256',
        'CN=moon                C=CH, CN=CA  X509      ecdsa 256    2026-11-30 (in 9d)',
        'moon.example.org                              private key',
        '192.0.2.1',
        'C=CH, CN=CA            C=CH, CN=CA  X509 CA   rsa 2048     2049-12-31',
        'C=CH, CN=CA                         X509_CRL               2027-01-01',
        '1 certificate revoked',
        '(cannot be read)                    X509',
      ),
    )
    assert.match((await at(Date.UTC(2026, 11, 1))).stdout, /^CN=moon .* 2026-11-30 \(expired\)$/m)
    assert.match((await at(Date.UTC(2019, 0, 1))).stdout, /^CN=moon .* not before 2020-01-01$/m)
    const { stdout } = await run(['certs', 'CN=moon', '--json'], all)
    const [json, ...others] = JSON.parse(stdout) as Record<string, unknown>[]
    assert.deepEqual(others, [])
    assert.deepEqual(json, {
      'type': 'X509',
      'flag': 'NONE',
      'has_privkey': true,
      'data': Buffer.from(moon.der).toString('base64'),
      'subject': 'CN=moon',
      'issuer': 'C=CH, CN=CA',
      'serial': json!['serial'],
      'key': 'ecdsa 256',
      'valid-from': '2020-01-01T00:00:00.000Z',
      'valid-until': '2026-11-30T12:00:00.000Z',
    })
  })

  test('counters, of all, of one and side by side', async () => {
    const sets = { '': { 'ike-init-in-req': '3', 'invalid': '1' }, 'bern': { 'ike-init-in-req': '2', 'invalid': '0' } }
    const counters = (request: ViciSection) => {
      const name = textOf(request, 'name')
      if (textOf(request, 'all') === 'yes') return { response: { counters: { bern: sets.bern, zug: sets[''] }, success: 'yes' } }
      return name === 'nobody'
        ? { response: { counters: {}, success: 'no', errmsg: 'no counters found for this connection' } }
        : { response: { counters: { [name ?? '']: name === null ? sets[''] : sets.bern }, success: 'yes' } }
    }
    const daemon: FakeDaemon = { answers: { 'get-counters': counters, 'reset-counters': { response: { success: 'yes' } } } }
    assert.equal(
      (await run(['counters'], daemon)).stdout,
      lines('COUNTER          ALL', 'ike-init-in-req  3', 'invalid          1'),
    )
    assert.equal(
      (await run(['counters', '--all'], daemon)).stdout,
      lines('COUNTER          bern  zug', 'ike-init-in-req  2     3', 'invalid          0     1'),
    )
    assert.deepEqual(JSON.parse((await run(['counters', 'bern', '--json'], daemon)).stdout), {
      bern: { 'ike-init-in-req': 2, 'invalid': 0 },
    })
    const nobody = await run(['counters', 'nobody'], daemon)
    assert.deepEqual([nobody.status, nobody.stderr], [1, "espalier: nothing was counted for a connection 'nobody'\n"])
    assert.equal((await run(['counters', 'bern', '--reset'], daemon)).requests[0]!.command, 'reset-counters')
  })
})

describe('nat', () => {
  const PATH: Plain = {
    ...Object.fromEntries(Object.entries(BERN).filter(([key]) => /^(uniqueid|state|nat-.*|(local|remote)-.*)$/.test(key))),
    'encap': 'yes',
    'mobike': 'yes',
    'detection': {
      'age': '7505',
      'supported': 'yes',
      'source-matched': 'no',
      'destination-matched': 'yes',
      'forced': 'no',
      'local-host': '203.0.113.5',
      'local-port': '500',
      'remote-host': '198.51.100.77',
      'remote-port': '29008',
    },
    'move-count': '17',
    'moves': {
      '1': {
        'age': '400',
        'cause': 'mapping',
        'old-local-host': '203.0.113.5',
        'old-local-port': '4500',
        'old-remote-host': '198.51.100.77',
        'old-remote-port': '29000',
        'local-host': '203.0.113.5',
        'local-port': '4500',
        'remote-host': '198.51.100.77',
        'remote-port': '29009',
      },
    },
    'keepalives': { needed: 'no', sent: '0', suppressed: '0' },
    'child-sas': {
      'office-3': {
        'name': 'office',
        'uniqueid': '3',
        'state': 'INSTALLED',
        'mode': 'TUNNEL',
        'encap': 'yes',
        'health': 'suspect',
        'health-reason': 'no-return',
        'health-time': '75',
        'health-text': 'may not work: 61 packets were sent in 60s, and none came back; the peer answers IKE',
        'repair': 'rekeyed',
        'mtu': '1438',
      },
    },
  }
  const daemon = (...paths: readonly Plain[]): FakeDaemon => ({ answers: { 'espalier-nat': { events: paths } } })

  test('80 columns show what was found and why, moves, keepalives and health', async () => {
    assert.equal(
      (await run(['nat'], daemon({ bern: PATH }), { columns: 80 })).stdout,
      lines(
        'bern[1]  bern.example.org',
        '  peer        198.51.100.77:29009, behind a NAT: it was seen at',
        '              198.51.100.77:29008, and knows itself by another address or port',
        '              (NAT_DETECTION_SOURCE_IP differs)',
        '  here        203.0.113.5:4500, no NAT: NAT_DETECTION_DESTINATION_IP is of',
        '              203.0.113.5:500',
        '  MOBIKE      yes',
        '  ESP         in UDP',
        "  keepalives  none: the mapping is the peer's to keep",
        '  moved       17 times, the latest first',
        '              6m ago the peer from 198.51.100.77:29000 to 198.51.100.77:29009:',
        '              ESP came from there',
        '              and 16 before',
        '  office{3}   suspect for 1m: may not work: 61 packets were sent in 60s, and',
        '              none came back; the peer answers IKE',
        '              was rekeyed for that reason',
        '              packets of up to 1438 bytes fit',
      ),
    )
  })

  test('nothing is wider than the terminal, whatever the peers and children are called', async () => {
    const child = { ...((PATH['child-sas'] as Plain)['office-3'] as Plain), name: 'a-child-with-quite-a-long-name' }
    const long = { ...PATH, 'remote-host': IPV6['remote-host']!, 'child-sas': { 'a-1': child } }
    for (const columns of [40, 60, 80]) {
      const { stdout } = await run(['nat'], daemon({ bern: long }), { columns })
      assert.ok(
        stdout.split('\n').every((line) => line.length <= columns),
        stdout,
      )
      assert.ok(stdout.includes('a-child-with-quite-a-long-name{3}'))
    }
  })

  test('the side behind the NAT sees its keepalives, and what the mapping lives', async () => {
    const keepalives = { 'needed': 'yes', 'interval': '20', 'sent': '12', 'suppressed': '40', 'learnt-lifetime': '175' }
    const { stdout } = await run(['nat'], daemon({ bern: { ...PATH, 'nat-local': 'yes', keepalives } }))
    assert.match(
      stdout,
      /^ {2}keepalives {2}after 20s of silence, 12 sent, 40 not needed since other packets left, the mapping lives 2m, as learnt$/m,
    )
    assert.match(stdout, /^ {2}here .*, behind a NAT: what arrives at 203\.0\.113\.5:500 was sent to another address or port /m)
  })

  test('where there is no NAT, no NAT traversal, or a pretended NAT, that is what is said', async () => {
    const { 'nat-remote': _, 'nat-any': __, ...none } = PATH
    const plain = { ...none, 'encap': 'no', 'move-count': '0', 'moves': {} }
    const { stdout } = await run(['nat'], daemon({ bern: plain }))
    assert.match(stdout, /^ {2}peer {8}198\.51\.100\.77:29009, no NAT: NAT_DETECTION_SOURCE_IP is of 198\.51\.100\.77:29008$/m)
    assert.match(stdout, /^ {2}ESP {9}bare\n {2}keepalives {2}none: there is no mapping to keep\n {2}moved {7}never$/m)
    const unsupported = { ...plain, detection: { ...(PATH['detection'] as Plain), supported: 'no' } }
    assert.match((await run(['nat'], daemon({ bern: unsupported }))).stdout, /the peer does no NAT traversal/)
    const faked = { ...plain, 'encap': 'yes', 'nat-fake': 'yes' }
    assert.match((await run(['nat'], daemon({ bern: faked }))).stdout, /ESP {9}in UDP, by encap = yes alone/)
    const stale = await run(['nat'], daemon({ bern: { ...plain, stale: 'yes' } }))
    assert.match(stale.stdout, /^ {2}here .*\n {14}there is no way to the peer at present\n {2}MOBIKE {6}yes$/m)
    const shown = { ...plain, 'encap': 'yes', 'peer-sends': 'udp' }
    assert.match((await run(['nat'], daemon({ bern: shown }))).stdout, /ESP {9}in UDP, as the peer was found to send it/)
  })

  test('names and numbers choose; a slip is named, and nothing is nothing', async () => {
    const both = daemon({ bern: PATH }, { zug: { ...PATH, 'uniqueid': '2', 'child-sas': {} } })
    for (const target of ['bern', '1', '#1', 'office', '{3}', 'bern/office']) {
      const { stdout } = await run(['nat', target, '--json'], both)
      assert.deepEqual(
        (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name),
        ['bern'],
        target,
      )
    }
    const slip = await run(['nat', 'brn'], both)
    assert.deepEqual([slip.status, slip.stderr], [1, "espalier: no SA called 'brn' is up; did you mean 'bern'?\n"])
    assert.equal((await run(['nat'])).stdout, '')
    assert.equal((await run(['nat'], {}, { columns: 80 })).stdout, 'No IKE_SA is up.\n')
  })

  test('--json has numbers, flags and arrays', async () => {
    const [path] = JSON.parse((await run(['nat', '--json'], daemon({ bern: PATH }))).stdout) as [Record<string, unknown>]
    assert.deepEqual(
      [path['nat-local'], path['nat-remote'], path['encap'], path['move-count'], path['remote-port']],
      [false, true, true, 17, 29_009],
    )
    const [move] = path['moves'] as [Record<string, unknown>]
    assert.deepEqual([move['age'], move['cause'], move['old-remote-port']], [400, 'mapping', 29_000])
    const [child] = path['child-sas'] as [Record<string, unknown>]
    assert.deepEqual([child['health'], child['health-time'], child['mtu']], ['suspect', 75, 1438])
    assert.equal((path['detection'] as Record<string, unknown>)['source-matched'], false)
  })

  test('what a peer is called cannot command a terminal', async () => {
    const { stdout } = await run(['nat'], daemon({ bern: { ...PATH, 'remote-id': 'evil\x1b[2J' } }), { columns: 80 })
    assert.ok(!stdout.includes('\x1b'))
  })
})

describe('log and monitor', () => {
  const time = /\d\d:\d\d:\d\d /g

  test('log has a line a line, of all or of one connection, up to a level', async () => {
    const line = (level: string, name: string, msg: string): Plain => ({
      group: 'IKE',
      level: level,
      thread: '0',
      ...(name === '' ? {} : { 'ikesa-name': name, 'ikesa-uniqueid': '1' }),
      msg,
    })
    const daemon = { events: { log: [line('1', '', 'one'), line('1', 'bern', 'two'), line('0', 'zug', 'three\x1b[2J')] } }
    const said = async (...args: string[]): Promise<string> => (await run(['log', ...args], daemon)).stdout.replace(time, '')
    assert.equal(await said(), lines('[IKE] one', '[IKE] <bern|1> two', '[IKE] <zug|1> three\\x1b[2J'))
    assert.equal(await said('bern'), lines('[IKE] <bern|1> two'))
    assert.equal(await said('--level', '0'), lines('[IKE] <zug|1> three\\x1b[2J'))
    assert.deepEqual(JSON.parse((await run(['log', 'bern', '--json'], daemon)).stdout), {
      'time': '2026-11-22T12:00:00.000Z',
      'group': 'IKE',
      'level': 1,
      'thread': 0,
      'ikesa-name': 'bern',
      'ikesa-uniqueid': 1,
      'msg': 'two',
    })
  })

  test('monitor tells of every kind of event in a line', async () => {
    const ike = { ...BERN, 'child-sas': {} }
    const { office: child } = { office: (BERN['child-sas'] as Record<string, Plain>)['office-3']! }
    const rekeyed = { old: { ...child, uniqueid: '3' }, new: { ...child, uniqueid: '4' } }
    const daemon: FakeDaemon = {
      events: {
        'ike-updown': [{ up: 'yes', bern: ike }],
        'child-updown': [{ up: 'yes', bern: BERN }, { bern: BERN }],
        'ike-rekey': [{ bern: { old: ike, new: { ...ike, uniqueid: '2' } } }],
        'child-rekey': [{ bern: { ...ike, 'child-sas': { 'office-3': rekeyed } } }],
        'ike-update': [
          {
            'local-host': '203.0.113.5',
            'local-port': '4500',
            'remote-host': '198.51.100.8',
            'remote-port': '4501',
            'bern': ike,
          },
        ],
        'espalier-health': [
          { text: 'may not work: because', bern: { ...ike, 'child-sas': { 'office-3': { ...child, health: 'suspect' } } } },
          { text: 'may not work', repair: 'rekeyed', bern: { ...ike, 'child-sas': { 'office-3': child } } },
          { text: 'works', bern: { ...ike, 'child-sas': { 'office-3': { ...child, health: 'good' } } } },
        ],
        'alert': [{ type: 'invalid-ike-spi' }, { 'type': 'retransmit-send', 'ike-sa': { bern: ike } }],
      },
    }
    const ends = '203.0.113.5[4500] gateway.example.org ... 198.51.100.77[29009] bern.example.org'
    const selectors = '10.20.0.0/24 === 10.1.0.0/24 10.2.0.0/24'
    const said = (await run(['monitor'], daemon)).stdout.replace(time, '').split('\n').toSorted()
    assert.deepEqual(said, [
      '',
      'alert   invalid-ike-spi',
      `alert   retransmit-send bern[1] ${ends}`,
      `down    bern[1] office{3} ${selectors}, in 1.2 MB, out 999 B`,
      'ill     bern[1] office{3} may not work: because',
      'moved   bern[1] to 198.51.100.8:4501',
      'rekeyed bern office{3} to office{4}',
      'rekeyed bern[1] to bern[2]',
      'repair  bern[1] office{3} rekeyed',
      `up      bern[1] ${ends}`,
      `up      bern[1] office{3} ${selectors}`,
      'well    bern[1] office{3} works',
    ])
    assert.equal((await run(['monitor', 'zug'], daemon)).stdout, '')
    const json = (await run(['monitor', 'bern', '--json'], daemon)).stdout.trim().split('\n')
    const events = json.map((line) => JSON.parse(line) as { event: string; up?: boolean })
    assert.deepEqual(
      events.filter(({ event }) => event === 'child-updown').map(({ up }) => up),
      [true, false],
    )
  })
})

describe('load', () => {
  const CONNECTION = `  home {
    remote_addrs = 192.0.2.1, 192.0.2.2
    rekey_time =
    local { auth = psk }
    remote { auth = psk
      id = home.example }
    children { net { local_ts = 10.1.0.0/16, 10.2.0.0/16 } }
  }`
  const FILE = `connections {\n${CONNECTION}\n}\nsecrets {\n ike-1 {\n secret = 0x0102\n id-a = home.example\n }\n}\n`
  const ALL_WELL: FakeDaemon = {
    answers: {
      ...Object.fromEntries(
        ['load-conn', 'load-shared', 'load-pool', 'unload-conn', 'unload-shared', 'clear-creds'].map((command) => [
          command,
          { response: { success: 'yes' } },
        ]),
      ),
      'get-conns': { response: { conns: ['home', 'old'] } },
      'get-shared': { response: { keys: ['ike-0'] } },
      'get-keys': { response: { keys: [] } },
    },
  }

  async function place(t: TestContext, swanctlConf: string): Promise<Record<string, string>> {
    const directory = await mkdtemp(join(tmpdir(), 'espalier-test-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    await writeFile(join(directory, 'swanctl.conf'), swanctlConf)
    return { SWANCTL_DIR: directory, STRONGSWAN_CONF: join(directory, 'strongswan.conf') }
  }

  test('loads what is in the file as swanctl does, and unloads the rest', async (t) => {
    const { stdout, stderr, requests, status } = await run(['load'], ALL_WELL, { environment: await place(t, FILE) })
    assert.equal(
      stdout,
      lines(
        "loaded ike secret 'ike-1'",
        "unloaded secret 'ike-0'",
        "loaded connection 'home'",
        "unloaded connection 'old'",
        '1 secret, 1 connection loaded, 2 unloaded',
      ),
    )
    assert.deepEqual([stderr, status], ['', 0])
    const request = (command: string): ViciSection => requests.find((made) => made.command === command)!.request
    assert.deepEqual(
      request('load-conn'),
      tree({
        home: {
          remote_addrs: ['192.0.2.1', '192.0.2.2'],
          local: { auth: 'psk' },
          remote: { auth: 'psk', id: 'home.example' },
          children: { net: { local_ts: ['10.1.0.0/16', '10.2.0.0/16'] } },
        },
      }),
    )
    assert.deepEqual(
      request('load-shared'),
      tree({ id: 'ike-1', type: 'ike', data: Uint8Array.of(1, 2), owners: ['home.example'] }),
    )
  })

  test('with an error in the file nothing is loaded, and each is told with its line', async (t) => {
    const environment = await place(t, FILE.replace('local_ts', 'local_tss'))
    const { stdout, stderr, requests, status } = await run(['load'], ALL_WELL, { environment })
    assert.deepEqual([stdout, requests, status], ['', [], 1])
    assert.match(
      stderr,
      /^error: \S+swanctl\.conf:8: .*local_tss.*local_ts.*\nespalier: nothing was loaded: 1 error in the configuration\n$/,
    )
  })

  test('a warning is given once, with its line, though the daemon gives it too', async (t) => {
    const environment = await place(t, FILE.replace('children { net {', 'children { net { tfc_padding = 64\n'))
    const stderrAt = async (warnings: readonly string[]): Promise<string> => {
      const answers = { ...ALL_WELL.answers, 'load-conn': { response: { success: 'yes', warnings } } }
      return (await run(['load', '--conns'], { answers }, { environment })).stderr
    }
    const told = await stderrAt([])
    const sentence = /^warning: \S+swanctl\.conf:\d+: (connections\.home\.children\.net\.tfc_padding: .*)\n$/.exec(told)?.[1]
    assert.ok(sentence !== undefined, told)
    assert.equal(await stderrAt([sentence]), told)
    assert.equal(
      await stderrAt(['connections.home.mobike: something else']),
      `${told}warning: connections.home.mobike: something else\n`,
    )
  })

  test('what the daemon refuses is told with its reason, the rest is loaded, status 1', async (t) => {
    const daemon: FakeDaemon = {
      answers: { ...ALL_WELL.answers, 'load-conn': { response: { success: 'no', errmsg: 'unknown option: x' } } },
    }
    const { stdout, stderr, status } = await run(['load'], daemon, { environment: await place(t, FILE) })
    assert.match(stdout, /^loaded ike secret 'ike-1'$/m)
    assert.equal(
      stderr,
      lines(
        "error: connection 'home' not loaded: unknown option: x",
        'espalier: 1 secret, 0 connections loaded, 2 unloaded, 1 failed',
      ),
    )
    assert.equal(status, 1)
  })

  test('certificates and keys of the directories, and what connections and authorities name', async (t) => {
    const ca = makeCa('CN=CA')
    const moon = makeCertificate({ subject: 'CN=moon', issuer: ca })
    const key = keyPair('ed25519', 'locked')
    const environment = await place(
      t,
      `connections { home {
        local { certs = moon.pem }
        remote { cacerts = ca.pem
          pubkeys = raw.pem } } }
      authorities { ca { cacert = ca.pem
        crl_uris = http://a/, http://b/ } }
      secrets { private-locked { file = locked.pem
        secret = "open sesame" } }`,
    )
    const files = {
      'x509/moon.pem': `${moon.pem}${ca.pem}`,
      'x509ca/ca.pem': ca.pem,
      'pubkey/raw.pem': key.publicPem,
      'x509crl/ca.crl': makeCrl({ issuer: ca }),
      'private/locked.pem': key.object.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'open sesame' }),
      'private/broken.pem': 'nonsense',
    }
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(environment['SWANCTL_DIR']!, path, '..'), { recursive: true })
      await writeFile(join(environment['SWANCTL_DIR']!, path), content)
    }
    const daemon: FakeDaemon = {
      answers: {
        ...ALL_WELL.answers,
        'get-keys': { response: { keys: ['00'] } },
        'get-authorities': { response: { authorities: [] } },
        ...Object.fromEntries(
          ['load-cert', 'load-key', 'unload-key', 'load-authority'].map((command) => [command, { response: { success: 'yes' } }]),
        ),
      },
    }
    const { stdout, stderr, requests, status } = await run(['load'], daemon, { environment })
    const id = Buffer.from(key.privateKey.publicKey.fingerprint).toString('hex')
    assert.deepEqual(stdout.split('\n').slice(0, 9), [
      "loaded certificate 'CN=moon'",
      "loaded certificate 'CN=CA'",
      `loaded public key '${id}'`,
      "loaded CRL of 'CN=CA'",
      `loaded private key '${id}'`,
      "unloaded private key '00'",
      "unloaded secret 'ike-0'",
      "loaded authority 'ca'",
      "loaded connection 'home'",
    ])
    assert.match(stderr, /^warning: \S+\/private\/broken\.pem: not loaded: [^\n]+\n$/)
    assert.equal(status, 0)
    const made = (command: string): readonly ViciSection[] =>
      requests.filter((request) => request.command === command).map(({ request }) => request)
    assert.deepEqual(
      made('load-cert').map((request) => [textOf(request, 'type'), textOf(request, 'flag')]),
      [
        ['X509', 'NONE'],
        ['X509', 'CA'],
        ['PUBKEY', null],
        ['X509_CRL', null],
      ],
    )
    // With what stands behind it in its file.
    assert.equal(textOf(made('load-cert')[0]!, 'data'), `${moon.pem}${ca.pem}`)
    const isMade = (command: string, message: Plain): void =>
      assert.deepEqual(made(command).map(writeViciMessage), [writeViciMessage(tree(message))])
    isMade('load-conn', { home: { local: { certs: [moon.der] }, remote: { cacerts: [ca.der], pubkeys: [key.spki] } } })
    isMade('load-authority', { ca: { cacert: ca.der, crl_uris: ['http://a/', 'http://b/'] } })
    assert.deepEqual(
      made('load-key').map((request) => textOf(request, 'type')),
      ['any'],
    )
    assert.doesNotMatch(stdout + stderr, /sesame/)
  })

  test('--creds, --conns, --pools and --clear', async (t) => {
    const environment = await place(t, FILE)
    const commands = async (...args: string[]): Promise<string> =>
      (await run(['load', ...args], ALL_WELL, { environment })).requests.map(({ command }) => command).join(' ')
    assert.equal(await commands('--creds'), 'get-keys get-shared load-shared unload-shared')
    assert.equal(await commands('--conns'), 'get-conns load-conn unload-conn')
    assert.equal(await commands('--pools'), 'get-pools')
    assert.equal(await commands('--creds', '--clear'), 'clear-creds get-keys get-shared load-shared unload-shared')
  })
})

describe('every command', () => {
  const COMMANDS =
    'sas nat up down rekey load conns pools policies certs log monitor counters daemon check version completion'.split(' ')

  test('has help with examples, within 80 columns', async () => {
    for (const command of COMMANDS) {
      const { stdout, status } = await run([command, '--help'], {}, { columns: 80 })
      assert.equal(status, 0)
      assert.match(stdout, new RegExp(`\nExamples:\n  .*espalier ${command}`), command)
      const wide = stdout
        .split('\n')
        .filter((line) => line.length > 80 && !line.startsWith('  espalier') && !line.startsWith('  source'))
      assert.deepEqual(wide, [], command)
    }
    const { stdout } = await run(['--help'], {}, { columns: 80 })
    for (const command of COMMANDS) assert.match(stdout, new RegExp(`^  ${command}\\b`, 'm'))
    assert.doesNotMatch(stdout, /^ {2}names/m)
  })

  test('refuses what it does not know with one line and status 2, and says what was meant', async () => {
    const wrong = { 'sass': 'sas', 'sas --jsom': '--json', 'counters --al': '--all', 'up x --timeuot 3': '--timeout' }
    for (const [line, meant] of Object.entries(wrong)) {
      const { stderr, status } = await run(line.split(' '))
      assert.equal(status, 2, line)
      assert.match(stderr, new RegExp(`^espalier: .*\\(Did you mean ${meant}\\?\\); see 'espalier.*--help'\n$`))
    }
    for (const line of [
      'up',
      'up a b',
      'up a --timeout soon',
      'log --level 7',
      'up a --ike --child',
      'counters a --all',
      'completion fish',
    ])
      assert.match((await run(line.split(' '))).stderr, /^espalier: [^\n]+; see 'espalier [a-z]+ --help'\n$/, line)
  })
})
