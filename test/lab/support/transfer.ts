/**
 * A megabyte by TCP there and a megabyte back, through whatever is between two hosts: what echoes are too small and too
 * few to show, such as segments as long as the path allows and sequence numbers by the thousand.
 *
 * Both ends are Perl, which every Debian has (perl-base) and which starts in a tenth of the time of a Node.js. They see
 * the same file system, so that each compares what arrives with the very file that the other one sends.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Host, Lab } from './network.ts'

export const TRANSFER_BYTES = 1_000_000
/** Of TCP, where nothing else is asked for. */
const PORT = 7777
/** Of the hosts' time, for connecting and for all of the data. */
const LIMIT_SECONDS = 30

export interface Ends {
  /** The end that connects, and the address it does so from. */
  readonly from: Host
  readonly source: string
  readonly to: Host
  readonly destination: string
  readonly port?: number
}

/** Sends a megabyte to `to` and one back by the same connection; throws unless both arrive whole. */
export async function transferBothWays(ends: Ends): Promise<void> {
  const port = `${ends.port ?? PORT}`
  const file = await contents(ends.from.lab)
  const limit = `${LIMIT_SECONDS}`
  const server = ends.to.start('perl', ['-e', PROGRAM, 'serve', file, limit, ends.destination, port])
  try {
    await server.waitFor(/^listening$/)
    const client = await ends.from.tryRun('perl', ['-e', PROGRAM, 'connect', file, limit, ends.destination, port, ends.source])
    // A client that failed has closed its connection or never had one, and the server may wait for it: not for long.
    if (client.status === 0) await server.waitFor(/^whole$/)
    const said = { there: server.lines.at(-1), back: client.stdout.trim() || client.stderr.trim() }
    const what = `${TRANSFER_BYTES} bytes by TCP from ${ends.source} to ${ends.destination}, and back`
    assert.deepEqual(said, { there: 'whole', back: 'whole' }, what)
  } finally {
    await server.stop('SIGKILL')
  }
}

/** Whether a TCP connection can be made at all: a server listens, whoever asks. */
export async function connects(ends: Ends, limitSeconds = 2): Promise<boolean> {
  const port = `${ends.port ?? PORT}`
  const server = ends.to.start('perl', ['-e', PROGRAM, 'serve', '/dev/null', `${LIMIT_SECONDS}`, ends.destination, port])
  try {
    await server.waitFor(/^listening$/)
    const args = ['connect', '/dev/null', `${limitSeconds}`, ends.destination, port, ends.source]
    const client = await ends.from.tryRun('perl', ['-e', PROGRAM, ...args])
    return client.status === 0
  } finally {
    await server.stop('SIGKILL')
  }
}

const files = new WeakMap<Lab, Promise<string>>()

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

/** One way after the other: two ends that both only send would wait for each other. */
const PROGRAM = String.raw`
use strict;
use warnings;
use Socket qw(:DEFAULT getaddrinfo AI_NUMERICHOST AI_NUMERICSERV SOL_SOCKET SO_REUSEADDR);

my ($role, $file, $limit, $address, $port, $source) = @ARGV;
$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{ALRM} = sub { die "time is up after $limit s\n" };
alarm $limit;

open my $handle, '<:raw', $file or die "$file: $!\n";
my $expected = do { local $/; <$handle> } // '';

sub endpoint {
  my ($host, $service) = @_;
  my $flags = AI_NUMERICHOST | AI_NUMERICSERV;
  my ($error, $found) = getaddrinfo($host, $service, { flags => $flags, socktype => SOCK_STREAM });
  die "$host: $error\n" if $error;
  return $found;
}

sub sends {
  my ($peer) = @_;
  for (my $sent = 0; $sent < length $expected;) {
    $sent += syswrite($peer, $expected, 65536, $sent) // die "sending: $! after $sent\n";
  }
}

sub receives {
  my ($peer) = @_;
  my $got = '';
  while (length $got < length $expected) {
    my $count = sysread($peer, $got, 65536, length $got) // die "receiving: $! after " . length($got) . "\n";
    die 'the peer ended after ' . length($got) . "\n" if $count == 0;
  }
  die "what arrived is not what was sent\n" if $got ne $expected;
}

my $there = endpoint($address, $port);
socket(my $socket, $there->{family}, SOCK_STREAM, 0) or die "socket: $!\n";
if ($role eq 'serve') {
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die "setsockopt: $!\n";
  bind($socket, $there->{addr}) or die "bind: $!\n";
  listen($socket, 1) or die "listen: $!\n";
  print "listening\n";
  accept(my $peer, $socket) or die "accept: $!\n";
  receives($peer);
  sends($peer);
} else {
  bind($socket, endpoint($source, 0)->{addr}) or die "bind: $!\n";
  connect($socket, $there->{addr}) or die "connect: $!\n";
  sends($socket);
  receives($socket);
}
print "whole\n";
`
