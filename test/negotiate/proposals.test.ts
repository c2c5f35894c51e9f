import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import fc from 'fast-check'

import { AssertionError } from '../../src/base/assert.ts'
import { EspalierError } from '../../src/base/errors.ts'
import { encrAlgorithm, integAlgorithm, keGroup, prfAlgorithm } from '../../src/crypto/algorithms.ts'
import { EncrId, IntegId, KeId, PrfId, TransformType } from '../../src/iana/transforms.ts'
import { KEYWORDS } from '../../src/negotiate/keywords.ts'
import {
  additionalKeyExchanges,
  checkChosen,
  childSuiteOf,
  type ChoiceOptions,
  chooseProposal,
  defaultProposals,
  formatProposal,
  formatProposalText,
  parseProposal,
  parseProposals,
  proposesAdditional,
  suiteOf,
  type SuiteProposal,
  toWire,
  toWireChosen,
  transformName,
  type WireProposalLike,
} from '../../src/negotiate/proposals.ts'
import type { Transform } from '../../src/negotiate/transform.ts'

type Protocol = 'ike' | 'esp'
const NO_SPI = new Uint8Array()

/** What strongSwan makes of the same strings (its src/libstrongswan/tests/suites/test_proposal.c has most of these). */
const READ: readonly (readonly [Protocol, string, string])[] = [
  ['ike', 'aes128-sha256-x25519', 'IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519'],
  ['ike', 'aes256gcm16-prfsha384-ecp384', 'IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384'],
  ['ike', 'aes128-sha256-modp3072', 'IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_3072'],
  ['ike', 'aes128-sha256-prfsha384-modp3072', 'IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_384/MODP_3072'],
  ['ike', 'aes128gcm16-prfsha256-modp3072', 'IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/MODP_3072'],
  ['ike', 'aes128gcm16-sha256-modp3072', 'IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/MODP_3072'],
  ['ike', 'aes-sha-curve25519', 'IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/CURVE_25519'],
  ['ike', 'chacha20poly1305-prfsha512-curve448', 'IKE:CHACHA20_POLY1305/PRF_HMAC_SHA2_512/CURVE_448'],
  ['ike', 'aes256ctr-aesxcbc-aescmac-x448', 'IKE:AES_CTR_256/AES_XCBC_96/AES_CMAC_96/PRF_AES128_XCBC/PRF_AES128_CMAC/CURVE_448'],
  [
    'ike',
    'sha512-modp8192-aes192-sha2_384-ecp521',
    'IKE:AES_CBC_192/HMAC_SHA2_512_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_512/PRF_HMAC_SHA2_384/MODP_8192/ECP_521',
  ],
  [
    'ike',
    'aes128gcm8-aes192gcm96-aes256gcm128-prfaescmac-ecp256',
    'IKE:AES_GCM_8_128/AES_GCM_12_192/AES_GCM_16_256/PRF_AES128_CMAC/ECP_256',
  ],
  ['ike', 'aes128-sha256-none-modp2048', 'IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048'],
  ['ike', 'aes128-aes128-sha256-x25519-curve25519', 'IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519'],
  ['esp', 'aes128-sha256', 'ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ'],
  ['esp', 'aes128-sha256-esn', 'ESP:AES_CBC_128/HMAC_SHA2_256_128/EXT_SEQ'],
  ['esp', 'aes128-sha256-noesn', 'ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ'],
  ['esp', 'aes128-sha256-esn-noesn', 'ESP:AES_CBC_128/HMAC_SHA2_256_128/EXT_SEQ/NO_EXT_SEQ'],
  ['esp', 'aes128-sha256-prfsha256-modp3072', 'ESP:AES_CBC_128/HMAC_SHA2_256_128/MODP_3072/NO_EXT_SEQ'],
  ['esp', 'aes128gcm16-sha256-x25519', 'ESP:AES_GCM_16_128/CURVE_25519/NO_EXT_SEQ'],
  ['esp', 'aes128gcm', 'ESP:AES_GCM_16_128/NO_EXT_SEQ'],
  ['esp', 'null-sha256', 'ESP:NULL/HMAC_SHA2_256_128/NO_EXT_SEQ'],
  ['esp', 'aes128-sha1-x25519-none', 'ESP:AES_CBC_128/HMAC_SHA1_96/CURVE_25519/KE_NONE/NO_EXT_SEQ'],
]

