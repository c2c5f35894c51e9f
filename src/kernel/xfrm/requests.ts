/**
 * Operations as netlink requests. Every request asks for an acknowledgement, so that each has one definite end.
 */
import { assert } from '../../base/assert.ts'
import {
  NO_LIMITS,
  type Mark,
  type Operation,
  type Policy,
  type PolicyId,
  type State,
  type StateId,
  type Template,
} from '../vocabulary.ts'
import { cipherKeyLength, kernelCipher, kernelIntegrity } from './algorithms.ts'
import { RequestMessage } from './attributes.ts'
import type { XfrmContents } from './contents.ts'
import {
  FIRST_SPI,
  LAST_SPI,
  LITTLE_ENDIAN,
  MAX_REPLAY_WINDOW,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_HEADER_LENGTH,
  XFRM_MODE,
  XFRM_MSG,
  XFRM_POLICY_ACTION,
  XFRM_POLICY_DIRECTION,
  XFRM_SA_XFLAG_DONT_ENCAP_DSCP,
  XFRM_STATE,
  XFRMA,
} from './constants.ts'
import {
  ENCAP_TMPL_LENGTH,
  LIFETIME_CUR_LENGTH,
  putEncapTmpl,
  putLifetimeCur,
  putReplay,
  putReplayEsn,
  putReplayEsnSequences,
  putUserpolicyId,
  putUserpolicyInfo,
  putUsersaId,
  putUsersaInfo,
  putUserTmpl,
  REPLAY_ESN_LENGTH,
  REPLAY_LENGTH,
  USER_TMPL_LENGTH,
  USERPOLICY_ID_LENGTH,
  USERPOLICY_INFO_LENGTH,
  USERSA_ID_LENGTH,
  USERSA_INFO_LENGTH,
  USERSPI_INFO_LENGTH,
} from './structs.ts'

const FLAGS = NLM_F_REQUEST | NLM_F_ACK
/** The kernel's names of algorithms: 64 bytes, zero-terminated. */
const ALGORITHM_NAME_LENGTH = 64
/** Windows up to this fit the field of 8 bits and the bitmap of 32 bits of the old form. */
const SHORT_REPLAY_WINDOW = 32

/** A State whose transforms the kernel has no name for; the caller answers for the operation with ENOSYS. */
export class UnknownTransform extends Error {
  override readonly name = 'UnknownTransform'
}

/** How a state is to be put into the kernel: as a new one, or over the larval or live one of its SPI. */
export type StateVerb = 'new' | 'update'

/** The request of an operation; several may follow one another in one datagram. Throws UnknownTransform. */
export function encodeOperation(
  operation: Exclude<Operation, { op: 'query-drops' | 'move-state' }>,
  sequence: number,
): Uint8Array {
  switch (operation.op) {
    case 'allocate-spi':
      return encodeAllocation(operation, sequence)
    case 'add-state':
      return encodeState(operation.state, operation.state.direction === 'in' ? 'update' : 'new', sequence)
    case 'read-state':
    case 'take-state':
      return encodeStateId(XFRM_MSG.GETSA, operation.id, sequence)
    case 'update-state':
      return encodeState(operation.state, 'update', sequence)
    case 'delete-state':
      return encodeStateId(XFRM_MSG.DELSA, operation.id, sequence)
    case 'query-state':
      // Asked about thousands of states, for keepalives: one answer each is enough.
      return encodeStateId(XFRM_MSG.GETSA, operation.id, sequence, NLM_F_REQUEST)
    case 'set-policy':
      return encodePolicy(operation.policy, sequence)
    case 'delete-policy':
      return encodePolicyId(operation.id, sequence)
  }
}

/** XFRM_MSG_ALLOCSPI: xfrm_userspi_info, a usersa_info followed by min u32 224 and max u32 228. */
function encodeAllocation(operation: Extract<Operation, { op: 'allocate-spi' }>, sequence: number): Uint8Array {
  const message = new RequestMessage(XFRM_MSG.ALLOCSPI, FLAGS, sequence, USERSPI_INFO_LENGTH)
  putUsersaInfo(message.view, NLMSG_HEADER_LENGTH, {
    selector: null,
    source: operation.source,
    destination: operation.destination,
    spi: 0,
    limits: NO_LIMITS,
    sequence: 0,
    reqid: operation.reqid,
    mode: XFRM_MODE[operation.mode],
    replayWindow: 0,
    flags: 0,
  })
  message.view.setUint32(NLMSG_HEADER_LENGTH + USERSA_INFO_LENGTH, FIRST_SPI, LITTLE_ENDIAN)
  message.view.setUint32(NLMSG_HEADER_LENGTH + USERSA_INFO_LENGTH + 4, LAST_SPI, LITTLE_ENDIAN)
  return message.finish()
}

