/** What any number of lists amounts to, whatever they are: properties that hold of all of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { judgeCrls } from '../../src/pki/crl-judgement.ts'
import { readCrl, type Crl } from '../../src/pki/crl.ts'
import { makeCa, makeCertificate } from '../support/pki.ts'
import { HOUR, makeCrl, NOW } from '../support/revocation.ts'

const ca = makeCa('CN=CA')
const { certificate } = makeCertificate({ subject: 'CN=x', issuer: ca })
const template = readCrl(makeCrl({ issuer: ca }))

const KEY_COMPROMISE = 1
const HOLD = 6
const REMOVE = 8

interface Drawn {
  readonly number: number
  /** Of a delta. */
  readonly base: number | null
  readonly reason: number | null
  readonly age: number
  readonly isStale: boolean
  readonly isForOthers: boolean
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  number: fc.integer({ min: 1, max: 9 }),
  base: fc.option(fc.integer({ min: 1, max: 9 })),
  reason: fc.constantFrom(null, null, KEY_COMPROMISE, HOLD, REMOVE),
  age: fc.integer({ min: -2, max: 5 }),
  isStale: fc.boolean(),
  isForOthers: fc.constantFrom(false, false, false, true),
})
/** No two have the same number and kind: between those nothing decides. */
const lists = fc.uniqueArray(drawn, { maxLength: 6, selector: ({ number, base }) => `${number} ${base !== null}` })

const crlOf = ({ number, base, reason, age, isStale, isForOthers }: Drawn): Crl => ({
  ...template,
  number: Uint8Array.of(number),
  baseNumber: base === null ? null : Uint8Array.of(base),
  thisUpdate: NOW - age * HOUR,
  nextUpdate: isStale ? NOW - 1 : NOW + HOUR,
  scope: isForOthers
    ? {
        uris: [],
        hasOtherName: false,
        onlyUserCertificates: false,
        onlyCaCertificates: true,
        onlyAttributeCertificates: false,
        onlySomeReasons: false,
        isIndirect: false,
      }
    : null,
  find: () => (reason === null ? null : { at: NOW - HOUR, reason }),
})
const statusOf = (all: readonly Drawn[]): string => judgeCrls(certificate, all.map(crlOf), NOW).status
const isFuture = ({ age }: Drawn): boolean => age < 0

test('in whatever order lists are known, they say the same', () => {
  fc.assert(
    fc.property(
      lists.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([all, shuffled]) => assert.equal(statusOf(shuffled), statusOf(all)),
    ),
  )
})

test('revoked is what any list of today or before says, however old, for whomever', () => {
  fc.assert(
    fc.property(lists, (all) => {
      const saysSo = all.some((one) => !isFuture(one) && one.reason === KEY_COMPROMISE)
      assert.equal(statusOf(all) === 'revoked', saysSo)
    }),
  )
})

test('nothing is good without a complete list that is for such certificates, and a list of those that is current', () => {
  fc.assert(
    fc.property(lists, (all) => {
      const status = statusOf(all)
      const mine = all.filter((one) => !isFuture(one) && !one.isForOthers)
      const hasBase = mine.some(({ base }) => base === null)
      if (!hasBase) assert.ok(status === 'none' || status === 'revoked')
      if (mine.every(({ isStale }) => isStale)) assert.notEqual(status, 'good')
      assert.equal(statusOf(all.filter((one) => !isFuture(one))), status)
    }),
  )
})

test('the newest complete list and the newest delta to it decide about a hold', () => {
  fc.assert(
    fc.property(lists, (all) => {
      const mine = all.filter((one) => !isFuture(one) && !one.isForOthers).toSorted((a, b) => b.number - a.number)
      if (statusOf(all) === 'revoked') return
      const complete = mine.find(({ base }) => base === null)
      const delta = mine.find(
        ({ base, number }) => complete !== undefined && base !== null && base <= complete.number && number >= complete.number,
      )
      const reason = delta?.reason ?? complete?.reason ?? null
      assert.equal(statusOf(all) === 'hold', reason === HOLD)
    }),
  )
})