for (const [protocol, text, listing] of READ) {
  test(`${protocol} proposal '${text}' reads as ${listing}, and prints so that it reads the same`, () => {
    const proposal = parseProposal(text, protocol)
    assert.equal(formatProposal(proposal), listing)
    assert.deepEqual(parseProposal(formatProposalText(proposal), protocol), proposal)
  })
}

const REFUSED: readonly (readonly [Protocol, string, RegExp])[] = [
  ['ike', '', /empty IKE proposal/],
  ['ike', 'aes128-sha265-x25519', /'sha265'.*did you mean 'sha256'/],
  ['ike', 'aes128-sha2-x25519', /'sha2'.*did you mean 'sha1'/],
  ['ike', 'aes128--x25519', /'' in proposal 'aes128--x25519' is no algorithm/],
  ['ike', 'aes126-sha256-x25519', /'aes126'.*did you mean 'aes1(28|92)'/],
  ['ike', 'AES128-sha256-x25519', /'AES128'/],
  ['ike', 'sha256-modp3072', /no encryption algorithm/],
  ['ike', 'aes128-prfsha256-modp2048', /no integrity algorithm/],
  ['ike', 'aes128-sha256', /no key exchange group/],
  ['ike', 'aes128-sha256-none', /no key exchange group/],
  ['ike', 'aes128gcm16-modp3072', /no PRF/],
  ['ike', 'aes128gcm16-aes128-sha256-modp3072', /mixes AEADs with classic/],
  ['ike', 'null-sha256-modp3072', /null encryption/],
  ['ike', 'aes128-sha256-x25519-esn', /only ESP/],
  ['esp', '', /empty ESP proposal/],
  ['esp', 'sha256', /no encryption algorithm/],
  ['esp', 'aes128', /no integrity algorithm/],
  ['esp', 'null', /no integrity algorithm/],
  ['esp', 'aes128gcm16-aes128-sha256-modp3072', /mixes AEADs with classic/],
]

for (const [protocol, text, expected] of REFUSED) {
  test(`${protocol} proposal '${text}' is refused: ${expected.source}`, () => {
    assert.throws(() => parseProposal(text, protocol), isInvalid(expected))
  })
}

test('algorithms that strongSwan knows and espalier does not do are named as such', () => {
  const tokens =
    '3des des md5 md5_128 sha1_160 sha256_96 blowfish blowfish256 camellia128 camellia256ctr camellia128ccm96 cast128 serpent twofish192 aes128ccm aes256ccm16 ' +
    'aes128gmac chacha20poly1305compat prfmd5 prfcamelliaxcbc modp768 modp1024 modp1536 modp2048s256 modpnull ecp192 ecp224bp ecp512bp gost256 ke1_modp1024 ke7_ecp256bp'
  for (const token of tokens.split(' ')) {
    assert.throws(
      () => parseProposal(`aes128-sha256-${token}`, 'esp'),
      isInvalid(new RegExp(`espalier does not support '${token}'`)),
    )
  }
  for (const token of ['ke8_x25519', 'ke0_x25519', 'ke1_aes128', 'ke1_ke2_x25519', 'xblowfish', 'camellia512', 'md55']) {
    assert.throws(() => parseProposal(`aes128-sha256-${token}`, 'esp'), isInvalid(/is no algorithm/))
  }
})

test('everything that has a keyword can be done', () => {
  for (const [keyword, { type, id, keyLength }] of KEYWORDS) {
    if (type === TransformType.ENCR) {
      const lengths = encrAlgorithm(id)?.keyLengthsInBits
      assert.ok(lengths !== undefined && (keyLength === null ? lengths.length === 0 : lengths.includes(keyLength)), keyword)
    }
    if (type === TransformType.INTEG) assert.ok(integAlgorithm(id), keyword)
    if (type === TransformType.PRF) assert.ok(prfAlgorithm(id), keyword)
    if (type === TransformType.KE && id !== KeId.NONE) assert.ok(keGroup(id), keyword)
  }
})