/**
 * XFRM_MSG_NEWSA, XFRM_MSG_UPDSA. An update needs the algorithms, too, though the kernel ignores them on a live state.
 * With `contents` the state goes on where another ended. Throws UnknownTransform.
 */
export function encodeState(given: State, verb: StateVerb, sequence: number, contents: XfrmContents | null = null): Uint8Array {
  const state = contents === null ? given : contents.keyed(given)
  const window = replayWindowOf(state)
  const bitmap = state.esn || window > SHORT_REPLAY_WINDOW
  const message = new RequestMessage(verb === 'new' ? XFRM_MSG.NEWSA : XFRM_MSG.UPDSA, FLAGS, sequence, USERSA_INFO_LENGTH)
  putUsersaInfo(message.view, NLMSG_HEADER_LENGTH, {
    selector: state.selector,
    source: state.source,
    destination: state.destination,
    spi: state.spi,
    limits: state.limits,
    sequence: state.acquireSequence,
    reqid: state.reqid,
    mode: XFRM_MODE[state.mode],
    replayWindow: bitmap ? 0 : window,
    flags: flagsOf(state),
  })
  if (state.direction === 'out' && !state.copyDscpOut) {
    message.view.setUint32(message.attribute(XFRMA.SA_EXTRA_FLAGS, 4), XFRM_SA_XFLAG_DONT_ENCAP_DSCP, LITTLE_ENDIAN)
  }
  putEncryption(message, state)
  putIntegrity(message, state)
  if (state.encapsulation !== null)
    putEncapTmpl(message.view, message.attribute(XFRMA.ENCAP, ENCAP_TMPL_LENGTH), state.encapsulation)
  if (bitmap) {
    const words = Math.ceil(window / 32)
    const at = message.attribute(XFRMA.REPLAY_ESN_VAL, REPLAY_ESN_LENGTH + words * 4)
    putReplayEsn(message.view, at, window)
    if (contents !== null) putReplayEsnSequences(message.view, at, contents.replayOf(state.direction))
  } else if (contents !== null) {
    putReplay(message.view, message.attribute(XFRMA.REPLAY_VAL, REPLAY_LENGTH), contents.replayOf(state.direction))
  }
  if (contents !== null) putLifetimeCur(message.view, message.attribute(XFRMA.LTIME_VAL, LIFETIME_CUR_LENGTH), contents.carried)
  putMark(message, state.mark)
  if (state.setMark !== null) {
    putWord(message, XFRMA.SET_MARK, state.setMark.value)
    putWord(message, XFRMA.SET_MARK_MASK, state.setMark.mask)
  }
  if (state.ifId !== 0) putWord(message, XFRMA.IF_ID, state.ifId)
  return message.finish()
}

/** xfrm_mark: v u32 0, m u32 4; 8 bytes. */
function putMark(message: RequestMessage, mark: Mark | null | undefined): void {
  if (mark === null || mark === undefined) return
  const at = message.attribute(XFRMA.MARK, 8)
  message.view.setUint32(at, mark.value, LITTLE_ENDIAN)
  message.view.setUint32(at + 4, mark.mask, LITTLE_ENDIAN)
}

function putWord(message: RequestMessage, type: number, value: number): void {
  message.view.setUint32(message.attribute(type, 4), value, LITTLE_ENDIAN)
}

/** Outbound states check no replays; with ESN the kernel yet demands a window, and 1 is the least. */
function replayWindowOf(state: State): number {
  if (state.direction === 'out') return state.esn ? 1 : 0
  assert(
    state.replayWindow >= 0 && state.replayWindow <= MAX_REPLAY_WINDOW,
    `a replay window of ${state.replayWindow} is within 0 to ${MAX_REPLAY_WINDOW}`,
  )
  return state.esn ? Math.max(state.replayWindow, 1) : state.replayWindow
}

function flagsOf(state: State): number {
  let flags = 0
  if (!state.copyEcn) flags |= XFRM_STATE.NOECN
  if (state.direction === 'in' && state.copyDscpIn) flags |= XFRM_STATE.DECAP_DSCP
  if (state.direction === 'out' && !state.copyDf) flags |= XFRM_STATE.NOPMTUDISC
  // Lets IPv4 through a tunnel over IPv6 and the other way round.
  if (state.mode === 'tunnel') flags |= XFRM_STATE.AF_UNSPEC
  if (state.esn) flags |= XFRM_STATE.ESN
  return flags
}

