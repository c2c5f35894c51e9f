/**
 * What the kernel sends: acknowledgements, states it was asked about, events. Bytes in, plain data out; everything is
 * copied out of the receive buffer.
 */
import { Endpoint } from '../../base/ip.ts'
import type { Encapsulation, KernelEvent, Limits, Mark, StateId, Usage } from '../vocabulary.ts'
import { readAttributes, visitAttributes, type ReceivedMessage } from './attributes.ts'
import {
  IPPROTO_ESP,
  LITTLE_ENDIAN,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_HEADER_LENGTH,
  NLMSGERR_ATTR_MSG,
  XFRM_MSG,
  XFRMA,
} from './constants.ts'
import {
  ENCAP_TMPL_LENGTH,
  familyOf,
  getAddress,
  getEncapTmpl,
  getReplay,
  getReplayEsn,
  getSelector,
  getUsersaCounts,
  getUsersaInfo,
  getUserTmpl,
  REPLAY_ESN_LENGTH,
  REPLAY_LENGTH,
  structAt,
  tooShort,
  USER_ACQUIRE_LENGTH,
  USER_EXPIRE_LENGTH,
  USER_MAPPING_LENGTH,
  USER_TMPL_LENGTH,
  USERSA_INFO_LENGTH,
} from './structs.ts'

/** An acknowledgement: errno positive, 0 for done; `text` is the extended acknowledgement's, where there is one. */
export interface Acknowledgement {
  readonly errno: number
  readonly text: string | null
}

/**
 * NLMSG_ERROR: error i32 0 (negative errno), the request's header 4, then its payload unless NLM_F_CAPPED, then
 * attributes if NLM_F_ACK_TLVS. Throws XfrmFormatError.
 */
export function decodeAcknowledgement(message: ReceivedMessage): Acknowledgement {
  const view = structAt(message.payload, 0, 4 + NLMSG_HEADER_LENGTH, 'an acknowledgement')
  const errno = 0 - view.getInt32(0, LITTLE_ENDIAN)
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: null }
  const echoed = (message.flags & NLM_F_CAPPED) === 0 ? view.getUint32(4, LITTLE_ENDIAN) : NLMSG_HEADER_LENGTH
  const text = readAttributes(message.payload, 4 + echoed).get(NLMSGERR_ATTR_MSG)
  return { errno, text: text === undefined ? null : zeroTerminated(text) }
}

function zeroTerminated(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8')
}

/** A state as the kernel reports it; what GETSA and ALLOCSPI answer. */
export interface ReportedState extends StateId {
  readonly reqid: number
  readonly limits: Limits
  readonly encapsulation: Encapsulation | null
  readonly usage: Usage
}

/** XFRM_MSG_NEWSA: xfrm_usersa_info and attributes. Keys among them are not looked at. Throws XfrmFormatError. */
export function decodeState(message: ReceivedMessage): ReportedState {
  const info = getUsersaInfo(structAt(message.payload, 0, USERSA_INFO_LENGTH, 'a state'), 0)
  const attributes = readAttributes(message.payload, USERSA_INFO_LENGTH)
  const encapsulation = attributes.get(XFRMA.ENCAP)
  return {
    spi: info.spi,
    source: info.source,
    destination: info.destination,
    reqid: info.reqid,
    limits: info.limits,
    encapsulation:
      encapsulation === undefined ? null : getEncapTmpl(structAt(encapsulation, 0, ENCAP_TMPL_LENGTH, 'an encapsulation'), 0),
    usage: decodeUsage(message),
  }
}

/** What a state has carried, of the same message, and nothing else of it: this is asked of thousands. Throws XfrmFormatError. */
export function decodeUsage({ payload }: ReceivedMessage): Usage {
  const counts = getUsersaCounts(structAt(payload, 0, USERSA_INFO_LENGTH, 'a state'), 0)
  let lastUsedSeconds: number | null = null
  let short = 0n
  let long: bigint | null = null
  visitAttributes(payload, USERSA_INFO_LENGTH, (type, at, length, view) => {
    const expect = (bytes: number, what: string): void => {
      if (length < bytes) throw tooShort(what, length, bytes)
    }
    if (type === XFRMA.LASTUSED) {
      expect(8, 'a time of use')
      lastUsedSeconds = Number(view.getBigUint64(at, LITTLE_ENDIAN))
    } else if (type === XFRMA.REPLAY_ESN_VAL) {
      expect(REPLAY_ESN_LENGTH, 'a replay state')
      long = furthest(getReplayEsn(view, at))
    } else if (type === XFRMA.REPLAY_VAL) {
      expect(REPLAY_LENGTH, 'a replay state')
      short = furthest(getReplay(view, at))
    }
  })
  return { ...counts, lastUsedSeconds, sequence: long ?? short }
}