test('lists take strings and default, in their order', () => {
  const proposals = parseProposals(['aes128-sha256-x25519', 'default'], 'ike')
  assert.deepEqual(proposals, [parseProposal('aes128-sha256-x25519', 'ike'), ...defaultProposals('ike')])
  assert.deepEqual(parseProposals([], 'esp'), [])
})

test('default is classic before AEAD for IKE, AEAD before classic for ESP, with an optional key exchange (strongSwan)', () => {
  const [classic, aead] = defaultProposals('ike')
  assert.match(
    formatProposal(classic!),
    /^IKE:AES_CBC_128\/AES_CBC_192\/AES_CBC_256\/.*HMAC_SHA2_256_128\/.*PRF_HMAC_SHA2_256\/.*CURVE_25519\//,
  )
  assert.match(
    formatProposal(aead!),
    /^IKE:AES_GCM_16_128\/AES_GCM_16_192\/AES_GCM_16_256\/CHACHA20_POLY1305\/.*PRF_HMAC_SHA2_256\/.*CURVE_25519\//,
  )
  const [espAead, espClassic] = defaultProposals('esp').map(formatProposal)
  assert.match(espAead!, /^ESP:AES_GCM_16_128\/AES_GCM_16_192\/AES_GCM_16_256\/CURVE_25519\/.*\/KE_NONE\/NO_EXT_SEQ$/)
  assert.match(espClassic!, /^ESP:AES_CBC_128\/AES_CBC_192\/AES_CBC_256\/HMAC_SHA2_256_128\/.*\/KE_NONE\/NO_EXT_SEQ$/)
  for (const proposal of [...defaultProposals('ike'), ...defaultProposals('esp')]) {
    assert.deepEqual(parseProposal(formatProposalText(proposal), proposal.protocol), proposal)
    assert.doesNotMatch(formatProposal(proposal), /MODP_1024|MODP_1536|MD5|DES/)
  }
})

test('transforms without a name are listed by number', () => {
  assert.equal(transformName({ type: TransformType.KE, id: 1234 }), '(1234)')
  assert.equal(transformName({ type: 99, id: 1 }), '(1)')
  assert.equal(transformName({ type: TransformType.KE, id: KeId.MODP_1024 }), 'MODP_1024')
})