/** xfrm_algo: alg_name[64], key bits u32 64, key 68. xfrm_algo_aead: alg_name[64], key bits u32 64, ICV bits u32 68, key 72. */
function putEncryption(message: RequestMessage, state: State): void {
  const { id, keyLength, key } = state.encryption
  const cipher = kernelCipher(id)
  if (cipher === null) throw new UnknownTransform(`no kernel name for encryption transform ${id}`)
  assert(key.length === cipherKeyLength(cipher, keyLength), `the key of ${cipher.name} has the length that was negotiated`)
  const header = ALGORITHM_NAME_LENGTH + (cipher.icvBits === null ? 4 : 8)
  const at = message.attribute(cipher.icvBits === null ? XFRMA.ALG_CRYPT : XFRMA.ALG_AEAD, header + key.length)
  message.put(at, asciiBytes(cipher.name))
  message.view.setUint32(at + 64, key.length * 8, LITTLE_ENDIAN)
  if (cipher.icvBits !== null) message.view.setUint32(at + 68, cipher.icvBits, LITTLE_ENDIAN)
  message.put(at + header, key.dangerouslyReveal())
}

/** xfrm_algo_auth: alg_name[64], key bits u32 64, truncated bits u32 68, key 72. */
function putIntegrity(message: RequestMessage, state: State): void {
  const { integrity } = state
  const aead = kernelCipher(state.encryption.id)?.icvBits !== null
  assert((integrity === null) === aead, 'an AEAD comes without, a cipher with an integrity algorithm')
  if (integrity === null) return
  const algorithm = kernelIntegrity(integrity.id)
  if (algorithm === null) throw new UnknownTransform(`no kernel name for integrity transform ${integrity.id}`)
  const { key } = integrity
  assert(key.length === algorithm.keyLength, `the key of ${algorithm.name} has its length`)
  const at = message.attribute(XFRMA.ALG_AUTH_TRUNC, ALGORITHM_NAME_LENGTH + 8 + key.length)
  message.put(at, asciiBytes(algorithm.name))
  message.view.setUint32(at + 64, key.length * 8, LITTLE_ENDIAN)
  message.view.setUint32(at + 68, algorithm.truncatedBits, LITTLE_ENDIAN)
  message.put(at + 72, key.dangerouslyReveal())
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

/** Room for a header, the structure and a mark; what is made in it is copied out of it at once. */
const STATE_ID_ROOM = new Uint8Array(64)

/**
 * XFRM_MSG_DELSA, XFRM_MSG_GETSA: the kernel finds a state by destination, SPI and mark, the source is not asked for. Who
 * asks without NLM_F_ACK is answered with the state or an error, and nothing more.
 */
export function encodeStateId(
  type: typeof XFRM_MSG.DELSA | typeof XFRM_MSG.GETSA,
  id: StateId,
  sequence: number,
  flags = FLAGS,
): Uint8Array {
  STATE_ID_ROOM.fill(0)
  const message = new RequestMessage(type, flags, sequence, USERSA_ID_LENGTH, STATE_ID_ROOM)
  putUsersaId(message.view, NLMSG_HEADER_LENGTH, id.destination, id.spi)
  putMark(message, id.mark)
  return message.finish().slice()
}

/** XFRM_MSG_UPDPOLICY, which creates a policy as well as it replaces one. */
function encodePolicy(policy: Policy, sequence: number): Uint8Array {
  const { selector, template } = policy
  assert(
    selector.source.prefixLength !== null && selector.destination.prefixLength !== null,
    'policies that reach the kernel are about prefixes',
  )
  const message = new RequestMessage(XFRM_MSG.UPDPOLICY, FLAGS, sequence, USERPOLICY_INFO_LENGTH)
  const direction = XFRM_POLICY_DIRECTION[policy.direction]
  putUserpolicyInfo(
    message.view,
    NLMSG_HEADER_LENGTH,
    selector,
    NO_LIMITS,
    policy.priority,
    direction,
    XFRM_POLICY_ACTION[policy.action],
  )
  if (template !== null) putTemplate(message, policy, template)
  putPolicyKey(message, policy)
  return message.finish()
}

function putTemplate(message: RequestMessage, policy: Policy, template: Template): void {
  const { source, destination } = template
  putUserTmpl(message.view, message.attribute(XFRMA.TMPL, USER_TMPL_LENGTH), {
    family: destination.family,
    addresses: template.mode === 'tunnel' ? { source, destination } : null,
    spi: policy.direction === 'out' ? template.spi : 0,
    reqid: template.reqid,
    mode: XFRM_MODE[template.mode],
  })
}

/** XFRM_MSG_DELPOLICY. */
function encodePolicyId(id: PolicyId, sequence: number): Uint8Array {
  const message = new RequestMessage(XFRM_MSG.DELPOLICY, FLAGS, sequence, USERPOLICY_ID_LENGTH)
  putUserpolicyId(message.view, NLMSG_HEADER_LENGTH, id.selector, XFRM_POLICY_DIRECTION[id.direction])
  putPolicyKey(message, id)
  return message.finish()
}

/** What a policy is told from others by, beside direction and selector. */
function putPolicyKey(message: RequestMessage, { mark, ifId }: PolicyId): void {
  putMark(message, mark)
  if (ifId !== 0) putWord(message, XFRMA.IF_ID, ifId)
}
