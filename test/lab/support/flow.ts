/**
 * UDP packets with numbers, 500 in a second unless told, from one host to another that sends each of them back: whatever is missing
 * at the end was lost on one of the two ways. Perl, as in transfer.ts, since emulated machines have little time to spare.
 */
import type { Host } from './network.ts'
import type { Daemon } from './process.ts'

const PORT = 7790
const PER_SECOND = 500

export interface Flow {
  /** Stops sending, waits for what is still on its way, and tells what was sent and what of it never came back. */
  end(): Promise<{ readonly sent: number; readonly missing: readonly number[] }>
}

/** Begins to send from `source` at `from` to `destination` at `to`. */
export async function startFlow(
  from: Host,
  source: string,
  to: Host,
  destination: string,
  perSecond = PER_SECOND,
): Promise<Flow> {
  const echo = to.start('perl', ['-e', PROGRAM, destination])
  await echo.waitFor(/^listening$/)
  const sender: Daemon = from.start('perl', ['-e', PROGRAM, source, destination, String(perSecond)])
  await sender.waitFor(/^sending$/)
  return {
    end: async () => {
      sender.signal('SIGTERM')
      const line = await sender.waitFor(/^sent /)
      await echo.stop()
      const [, sent, missing] = /^sent (\d+) missing (.*)$/.exec(line)!
      return { sent: Number(sent), missing: missing!.split(' ').filter(Boolean).map(Number) }
    },
  }
}

/** Arguments: own address, and for the end that begins the other one's and how many packets in a second. */
const PROGRAM = String.raw`
use Socket;
use POSIX ();

my ($own, $other, $rate) = @ARGV;
$| = 1;
socket my $socket, AF_INET, SOCK_DGRAM, 0 or die "socket: $!\n";
# An emulated machine may be away for a while, and so may this process: far more than a socket may ask for by itself (socket(7)).
use constant SO_RCVBUFFORCE => 33;
setsockopt $socket, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26 or die "setsockopt: $!\n";
bind $socket, pack_sockaddr_in(${PORT}, inet_aton($own)) or die "bind: $!\n";

if (!$other) {
  print "listening\n";
  while (my $from = recv $socket, my $data, 2000, 0) { send $socket, $data, 0, $from; }
  exit;
}

my $peer = pack_sockaddr_in(${PORT}, inet_aton($other));
my ($begun, $sent, $seen, $is_over) = ((POSIX::times())[0], 0, '', 0);
$SIG{TERM} = sub { $is_over = 1 };
print "sending\n";
for (;;) {
  # The clock ticks a hundred times in a second.
  my $due = $is_over ? 0 : ((POSIX::times())[0] - $begun) * $rate / 100;
  # What is late leaves little by little: a burst would overflow queues, which is nobody's loss but ours.
  for (my $turn = 0; $sent < $due && $turn < 50; $turn++) {
    send $socket, pack('Nx96', $sent), 0, $peer or die "sending packet $sent: $!\n";
    $sent++;
  }
  my $readable = '';
  vec($readable, fileno $socket, 1) = 1;
  last if select($readable, undef, undef, $is_over ? 3 : 0.01) == 0 && $is_over;
  while (defined recv $socket, my $data, 2000, MSG_DONTWAIT) { vec($seen, unpack('N', $data), 1) = 1; }
}
print "sent $sent missing ", join(' ', grep { !vec $seen, $_, 1 } 0 .. $sent - 1), "\n";
`
