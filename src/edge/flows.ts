/**
 * Flows kept apart by their marks, through nftables and the kernel's connection tracking (ports.ts, Flows).
 *
 * Two peers in transport mode behind one NAT have the same addresses here, and may have the same ports: Windows' L2TP
 * has 1701 at both ends. What arrives from them is told apart by the marks that their states give it; what is to go back
 * is not, for a process that answers knows no marks. So each mark is a zone of connection tracking for what arrives,
 * which makes two flows of what is one flow otherwise, and the flow remembers its mark for what answers it. Since the
 * process, too, has to tell the two apart, it sees packets with a mark come from another port than they were sent from.
 *
 * All of it is in a table of our own, which is there only while somebody needs it.
 */
import { spawn } from 'node:child_process'

import { EspalierError, messageOf } from '../base/errors.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import type { Flows } from '../ports.ts'

/** The table, of family inet, that is ours alone: whatever is in it when we need it is left over from before. */
export const TABLE = 'espalier'

/** In milliseconds of the program; it takes about ten. */
const NFT_TIMEOUT: Milliseconds = 10 * SECOND
/** Of what the program says; the rest is not looked at. */
const OUTPUT_MAX = 2000
/** Zones have 16 bits; the marks that are kept apart differ in theirs (gateway/separations.ts). */
const ZONE_BITS = 0xffff

/**
 * Zones come before connection tracking looks (raw), marks after it has (mangle). The port is changed where packets are
 * handed to processes, so that whoever was there first, without a mark, keeps his. A chain of type `route` has the way
 * of a packet looked up again, policies included, when it gets a mark.
 */
const SCRIPT = `
table inet ${TABLE}
delete table inet ${TABLE}
table inet ${TABLE} {
  map zones { typeof meta mark : ct zone; }
  set marks { type mark; }
  chain arriving {
    type filter hook prerouting priority raw;
    ct original zone set meta mark map @zones
  }
  chain remembered {
    type filter hook prerouting priority mangle;
    meta mark @marks ct mark set meta mark
  }
  chain apart {
    type nat hook input priority 100;
    meta mark @marks meta l4proto { tcp, udp } snat to :32768-60999
  }
  chain answering {
    type route hook output priority mangle;
    ct mark @marks meta mark set ct mark
  }
}
`

export interface NftFlowsOptions {
  /** What went wrong, a sentence each: for the log. */
  readonly onTrouble: (sentence: string) => void
  /** The program, if it is not to be looked for. */
  readonly program?: string
}

export class NftFlows implements Flows {
  readonly #onTrouble: (sentence: string) => void
  readonly #program: string
  readonly #marks = new Set<number>()
  /** Settles when what was asked for is done; never rejects. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: NftFlowsOptions) {
    this.#onTrouble = options.onTrouble
    this.#program = options.program ?? 'nft'
  }

  keepApart(mark: number): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#marks.has(mark)) return
      await this.#run((this.#marks.size === 0 ? SCRIPT : '') + elements('add', mark))
      this.#marks.add(mark)
    })
  }

  letGo(mark: number): void {
    void this.#inTurn(async () => {
      if (!this.#marks.delete(mark)) return
      await this.#run(this.#marks.size === 0 ? `delete table inet ${TABLE}` : elements('delete', mark))
    }).catch((error: unknown) => this.#onTrouble(messageOf(error)))
  }

  /** Takes the table out, if there is one, after all that was asked for. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#marks.size === 0) return
      this.#marks.clear()
      await this.#run(`delete table inet ${TABLE}`).catch((error: unknown) => this.#onTrouble(messageOf(error)))
    })
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change)
    this.#turn = result.catch(() => undefined)
    return result
  }

  /** Rejects with an EspalierError that says what the program said. */
  #run(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new EspalierError('caller', 'NFT_FAILED', `nftables could not be told to keep flows apart: ${why}`))
      const child = spawn(this.#program, ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'], timeout: NFT_TIMEOUT })
      let said = ''
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        if (said.length < OUTPUT_MAX) said += text.slice(0, OUTPUT_MAX - said.length)
      })
      child.on('error', (error) => {
        const isMissing = 'code' in error && error.code === 'ENOENT'
        fail(isMissing ? `there is no program ${this.#program}; install nftables` : error.message)
      })
      child.on('close', (status, signal) => {
        if (status === 0) resolve()
        else fail(said.split('\n')[0] || (signal === null ? `nft ended with status ${status}` : `nft took too long (${signal})`))
      })
      // One that is gone before it has read everything is heard of by its end.
      child.stdin.on('error', () => undefined)
      child.stdin.end(script)
    })
  }
}

function elements(verb: 'add' | 'delete', mark: number): string {
  const zone = verb === 'add' ? ` : ${mark & ZONE_BITS}` : ''
  return `${verb} element inet ${TABLE} zones { ${mark}${zone} }\n${verb} element inet ${TABLE} marks { ${mark} }\n`
}