/** A state sends or receives, so that one of the two counters stays 0. */
function furthest({ sent, received }: { readonly sent: bigint; readonly received: bigint }): bigint {
  return sent > received ? sent : received
}

/** An event, or null for a message that is none of ours (other protocols, policy expiry). Throws XfrmFormatError. */
export function decodeEvent(message: ReceivedMessage): KernelEvent | null {
  switch (message.type) {
    case XFRM_MSG.ACQUIRE:
      return decodeAcquire(message.payload)
    case XFRM_MSG.EXPIRE:
      return decodeExpire(message.payload)
    case XFRM_MSG.MAPPING:
      return decodeMapping(message.payload)
    default:
      return null
  }
}

/**
 * xfrm_user_acquire: id 0, saddr 24, sel 40, policy 96, aalgos u32 264, ealgos 268, calgos 272, seq u32 276; 280 bytes,
 * then XFRMA_TMPL with the templates of the policy. Only the template tells reqid and family of the tunnel.
 */
function decodeAcquire(payload: Uint8Array): KernelEvent | null {
  const view = structAt(payload, 0, USER_ACQUIRE_LENGTH, 'an acquire')
  if (view.getUint8(20) !== IPPROTO_ESP) return null
  const templates = readAttributes(payload, USER_ACQUIRE_LENGTH).get(XFRMA.TMPL)
  if (templates === undefined) return null
  const { family, reqid } = getUserTmpl(structAt(templates, 0, USER_TMPL_LENGTH, 'a template'), 0)
  return {
    event: 'acquire',
    sequence: view.getUint32(276, LITTLE_ENDIAN),
    reqid,
    source: getAddress(view, 24, family),
    destination: getAddress(view, 0, family),
    packet: getSelector(view, 40),
    policy: getSelector(view, 96),
  }
}

/**
 * xfrm_user_expire: state (xfrm_usersa_info) 0, hard u8 224; 232 bytes. States without an SPI are acquires that nobody
 * answered: null.
 */
function decodeExpire(payload: Uint8Array): KernelEvent | null {
  const view = structAt(payload, 0, USER_EXPIRE_LENGTH, 'an expiry')
  const { protocol, spi, source, destination, reqid } = getUsersaInfo(view, 0)
  if (protocol !== IPPROTO_ESP || spi === 0) return null
  const mark = markOf(readAttributes(payload, USER_EXPIRE_LENGTH))
  return { event: 'expire', id: { spi, source, destination, mark }, reqid, hard: view.getUint8(224) !== 0 }
}

/** xfrm_mark: v u32 0, m u32 4; 8 bytes. Absent, and all zeros, for any mark. */
function markOf(attributes: ReadonlyMap<number, Uint8Array>): Mark | null {
  const bytes = attributes.get(XFRMA.MARK)
  if (bytes === undefined) return null
  const view = structAt(bytes, 0, 8, 'a mark')
  const [value, mask] = [view.getUint32(0, LITTLE_ENDIAN), view.getUint32(4, LITTLE_ENDIAN)]
  return value === 0 && mask === 0 ? null : { value, mask }
}

/**
 * xfrm_user_mapping: id (xfrm_usersa_id) 0, reqid u32 24, old_saddr 28, new_saddr 44, old_sport N 60, new_sport N 62;
 * 64 bytes. Old port 0 comes from per-CPU states, which have no mapping of their own (strongSwan ignores it): null.
 */
function decodeMapping(payload: Uint8Array): KernelEvent | null {
  const view = structAt(payload, 0, USER_MAPPING_LENGTH, 'a mapping change')
  if (view.getUint8(22) !== IPPROTO_ESP || view.getUint16(60) === 0) return null
  const family = familyOf(view.getUint16(20, LITTLE_ENDIAN))
  return {
    event: 'mapping',
    spi: view.getUint32(16),
    reqid: view.getUint32(24, LITTLE_ENDIAN),
    destination: getAddress(view, 0, family),
    from: new Endpoint(getAddress(view, 28, family), view.getUint16(60)),
    to: new Endpoint(getAddress(view, 44, family), view.getUint16(62)),
  }
}
