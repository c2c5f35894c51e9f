/**
 * Proposals (RFC 7296 2.7, 3.3): strongSwan's strings to transforms and back, and the choice of one.
 */
import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import { encrAlgorithm } from '../crypto/algorithms.ts'
import type { Suite } from '../crypto/protection.ts'
import { ProtocolId } from '../iana/ikev2.ts'
import { ADDITIONAL_KE, EncrId, EsnId, IntegId, isAdditionalKe, KeId, PrfId, TransformType } from '../iana/transforms.ts'
import type { Transform } from './transform.ts'
import { isUnsupportedKeyword, KEYWORDS, keywordOf, nearestKeyword, transformName } from './keywords.ts'

export { transformName } from './keywords.ts'

/** A proposal without number and SPI: the transforms offered (any of each type), in order of preference. */
export interface SuiteProposal {
  readonly protocol: 'ike' | 'esp'
  readonly transforms: readonly Transform[]
}

/**
 * A proposal with at most one transform of each type: what was agreed on. A transform NONE is left out of it, and no key
 * exchange method is in it twice.
 */
export type ChosenTransforms = SuiteProposal

/** A proposal of an SA payload; the same as WireProposal of message/ikev2/sa.ts. */
export interface WireProposalLike {
  readonly number: number
  /** IANA protocol ID: 1 IKE, 3 ESP. */
  readonly protocol: number
  readonly spi: Uint8Array
  readonly transforms: readonly WireTransformLike[]
}
export interface WireTransformLike extends Transform {
  /** It had an attribute that we do not know, so that it must not be chosen (RFC 7296 3.3.6). */
  readonly otherAttributes: boolean
}

/** The chosen transforms of a CHILD_SA; `ke` is null without a key exchange of its own. */
export interface ChildSuite {
  readonly encr: { readonly id: number; readonly keyLength: number | null }
  readonly integ: { readonly id: number } | null
  readonly esn: boolean
  readonly ke: number | null
}

export interface Choice {
  /** Number and SPI of the offered proposal. */
  readonly number: number
  readonly spi: Uint8Array
  readonly chosen: ChosenTransforms
}

const { ENCR, PRF, INTEG, KE, ESN } = TransformType
/** Order in listings, in strings and on the wire (strongSwan: integrity before PRF). */
const TYPE_ORDER: readonly number[] = [ENCR, INTEG, PRF, KE, ESN]
const PROTOCOL_IDS = { ike: ProtocolId.IKE, esp: ProtocolId.ESP } as const

/** The PRF that an IKE proposal without one takes from its integrity algorithm (strongSwan). */
const PRF_OF_INTEG: ReadonlyMap<number, number> = new Map([
  [IntegId.AUTH_HMAC_SHA1_96, PrfId.PRF_HMAC_SHA1],
  [IntegId.AUTH_HMAC_SHA2_256_128, PrfId.PRF_HMAC_SHA2_256],
  [IntegId.AUTH_HMAC_SHA2_384_192, PrfId.PRF_HMAC_SHA2_384],
  [IntegId.AUTH_HMAC_SHA2_512_256, PrfId.PRF_HMAC_SHA2_512],
  [IntegId.AUTH_AES_XCBC_96, PrfId.PRF_AES128_XCBC],
  [IntegId.AUTH_AES_CMAC_96, PrfId.PRF_AES128_CMAC],
])

/**
 * One proposal string, `aes128-sha256-x25519`: keywords with '-' between them, several of a type being alternatives.
 * As in strongSwan, an IKE proposal without a PRF takes those of its integrity algorithms, integrity algorithms beside
 * an AEAD then go, PRFs in an ESP proposal go, and ESP without `esn` or `noesn` means NO_ESN. Throws EspalierError
 * (caller, PROPOSAL_INVALID) naming the keyword or saying what is missing.
 */
