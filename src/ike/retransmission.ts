/**
 * When a request is sent again (RFC 7296 2.1 leaves the timing to us): strongSwan's schedule, from strongswan.conf.
 */
import type { Milliseconds } from '../base/time.ts'
import type { IkeSettings } from './connection.ts'

export type RetransmissionSettings = Pick<
  IkeSettings,
  'retransmitTimeout' | 'retransmitBase' | 'retransmitTries' | 'retransmitJitter' | 'retransmitLimit'
>

/**
 * How long to wait after the transmission number `sent` (0 = the first), or null when the peer is given up: timeout *
 * base ^ sent, at most the limit, less up to `retransmitJitter` percent of it. `random` is one byte, 0 to 255.
 * With the defaults 4, 7.2, 13, 23, 42 and 76 seconds, 165 in all.
 */
export function waitAfter(sent: number, settings: RetransmissionSettings, random: number): Milliseconds | null {
  if (sent > settings.retransmitTries) return null
  const planned = settings.retransmitTimeout * settings.retransmitBase ** sent
  const limited = settings.retransmitLimit > 0 ? Math.min(planned, settings.retransmitLimit) : planned
  return Math.round(limited * (1 - (settings.retransmitJitter / 100) * (random / 255)))
}
