/**
 * Floods an IKE and a NAT-T socket with what a stranger may send, until SIGTERM. One half is junk for the NAT-T socket,
 * of every length from 0 to 9000 (in IP fragments from 1500 bytes on), with the non-ESP marker and without. The other
 * half has real headers, some of them cut short, with anything behind them, or is IKE_SA_INIT requests that are as good
 * as real ones; these go to both sockets. Says how many the kernel has taken, every thousand, and when each length has
 * been sent both with the marker and without.
 */
import { createSocket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'

import { concatBytes, Writer } from '../../src/base/bytes.ts'
import { ExchangeType, PayloadType } from '../../src/iana/ikev2.ts'
import { writeMessage } from '../../src/message/ikev2/message.ts'
import { parseProposal, toWire } from '../../src/negotiate/proposals.ts'
import { SeededEntropy } from '../simulation/entropy.ts'

const [address] = process.argv.slice(2) as [string]
const LENGTH_MAX = 9000
const BURST = 20
/** Nobody stops it: it does not go on for ever. */
const SENT_MAX = 500_000
const MARKER = new Uint8Array(4)
/** The header's flag, RFC 7296 3.1. */
const INITIATOR = 0x08
const PROPOSAL = parseProposal('aes128-sha256-x25519', 'ike')

const entropy = new SeededEntropy('flood')
const noise = entropy.bytes(1 << 16)
const number = (below: number): number => {
  const [a, b, c] = entropy.bytes(3) as unknown as [number, number, number]
  return ((a << 16) | (b << 8) | c) % below
}
const anything = (length: number): Uint8Array => {
  const from = number(noise.length - LENGTH_MAX)
  return noise.slice(from, from + length)
}

function initRequest(): Uint8Array {
  return writeMessage(
    {
      initiatorSpi: BigInt(1 + number(1 << 24)),
      responderSpi: 0n,
      majorVersion: 2,
      minorVersion: 0,
      exchangeType: ExchangeType.IKE_SA_INIT,
      fromInitiator: true,
      higherVersion: false,
      response: false,
      messageId: 0,
    },
    [
      { kind: 'SA', proposals: [toWire(PROPOSAL, 1, new Uint8Array())] },
      { kind: 'KE', group: 31, data: entropy.bytes(32) },
      { kind: 'Nonce', data: entropy.bytes(32) },
    ],
  )
}

function junk(length: number, isMarked: boolean): Uint8Array {
  const bytes = anything(length)
  return isMarked ? bytes.fill(0, 0, MARKER.length) : bytes
}

function message(): Uint8Array {
  switch (number(3)) {
    case 0:
      return initRequest()
    case 1: {
      // Cut off anywhere, also within the header.
      const whole = initRequest()
      return whole.subarray(0, number(whole.length))
    }
    default: {
      // The header of an IKE_SA that there is not, before something encrypted or before anything.
      const rest = anything(number(LENGTH_MAX - 32))
      const isSk = number(2) === 0
      const header = new Writer(32).u64(BigInt(number(1 << 24))).u64(BigInt(number(4)))
      header.u8(isSk ? PayloadType.SK : number(64)).u8(0x20)
      header
        .u8(ExchangeType.IKE_AUTH + number(3))
        .u8(isSk ? INITIATOR : number(256))
        .u32(number(3))
      header.u32(32 + rest.length)
      return concatBytes(
        header
          .u16(number(64))
          .u16(4 + rest.length)
          .finish(),
        rest,
      )
    }
  }
}

const stopped = new AbortController()
process.once('SIGTERM', () => stopped.abort())
const socket = createSocket('udp4')
let taken = 0
const send = (bytes: Uint8Array, port: number): void => {
  socket.send(bytes, port, address, (error) => {
    // ICMP errors are nothing to a stranger.
    if (error === null && ++taken % 1000 === 0) process.stdout.write(`sent ${taken}\n`)
  })
}
const LENGTHS = LENGTH_MAX + 1
for (let pair = 0; 2 * pair < SENT_MAX && !stopped.signal.aborted; pair++) {
  send(junk(pair % LENGTHS, Math.floor(pair / LENGTHS) % 2 === 0), 4500)
  if (pair === 2 * LENGTHS - 1) process.stdout.write('every length\n')
  const isNatT = number(2) === 0
  const bytes = message()
  send(isNatT && number(4) > 0 ? concatBytes(MARKER, bytes) : bytes, isNatT ? 4500 : 500)
  if (pair % (BURST / 2) === 0) await sleep(1)
}
socket.close()
