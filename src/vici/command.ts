/**
 * What a command is: a function from a client's request to the response, with what it may ask of the daemon beside it.
 */
import { EspalierError } from '../base/errors.ts'
import { section, type ViciNode, type ViciSection } from './message.ts'
import type { Operations } from './operations.ts'

export interface CommandContext {
  readonly operations: Operations
  /**
   * Sends an event to this client, if it registered for it. Resolves when there is room for more; rejects with ClientGone
   * when the client has left or was cut off.
   */
  stream(event: string, message: ViciSection): Promise<void>
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal
}

/** Throws a Refusal, or any other EspalierError, to answer success=no with its sentence. */
export type Handler = (request: ViciSection, context: CommandContext) => Promise<ViciSection> | ViciSection
export type Handlers = Readonly<Record<string, Handler>>

/** The client asked for something wrong or impossible. `reason` is the errmsg it gets. */
export class Refusal extends EspalierError {
  override readonly name = 'Refusal'
  constructor(reason: string, options?: ErrorOptions) {
    super('caller', 'VICI_REFUSED', reason, options)
  }
}

/** The client has left or was cut off: nobody wants to hear the rest. */
export class ClientGone extends EspalierError {
  override readonly name = 'ClientGone'
  constructor() {
    super('caller', 'VICI_CLIENT_GONE', 'the VICI client is gone')
  }
}

/** success=yes, and `more`. */
export function succeeded(...more: readonly (readonly [string, ViciNode | null | undefined])[]): ViciSection {
  return section(['success', 'yes'], ...more)
}

/** success=no and why. */
export function failed(reason: string, ...more: readonly (readonly [string, ViciNode | null | undefined])[]): ViciSection {
  return section(['success', 'no'], ['errmsg', reason], ...more)
}
