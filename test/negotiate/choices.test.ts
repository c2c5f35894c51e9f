import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Choices } from '../../src/negotiate/choices.ts'
import { chooseProposal, parseProposal, toWire, type SuiteProposal } from '../../src/negotiate/proposals.ts'

const ike = (...texts: string[]): readonly SuiteProposal[] => texts.map((text) => parseProposal(text, 'ike'))
const offer = (...texts: string[]): ReturnType<typeof toWire>[] =>
  ike(...texts).map((proposal, i) => toWire(proposal, i + 1, new Uint8Array()))

const AES_128 = 'aes128-sha256-x25519'
const AES_256 = 'aes256-sha384-ecp384'

test('proposals that say the same are held against an offer once', () => {
  const choices = new Choices(offer(AES_256, AES_128))
  const choice = choices.of(ike(AES_128))
  assert.equal(choice?.number, 2)
  assert.equal(choices.of(ike(AES_128)), choice)
  const ours = ike(AES_256)
  assert.equal(choices.of(ours)?.number, 1)
  assert.equal(choices.of(ours), choices.of(ike(AES_256)))
  assert.equal(choices.of(ike('aes192-sha256-x25519')), null)
  assert.equal(choices.of(ike('aes192-sha256-x25519')), null)
})

test('others are not: another order, another key length, one more, nothing', () => {
  const offered = offer(AES_256, AES_128, 'aes256-sha256-x25519')
  const choices = new Choices(offered)
  for (const configured of [
    ike(AES_128, AES_256),
    ike(AES_256, AES_128),
    ike(AES_128),
    ike('aes256-sha256-x25519'),
    ike('aes128-aes256-sha256-x25519'),
    ike('aes256-aes128-sha256-x25519'),
    [],
  ])
    assert.deepEqual(choices.of(configured), chooseProposal(configured, offered))
})
