/**
 * Which kernels there are to choose from: by themselves, so that the command can offer them without loading either.
 */
export const KERNELS = ['netlink', 'memory'] as const
export type KernelKind = (typeof KERNELS)[number]
