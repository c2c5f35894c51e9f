/**
 * Flows of equal addresses and ports kept apart by marks, with the real nftables and connection tracking; the marks come
 * from a rule here instead of from states, so that no ESP is needed.
 *
 *   one 192.0.2.1 ──┐
 *                   ├── here 192.0.2.2
 *   two 192.0.2.1 ──┘
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { NftFlows } from '../../src/edge/flows.ts'

const MARK = 0x4553_0002

/** Runs in namespaces of its own: the first peer has no mark, the second one has. */
const SCENE = `
mount -t tmpfs none /run && mkdir /run/netns && mount --make-shared /run
ip link set lo up
for peer in one two; do
  ip netns add $peer
  ip link add $peer type veth peer name wire netns $peer
  ip link set $peer up
  ip -n $peer address add 192.0.2.1/24 dev wire
  ip -n $peer link set wire up
done
ip address add 192.0.2.2/24 dev one
ip rule add fwmark ${MARK} table 7
ip route add 192.0.2.0/24 dev two table 7
for name in all default one two; do echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter; done
nft -f - <<'END'
table ip states {
  chain marks {
    type filter hook prerouting priority -310;
    iifname "two" meta mark set ${MARK}
  }
}
END
`

/** A process that knows nothing of marks answers whoever it hears, to where it heard it from. */
const PEERS = `
import socket, subprocess, sys
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here.bind(('192.0.2.2', 1701))
here.settimeout(20)
peer = '''
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((str(), 1701))
s.settimeout(20)
s.connect(('192.0.2.2', 1701))
for line in sys.stdin:
    s.send(line.strip().encode())
    print(s.recv(100).decode(), flush=True)
'''
peers = [subprocess.Popen(['ip', 'netns', 'exec', name, 'python3', '-c', peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in ('one', 'two')]
ports = []
for word in ('first', 'second'):
    for name, process in zip(('one', 'two'), peers):
        process.stdin.write(name + ' ' + word + chr(10))
        process.stdin.flush()
        said, (address, port) = here.recvfrom(100)
        ports.append(port)
        here.sendto(b'to ' + said, (address, port))
        print(process.stdout.readline().strip())
for process in peers:
    process.stdin.close()
print('1701' if ports[0] == ports[2] == 1701 else ports, 'another' if ports[1] == ports[3] != 1701 else ports)
`

function lacking(): string | false {
  try {
    execFileSync(
      'unshare',
      ['-n', '-m', 'sh', '-c', 'nft list tables && mount -t tmpfs none /run && python3 --version && ip -V'],
      {
        stdio: 'ignore',
      },
    )
    return false
  } catch {
    return 'needs namespaces, nft, ip and python3'
  }
}

test('two peers of the same address and port are each answered, and who has no mark keeps his port', { skip: lacking() }, () => {
  const flows = new URL('../../src/edge/flows.ts', import.meta.url).href
  const program = `
    import { NftFlows } from ${JSON.stringify(flows)}
    import { execFileSync } from 'node:child_process'
    const troubles = []
    const flows = new NftFlows({ onTrouble: (sentence) => troubles.push(sentence) })
    await flows.keepApart(${MARK})
    await flows.keepApart(${MARK + 1})
    flows.letGo(${MARK + 1})
    await flows.keepApart(${MARK})
    process.stdout.write(execFileSync('python3', ['-c', ${JSON.stringify(PEERS)}]))
    flows.letGo(${MARK})
    await flows.close()
    process.stdout.write(execFileSync('nft', ['list', 'tables']))
    console.log(JSON.stringify(troubles))`
  const script = `set -e\n${SCENE}\nexec ${process.execPath} --input-type=module -e "$PROGRAM"`
  const output = execFileSync('unshare', ['-n', '-m', 'bash', '-c', script], {
    env: { ...process.env, PROGRAM: program },
    encoding: 'utf8',
  })
  assert.deepEqual(output.trim().split('\n'), [
    'to one first',
    'to two first',
    'to one second',
    'to two second',
    '1701 another',
    'table ip states',
    '[]',
  ])
})

test('without nft it is said what is missing, and what nft refuses in its words', async () => {
  const trouble: string[] = []
  const failure = async (program: string): Promise<string> => {
    const flows = new NftFlows({ onTrouble: (sentence) => trouble.push(sentence), program })
    const error: unknown = await flows.keepApart(MARK).then(
      () => null,
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof EspalierError)
    flows.letGo(MARK)
    await flows.close()
    return error.message
  }
  assert.match(
    await failure('/nowhere/nft'),
    /^nftables could not be told .* there is no program \/nowhere\/nft; install nftables$/,
  )
  assert.match(await failure('false'), /nft ended with status 1$/)
  assert.deepEqual(trouble, [])
})
