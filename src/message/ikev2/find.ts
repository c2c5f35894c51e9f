/** Looking into the payloads of a message, and making the one payload that is made most often. */
import { FIRST_STATUS_NOTIFY_TYPE, ProtocolId } from '../../iana/ikev2.ts'
import type { NotifyPayload, Payload } from './payload.ts'

const NO_BYTES = new Uint8Array(0)

/** The first payload of this kind, or null. */
export function find<Kind extends Payload['kind']>(
  payloads: readonly Payload[],
  kind: Kind,
): Extract<Payload, { kind: Kind }> | null {
  for (const payload of payloads) if (payload.kind === kind) return payload as Extract<Payload, { kind: Kind }>
  return null
}

/** The first Notify of this type, or null. */
export function findNotify(payloads: readonly Payload[], notifyType: number): NotifyPayload | null {
  for (const payload of payloads) if (payload.kind === 'Notify' && payload.notifyType === notifyType) return payload
  return null
}

/** All Notify payloads of this type, in their order. */
export function notifies(payloads: readonly Payload[], notifyType: number): NotifyPayload[] {
  return payloads.filter((payload) => payload.kind === 'Notify' && payload.notifyType === notifyType) as NotifyPayload[]
}

/** The first Notify that reports an error (RFC 7296 3.10.1), or null. */
export function findErrorNotify(payloads: readonly Payload[]): NotifyPayload | null {
  for (const payload of payloads) if (payload.kind === 'Notify' && payload.notifyType < FIRST_STATUS_NOTIFY_TYPE) return payload
  return null
}

/** A Notify. Without an SPI the protocol is to be sent as 0: RFC 7296 3.10. */
export function notify(
  notifyType: number,
  data: Uint8Array = NO_BYTES,
  protocol: number = ProtocolId.NONE,
  spi: Uint8Array = NO_BYTES,
): NotifyPayload {
  return { kind: 'Notify', protocol, spi, notifyType, data }
}
