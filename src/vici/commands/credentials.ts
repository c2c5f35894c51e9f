/**
 * load-cert, load-key, load-shared and their like: what the daemon knows and who may know it.
 */
import type { Handlers } from '../command.ts'

export const credentialCommands: Handlers = {}
