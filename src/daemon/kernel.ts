/**
 * Which kernel: the real one over netlink, or the one in memory.
 */
import { systemClock } from '../edge/clock.ts'
import { systemEntropy } from '../edge/entropy.ts'
import { MemoryKernel } from '../edge/memory-kernel.ts'
import { openNetlinkKernel } from '../edge/netlink.ts'
import type { Connection } from '../ike/connection.ts'
import type { KernelEvent } from '../kernel/vocabulary.ts'
import { espAlgorithms } from '../negotiate/algorithms.ts'
import type { Kernel } from '../ports.ts'
import type { KernelKind } from './kernel-kind.ts'

export interface OpenKernel {
  readonly kernel: Kernel
  close(): Promise<void>
}

export interface KernelEars {
  readonly onEvent: (event: KernelEvent) => void
  /** What befell the way to the kernel, a sentence each. */
  readonly onTrouble: (sentence: string) => void
}

/** Opens the kernel; what it lacks of what the connections may come to need stands in its capabilities. */
export async function openKernel(kind: KernelKind, connections: readonly Connection[], ears: KernelEars): Promise<OpenKernel> {
  if (kind === 'memory') {
    return {
      kernel: new MemoryKernel({ clock: systemClock, entropy: systemEntropy, onEvent: ears.onEvent }),
      close: () => Promise.resolve(),
    }
  }
  const proposals = connections.flatMap((connection) => connection.children.flatMap((child) => child.proposals))
  const kernel = await openNetlinkKernel({ ...ears, algorithms: espAlgorithms(proposals) })
  return { kernel, close: () => kernel.close() }
}
