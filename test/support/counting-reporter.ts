/**
 * A reporter for node:test that writes nothing but the final counts, as JSON, for scripts/test to add up:
 * the closing lines of the readable reporters are made for people and change with Node's versions.
 */
import type { TestEvent } from 'node:test/reporters'

export interface Counts {
  passed: number
  failed: number
  skipped: number
}

export default async function* countingReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    // There is a summary for each file as well; the one of the whole run names no file.
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue
    const { passed, failed, cancelled, skipped, todo } = event.data.counts
    // What was cancelled did not prove anything; what is still to do did not run to any purpose.
    const counts: Counts = { passed, failed: failed + cancelled, skipped: skipped + todo }
    yield `${JSON.stringify(counts)}\n`
  }
}
