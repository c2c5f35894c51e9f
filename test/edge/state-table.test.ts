/** The table of states of the kernel in memory, beside one that goes by texts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { AssertionError } from '../../src/base/assert.ts'
import { IpAddress } from '../../src/base/ip.ts'
import { StateTable, type Place } from '../../src/edge/state-table.ts'

const places = fc.record<Place>(
  {
    spi: fc.constantFrom(1, 2),
    destination: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1').map((text) => IpAddress.parse(text)),
    mark: fc.constantFrom(null, { value: 1, mask: 255 }, { value: 1, mask: 1 }, { value: 2, mask: 255 }),
  },
  { requiredKeys: ['spi', 'destination'] },
)

function textOf({ spi, destination, mark }: Place): string {
  return `${spi} ${destination.toString()} ${mark === undefined || mark === null ? '' : `${mark.value}/${mark.mask}`}`
}

test('what differs in SPI, destination or mark is something else, and the oldest comes first', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), places)), (changes) => {
      const table = new StateTable<{ readonly id: Place }>()
      const model = new Map<string, { readonly id: Place }>()
      for (const [adds, id] of changes) {
        const known = model.get(textOf(id))
        assert.equal(table.get(id), known)
        if (!adds) assert.equal(table.delete(id), model.delete(textOf(id)))
        else if (known === undefined) {
          const entry = { id }
          table.add(entry)
          model.set(textOf(id), entry)
        } else assert.throws(() => table.add({ id }), AssertionError)
        assert.equal(table.size, model.size)
        assert.deepEqual([...table.values()], [...model.values()])
      }
    }),
  )
})

test('what goes while all are gone through does no harm', () => {
  const table = new StateTable<{ readonly id: Place }>()
  for (const spi of [1, 2, 3]) table.add({ id: { spi, destination: IpAddress.parse('192.0.2.1') } })
  const seen: number[] = []
  for (const { id } of table.values()) {
    seen.push(id.spi)
    table.delete(id)
  }
  assert.deepEqual([seen, table.size], [[1, 2, 3], 0])
})
