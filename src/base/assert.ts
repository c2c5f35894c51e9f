/**
 * Assertions of what we believe about our own state. They stay on in production: a daemon that
 * goes on after one of its invariants broke protects nobody. Never used for anything that came
 * from the network, the kernel or a file; those are error paths (base/errors.ts).
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Throws AssertionError with `belief` (a sentence saying what should have been true) unless `condition` holds. */
export function assert(condition: unknown, belief: string): asserts condition {
  if (!condition) throw new AssertionError(belief)
}

/** For the default branch of a switch over a closed union: a type error at compile time, an assertion at run time. */
export function unreachable(value: never, belief: string): never {
  throw new AssertionError(`${belief}: ${String(value)}`)
}