/** Configured, offered, chosen (null: no match), options: strongSwan's own cases of selection. */
const CHOICES: readonly (readonly [Protocol, string, string, string | null, ChoiceOptions?])[] = [
  ['esp', 'aes128-sha256', 'aes256-sha256', null],
  ['esp', 'aes128-aes256-sha256', 'aes256-aes128-sha256', 'aes128-sha256'],
  ['esp', 'aes256-aes128-sha256', 'aes128-aes256-sha256', 'aes256-sha256'],
  ['esp', 'aes128-aes256-sha1-sha256', 'aes256-aes128-sha256-sha1', 'aes128-sha1'],
  ['esp', 'aes128-sha256-modp3072', 'aes128-sha256', null],
  ['esp', 'aes128-sha256-modp3072', 'aes128-sha256', 'aes128-sha256', { ignoreKe: true }],
  ['esp', 'aes128-sha256', 'aes128-sha256-modp3072', null],
  ['esp', 'aes128-sha256', 'aes128-sha256-modp3072', 'aes128-sha256', { ignoreKe: true }],
  ['esp', 'aes128-sha256-modp3072', 'aes128-sha256-modp3072', 'aes128-sha256', { ignoreKe: true }],
  ['esp', 'aes128-sha256-modp3072', 'aes128-sha256-ecp256', 'aes128-sha256', { ignoreKe: true }],
  ['esp', 'aes128-sha256-modp3072', 'aes128-sha256-none', null],
  ['esp', 'aes128-sha256-none', 'aes128-sha256-modp3072', null],
  ['esp', 'aes128-sha256-modp3072-none', 'aes128-sha256', 'aes128-sha256'],
  ['esp', 'aes128-sha256', 'aes128-sha256-modp3072-none', 'aes128-sha256'],
  ['esp', 'aes128-sha256-modp3072-none', 'aes128-sha256-none-modp3072', 'aes128-sha256-modp3072'],
  ['esp', 'aes128-sha256-none-modp3072', 'aes128-sha256-modp3072-none', 'aes128-sha256'],
  ['esp', 'aes128-sha256-esn', 'aes128-sha256-esn', 'aes128-sha256-esn'],
  ['esp', 'aes128-sha256-noesn', 'aes128-sha256-esn', null],
  ['esp', 'aes128-sha256-noesn-esn', 'aes128-sha256-esn', 'aes128-sha256-esn'],
  ['esp', 'aes128-sha256-noesn-esn', 'aes128-sha256', 'aes128-sha256'],
  ['esp', 'aes128-sha256-esn-noesn', 'aes128-sha256-noesn-esn', 'aes128-sha256-esn'],
  ['esp', 'aes128gcm16', 'aes128-sha256', null],
  ['ike', 'aes128-sha256-modp3072', 'aes128-sha256-modp3072', 'aes128-sha256-modp3072'],
  ['ike', 'aes128-sha256-modp3072', 'aes128-sha256-modp2048', null],
  ['ike', 'aes128-sha256-x25519-modp3072', 'aes128-sha256-modp3072-x25519', 'aes128-sha256-x25519'],
  ['ike', 'aes128-sha256-prfsha384-x25519', 'aes128-sha256-x25519', null],
  ['ike', 'aes128gcm16-prfsha256-x25519', 'chacha20poly1305-aes128gcm16-prfsha256-x25519', 'aes128gcm16-prfsha256-x25519'],
]

for (const [protocol, configured, offered, chosen, options = {}] of CHOICES) {
  test(`${protocol}: ${configured} and an offer of ${offered}${Object.keys(options)
    .map((name) => `, ${name}`)
    .join('')} make ${chosen ?? 'nothing'}`, () => {
    const offer = toWire(parseProposal(offered, protocol), 7, Uint8Array.of(1, 2, 3, 4))
    const choice = chooseProposal([parseProposal(configured, protocol)], [offer], options)
    if (chosen === null || choice === null) {
      assert.equal(choice, chosen)
      return
    }
    assert.equal(choice.number, 7)
    assert.deepEqual(choice.spi, Uint8Array.of(1, 2, 3, 4))
    assert.equal(formatProposalText(choice.chosen), formatProposalText(parseProposal(chosen, protocol)))
    // What a responder would choose, an initiator that had offered it takes.
    const answer = toWireChosen(choice.chosen, choice.number, choice.spi)
    assert.deepEqual(checkChosen(answer, [parseProposal(offered, protocol)], options), choice.chosen)
  })
}

test('the responder goes by its own list', () => {
  const configured = ['aes128-sha256-x25519', 'aes256-sha256-x25519'].map((text) => parseProposal(text, 'ike'))
  const offered = ['aes192-sha256-x25519', 'aes256-sha256-x25519', 'aes128-sha256-x25519'].map((text, i) =>
    toWire(parseProposal(text, 'ike'), i + 1, NO_SPI),
  )
  assert.equal(chooseProposal(configured, offered)?.number, 3)
  assert.equal(chooseProposal([], offered), null)
  assert.equal(chooseProposal(configured, []), null)
})

const PROPOSAL = parseProposal('aes128-sha256-x25519', 'ike')
const wire = (...transforms: (Transform & { otherAttributes?: boolean })[]): WireProposalLike => ({
  number: 1,
  protocol: 1,
  spi: NO_SPI,
  transforms: transforms.map((transform) => ({ otherAttributes: false, ...transform })),
})

