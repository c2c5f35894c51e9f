/**
 * A megabyte by TCP there and a megabyte back, through whatever is between two hosts: what echoes are too small and too
 * few to show, such as segments as long as the path allows and sequence numbers by the hundred.
 *
 * Both ends are Perl, which every Debian has (perl-base) and which starts in a fraction of the time of a Node.js. They
 * see the same file system, so that each compares what arrives with the very file that the other one sends.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Host, Lab } from './network.ts'
import type { Daemon } from './process.ts'

export const TRANSFER_BYTES = 1_000_000
/** Of TCP, where nothing else is asked for. */
const PORT = 7777
/** Of the hosts' time, for connecting and for all of the data, behind others that the same end serves first. */
const LIMIT_SECONDS = 120
/** Of the hosts' time: long enough for a handshake that comes about at all, with one retransmission. */
const CONNECT_SECONDS = 2

/** The end that connects and the address it does so from, and the end that listens at any address it has. */
export interface Ends {
  readonly from: Host
  readonly source: string
  readonly to: Host
  readonly destination: string
  readonly port?: number
}

/** Sends a megabyte to `to` and one back by the same connection; throws unless both arrive whole. */
export async function transferBothWays(ends: Ends): Promise<void> {
  const server = await serverAt(ends.to, ends.port ?? PORT)
  const { status, stderr } = await connect(ends, LIMIT_SECONDS, await contents(ends.from.lab))
  // The server sends its megabyte only after it has found the other one whole, so the client speaks for both.
  const what = `${TRANSFER_BYTES} bytes by TCP from ${ends.source} to ${ends.destination}, and back`
  assert.equal(status, 0, `${what}: ${stderr.trim()} (at the other end: ${server.lines.slice(-3).join('; ')})`)
}

/** Whether a TCP connection comes about; somebody listens, so it is the path that says no. */
export async function connects(ends: Ends): Promise<boolean> {
  await serverAt(ends.to, ends.port ?? PORT)
  return (await connect(ends, CONNECT_SECONDS, '')).status === 0
}

async function connect(ends: Ends, seconds: number, file: string): ReturnType<Host['tryRun']> {
  const { destination, source, port = PORT } = ends
  const limits = { timeoutMs: (seconds + 60) * 1000 }
  return await ends.from.tryRun('perl', ['-e', PROGRAM, file, `${seconds}`, `${port}`, destination, source], limits)
}

const files = new WeakMap<Lab, Promise<string>>()
const servers = new WeakMap<Host, Map<number, Promise<Daemon>>>()

/** The file both ends send, one for each lab. */
async function contents(lab: Lab): Promise<string> {
  let file = files.get(lab)
  if (file === undefined) {
    file = lab.directory().then(async (directory) => {
      const path = join(directory, 'megabyte')
      await writeFile(path, randomBytes(TRANSFER_BYTES))
      return path
    })
    files.set(lab, file)
  }
  return await file
}

/** The one that listens, for as long as the host exists. */
async function serverAt(host: Host, port: number): Promise<Daemon> {
  let ofHost = servers.get(host)
  if (ofHost === undefined) servers.set(host, (ofHost = new Map()))
  let server = ofHost.get(port)
  if (server === undefined) {
    server = contents(host.lab).then(async (file) => {
      const daemon = host.start('perl', ['-e', PROGRAM, file, `${LIMIT_SECONDS}`, `${port}`])
      await daemon.waitFor(/^listening$/)
      return daemon
    })
    ofHost.set(port, server)
  }
  return await server
}

/**
 * Arguments: file, seconds, port, and for the end that connects destination and source. First one sends and then the
 * other: two ends that both send and do not read would wait for each other. Without a file there is nothing to send.
 */
const PROGRAM = String.raw`
use Socket qw(:DEFAULT getaddrinfo AI_NUMERICHOST IPPROTO_IPV6 IPV6_V6ONLY);

my ($file, $seconds, $port, $destination, $source) = @ARGV;
my $megabyte = '';
if ($file ne '') {
  open my $handle, '<:raw', $file or die "$file: $!\n";
  local $/;
  $megabyte = <$handle>;
}
$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{ALRM} = sub { die "not within $seconds s\n" };

sub endpoint {
  my ($error, $found) = getaddrinfo($_[0], $_[1], { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
  die "$_[0]: $error\n" if $error;
  return $found;
}

sub sends {
  my ($peer) = @_;
  for (my $sent = 0; $sent < length $megabyte;) {
    $sent += syswrite($peer, $megabyte, 65536, $sent) // die "sending: $! after $sent\n";
  }
}

sub receives {
  my ($peer) = @_;
  my $got = '';
  while (length $got < length $megabyte) {
    my $count = sysread($peer, $got, 65536, length $got) // die 'receiving: ', $!, ' after ', length $got, "\n";
    die 'the other end closed after ', length $got, "\n" if $count == 0;
  }
  die "what arrived is not what was sent\n" if $got ne $megabyte;
}

if ($destination) {
  my $there = endpoint($destination, $port);
  socket my $socket, $there->{family}, SOCK_STREAM, 0 or die "socket: $!\n";
  bind $socket, endpoint($source, 0)->{addr} or die "bind: $!\n";
  alarm $seconds;
  connect $socket, $there->{addr} or die "connect: $!\n";
  sends($socket);
  receives($socket);
  exit if $file eq '';
  # Until the other end has closed as well: nothing of this is to come later, when the tunnel may be gone.
  shutdown $socket, 1;
  sysread $socket, my $more, 1;
  exit;
}

# IPv6 and IPv4 alike.
socket my $socket, AF_INET6, SOCK_STREAM, 0 or die "socket: $!\n";
setsockopt $socket, IPPROTO_IPV6, IPV6_V6ONLY, 0 or die "setsockopt: $!\n";
bind $socket, endpoint('::', $port)->{addr} or die "bind: $!\n";
listen $socket, 8 or die "listen: $!\n";
print "listening\n";
while (accept my $peer, $socket) {
  eval {
    alarm $seconds;
    receives($peer);
    sends($peer);
  };
  print $@ || "whole\n";
  alarm 0;
  close $peer;
}
`
