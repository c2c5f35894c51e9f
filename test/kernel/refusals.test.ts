import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { refused, unchanged } from '../../src/kernel/refusals.ts'
import type { Operation } from '../../src/kernel/vocabulary.ts'
import { cbc, counting, LEFT, policy, RIGHT, state } from './fixtures.ts'
import { toHex } from '../../src/base/bytes.ts'

const ADD: Operation = { op: 'add-state', state: state({ ...cbc() }) }

function refusal(operation: Operation, errno: number, text: string | null = null) {
  const outcome = refused(operation, errno, text)
  assert.ok(outcome.kind === 'refused')
  return outcome.error
}

test("a refusal names operation, errno and the kernel's own text, and no key", () => {
  const error = refusal(ADD, 93, 'Requested type not found')
  assert.equal(
    error.message,
    'the kernel refused to add the inbound state 0xc1020304 (198.51.100.2 to 192.0.2.1): EPROTONOSUPPORT (Requested type not found)',
  )
  assert.deepEqual(
    [error.code, error.errno, error.kernelText, error.accused],
    ['KERNEL_UNSUPPORTED', 93, 'Requested type not found', 'kernel'],
  )
  assert.ok(!inspect(error).includes(toHex(counting(1, 8))))
})

test('every operation has its words', () => {
  const id = { spi: 5, source: LEFT, destination: RIGHT }
  const words = (operation: Operation): string => refusal(operation, 22).operation
  assert.equal(
    words({ op: 'allocate-spi', source: LEFT, destination: RIGHT, reqid: 0, mode: 'tunnel' }),
    'allocate an SPI for ESP from 192.0.2.1 to 198.51.100.2',
  )
  assert.equal(
    words({ op: 'update-state', state: state({ direction: 'out' }) }),
    'update the outbound state 0xc1020304 (198.51.100.2 to 192.0.2.1)',
  )
  assert.equal(words({ op: 'delete-state', id }), 'delete the state 0x00000005 (192.0.2.1 to 198.51.100.2)')
  assert.equal(words({ op: 'query-state', id }), 'tell about the state 0x00000005 (192.0.2.1 to 198.51.100.2)')
  assert.equal(words({ op: 'set-policy', policy: policy() }), 'set the out policy 10.1.0.0/16 to 10.2.3.0/24')
  assert.equal(words({ op: 'delete-policy', id: policy() }), 'delete the out policy 10.1.0.0/16 to 10.2.3.0/24')
})

test('codes tell apart what callers treat differently', () => {
  const code = (operation: Operation, errno: number): string => refusal(operation, errno).code
  const remove: Operation = { op: 'delete-policy', id: policy() }
  assert.equal(code(ADD, 1), 'KERNEL_NOT_PERMITTED')
  assert.equal(code(ADD, 3), 'KERNEL_NO_SUCH_STATE')
  assert.equal(code(remove, 2), 'KERNEL_NO_SUCH_POLICY')
  assert.equal(code(ADD, 2), 'KERNEL_UNSUPPORTED')
  assert.equal(code({ op: 'allocate-spi', source: LEFT, destination: RIGHT, reqid: 0, mode: 'tunnel' }, 2), 'KERNEL_REFUSED')
  assert.equal(code(ADD, 17), 'KERNEL_EXISTS')
  assert.equal(code(ADD, 38), 'KERNEL_UNSUPPORTED')
  assert.equal(code(ADD, 12), 'KERNEL_OUT_OF_MEMORY')
  assert.equal(code(ADD, 110), 'KERNEL_NO_REPLY')
  assert.equal(code(ADD, 107), 'KERNEL_UNAVAILABLE')
  assert.equal(code(ADD, 22), 'KERNEL_REFUSED')
  assert.match(refusal(ADD, 9999).message, /9999$/)
  assert.match(refusal(ADD, -5).message, /errno -5$/)
})

test('an update that changed nothing is a refusal without errno', () => {
  const outcome = unchanged(ADD, 'its UDP ports are still 4500 to 4500')
  assert.ok(outcome.kind === 'refused')
  assert.deepEqual([outcome.error.code, outcome.error.errno], ['KERNEL_UNCHANGED', 0])
  assert.match(outcome.error.message, /it agreed but changed nothing \(its UDP ports are still 4500 to 4500\)$/)
})
