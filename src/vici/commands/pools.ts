/**
 * load-pool, unload-pool, get-pools: virtual addresses to give away.
 */
import type { Handlers } from '../command.ts'

export const poolCommands: Handlers = {}
