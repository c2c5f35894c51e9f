/**
 * stats, get-counters, reset-counters: how the daemon fares.
 */
import type { Handlers } from '../command.ts'

export const statisticsCommands: Handlers = {}
