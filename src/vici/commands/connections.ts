/**
 * load-conn, unload-conn, get-conns: what is configured.
 */
import type { Handlers } from '../command.ts'

export const connectionCommands: Handlers = {}
