/**
 * initiate, terminate, rekey, install and their like: what changes SAs.
 */
import type { Handlers } from '../command.ts'

export const controlCommands: Handlers = {}
