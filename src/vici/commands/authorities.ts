/**
 * load-authority, unload-authority, get-authorities: what is known of certification authorities.
 */
import type { Handlers } from '../command.ts'

export const authorityCommands: Handlers = {}
