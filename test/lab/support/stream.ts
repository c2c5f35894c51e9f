/**
 * UDP packets with numbers, one way: what is missing at the other end was lost on this way and no other. Perl, as in
 * flow.ts, since emulated machines have little time to spare.
 */
import type { Host } from './network.ts'

const PER_SECOND = 200

export interface Stream {
  /** Stops sending, waits for what is still on its way, and tells what was sent and what of it never arrived. */
  end(): Promise<{ readonly sent: number; readonly missing: readonly number[] }>
}

/** Begins to send from `source` at `from` to a port of `destination` at `to`. */
export async function startStream(
  from: Host,
  source: string,
  to: Host,
  destination: string,
  port: number,
  perSecond = PER_SECOND,
): Promise<Stream> {
  const receiver = to.start('perl', ['-e', PROGRAM, destination, String(port)])
  await receiver.waitFor(/^listening$/)
  const sender = from.start('perl', ['-e', PROGRAM, source, String(port), destination, String(perSecond)])
  await sender.waitFor(/^sending$/)
  return {
    end: async () => {
      sender.signal('SIGTERM')
      const [, sent] = /^sent (\d+)$/.exec(await sender.waitFor(/^sent /))!
      receiver.signal('SIGTERM')
      const [, received] = /^received(.*)$/.exec(await receiver.waitFor(/^received/))!
      const seen = new Set<number>()
      for (const range of received!.split(' ').filter(Boolean)) {
        const [first, last] = range.split('-').map(Number)
        for (let number = first!; number <= last!; number++) seen.add(number)
      }
      const missing = Array.from({ length: Number(sent) }, (_, number) => number).filter((number) => !seen.has(number))
      return { sent: Number(sent), missing }
    },
  }
}

/** Arguments: own address, port, and for the end that sends the other one's address and how many packets in a second. */
const PROGRAM = String.raw`
use Socket;
use POSIX ();

my ($own, $port, $other, $rate) = @ARGV;
$| = 1;
socket my $socket, AF_INET, SOCK_DGRAM, 0 or die "socket: $!\n";
# As in flow.ts.
use constant SO_RCVBUFFORCE => 33;
setsockopt $socket, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26 or die "setsockopt: $!\n";
setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1 or die "setsockopt: $!\n";
my $is_over = 0;
$SIG{TERM} = sub { $is_over = 1 };

if (!$other) {
  bind $socket, pack_sockaddr_in($port, inet_aton($own)) or die "bind: $!\n";
  my $seen = '';
  print "listening\n";
  for (;;) {
    my $readable = '';
    vec($readable, fileno $socket, 1) = 1;
    last if select($readable, undef, undef, $is_over ? 1 : 0.05) <= 0 && $is_over;
    while (defined recv $socket, my $data, 2000, MSG_DONTWAIT) { vec($seen, unpack('N', $data), 1) = 1; }
  }
  my @ranges;
  for my $number (grep { vec $seen, $_, 1 } 0 .. 8 * length $seen) {
    if (@ranges && $ranges[-1][1] == $number - 1) { $ranges[-1][1] = $number } else { push @ranges, [$number, $number] }
  }
  print 'received ', join(' ', map { "$_->[0]-$_->[1]" } @ranges), "\n";
  exit;
}

bind $socket, pack_sockaddr_in(0, inet_aton($own)) or die "bind: $!\n";
my $peer = pack_sockaddr_in($port, inet_aton($other));
my ($begun, $sent) = ((POSIX::times())[0], 0);
print "sending\n";
while (!$is_over) {
  # The clock ticks a hundred times in a second. A policy that stops packets for a moment makes send fail: lost as any.
  my $due = ((POSIX::times())[0] - $begun) * $rate / 100;
  for (my $turn = 0; $sent < $due && $turn < 50; $turn++) {
    send $socket, pack('Nx96', $sent), 0, $peer;
    $sent++;
  }
  select undef, undef, undef, 0.005;
}
print "sent $sent\n";
`
