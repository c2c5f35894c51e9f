/**
 * The packets on both sides of the router, as tcpdump words them: each passes twice, as it is inside and as it is
 * outside.
 */
import { Capture } from '../support/capture.ts'
import type { Router } from '../support/network.ts'
import { eventually } from '../support/process.ts'

export interface Packet {
  readonly time: number
  readonly side: 'lan' | 'wan'
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
  /** What it carries, in tcpdump's words. */
  readonly content: string
  /** The line without the time. */
  readonly text: string
}

/** UDP from any port to any, with an ESP packet behind it. */
export const ESP_IN_UDP = /^UDP-encap: ESP/
export const KEEPALIVE = /^isakmp-nat-keep-alive/

export class Wire {
  readonly #capture: Capture

  private constructor(capture: Capture) {
    this.#capture = capture
  }

  static async tap(router: Router): Promise<Wire> {
    return new Wire(await Capture.start(router, 'any', 'ip'))
  }

  get packets(): readonly Packet[] {
    return this.#capture.packets.flatMap((line) => packetOf(line) ?? [])
  }

  /** Lines that are neither IKE nor ESP in UDP nor a keepalive, on the public side: there should be none. */
  get strangers(): readonly string[] {
    return this.#capture.packets.filter(
      (line) =>
        / wan +(In|Out) /.test(line) && !/: (isakmp|NONESP-encap: isakmp|UDP-encap: ESP|isakmp-nat-keep-alive)/.test(line),
    )
  }

  async waitFor(what: string, wanted: (packet: Packet) => boolean): Promise<Packet> {
    return await eventually(what, () => this.packets.find(wanted), 30_000)
  }

  /** How many there are, once there are `count`; if they don't become that many, how many there are then. */
  async waitForMany(what: string, wanted: (packet: Packet) => boolean, count: number): Promise<number> {
    const found = (): number => this.packets.filter(wanted).length
    await eventually(what, () => (found() >= count ? true : undefined), 10_000).catch(() => {})
    return found()
  }

  async stop(): Promise<void> {
    await this.#capture.stop()
  }
}

function packetOf(line: string): Packet | null {
  const match = /^(\d+\.\d+) (lan|wan) +(?:In|Out) +IP ([\d.]+)\.(\d+) > ([\d.]+)\.(\d+): (.*)$/.exec(line)
  if (match === null) return null
  const [, time, side, source, sourcePort, destination, destinationPort, content] = match
  return {
    time: Number(time),
    side: side as 'lan' | 'wan',
    source: source!,
    sourcePort: Number(sourcePort),
    destination: destination!,
    destinationPort: Number(destinationPort),
    content: content!,
    text: `${side}  ${source}.${sourcePort} > ${destination}.${destinationPort}: ${content}`,
  }
}
