/**
 * What NAME and #ID mean.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { readSas } from '../../src/cli/sas.ts'
import { findConfigured, findUp, readConfigured } from '../../src/cli/targets.ts'
import { BERN, CONNS, tree } from './fake.ts'

const configured = readConfigured([...CONNS, { same: { children: { same: {}, other: {} } } }].map(tree))
const refused = (code: string, message: RegExp): object => ({ code, message })

describe('what there is to bring up', () => {
  test('a connection is all its children, one without any itself', () => {
    assert.deepEqual(findConfigured(configured, 'bern', null), [
      { ike: 'bern', child: 'office' },
      { ike: 'bern', child: 'voice' },
    ])
    assert.deepEqual(findConfigured(configured, 'empty', null), [{ ike: 'empty', child: null }])
  })

  test('a child is found by its name, or by both', () => {
    assert.deepEqual(findConfigured(configured, 'voice', null), [{ ike: 'bern', child: 'voice' }])
    assert.deepEqual(findConfigured(configured, 'zug/office', null), [{ ike: 'zug', child: 'office' }])
  })

  test('a child that several connections have is not guessed', () => {
    assert.throws(
      () => findConfigured(configured, 'office', null),
      refused('REQUEST_FAILED', /several connections have a child 'office': say bern\/office or zug\/office/),
    )
  })

  test('a name that is both is the connection, unless told', () => {
    assert.equal(findConfigured(configured, 'same', null).length, 2)
    assert.deepEqual(findConfigured(configured, 'same', 'child'), [{ ike: 'same', child: 'same' }])
    assert.equal(findConfigured(configured, 'same', 'ike').length, 2)
  })

  test('a slip is met with the nearest name, anything else with where the names are', () => {
    assert.throws(() => findConfigured(configured, 'brn', null), refused('REQUEST_FAILED', /did you mean 'bern'\?$/))
    assert.throws(
      () => findConfigured(configured, 'somewhere', null),
      refused('REQUEST_FAILED', /'espalier conns' shows what is$/),
    )
    assert.throws(() => findConfigured(configured, 'voice', 'ike'), refused('REQUEST_FAILED', /^no connection 'voice' is loaded/))
  })
})

describe('what is up', () => {
  const sas = readSas([tree({ bern: BERN }), tree({ 3: { ...BERN, 'uniqueid': '7', 'child-sas': {} } })])

  test('names, of IKE_SAs and CHILD_SAs', () => {
    assert.deepEqual(findUp(sas, 'bern', null), [['ike', 'bern']])
    assert.deepEqual(findUp(sas, 'office', null), [['child', 'office']])
    assert.deepEqual(findUp(sas, 'bern/office', null), [
      ['ike', 'bern'],
      ['child', 'office'],
    ])
  })

  test('numbers, in every notation', () => {
    for (const target of ['#1', '1', 'bern[1]', '[1]', 'anything[1]'])
      assert.deepEqual(findUp(sas, target, null), [['ike-id', '1']])
    for (const target of ['office{3}', '{3}']) assert.deepEqual(findUp(sas, target, null), [['child-id', '3']])
    assert.deepEqual(findUp(sas, '#3', 'child'), [['child-id', '3']])
  })

  test('a name wins over a number', () => {
    assert.deepEqual(findUp(sas, '3', null), [['ike', '3']])
    assert.deepEqual(findUp(sas, '3', 'child'), [['child-id', '3']])
  })

  test('what is not up, and what contradicts itself', () => {
    assert.throws(() => findUp(sas, '#4', null), refused('REQUEST_FAILED', /^no IKE_SA has number 4/))
    assert.throws(() => findUp(sas, '{1}', null), refused('REQUEST_FAILED', /^no CHILD_SA has number 1/))
    assert.throws(() => findUp(sas, 'offices', null), refused('REQUEST_FAILED', /did you mean 'office'\?/))
    assert.throws(() => findUp(sas, 'office', 'ike'), refused('REQUEST_FAILED', /no SA called 'office' is up/))
    assert.throws(() => findUp(sas, '{3}', 'ike'), refused('USAGE', /a CHILD_SA, and --ike asks for the other/))
    assert.throws(() => findUp(sas, '[1]', 'child'), refused('USAGE', /an IKE_SA, and --child asks for the other/))
  })
})
