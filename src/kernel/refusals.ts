/**
 * What a refusal of the kernel says: the operation in words and a stable code for its errno. One wording for the
 * real kernel and the one in memory. Never names a key.
 */
import { getSystemErrorName } from 'node:util'

import { KernelError, type Operation, type Outcome, type StateId } from './vocabulary.ts'

/** Linux errno values that XFRM answers with and we tell apart. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  ENOMEM: 12,
  EACCES: 13,
  EEXIST: 17,
  EINVAL: 22,
  ENOSYS: 38,
  ENODATA: 61,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
} as const

/** `EINVAL` for 22; the number itself for what is no errno. */
export function errnoName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : `errno ${errno}`
}

export function spiText(spi: number): string {
  return `0x${spi.toString(16).padStart(8, '0')}`
}

function stateText(id: StateId): string {
  return `${spiText(id.spi)} (${id.source.toString()} to ${id.destination.toString()})`
}

/** The operation as the object of "the kernel refused to ...". */
export function describeOperation(operation: Operation): string {
  switch (operation.op) {
    case 'allocate-spi':
      return `allocate an SPI for ESP from ${operation.source.toString()} to ${operation.destination.toString()}`
    case 'add-state':
      return `add the ${operation.state.direction}bound state ${stateText(operation.state)}`
    case 'update-state':
      return `update the ${operation.state.direction}bound state ${stateText(operation.state)}`
    case 'delete-state':
      return `delete the state ${stateText(operation.id)}`
    case 'query-state':
      return `tell about the state ${stateText(operation.id)}`
    case 'read-state':
      return `read the state ${stateText(operation.id)}`
    case 'take-state':
      return `take the state ${stateText(operation.id)}`
    case 'move-state':
      return `move the state ${stateText(operation.from)} to where it comes from ${operation.to.source.toString()}`
    case 'query-drops':
      return 'tell what it has dropped'
    case 'set-policy':
    case 'delete-policy': {
      const { direction, selector } = operation.op === 'set-policy' ? operation.policy : operation.id
      const verb = operation.op === 'set-policy' ? 'set' : 'delete'
      return `${verb} the ${direction} policy ${selector.source.toString()} to ${selector.destination.toString()}`
    }
  }
}

/**
 * Codes: KERNEL_NOT_PERMITTED (CAP_NET_ADMIN is missing), KERNEL_NO_SUCH_STATE, KERNEL_NO_SUCH_POLICY, KERNEL_EXISTS,
 * KERNEL_UNSUPPORTED (protocol or algorithm is not in this kernel), KERNEL_OUT_OF_MEMORY, KERNEL_NO_REPLY,
 * KERNEL_UNAVAILABLE (no XFRM netlink, or closed), KERNEL_REFUSED (anything else). KERNEL_UNCHANGED: see `unchanged`.
 */
function codeOf(operation: Operation, errno: number): string {
  switch (errno) {
    case ERRNO.EPERM:
    case ERRNO.EACCES:
      return 'KERNEL_NOT_PERMITTED'
    case ERRNO.ESRCH:
      return 'KERNEL_NO_SUCH_STATE'
    case ERRNO.ENOENT:
      if (operation.op === 'delete-policy') return 'KERNEL_NO_SUCH_POLICY'
      return operation.op === 'add-state' ? 'KERNEL_UNSUPPORTED' : 'KERNEL_REFUSED'
    case ERRNO.EEXIST:
      return 'KERNEL_EXISTS'
    case ERRNO.ENOSYS:
    case ERRNO.EPROTONOSUPPORT:
    case ERRNO.EOPNOTSUPP:
    case ERRNO.EAFNOSUPPORT:
      return 'KERNEL_UNSUPPORTED'
    case ERRNO.ENOMEM:
    case ERRNO.ENOBUFS:
      return 'KERNEL_OUT_OF_MEMORY'
    case ERRNO.ETIMEDOUT:
      return 'KERNEL_NO_REPLY'
    case ERRNO.ENOTCONN:
      return 'KERNEL_UNAVAILABLE'
    default:
      return 'KERNEL_REFUSED'
  }
}

/** The error of an operation that was refused with `errno` (positive) and perhaps a text. */
export function refusal(operation: Operation, errno: number, kernelText: string | null): KernelError {
  return new KernelError(codeOf(operation, errno), describeOperation(operation), errno, errnoName(errno), kernelText)
}

/** The same as an outcome. */
export function refused(operation: Operation, errno: number, kernelText: string | null): Outcome {
  return { kind: 'refused', error: refusal(operation, errno, kernelText) }
}

/**
 * The kernel said yes to an update and did nothing: Linux does that when the update names another source address
 * (measured on 6.1 and 6.12). Code KERNEL_UNCHANGED, errno 0.
 */
export function unchanged(operation: Operation, what: string): Outcome {
  const error = new KernelError('KERNEL_UNCHANGED', describeOperation(operation), 0, 'it agreed but changed nothing', what)
  return { kind: 'refused', error }
}