export function parseProposal(text: string, protocol: 'ike' | 'esp'): SuiteProposal {
  if (text.trim() === '') throw invalid(`an empty ${protocol.toUpperCase()} proposal`)
  const transforms: Transform[] = []
  for (const token of text.split('-').map((part) => part.trim())) {
    const transform = KEYWORDS.get(token)
    if (transform === undefined) throw unknownKeyword(token, text)
    if (!transforms.some((other) => isSame(other, transform))) transforms.push(transform)
  }
  return protocol === 'ike' ? completeIke(transforms, text) : completeEsp(transforms, text)
}

/** Every string of a `proposals` or `esp_proposals` list; `default` stands for defaultProposals. Throws as parseProposal. */
export function parseProposals(list: readonly string[], protocol: 'ike' | 'esp'): SuiteProposal[] {
  return list.flatMap((text) => (text.trim() === 'default' ? defaultProposals(protocol) : [parseProposal(text, protocol)]))
}

function completeIke(transforms: readonly Transform[], text: string): SuiteProposal {
  const isAead = checkEncryption(transforms, text, 'IKE')
  if (transforms.some(({ type, id }) => type === ENCR && id === EncrId.ENCR_NULL)) {
    throw invalid(`the IKE proposal '${text}' has null encryption, which an IKE_SA must not use`)
  }
  if (transforms.some(({ type }) => type === ESN)) {
    throw invalid(`the IKE proposal '${text}' has esn or noesn, which only ESP has`)
  }
  const integrity = transforms.filter(({ type }) => type === INTEG)
  if (!isAead && integrity.length === 0)
    throw invalid(`the IKE proposal '${text}' has no integrity algorithm, which its encryption algorithm needs`)
  const prfs = transforms.filter(({ type }) => type === PRF)
  if (prfs.length === 0) prfs.push(...prfsOf(integrity))
  if (prfs.length === 0) throw invalid(`the IKE proposal '${text}' has no PRF: with an AEAD, add one such as prfsha256`)
  const groups = transforms.filter(isRealGroup)
  if (groups.length === 0) throw invalid(`the IKE proposal '${text}' has no key exchange group, such as x25519`)
  const more = transforms.filter(({ type }) => isAdditionalKe(type))
  const encryption = transforms.filter(({ type }) => type === ENCR)
  return inOrder('ike', [...encryption, ...(isAead ? [] : integrity), ...prfs, ...groups, ...more])
}

function completeEsp(transforms: readonly Transform[], text: string): SuiteProposal {
  const isAead = checkEncryption(transforms, text, 'ESP')
  // strongSwan takes a cipher alone; RFC 8221 4: encryption without authentication MUST NOT be used.
  if (!isAead && !transforms.some(({ type }) => type === INTEG)) {
    throw invalid(`the ESP proposal '${text}' has no integrity algorithm: encryption without it protects nothing`)
  }
  // strongSwan takes it, and does none of them.
  if (transforms.some(({ type, id }) => isAdditionalKe(type) && id !== KeId.NONE) && !transforms.some(isRealGroup)) {
    throw invalid(`the ESP proposal '${text}' has an additional key exchange and none that it is additional to`)
  }
  const kept = transforms.filter(({ type }) => type !== PRF && !(isAead && type === INTEG))
  if (!kept.some(({ type }) => type === ESN)) kept.push(plain(ESN, EsnId.NO_ESN))
  return inOrder('esp', kept)
}

function isRealGroup({ type, id }: Transform): boolean {
  return type === KE && id !== KeId.NONE
}

/** Whether the encryption algorithms are AEADs; throws where there is none, or both kinds (RFC 7296 3.3). */
function checkEncryption(transforms: readonly Transform[], text: string, name: string): boolean {
  const encryption = transforms.filter(({ type }) => type === ENCR)
  if (encryption.length === 0) throw invalid(`the ${name} proposal '${text}' has no encryption algorithm`)
  const aeads = encryption.filter(({ id }) => isAeadId(id))
  if (aeads.length > 0 && aeads.length < encryption.length) {
    throw invalid(`the ${name} proposal '${text}' mixes AEADs with classic encryption algorithms: make it two proposals`)
  }
  return aeads.length > 0
}

