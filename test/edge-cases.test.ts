/**
 * The edge cases of NAT traversal, all of them, and how far each is shown. Whatever test shows one has
 * `edge case <number>: ` in its title; here is checked that the list and the tests say the same.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

type State =
  | 'shown'
  /** A test shows some of it; the rest is what the words say. */
  | { readonly missing: string }
  /** Nothing of it can be reached before there is what the words say. */
  | { readonly awaits: string }

const IKEV1 = { awaits: 'IKEv1' }

/** In order, the first has number 1. */
const EDGE_CASES: readonly (readonly [what: string, state: State])[] = [
  ['no NAT detection from the peer', 'shown'],
  ['a source hash without a destination hash', 'shown'],
  ['several source hashes, one of which matches', 'shown'],
  ['a source hash of another length', 'shown'],
  ['the initiator behind a NAT', 'shown'],
  ['the responder behind a port forwarding', 'shown'],
  ['both behind NATs', 'shown'],
  ['no NAT, with MOBIKE and without', 'shown'],
  ['encap = yes on one side', 'shown'],
  ['encap = yes against libreswan and OpenIKED', 'shown'],
  ['two NATs one behind the other', 'shown'],
  ['a NAT that maps 4500 to an outside 500', 'shown'],
  ['a NAT that maps 500 and 4500 to different ports', 'shown'],
  ['IKE_SA_INIT on 4500', 'shown'],
  ['a peer with remote_port 14500', 'shown'],
  ['a request of an established IKE_SA on 500', 'shown'],
  ['IKE_SA_INIT retransmitted from a new port', 'shown'],
  ['a cookie round trip during which the port changes', 'shown'],
  ['forty clients behind one address at once', 'shown'],
  ['two clients of one inner address, with virtual addresses', 'shown'],
  ['two clients that ask for the same traffic', 'shown'],
  ['two L2TP clients behind one NAT', { missing: 'IKEv1, which is what L2TP clients speak' }],
  ['NAT-OA that is missing, doubled or wrong', IKEV1],
  ['a peer with draft-02 only', IKEV1],
  ['Aggressive Mode behind a NAT', IKEV1],
  ['MM5 on 500 in spite of a NAT', IKEV1],
  ['ESP from a new port while IKE is idle', 'shown'],
  ['the same with ten packets at once', 'shown'],
  ['ESP from a new port that is not authentic', 'shown'],
  ['ESP replayed from another address', 'shown'],
  ['ESP from a new address and port', 'shown'],
  ['IKE from elsewhere, the peer behind no NAT', 'shown'],
  ['IKE from elsewhere, the peer behind a NAT', 'shown'],
  ['the same, not authentic', 'shown'],
  ['a probe of a new path, with MOBIKE', 'shown'],
  ['UPDATE_SA_ADDRESSES with COOKIE2', 'shown'],
  ['UPDATE_SA_ADDRESSES that shows that the NAT is gone', 'shown'],
  ['UPDATE_SA_ADDRESSES to one that is behind a NAT', 'shown'],
  ['a wrong COOKIE2', 'shown'],
  ['an address removed, another interface up', 'shown'],
  ['IPv4 lost, IPv6 left', 'shown'],
  ['another destination hash in an answer', 'shown'],
  ['ten minutes asleep behind a NAT', 'shown'],
  ['steady outbound ESP, and its end', 'shown'],
  ['a keepalive to 500', 'shown'],
  ['junk on 4500', 'shown'],
  ['an unknown SPI on 4500', 'shown'],
  ['ESP in the wrong form', 'shown'],
  ['a peer that changes the form of its ESP', 'shown'],
  ['a rekeying during a change of the mapping', 'shown'],
  ['a rekeying of the IKE_SA behind a NAT', 'shown'],
  ['IKE_INTERMEDIATE behind a NAT', 'shown'],
  ['a fragmented IKE_AUTH', 'shown'],
  ['REDIRECT in IKE_SA_INIT', 'shown'],
  ['a restart with a thousand SAs', 'shown'],
  ['a daemon that was killed', 'shown'],
  ['lost events of the kernel', 'shown'],
  ['one SA that flaps between two ports', 'shown'],
  ['a peer that reboots behind its NAT', 'shown'],
  ['a 1:1 NAT with a public address that is configured', 'shown'],
  ['a kernel without ESP, or without UDP_ENCAP', 'shown'],
  ['notifies and payloads that have no meaning where they are', 'shown'],
]

/** Numbers of the edge cases by the file whose titles have them. */
function numbersInTitles(): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>()
  for (const file of globSync('**/*.test.ts', { cwd: import.meta.dirname }).toSorted()) {
    for (const [, number] of readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(/['"`]edge case (\d+): /g))
      found.set(Number(number), [...new Set([...(found.get(Number(number)) ?? []), file])])
  }
  return found
}

test('every edge case that is shown has a test, every other has none', (t) => {
  const titles = numbersInTitles()
  const contradictions: string[] = []
  for (const [index, [what, state]] of EDGE_CASES.entries()) {
    const files = titles.get(index + 1)
    const isReached = state === 'shown' || 'missing' in state
    if (isReached && files === undefined) contradictions.push(`${index + 1} (${what}) is said to be shown, by no test`)
    if (!isReached && files !== undefined)
      contradictions.push(`${index + 1} (${what}) is said to await ${state.awaits}, and is shown by ${files.join(', ')}`)
  }
  for (const number of titles.keys())
    if (number < 1 || number > EDGE_CASES.length) contradictions.push(`there is no edge case ${number}`)
  assert.deepEqual(contradictions, [])

  const shown = EDGE_CASES.filter(([, state]) => state === 'shown').length
  const inPart = EDGE_CASES.filter(([, state]) => state !== 'shown' && 'missing' in state).length
  t.diagnostic(`of ${EDGE_CASES.length} edge cases ${shown} are shown, ${inPart} in part`)
})
