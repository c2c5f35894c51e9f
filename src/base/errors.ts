/**
 * The one root of the errors we raise on purpose. An error accuses: its `accused` says whose doing it is,
 * its `code` is stable and can be matched by scripts, its message is a sentence for a person.
 *
 *  - peer-misbehaved    the peer broke a rule of the protocol
 *  - peer-incompatible  the peer follows the rules but cannot or will not do what we need
 *  - malformed          bytes that are no message (codec)
 *  - policy             our configuration forbids it
 *  - kernel             the kernel refused
 *  - caller             the caller of an operation (command, configuration, API) asked for nonsense
 *  - system             a system call failed, a file is missing
 */
export type Accused = 'peer-misbehaved' | 'peer-incompatible' | 'malformed' | 'policy' | 'kernel' | 'caller' | 'system'

export class EspalierError extends Error {
  override readonly name: string = 'EspalierError'
  readonly accused: Accused
  readonly code: string
  constructor(accused: Accused, code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.accused = accused
    this.code = code
  }
}

/** The sentence of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
