/**
 * Which kernel: the real one over netlink, or the one in memory.
 */
import { systemClock } from '../edge/clock.ts'
import { systemEntropy } from '../edge/entropy.ts'
import { MemoryKernel } from '../edge/memory-kernel.ts'
import { openNetlinkKernel } from '../edge/netlink.ts'
import type { KernelEvent } from '../kernel/vocabulary.ts'
import type { Kernel } from '../ports.ts'

export const KERNELS = ['netlink', 'memory'] as const
export type KernelKind = (typeof KERNELS)[number]

export interface OpenKernel {
  readonly kernel: Kernel
  close(): void
}

/** Opens the kernel; what it lacks stands in its capabilities. Rejects with an EspalierError when there is none at all. */
export async function openKernel(kind: KernelKind, onEvent: (event: KernelEvent) => void): Promise<OpenKernel> {
  if (kind === 'memory') {
    return { kernel: new MemoryKernel({ clock: systemClock, entropy: systemEntropy, onEvent }), close: () => {} }
  }
  const kernel = await openNetlinkKernel({ onEvent })
  return { kernel, close: () => kernel.close() }
}
