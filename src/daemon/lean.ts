/**
 * Left to itself V8 lets its young generation grow to 48 MB and keeps them, more than some thousand IKE_SAs take
 * (docs/bench.md), for no less work. It listens only when it starts: so the daemon begins anew, in the same process.
 */
export const LEAN = '--max-semi-space-size=4'

/** Does not return when the process begins anew. Without execve (Windows, worker threads) it goes on as it is. */
export function beginLean(): void {
  if (process.execArgv.includes(LEAN)) return
  process.execve?.(process.execPath, [process.execPath, LEAN, ...process.execArgv, ...process.argv.slice(1)])
}