test('an offer of another protocol is not chosen', () => {
  for (const protocol of [0, 2, 3, 4]) {
    assert.equal(chooseProposal([PROPOSAL], [{ ...wire(...PROPOSAL.transforms), protocol }]), null)
    assert.equal(checkChosen({ ...wire(...PROPOSAL.transforms), protocol }, [PROPOSAL]), null)
  }
  assert.ok(chooseProposal([PROPOSAL], [wire(...PROPOSAL.transforms)]) !== null)
})

test('a transform with an attribute we do not know is never chosen, another of its type may be (RFC 7296 3.3.6)', () => {
  const [encr, ...others] = PROPOSAL.transforms
  assert.equal(chooseProposal([PROPOSAL], [wire({ ...encr!, otherAttributes: true }, ...others)]), null)
  assert.ok(chooseProposal([PROPOSAL], [wire({ ...encr!, otherAttributes: true }, encr!, ...others)]) !== null)
  assert.equal(checkChosen(wire({ ...encr!, otherAttributes: true }, ...others), [PROPOSAL]), null)
})

test('a key exchange that may be left out may not be when all its transforms have unknown attributes', () => {
  const optional = parseProposal('aes128-sha256-x25519-none', 'esp')
  const offer = toWire(optional, 1, NO_SPI, { withoutKe: true })
  const strange = { type: TransformType.KE, id: KeId.CURVE25519, keyLength: null, otherAttributes: true }
  assert.ok(chooseProposal([optional], [offer]) !== null)
  assert.equal(chooseProposal([optional], [{ ...offer, transforms: [...offer.transforms, strange] }]), null)
})

test('a NONE with an attribute we do not know is no NONE', () => {
  const plain = parseProposal('aes128-sha256', 'esp')
  const none = { type: TransformType.KE, id: KeId.NONE, keyLength: null }
  const offer = (otherAttributes: boolean): WireProposalLike => {
    const { transforms, ...rest } = toWire(plain, 1, NO_SPI)
    return { ...rest, transforms: [...transforms, { ...none, otherAttributes }] }
  }
  assert.ok(chooseProposal([plain], [offer(false)]) !== null)
  assert.equal(chooseProposal([plain], [offer(true)]), null)
})

test('an IKE_SA has a key exchange even where a proposal made by hand would let it be left out', () => {
  const bare = PROPOSAL.transforms.filter(({ type }) => type !== TransformType.KE)
  const lax: SuiteProposal = {
    protocol: 'ike',
    transforms: [...PROPOSAL.transforms, { type: TransformType.KE, id: KeId.NONE, keyLength: null }],
  }
  assert.equal(chooseProposal([lax], [wire(...bare)]), null)
})

test('AES without a key length, and ChaCha20 with one, match nothing (RFC 7296 3.3.5)', () => {
  const [encr, ...others] = PROPOSAL.transforms
  assert.equal(chooseProposal([PROPOSAL], [wire({ ...encr!, keyLength: null }, ...others)]), null)
  const chacha = parseProposal('chacha20poly1305-prfsha256-x25519', 'ike')
  assert.equal(
    chooseProposal([chacha], [wire({ ...chacha.transforms[0]!, keyLength: 256 }, ...chacha.transforms.slice(1))]),
    null,
  )
})

test('a transform type that we do not know makes a proposal unfit, additional key exchanges with a NONE do not (RFC 9370 2.1)', () => {
  const offer = (type: number, ...ids: number[]): WireProposalLike =>
    wire(...PROPOSAL.transforms, ...ids.map((id) => ({ type, id, keyLength: null })))
  assert.equal(chooseProposal([PROPOSAL], [offer(13, 0)]), null)
  assert.equal(chooseProposal([PROPOSAL], [offer(TransformType.ESN, 0)]), null)
  assert.equal(chooseProposal([PROPOSAL], [offer(TransformType.ADDKE1, KeId.ML_KEM_768)]), null)
  const choice = chooseProposal([PROPOSAL], [offer(TransformType.ADDKE1, KeId.ML_KEM_768, KeId.NONE)])
  assert.deepEqual(choice?.chosen, PROPOSAL)
})

