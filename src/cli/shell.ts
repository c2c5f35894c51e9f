/**
 * What the subcommands share: where they print, whom they ask, how they are interrupted.
 */
import type { Milliseconds } from '../base/time.ts'
import type { ViciClient } from '../vici/client.ts'
import { section, type ViciSection } from '../vici/message.ts'
import type { Output } from './output.ts'

export type Client = Pick<ViciClient, 'call' | 'stream' | 'register' | 'close'>
export type Environment = Readonly<Record<string, string | undefined>>

export interface Shell {
  readonly output: Output
  readonly environment: Environment
  /** Connects to the daemon that --uri names. */
  readonly connect: () => Promise<Client>
  /** By the wall clock. */
  readonly now: () => Milliseconds
  /** Aborts at Ctrl-C, from the first time it is asked for: whoever does not ask is ended by it. */
  readonly interruption: () => AbortSignal
}

/** Asks the daemon, and leaves it. */
export async function withClient<Result>(shell: Shell, ask: (client: Client) => Promise<Result>): Promise<Result> {
  const client = await shell.connect()
  try {
    return await ask(client)
  } finally {
    client.close()
  }
}

/** All events that a listing consists of. */
export async function listed(
  client: Client,
  command: string,
  event: string,
  request: ViciSection = section(),
): Promise<ViciSection[]> {
  const events: ViciSection[] = []
  for await (const message of client.stream(command, request, event)) events.push(message)
  return events
}

/** Rows on standard output, or, so that nobody thinks that nothing happened, a word on a terminal that there are none. */
export function printLines(shell: Shell, lines: readonly string[], none: string): void {
  if (lines.length > 0) shell.output.print(lines.join('\n'))
  else if (shell.output.size !== null) shell.output.print(none)
}
