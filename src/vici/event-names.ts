/**
 * Events a client can register for (strongSwan: vici/README.md, "Server-issued events").
 */
export const EVENT_NAMES = [
  'log',
  'control-log',
  'list-sa',
  'list-policy',
  'list-conn',
  'list-cert',
  'list-authority',
  'ike-updown',
  'ike-rekey',
  'ike-update',
  'child-updown',
  'child-rekey',
  'alert',
  // Ours.
  'espalier-health',
  'espalier-path',
] as const

export type EventName = (typeof EVENT_NAMES)[number]

export function isEventName(name: string): name is EventName {
  return (EVENT_NAMES as readonly string[]).includes(name)
}
