/**
 * The command with a daemon that answers from a table, and all it printed.
 */
import { Command } from 'commander'

import { endingOf } from '../../src/cli/failures.ts'
import type { Output } from '../../src/cli/output.ts'
import { buildProgram } from '../../src/cli/program.ts'
import type { Client } from '../../src/cli/shell.ts'
import { section, type ViciNode, type ViciSection } from '../../src/vici/message.ts'

/** Objects for sections, in their order. */
export type Plain = { readonly [key: string]: string | Uint8Array | readonly (string | Uint8Array)[] | Plain }

export function tree(plain: Plain): ViciSection {
  return section(...Object.entries(plain).map(([key, value]) => [key, node(value)] as const))
}

function node(value: Plain[string]): ViciNode {
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  return Array.isArray(value) ? (value as readonly string[]) : tree(value as Plain)
}

export interface Answer {
  /** Events that come first, if they are asked for. */
  readonly events?: readonly Plain[]
  readonly response?: Plain
}

export interface FakeDaemon {
  /** By command; what is not here has an empty response. */
  readonly answers?: Readonly<Record<string, Answer | ((request: ViciSection) => Answer)>>
  /** By event, for who registers. */
  readonly events?: Readonly<Record<string, readonly Plain[]>>
}

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly requests: readonly { readonly command: string; readonly request: ViciSection }[]
}

const NOON = Date.UTC(2026, 10, 22, 12)

export interface RunOptions {
  /** Of a terminal; null: a pipe. */
  readonly columns?: number | null
  readonly rows?: number
  readonly environment?: Readonly<Record<string, string>>
  /** By the wall clock; noon of 22 November 2026 if not said. */
  readonly now?: number
  /** Colours as `<green>text`. */
  readonly colours?: boolean
}

export async function run(args: readonly string[], daemon: FakeDaemon = {}, options: RunOptions = {}): Promise<Ran> {
  const printed = { stdout: '', stderr: '' }
  const requests: { command: string; request: ViciSection }[] = []
  const { columns = null, rows = 24, environment = {}, colours = false, now = NOON } = options
  const output: Output = {
    size: columns === null ? null : { columns, rows },
    print: (text) => void (printed.stdout += `${text}\n`),
    complain: (text) => void (printed.stderr += `${text}\n`),
    paint: (style, text) => (colours ? `<${style}>${text}` : text),
  }
  const answerOf = (command: string, request: ViciSection): Answer => {
    requests.push({ command, request })
    const answer = daemon.answers?.[command] ?? {}
    return typeof answer === 'function' ? answer(request) : answer
  }
  const client: Client = {
    async call(command, request = section()) {
      return tree(answerOf(command, request).response ?? {})
    },
    async *stream(command, request) {
      const { events = [], response = {} } = answerOf(command, request)
      yield* events.map(tree)
      return tree(response)
    },
    async register(event) {
      return (async function* () {
        yield* (daemon.events?.[event] ?? []).map(tree)
      })()
    },
    close() {},
  }
  let status = 0
  const program = new Command('espalier')
  // The first look of --watch is the last: whoever asks is interrupted at once after it.
  const interruption = new AbortController()
  const shell = {
    output,
    environment,
    connect: async () => client,
    now: () => now,
    interruption: () => {
      setTimeout(() => interruption.abort(), 50)
      return interruption.signal
    },
  }
  buildProgram(program, shell, (ended) => (status = ended))
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    const ending = endingOf(error)
    if (ending === null) throw error
    if (ending.sentence !== null) output.complain(ending.sentence)
    status = ending.status
  }
  return { status, ...printed, requests }
}

// -- what is up ----------------------------------------------------------------------------------------------------

/** As the daemon says it. */
export const BERN: Plain = {
  'uniqueid': '1',
  'version': '2',
  'state': 'ESTABLISHED',
  'local-host': '203.0.113.5',
  'local-port': '4500',
  'local-id': 'gateway.example.org',
  'remote-host': '198.51.100.77',
  'remote-port': '29009',
  'remote-id': 'bern.example.org',
  'initiator-spi': '81db7e2c65ce0565',
  'responder-spi': '43f4d6f9e2d8824d',
  'nat-remote': 'yes',
  'nat-any': 'yes',
  'encr-alg': 'AES_CBC',
  'encr-keysize': '256',
  'integ-alg': 'HMAC_SHA2_256_128',
  'prf-alg': 'PRF_HMAC_SHA2_256',
  'dh-group': 'CURVE_25519',
  'established': '7505',
  'rekey-time': '6000',
  'reauth-time': '3000',
  'child-sas': {
    'office-3': {
      'name': 'office',
      'uniqueid': '3',
      'reqid': '1',
      'state': 'INSTALLED',
      'mode': 'TUNNEL',
      'protocol': 'ESP',
      'encap': 'yes',
      'spi-in': 'c9f230cd',
      'spi-out': 'ccd1c626',
      'encr-alg': 'AES_GCM_16',
      'encr-keysize': '256',
      'bytes-in': '1234567',
      'packets-in': '840',
      'use-in': '3',
      'bytes-out': '999',
      'packets-out': '9',
      'use-out': '90',
      'rekey-time': '-2',
      'life-time': '300',
      'install-time': '45',
      'local-ts': ['10.20.0.0/24'],
      'remote-ts': ['10.1.0.0/24', '10.2.0.0/24'],
    },
  },
}

export const CONNS: readonly Plain[] = [
  { bern: { version: 'IKEv2', children: { office: { mode: 'TUNNEL' }, voice: { mode: 'TUNNEL' } } } },
  { zug: { version: 'IKEv2', children: { office: { mode: 'TUNNEL' } } } },
  { empty: { version: 'IKEv2' } },
]

export const UP: FakeDaemon = {
  answers: { 'list-sas': { events: [{ bern: BERN }] }, 'list-conns': { events: CONNS } },
}