test('additional key exchanges are read, listed and written as strongSwan does (RFC 9370)', () => {
  const text = 'aes256-sha256-x25519-ke1_mlkem768-ke1_mlkem1024-ke3_ecp384-ke3_none'
  const proposal = parseProposal(text, 'ike')
  assert.equal(
    formatProposal(proposal),
    'IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768/KE1_ML_KEM_1024/KE3_ECP_384/KE3_KE_NONE',
  )
  assert.deepEqual(parseProposal(formatProposalText(proposal), 'ike'), proposal)
  assert.ok(proposesAdditional([proposal]))
  assert.ok(!proposesAdditional([PROPOSAL, parseProposal('aes128-sha256-x25519-ke1_none', 'ike')]))
  const esp = parseProposal('aes256gcm16-x25519-none-ke2_mlkem768-ke2_none', 'esp')
  assert.equal(formatProposal(esp), 'ESP:AES_GCM_16_256/CURVE_25519/KE_NONE/NO_EXT_SEQ/KE2_ML_KEM_768/KE2_KE_NONE')
  assert.throws(() => parseProposal('aes256gcm16-none-ke1_mlkem768', 'esp'), isInvalid(/none that it is additional to/))
})

test('an additional key exchange is chosen where both have it, in the order of their types', () => {
  const ours = parseProposal('aes128-sha256-x25519-ke1_mlkem768-ke2_mlkem1024-ke2_none', 'ike')
  const choice = chooseProposal([ours], [wire(...ours.transforms)])
  assert.deepEqual(additionalKeyExchanges(choice!.chosen), [KeId.ML_KEM_768, KeId.ML_KEM_1024])
  // NONE on both sides, what else there is being different.
  const theirs = parseProposal('aes128-sha256-x25519-ke1_mlkem768-ke2_mlkem512-ke2_none', 'ike')
  assert.deepEqual(additionalKeyExchanges(chooseProposal([ours], [wire(...theirs.transforms)])!.chosen), [KeId.ML_KEM_768])
  // The peer knows nothing of RFC 9370, and one of ours is not optional.
  assert.equal(chooseProposal([ours], [wire(...PROPOSAL.transforms)]), null)
})

test('no key exchange method is chosen twice, and none that was is accepted (RFC 9370 2.2.1)', () => {
  const ours = parseProposal(
    'aes128-sha256-x25519-mlkem768-ke1_mlkem768-ke1_mlkem1024-ke2_mlkem768-ke2_mlkem1024-ke2_none',
    'ike',
  )
  const { chosen } = chooseProposal([ours], [wire(...ours.transforms)])!
  assert.equal(suiteOf(chosen).ke, KeId.CURVE25519)
  assert.deepEqual(additionalKeyExchanges(chosen), [KeId.ML_KEM_768, KeId.ML_KEM_1024])
  const kem = parseProposal('aes128-sha256-mlkem768-ke1_mlkem768-ke1_none', 'ike')
  assert.deepEqual(additionalKeyExchanges(chooseProposal([kem], [wire(...kem.transforms)])!.chosen), [])
  const strict = parseProposal('aes128-sha256-mlkem768-ke1_mlkem768', 'ike')
  assert.equal(chooseProposal([strict], [wire(...strict.transforms)]), null)
  assert.equal(checkChosen(wire(...strict.transforms), [kem]), null)
  assert.ok(checkChosen(toWireChosen(chosen, 1, new Uint8Array()), [ours]) !== null)
})

test('integrity NONE beside an AEAD is as good as none, beside AES-CBC it is not (RFC 7296 3.3.3)', () => {
  const none = { type: TransformType.INTEG, id: IntegId.NONE, keyLength: null }
  const aead = parseProposal('aes128gcm16-prfsha256-x25519', 'ike')
  assert.deepEqual(chooseProposal([aead], [wire(...aead.transforms, none)])?.chosen, aead)
  assert.deepEqual(checkChosen(wire(...aead.transforms, none), [aead]), aead)
  const bare = PROPOSAL.transforms.filter(({ type }) => type !== TransformType.INTEG)
  assert.equal(chooseProposal([PROPOSAL], [wire(...bare, none)]), null)
  assert.equal(checkChosen(wire(...bare, none), [PROPOSAL]), null)
})

