import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { loadConfiguration } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import { memoryFiles } from './memory-files.ts'

for (const [document, count] of [
  ['README.md', 1],
  ['docs/gateway.md', 2],
] as const) {
  test(`the examples in ${document} load as they are, without a warning`, () => {
    const text = readFileSync(`${import.meta.dirname}/../../${document}`, 'utf8')
    const examples = [...text.matchAll(/^```swanctl\n(.*?)^```$/gms)].map((match) => match[1]!)
    assert.equal(examples.length, count)
    for (const example of examples) {
      const files = memoryFiles({ '/s/swanctl.conf': example })
      const { configuration, errors, warnings } = loadConfiguration({
        strongswanConf: '/s/strongswan.conf',
        swanctlDir: '/s',
        files,
      })
      assert.deepEqual([...errors, ...warnings].map(formatProblem), [])
      assert.equal(configuration?.connections.length, 1)
      assert.equal(configuration.secrets.length, 1)
    }
  })
}
