/**
 * list-sas, list-conns and their like: what there is.
 */
import type { Handlers } from '../command.ts'

export const queryCommands: Handlers = {}
