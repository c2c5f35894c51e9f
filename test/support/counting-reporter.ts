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
    const { tests, passed, skipped, todo } = event.data.counts
    // Whatever neither passed nor was left out has failed, be it cancelled or timed out.
    const counts: Counts = { passed, failed: tests - passed - skipped - todo, skipped: skipped + todo }
    yield `${JSON.stringify(counts)}\n`
  }
}
