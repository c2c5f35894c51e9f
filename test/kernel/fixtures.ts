/**
 * Plain values the tests of the kernel room start from; each test changes what it is about.
 */
import { IpAddress, IpRange } from '../../src/base/ip.ts'
import { Secret } from '../../src/crypto/secret.ts'
import type { ChildInstallation, Keying } from '../../src/kernel/books.ts'
import { UNSEPARATED } from '../../src/kernel/separation.ts'
import { ANY_PORT, NO_LIMITS, type Policy, type Selector, type State } from '../../src/kernel/vocabulary.ts'
import type { TrafficSelector } from '../../src/negotiate/selectors.ts'
import type { Clock, Entropy } from '../../src/ports.ts'

export const LEFT = IpAddress.parse('192.0.2.1')
export const RIGHT = IpAddress.parse('198.51.100.2')

/** `length` bytes counting up from `first`. */
export function counting(first: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (first + i) & 0xff)
}

export function gcm(first = 1): Keying {
  return { encryption: { id: 20, keyLength: 128, key: new Secret(counting(first, 20)) }, integrity: null }
}

export function cbc(first = 1): Keying {
  return {
    encryption: { id: 12, keyLength: 256, key: new Secret(counting(first, 32)) },
    integrity: { id: 12, key: new Secret(counting(first + 100, 32)) },
  }
}

export function selector(source: string, destination: string, change: Partial<Selector> = {}): Selector {
  return {
    source: IpRange.parse(source),
    destination: IpRange.parse(destination),
    protocol: 0,
    sourcePorts: ANY_PORT,
    destinationPorts: ANY_PORT,
    ...change,
  }
}

export function traffic(range: string, protocol = 0, firstPort = 0, lastPort = 65535): TrafficSelector {
  return { range: IpRange.parse(range), protocol, firstPort, lastPort }
}

export function state(change: Partial<State> = {}): State {
  return {
    spi: 0xc1020304,
    source: RIGHT,
    destination: LEFT,
    direction: 'in',
    mode: 'tunnel',
    reqid: 7,
    ...gcm(),
    esn: false,
    replayWindow: 32,
    encapsulation: null,
    selector: null,
    limits: NO_LIMITS,
    copyDf: true,
    copyEcn: true,
    copyDscpOut: true,
    copyDscpIn: false,
    acquireSequence: 0,
    mark: null,
    setMark: null,
    ifId: 0,
    ...change,
  }
}

export function policy(change: Partial<Policy> = {}): Policy {
  return {
    direction: 'out',
    selector: selector('10.1.0.0/16', '10.2.3.0/24'),
    mark: null,
    ifId: 0,
    priority: 375935,
    action: 'allow',
    template: { source: LEFT, destination: RIGHT, mode: 'tunnel', reqid: 7, spi: 0xcabbccdd },
    ...change,
  }
}

export function installation(inboundSpi: number, change: Partial<ChildInstallation> = {}): ChildInstallation {
  return {
    owner: `child ${inboundSpi}`,
    reqid: 7,
    mode: 'tunnel',
    local: LEFT,
    remote: RIGHT,
    inboundSpi,
    outboundSpi: 0xcabb0001,
    inbound: gcm(1),
    outbound: gcm(50),
    esn: false,
    replayWindow: 32,
    encapsulation: null,
    localSelectors: [traffic('10.1.0.0/16')],
    remoteSelectors: [traffic('10.2.0.0/16')],
    copyDf: true,
    copyEcn: true,
    copyDscpOut: true,
    copyDscpIn: false,
    limits: { in: NO_LIMITS, out: NO_LIMITS },
    priority: 0,
    acquireSequence: 0,
    separation: UNSEPARATED,
    ...change,
  }
}

/** A clock that stands until it is moved. */
export class HandClock implements Clock {
  at = 1000
  now(): number {
    return this.at
  }
  wall(): number {
    return 1_700_000_000_000 + this.at
  }
}

/** Bytes that repeat from run to run. */
export class CountingEntropy implements Entropy {
  #next = 1
  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    new DataView(bytes.buffer).setUint32(count - 4, this.#next++)
    return bytes
  }
}