test('an answer must be one of each type of one proposal that was offered, and nothing else', () => {
  const offered = parseProposals(['aes128-aes256-sha256-sha512-x25519-ecp256', 'aes128gcm16-prfsha256-x25519'], 'ike')
  const answer = (text: string): WireProposalLike => toWire(parseProposal(text, 'ike'), 1, NO_SPI)
  const take = (reply: WireProposalLike): string | null => {
    const chosen = checkChosen(reply, offered)
    return chosen === null ? null : formatProposalText(chosen)
  }
  assert.equal(take(answer('aes256-sha512-prfsha256-ecp256')), 'aes256-sha512-prfsha256-ecp256')
  assert.equal(take(answer('aes128gcm16-prfsha256-x25519')), 'aes128gcm16-prfsha256-x25519')
  assert.equal(take(answer('aes192-sha256-x25519')), null, 'not offered')
  assert.equal(take(answer('aes128gcm16-prfsha512-x25519')), null, 'mixed out of two proposals')
  assert.equal(take(answer('aes128-aes256-sha256-x25519')), null, 'two of a type')
  const good = answer('aes256-sha256-x25519')
  for (const [i, { type }] of good.transforms.entries()) {
    assert.equal(take({ ...good, transforms: good.transforms.toSpliced(i, 1) }), null, `type ${type} left out`)
    assert.equal(take({ ...good, transforms: [...good.transforms, good.transforms[i]!] }), null, `type ${type} twice`)
  }
  const aead = answer('aes128gcm16-prfsha256-x25519')
  const integ = { type: TransformType.INTEG, id: IntegId.AUTH_HMAC_SHA2_256_128, keyLength: null, otherAttributes: false }
  assert.equal(take({ ...aead, transforms: [...aead.transforms, integ] }), null, 'integrity beside an AEAD')
  assert.equal(take({ ...aead, transforms: [...aead.transforms, { ...integ, type: 99 }] }), null, 'a type of which nobody spoke')
})

test('in IKE_AUTH the answer has no key exchange, in CREATE_CHILD_SA leaving it out is a downgrade', () => {
  const offered = [parseProposal('aes128-sha256-x25519', 'esp')]
  const answer = toWire(offered[0]!, 1, Uint8Array.of(1, 2, 3, 4), { withoutKe: true })
  assert.equal(checkChosen(answer, offered), null)
  const chosen = checkChosen(answer, offered, { ignoreKe: true })
  assert.ok(chosen !== null)
  assert.equal(childSuiteOf(chosen).ke, null)
})

test('on the wire a proposal has its number, its protocol and all its transforms, or those without key exchange', () => {
  const esp = parseProposal('aes256gcm16-x25519-none-esn', 'esp')
  const encr = { type: 1, id: 20, keyLength: 256, otherAttributes: false }
  const esn = { type: 5, id: 1, keyLength: null, otherAttributes: false }
  const ke = [31, 0].map((id) => ({ type: 4, id, keyLength: null, otherAttributes: false }))
  const spi = Uint8Array.of(9, 9, 9, 9)
  assert.deepEqual(toWire(esp, 2, spi), { number: 2, protocol: 3, spi, transforms: [encr, ...ke, esn] })
  assert.deepEqual(toWire(esp, 2, spi, { withoutKe: true }), { number: 2, protocol: 3, spi, transforms: [encr, esn] })
  assert.equal(toWire(PROPOSAL, 1, NO_SPI).protocol, 1)
  assert.throws(() => toWireChosen(esp, 2, spi), AssertionError, 'two key exchanges are no choice')
})

