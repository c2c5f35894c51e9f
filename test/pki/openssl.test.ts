/**
 * Path validation against `openssl verify`: chains drawn by fast-check, made, and judged by both. A process of openssl
 * judges many chains at once, whose names differ; fast-check shrinks what they disagree about to one small chain.
 *
 * OPENSSL_CHAINS raises the number of chains (300).
 *
 * Where they may differ, and why, is `explained`; nothing else may. Not drawn, for their sake: RSA keys below 1024 bits and
 * MD5, which openssl takes unless told otherwise; common names that look like host names, which it holds against DNS
 * constraints and which are no identities of IKE; anchors of version 1, which it takes for CAs.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

import fc from 'fast-check'

import { KeyUsage } from '../../src/pki/certificate.ts'
import { findPath, paths, type PathFailure, type PathRequest, type PathResult } from '../../src/pki/path.ts'
import { chain, makeChain, NOW, type Chain, type Drawn } from './chains.ts'

const CHAINS = Number(process.env['OPENSSL_CHAINS'] ?? 300)
/** Fixed, so that a run can be repeated; OPENSSL_SEED moves it. */
const SEED = Number(process.env['OPENSSL_SEED'] ?? 20_260_601)
const ANY_POLICY = '2.5.29.32.0'
const CHAINS_A_PROCESS = 80
const hasOpenSsl = spawnSync('openssl', ['version']).status === 0
const directory = mkdtempSync(join(tmpdir(), 'espalier-chains-'))
after(() => rmSync(directory, { recursive: true }))

/** What openssl says of a chain: null if it holds. */
type Verdict = string | null

function opensslJudges(chains: readonly Chain[]): Verdict[] {
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const pems = (all: readonly { readonly pem: string }[]): string => all.map(({ pem }) => pem).join('')
  const anchors = file('anchors.pem', pems(chains.flatMap(({ anchors }) => anchors)))
  const intermediates = file('intermediates.pem', pems(chains.flatMap(({ intermediates }) => intermediates)))
  const leaves = chains.map(({ leaf }, i) => file(`${i}.pem`, leaf.pem))
  const trusted = chains.some(({ anchors }) => anchors.length > 0)
    ? ['-no-CApath', '-CAfile', anchors]
    : ['-no-CApath', '-no-CAfile']
  const untrusted = chains.some(({ intermediates }) => intermediates.length > 0) ? ['-untrusted', intermediates] : []
  const time = ['-attime', String(NOW / 1000)]
  const { stdout, stderr } = spawnSync(
    'openssl',
    ['verify', '-no-CAstore', ...time, '-policy', ANY_POLICY, ...trusted, ...untrusted, ...leaves],
    {
      encoding: 'utf8',
    },
  )
  return leaves.map((leaf) => {
    if (stdout.includes(`${leaf}: OK\n`)) return null
    const end = stderr.indexOf(`error ${leaf}: verification failed`)
    assert(end >= 0, `openssl says nothing about ${leaf}: ${stderr.slice(0, 2000)}`)
    return /error \d+ at \d+ depth lookup: .*(?![\s\S]*error \d+ at)/.exec(stderr.slice(0, end))?.[0] ?? stderr.slice(0, end)
  })
}

function requestFor({ leaf, anchors, intermediates }: Chain): PathRequest {
  return {
    leaf: leaf.certificate,
    anchors: anchors.map(({ certificate }) => certificate),
    intermediates: intermediates.map(({ certificate }) => certificate),
    now: NOW,
    // openssl is asked about no purpose.
    leafSigns: false,
  }
}

/** Why the path that we found is none for openssl, where that may be. */
function explainedTheirs({ links, decoys }: Drawn): string | null {
  // OpenSSL builds one path, by names and dates, and gives up when it fails; we try the others.
  if (decoys.length > 0) return 'openssl tries one path'
  // Without key identifiers it takes a certificate that names itself as its issuer for self-signed, and one of two of a name for the other.
  const confuses = links.some(({ isSelfIssued }, i) => i > 0 && isSelfIssued) && links.some(({ keyIds }) => !keyIds)
  return confuses ? 'openssl confuses the self-issued' : null
}

/** Why a path that openssl takes fails for us, where it may. */
function explainedOurs({ links }: Drawn, { code, certificate, sentence }: PathFailure): string | null {
  switch (code) {
    case 'PATH_TOO_LONG':
      // Ours is strongSwan's limit of seven CAs between leaf and anchor, openssl's is 100.
      return links.length > 9 ? 'a path longer than strongSwan takes' : null
    case 'NOT_A_CA':
      // RFC 5280 4.2.1.9: no basicConstraints, no CA. openssl takes keyCertSign for one.
      return ((certificate.keyUsage ?? 0) & KeyUsage.KEY_CERT_SIGN) === 0 ? null : 'keyCertSign without basicConstraints'
    case 'NAME_CONSTRAINT':
      // RFC 5280 4.2.1.10: where URIs are constrained, those whose host is an address are refused. openssl compares them as names.
      return sentence.includes("'ldap://10.0.0.1/'") ? 'a URI with an address' : null
    case 'POLICY': {
      // RFC 5280 6.1.4 a: anyPolicy is never mapped. openssl does not look at mappings beside no policies.
      const mapped = certificate.policyMappings.flatMap(({ issuerPolicy, subjectPolicy }) => [issuerPolicy, subjectPolicy])
      if (mapped.includes(ANY_POLICY)) return 'anyPolicy mapped'
      // RFC 5280 6.1.5 a: the leaf counts, self-issued or not; openssl does not count it then.
      return links.at(-1)!.isSelfIssued ? 'a self-issued leaf and explicit policy' : null
    }
    default:
      return null
  }
}

/** Where there are several paths, one of them has to be the one that openssl took. */
function explained(drawn: Drawn, ours: PathResult, request: PathRequest): string | null {
  if (ours.ok) return explainedTheirs(drawn)
  for (const path of paths(request)) {
    const why = path.ok ? null : explainedOurs(drawn, path.reason)
    if (why !== null) return why
  }
  return null
}

test('the same chains hold for us as for openssl verify', { skip: hasOpenSsl ? false : 'there is no openssl' }, (t) => {
  const counts = new Map<string, number>()
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)
  const batch = fc.array(chain, { minLength: 1, maxLength: CHAINS_A_PROCESS, size: 'max' })
  let judged = 0
  fc.assert(
    fc.property(batch, (drawn) => {
      const chains = drawn.map((one, i) => makeChain(one, `chain ${i}`))
      const verdicts = opensslJudges(chains)
      judged += chains.length
      for (const [i, theirs] of verdicts.entries()) {
        const request = requestFor(chains[i]!)
        const ours = findPath(request)
        if (ours.ok === (theirs === null)) count(ours.ok ? 'held' : ours.reason.code)
        else {
          const why = explained(drawn[i]!, ours, request)
          assert(why !== null, `we: ${ours.ok ? 'holds' : ours.reason.sentence}; openssl: ${theirs ?? 'OK'}`)
          count(`explained: ${why}`)
        }
      }
    }),
    { numRuns: Math.ceil(CHAINS / 25), seed: SEED },
  )
  t.diagnostic(`${judged} chains: ${[...counts].map(([what, number]) => `${what} ${number}`).join(', ')}`)
  // Chains that all fail, or all hold, would show little.
  assert((counts.get('held') ?? 0) > judged / 20, 'few of the chains hold')
  assert(counts.size > 8, 'few of the ways to fail were met')
})
