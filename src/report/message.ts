/**
 * An IKE message in one line, as strongSwan's log has it: `IKE_AUTH response 1 [ IDr AUTH N(TS_UNACCEPT) ]`. Kinds of
 * payloads only, nothing of what is in them.
 */
import { unreachable } from '../base/assert.ts'
import { CpType, ExchangeType } from '../iana/ikev2.ts'
import {
  shortCpAttributeName,
  shortEapCodeName,
  shortEapTypeName,
  shortNotifyName,
  shortPayloadName,
} from '../iana/short-names.ts'
import { payloadTypeOf, type CpPayload, type Payload } from '../message/ikev2/payload.ts'
import type { MessageFacts } from '../ike/events.ts'

/** A peer decides how many payloads and attributes it sends, not how long our lines are. */
const LISTED_MAX = 64

export function messageSummary(message: Pick<MessageFacts, 'exchangeType' | 'isResponse' | 'messageId' | 'payloads'>): string {
  const { exchangeType, isResponse, messageId, payloads } = message
  const kind = isResponse ? 'response' : 'request'
  return `${EXCHANGES.get(exchangeType) ?? `(${exchangeType})`} ${kind} ${messageId} [${listed(payloads, payloadSummary)} ]`
}

const EXCHANGES: ReadonlyMap<number, string> = new Map(Object.entries(ExchangeType).map(([name, number]) => [number, name]))

function payloadSummary(payload: Payload): string {
  const name = shortPayloadName(payloadTypeOf(payload))
  switch (payload.kind) {
    case 'Notify':
      return `${name}(${shortNotifyName(payload.notifyType)})`
    case 'CP':
      return `${name}${attributesOf(payload)}`
    case 'EAP': {
      const type = payload.eapType === null ? '' : `/${shortEapTypeName(payload.eapType)}`
      return `${name}/${shortEapCodeName(payload.code)}${type}`
    }
    case 'SKF':
      return `${name}(${payload.fragmentNumber}/${payload.totalFragments})`
    case 'Unknown':
      return `UNKN(${payload.payloadType})`
    case 'SA':
    case 'KE':
    case 'IDi':
    case 'IDr':
    case 'CERT':
    case 'CERTREQ':
    case 'AUTH':
    case 'Nonce':
    case 'Delete':
    case 'VendorId':
    case 'TSi':
    case 'TSr':
    case 'SK':
      return name
    default:
      unreachable(payload, 'every kind of payload has its abbreviation')
  }
}

const CP_PREFIXES: ReadonlyMap<number, string> = new Map([
  [CpType.CFG_REQUEST, 'RQ'],
  [CpType.CFG_REPLY, 'RP'],
  [CpType.CFG_SET, 'S'],
  [CpType.CFG_ACK, 'A'],
])

function attributesOf({ cpType, attributes }: CpPayload): string {
  if (attributes.length === 0) return ''
  return `${CP_PREFIXES.get(cpType) ?? ''}(${listed(attributes, ({ type }) => shortCpAttributeName(type)).trimStart()})`
}

/** Each with a space before it. */
function listed<Item>(items: readonly Item[], format: (item: Item) => string): string {
  let text = ''
  for (const item of items.slice(0, LISTED_MAX)) text += ` ${format(item)}`
  return items.length > LISTED_MAX ? `${text} ...` : text
}