function prfsOf(integrity: readonly Transform[]): Transform[] {
  return integrity.map(({ id }) => {
    const prf = PRF_OF_INTEG.get(id)
    assert(prf !== undefined, 'every integrity algorithm that has a keyword has a PRF beside it')
    return plain(PRF, prf)
  })
}

function unknownKeyword(token: string, text: string): EspalierError {
  if (isUnsupportedKeyword(token)) return invalid(`espalier does not support '${token}' (in proposal '${text}')`)
  return invalid(`'${token}' in proposal '${text}' is no algorithm; did you mean '${nearestKeyword(token)}'?`)
}

function invalid(message: string): EspalierError {
  return new EspalierError('caller', 'PROPOSAL_INVALID', message)
}

/**
 * What `default` stands for: strongSwan's two default proposals, of all algorithms of at least 112 bits that we do too,
 * the stronger ones of each type first. IKE prefers classic encryption, ESP AEADs. In ESP a key exchange is offered for
 * whoever wants perfect forward secrecy, and may be left out.
 */
export function defaultProposals(protocol: 'ike' | 'esp'): SuiteProposal[] {
  const groups = 'x25519-x448-ecp256-ecp384-ecp521-modp3072-modp4096-modp6144-modp8192-modp2048'
  if (protocol === 'ike') {
    const prfs = 'prfsha256-prfsha384-prfsha512-prfaesxcbc-prfaescmac-prfsha1'
    const classic = 'aes128-aes192-aes256-aes128ctr-aes192ctr-aes256ctr-sha256-sha384-sha512-aesxcbc-aescmac-sha1'
    const gcm = (icv: number): string => `aes128gcm${icv}-aes192gcm${icv}-aes256gcm${icv}`
    return [
      parseProposal(`${classic}-${prfs}-${groups}`, 'ike'),
      parseProposal(`${gcm(16)}-chacha20poly1305-${gcm(12)}-${gcm(8)}-${prfs}-${groups}`, 'ike'),
    ]
  }
  return [
    parseProposal(`aes128gcm16-aes192gcm16-aes256gcm16-${groups}-none-noesn`, 'esp'),
    parseProposal(`aes128-aes192-aes256-sha256-sha384-sha512-sha1-aesxcbc-${groups}-none-noesn`, 'esp'),
  ]
}

/** strongSwan's listing: `IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768`. */
export function formatProposal(proposal: SuiteProposal): string {
  const names = proposal.transforms.map((transform) => {
    const { type } = transform
    const name = `${isAdditionalKe(type) ? `KE${ADDITIONAL_KE.indexOf(type) + 1}_` : ''}${transformName(transform)}`
    return transform.keyLength === null ? name : `${name}_${transform.keyLength}`
  })
  return `${proposal.protocol.toUpperCase()}:${names.join('/')}`
}

/** strongSwan's name of a key exchange group: `CURVE_25519`. */
export function groupName(id: number): string {
  return transformName({ type: KE, id })
}

/** A string that parseProposal reads back as the same proposal. */
export function formatProposalText(proposal: SuiteProposal): string {
  return proposal.transforms.map(keywordOf).join('-')
}

export interface ChoiceOptions {
  /** Key exchange transforms are as good as not there: an ESP proposal in IKE_AUTH (RFC 7296 1.2). */
  readonly ignoreKe?: boolean
}

/**
 * The responder's choice among the offered proposals: the first that has, of every type, a transform that we have
 * configured as well, and has not taken for another key exchange already (RFC 9370 2.2.1). A type that only one side has
 * makes a proposal unfit (RFC 7296 3.3.6), except where NONE is among its transforms: integrity with an AEAD, the key
 * exchange of ESP, additional key exchanges (RFC 9370 2.1).
 */
