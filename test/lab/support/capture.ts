/** Packets seen on an interface, as tcpdump words them. */
import { randomBytes } from 'node:crypto'

import type { Daemon } from './process.ts'
import type { Host } from './network.ts'

/** An Ethernet type for experiments (IEEE 802): of frames of ours, behind which nothing is missing that came before. */
export const MARK_TYPE = '0x88b5'
/** Octets of a packet, and packets. */
const LENGTH_MOST = 4096
const ROOM = 8192
/** Of what a failed test has seen, from the beginning and from the end. */
const LINES_TOLD = 150

export class Capture {
  readonly #host: Host
  readonly #interface: string
  readonly #tcpdump: Daemon

  private constructor(host: Host, interfaceName: string, tcpdump: Daemon) {
    this.#host = host
    this.#interface = interfaceName
    this.#tcpdump = tcpdump
  }

  /** Returns when tcpdump listens. The filter is in tcpdump's language, "udp port 4500"; `-X` as an argument shows bytes. */
  static async start(host: Host, interfaceName: string, filter: string, args: readonly string[] = []): Promise<Capture> {
    // Immediate: otherwise the last packets wait in a buffer that an end throws away.
    // Debian's tcpdump gives up root for a user who may write to no directory of ours, hence -Z.
    const tcpdump = host.start('tcpdump', [
      '-Z',
      'root',
      '--immediate-mode',
      // As many packets as that may wait for a tcpdump that stands still. Where nothing is said of their length there is
      // room for eight: that mode takes the longest there could be for each.
      ...['-s', `${LENGTH_MOST}`, '-B', `${(ROOM * LENGTH_MOST) / 1024}`],
      '-l',
      '-n',
      '-tt',
      '-i',
      interfaceName,
      ...args,
      `(${filter}) or ether proto ${MARK_TYPE}`,
    ])
    await tcpdump.waitFor(/listening on/)
    const capture = new Capture(host, interfaceName, tcpdump)
    host.lab.tellIfFailed(`seen on ${host.name}, ${interfaceName}, of ${filter}`, async () => {
      const { packets } = capture
      const left = packets.length - 2 * LINES_TOLD
      return (left > 0 ? [...packets.slice(0, LINES_TOLD), `(${left} more)`, ...packets.slice(-LINES_TOLD)] : packets).join('\n')
    })
    return capture
  }

  /** One line a packet that was read so far, each beginning with the time in seconds; see `settled`. */
  get packets(): readonly string[] {
    return this.#tcpdump.lines.filter((line) => /^\d+\.\d+ /.test(line) && !line.includes(`(${MARK_TYPE})`))
  }

  /**
   * Every packet that has passed so far. tcpdump may be far behind, and what the kernel has for it when it is told to end
   * is lost: so a frame is sent after all that, and waited for.
   */
  async settled(): Promise<readonly string[]> {
    const source = ['02', ...[...randomBytes(5)].map((octet) => octet.toString(16).padStart(2, '0'))].join(':')
    // What listens everywhere listens there as well.
    await this.#host.run('perl', ['-e', MARK, this.#interface === 'any' ? 'lo' : this.#interface, source])
    await this.#tcpdump.waitFor(new RegExp(source))
    return this.packets
  }

  /** The first packet whose line matches. */
  async waitFor(pattern: RegExp, timeoutMs?: number): Promise<string> {
    return await this.#tcpdump.waitFor(pattern, timeoutMs)
  }

  async stop(): Promise<readonly string[]> {
    const packets = await this.settled()
    await this.#tcpdump.stop('SIGINT')
    const dropped = this.#tcpdump.lines.filter((line) => /^[1-9]\d* packets? dropped/.test(line))
    if (dropped.length > 0) this.#host.lab.note(`tcpdump on ${this.#host.name}: ${dropped.join(', ')}`)
    return packets
  }
}

/**
 * Arguments: interface, and the source address of the frame. Its destination is the interface itself, so that a switch
 * sends it nowhere. AF_PACKET is 17, SOCK_RAW 3; the structure is that of packet(7).
 */
const MARK = String.raw`
my ($interface, $source) = @ARGV;
sub fact {
  open my $handle, '<', "/sys/class/net/$interface/$_[0]" or die "$interface: $!\n";
  chomp(my $text = <$handle>);
  return $text;
}
sub octets { return pack 'H12', $_[0] =~ tr/://dr }
socket my $socket, 17, 3, 0 or die "socket: $!\n";
my $frame = octets(fact('address')) . octets($source) . pack 'nx46', ${MARK_TYPE};
send $socket, $frame, 0, pack('SnlSCCx8', 17, ${MARK_TYPE}, fact('ifindex'), 0, 0, 0) or die "send: $!\n";
`