test('suites are what crypto needs to know', () => {
  assert.deepEqual(suiteOf(parseProposal('aes256-sha384-prfsha512-ecp521', 'ike')), {
    encr: { id: EncrId.ENCR_AES_CBC, keyLength: 256 },
    integ: { id: IntegId.AUTH_HMAC_SHA2_384_192 },
    prf: PrfId.PRF_HMAC_SHA2_512,
    ke: KeId.ECP_521,
  })
  assert.deepEqual(suiteOf(parseProposal('chacha20poly1305-prfsha256-x25519', 'ike')), {
    encr: { id: EncrId.ENCR_CHACHA20_POLY1305, keyLength: null },
    integ: null,
    prf: PrfId.PRF_HMAC_SHA2_256,
    ke: KeId.CURVE25519,
  })
  assert.deepEqual(childSuiteOf(parseProposal('aes128-sha1-esn-modp2048', 'esp')), {
    encr: { id: EncrId.ENCR_AES_CBC, keyLength: 128 },
    integ: { id: IntegId.AUTH_HMAC_SHA1_96 },
    esn: true,
    ke: KeId.MODP_2048,
  })
  assert.deepEqual(childSuiteOf(parseProposal('aes128gcm16', 'esp')), {
    encr: { id: EncrId.ENCR_AES_GCM_16, keyLength: 128 },
    integ: null,
    esn: false,
    ke: null,
  })
  assert.throws(() => suiteOf(parseProposal('aes128gcm16', 'esp')), AssertionError)
  assert.throws(() => childSuiteOf(PROPOSAL), AssertionError)
})

const keywords = fc.uniqueArray(fc.constantFrom(...KEYWORDS.keys()), { minLength: 1, maxLength: 14 })
const protocols = fc.constantFrom<Protocol>('ike', 'esp')

test('any string of keywords is refused with a reason, or reads back from its own print', () => {
  let read = 0
  fc.assert(
    fc.property(keywords, protocols, (words, protocol) => {
      const proposal = tryParse(words.join('-'), protocol)
      if (proposal === null) return
      read++
      assert.deepEqual(parseProposal(formatProposalText(proposal), protocol), proposal)
    }),
    { numRuns: 2000 },
  )
  assert.ok(read > 50, `only ${read} strings were proposals`)
})

test('whatever is chosen is offered, configured, one of each type, and acceptable to who offered it', () => {
  let matches = 0
  const common = fc.constantFrom(
    'aes128',
    'aes256',
    'sha256',
    'sha512',
    'prfsha256',
    'prfsha384',
    'x25519',
    'ecp256',
    'none',
    'esn',
    'noesn',
    'aes128gcm16',
    'chacha20poly1305',
  )
  const list = fc.array(fc.uniqueArray(common, { minLength: 3, maxLength: 9 }), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(list, list, protocols, fc.boolean(), (ours, theirs, protocol, ignoreKe) => {
      const configured = ours.map((words) => tryParse(words.join('-'), protocol)).filter((proposal) => proposal !== null)
      const offered = theirs.map((words) => tryParse(words.join('-'), protocol)).filter((proposal) => proposal !== null)
      const choice = chooseProposal(
        configured,
        offered.map((proposal, i) => toWire(proposal, i + 1, NO_SPI)),
        { ignoreKe },
      )
      if (choice === null) return
      matches++
      const { transforms } = choice.chosen
      assert.equal(new Set(transforms.map(({ type }) => type)).size, transforms.length)
      const has = (proposal: SuiteProposal): boolean =>
        transforms.every((chosen) => proposal.transforms.some((one) => JSON.stringify(one) === JSON.stringify(chosen)))
      assert.ok(has(offered[choice.number - 1]!))
      assert.ok(configured.some(has))
      assert.deepEqual(checkChosen(toWireChosen(choice.chosen, choice.number, NO_SPI), offered, { ignoreKe }), choice.chosen)
    }),
    { numRuns: 3000 },
  )
  assert.ok(matches > 100, `only ${matches} matches`)
})

function tryParse(text: string, protocol: Protocol): SuiteProposal | null {
  try {
    return parseProposal(text, protocol)
  } catch (error) {
    assert.ok(isInvalid(/./)(error))
    return null
  }
}

function isInvalid(expected: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof EspalierError &&
    error.accused === 'caller' &&
    error.code === 'PROPOSAL_INVALID' &&
    expected.test(error.message)
}