export function chooseProposal(
  configured: readonly SuiteProposal[],
  offered: readonly WireProposalLike[],
  options: ChoiceOptions = {},
): Choice | null {
  for (const { protocol, transforms: ours } of configured) {
    for (const { number, spi, protocol: offeredProtocol, transforms: theirs } of offered) {
      if (offeredProtocol !== PROTOCOL_IDS[protocol]) continue
      const transforms = agree(protocol, ours, theirs, options)
      if (transforms !== null) return { number, spi, chosen: { protocol, transforms } }
    }
  }
  return null
}

/**
 * The initiator's check of the one proposal that the responder returned: exactly one transform of each type of one of
 * the proposals that we offered, NONE where that was offered (or left out, as strongSwan does), and nothing else; null
 * if it is not. The proposal number is not compared: whatever fits one of our proposals is what we would accept.
 */
export function checkChosen(
  answer: WireProposalLike,
  offered: readonly SuiteProposal[],
  options: ChoiceOptions = {},
): ChosenTransforms | null {
  const real = answer.transforms.filter(
    (transform) => !isOfferedNone(transform) && !(options.ignoreKe === true && isKe(transform.type)),
  )
  for (const { protocol, transforms } of offered) {
    if (answer.protocol !== PROTOCOL_IDS[protocol]) continue
    const agreed = agree(protocol, transforms, answer.transforms, options)
    if (agreed !== null && agreed.length === real.length) return { protocol, transforms: agreed }
  }
  return null
}

/** A proposal for an SA payload, `spi` being empty in IKE_SA_INIT. `withoutKe` leaves the key exchange out, as IKE_AUTH must. */
export function toWire(
  proposal: SuiteProposal,
  number: number,
  spi: Uint8Array,
  options: { readonly withoutKe?: boolean } = {},
): WireProposalLike {
  const transforms = proposal.transforms
    .filter(({ type }) => options.withoutKe !== true || !isKe(type))
    .map(({ type, id, keyLength }) => ({ type, id, keyLength, otherAttributes: false }))
  return { number, protocol: PROTOCOL_IDS[proposal.protocol], spi, transforms }
}

/** The responder's answer: the number is that of the offered proposal, `spi` our own. */
export function toWireChosen(chosen: ChosenTransforms, number: number, spi: Uint8Array): WireProposalLike {
  const types = new Set(chosen.transforms.map(({ type }) => type))
  assert(types.size === chosen.transforms.length, 'what is chosen has one transform of each type')
  return toWire(chosen, number, spi)
}

/** The methods of the additional key exchanges that were chosen, in the order in which they take place (RFC 9370 2.2.2). */
export function additionalKeyExchanges(chosen: ChosenTransforms): readonly number[] {
  return ADDITIONAL_KE.flatMap((type) => chosenOf(chosen, type)?.id ?? [])
}

/** Whether one of the proposals has an additional key exchange, NONE not counted. */
export function proposesAdditional(proposals: readonly SuiteProposal[]): boolean {
  return proposals.some(({ transforms }) => transforms.some(({ type, id }) => isAdditionalKe(type) && id !== KeId.NONE))
}

/** The suite of an IKE_SA. */
export function suiteOf(chosen: ChosenTransforms): Suite {
  const prf = chosenOf(chosen, PRF)
  const ke = chosenOf(chosen, KE)
  assert(chosen.protocol === 'ike' && prf !== null && ke !== null, 'an IKE_SA has a PRF and a key exchange')
  return { encr: encrOf(chosen), integ: integOf(chosen), prf: prf.id, ke: ke.id }
}

/** The suite of a CHILD_SA. */
export function childSuiteOf(chosen: ChosenTransforms): ChildSuite {
  assert(chosen.protocol === 'esp', 'a CHILD_SA is ESP')
  return {
    encr: encrOf(chosen),
    integ: integOf(chosen),
    esn: chosenOf(chosen, ESN)?.id === EsnId.ESN,
    ke: chosenOf(chosen, KE)?.id ?? null,
  }
}

/** One transform of each type that either side has, in the order of ours, NONE left out; null where they do not agree. */
function agree(
  protocol: 'ike' | 'esp',
  ours: readonly Transform[],
  theirs: readonly WireTransformLike[],
  options: ChoiceOptions,
): Transform[] | null {
  const chosen: Transform[] = []
  for (const type of typesOf(ours, theirs)) {
    if (options.ignoreKe === true && isKe(type)) continue
    if (type === INTEG && chosen.some((transform) => transform.type === ENCR && isAeadId(transform.id))) continue
    // strongSwan: the first that is left in the order of types, though another choice there might leave more.
    const isTaken = (id: number): boolean => isKe(type) && chosen.some((other) => isKe(other.type) && other.id === id)
    const common = ours.find(
      (own) => own.type === type && !isTaken(own.id) && theirs.some((other) => isSame(own, other) && !other.otherAttributes),
    )
    if (common !== undefined) {
      if (!isNone(common)) chosen.push(common)
      continue
    }
    const ofType = (transform: Transform): boolean => transform.type === type
    const isDisputed = ours.some(ofType) && theirs.some(ofType)
    const hasNone =
      ours.some((own) => ofType(own) && isNone(own)) || theirs.some((other) => ofType(other) && isOfferedNone(other))
    if (!mayBeLeftOut(protocol, type) || isDisputed || !hasNone) return null
  }
  // A copy has no room to grow into, which what is kept as long as an SA does not need.
  return [...chosen]
}

/** Every type that either side has, in the order of a listing. */
function typesOf(...lists: readonly (readonly { readonly type: number }[])[]): readonly number[] {
  const types: number[] = []
  for (const list of lists) for (const { type } of list) if (!types.includes(type)) types.push(type)
  return types.toSorted((a, b) => rankOf(a) - rankOf(b))
}

function isSame(a: Transform, b: Transform): boolean {
  return a.type === b.type && a.id === b.id && a.keyLength === b.keyLength
}

/** Transform ID 0 of the types that have a NONE; 0 of ESN is a choice like another. */
function isNone({ type, id }: Transform): boolean {
  return id === 0 && (type === INTEG || isKe(type))
}

/** The same of one that may be chosen. */
function isOfferedNone(theirs: WireTransformLike): boolean {
  return isNone(theirs) && !theirs.otherAttributes
}

function isKe(type: number): boolean {
  return type === KE || isAdditionalKe(type)
}

function mayBeLeftOut(protocol: 'ike' | 'esp', type: number): boolean {
  return isKe(type) && (protocol === 'esp' || type !== KE)
}

function isAeadId(id: number): boolean {
  return encrAlgorithm(id)?.mode === 'aead'
}

/** Where a type stands in a listing; types that we do not know come behind those we do. */
function rankOf(type: number): number {
  const index = TYPE_ORDER.indexOf(type)
  return index < 0 ? TYPE_ORDER.length + type : index
}

function inOrder(protocol: 'ike' | 'esp', transforms: readonly Transform[]): SuiteProposal {
  return { protocol, transforms: transforms.toSorted((a, b) => rankOf(a.type) - rankOf(b.type)) }
}

function plain(type: number, id: number): Transform {
  return { type, id, keyLength: null }
}

function chosenOf(chosen: ChosenTransforms, type: number): Transform | null {
  return chosen.transforms.find((transform) => transform.type === type) ?? null
}

function encrOf(chosen: ChosenTransforms): { id: number; keyLength: number | null } {
  const encr = chosenOf(chosen, ENCR)
  assert(encr !== null, 'what is chosen has an encryption algorithm')
  return { id: encr.id, keyLength: encr.keyLength }
}

function integOf(chosen: ChosenTransforms): { id: number } | null {
  const integ = chosenOf(chosen, INTEG)
  return integ === null ? null : { id: integ.id }
}
