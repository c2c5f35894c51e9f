/**
 * Key derivation: the keys of an IKE_SA (RFC 7296 2.14), the ones that an additional key exchange puts in their place
 * (RFC 9370 2.2.2), those of its successor (RFC 7296 2.18) and of a CHILD_SA (2.17).
 */
import { assert } from '../base/assert.ts'
import { concatBytes, Writer } from '../base/bytes.ts'
import { encrKeyMaterialLength, integAlgorithm, prfAlgorithm } from './algorithms.ts'
import { createPrf } from './prf.ts'
import type { Suite } from './protection.ts'
import { Secret } from './secret.ts'

/** SK_d, SK_ai ... of RFC 7296 2.14: i is what the initiator sends, r what the responder sends. */
export interface IkeKeys {
  readonly d: Secret
  /** Null with an AEAD, whose SK_a has no length (RFC 5282 7). */
  readonly ai: Secret | null
  readonly ar: Secret | null
  /** With the salt behind the key where the cipher has one. */
  readonly ei: Secret
  readonly er: Secret
  readonly pi: Secret
  readonly pr: Secret
  destroy(): void
}

/** What each side contributed; nonces without the payload's header. */
export interface IkeExchangeValues {
  readonly suite: Suite
  readonly nonceInitiator: Uint8Array
  readonly nonceResponder: Uint8Array
  readonly sharedSecret: Secret
  /** SK(1) to SK(n) of additional key exchanges, where all of them come before the keys: IKE_FOLLOWUP_KE (RFC 9370 2.2.4). */
  readonly additionalSecrets?: readonly Secret[]
  readonly initiatorSpi: bigint
  readonly responderSpi: bigint
}

/** First 64 bits of each nonce, for a PRF whose key is as long as both halves (RFC 7296 2.14). */
const NONCE_HALF_LENGTH = 8

/** The keys of a first IKE_SA: SKEYSEED = prf(Ni | Nr, g^ir). */
export function deriveIkeKeys(values: IkeExchangeValues): IkeKeys {
  const algorithm = prfAlgorithm(values.suite.prf)
  assert(algorithm !== null, 'only PRFs that we do are negotiated')
  const { nonceInitiator, nonceResponder } = values
  const key = algorithm.hasFixedKey
    ? concatBytes(nonceInitiator.subarray(0, NONCE_HALF_LENGTH), nonceResponder.subarray(0, NONCE_HALF_LENGTH))
    : concatBytes(nonceInitiator, nonceResponder)
  return expand(values, createPrf(values.suite.prf).compute(key, values.sharedSecret.dangerouslyReveal()))
}

/**
 * The keys after the nth additional key exchange of an IKE_SA: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), with the
 * nonces of IKE_SA_INIT (RFC 9370 2.2.2). `values.sharedSecret` is SK(n), `d` SK_d(n-1).
 */
export function deriveNextIkeKeys(values: IkeExchangeValues, d: Secret): IkeKeys {
  return deriveRekeyedIkeKeys(values, { prf: values.suite.prf, d })
}

/**
 * The keys of an IKE_SA that replaces another: SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | ... | SK(n)), SK(0)
 * being g^ir (new), with the PRF of the old one; everything else with the new suite (RFC 7296 2.18, RFC 9370 2.2.4).
 */
export function deriveRekeyedIkeKeys(values: IkeExchangeValues, old: { readonly prf: number; readonly d: Secret }): IkeKeys {
  const seed = createPrf(old.prf).compute(
    old.d.dangerouslyReveal(),
    values.sharedSecret.dangerouslyReveal(),
    values.nonceInitiator,
    values.nonceResponder,
    ...(values.additionalSecrets ?? []).map((secret) => secret.dangerouslyReveal()),
  )
  return expand(values, seed)
}

/** {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr). Zeroes `skeyseed`. */
function expand(values: IkeExchangeValues, skeyseed: Uint8Array): IkeKeys {
  const { suite, nonceInitiator, nonceResponder, initiatorSpi, responderSpi } = values
  const prf = createPrf(suite.prf)
  const integLength = integKeyLength(suite.integ)
  const encrLength = encrKeyMaterialLength(suite.encr)
  const seed = new Writer().bytes(nonceInitiator).bytes(nonceResponder).u64(initiatorSpi).u64(responderSpi).finish()
  const material = prf.plus(skeyseed, seed, 3 * prf.keyLength + 2 * integLength + 2 * encrLength)
  skeyseed.fill(0)
  return new CutIkeKeys(new Cutter(material), prf.keyLength, suite.integ === null ? null : integLength, encrLength)
}

/** All keys of an IKE_SA in one, to be written down and read again by `ikeKeysFrom`; the caller's to overwrite. */
export function ikeKeyMaterial({ d, ai, ar, ei, er, pi, pr }: IkeKeys): Uint8Array {
  return concatBytes(...[d, ai, ar, ei, er, pi, pr].flatMap((key) => (key === null ? [] : [key.dangerouslyReveal()])))
}

/** The keys that `material` was made of, which is theirs from now on; null if it is not as long as those of the suite. */
export function ikeKeysFrom(suite: Suite, material: Uint8Array): IkeKeys | null {
  const { keyLength } = createPrf(suite.prf)
  const integLength = integKeyLength(suite.integ)
  const encrLength = encrKeyMaterialLength(suite.encr)
  if (material.length !== 3 * keyLength + 2 * integLength + 2 * encrLength) return null
  return new CutIkeKeys(new Cutter(material), keyLength, suite.integ === null ? null : integLength, encrLength)
}

/** There are as many of these as IKE_SAs: a class, whose objects are small. */
class CutIkeKeys implements IkeKeys {
  readonly d: Secret
  readonly ai: Secret | null
  readonly ar: Secret | null
  readonly ei: Secret
  readonly er: Secret
  readonly pi: Secret
  readonly pr: Secret

  constructor(cut: Cutter, prfLength: number, integLength: number | null, encrLength: number) {
    this.d = cut.take(prfLength)
    this.ai = integLength === null ? null : cut.take(integLength)
    this.ar = integLength === null ? null : cut.take(integLength)
    this.ei = cut.take(encrLength)
    this.er = cut.take(encrLength)
    this.pi = cut.take(prfLength)
    this.pr = cut.take(prfLength)
  }

  destroy(): void {
    for (const key of [this.d, this.ai, this.ar, this.ei, this.er, this.pi, this.pr]) key?.destroy()
  }
}

/** The keys of one direction of a CHILD_SA. */
export interface ChildDirectionKeys {
  /** With the salt behind the key where the cipher has one. */
  readonly encryption: Secret
  /** Null with an AEAD. */
  readonly integrity: Secret | null
}

/** `initiator` protects what the initiator of the exchange that made the CHILD_SA sends. */
export interface ChildKeys {
  readonly initiator: ChildDirectionKeys
  readonly responder: ChildDirectionKeys
}

/**
 * KEYMAT = prf+(SK_d, [SK(0) |] Ni | Nr [| SK(1) | ... | SK(n)]), SK(0) being g^ir (new), cut into the initiator's
 * encryption and integrity keys, then the responder's (RFC 7296 2.17, RFC 9370 2.2.4). `sharedSecret` is null without a key
 * exchange of its own. Nonces and roles are those of the exchange that makes the CHILD_SA: IKE_AUTH uses the nonces of
 * IKE_SA_INIT.
 */
export function deriveChildKeys(values: {
  readonly prf: number
  readonly d: Secret
  readonly sharedSecret: Secret | null
  /** SK(1) to SK(n) of additional key exchanges (RFC 9370). */
  readonly additionalSecrets?: readonly Secret[]
  readonly nonceInitiator: Uint8Array
  readonly nonceResponder: Uint8Array
  readonly encr: { readonly id: number; readonly keyLength: number | null }
  readonly integ: { readonly id: number } | null
}): ChildKeys {
  const shared = values.sharedSecret === null ? new Uint8Array() : values.sharedSecret.dangerouslyReveal()
  const more = (values.additionalSecrets ?? []).map((secret) => secret.dangerouslyReveal())
  const seed = concatBytes(shared, values.nonceInitiator, values.nonceResponder, ...more)
  const encrLength = encrKeyMaterialLength(values.encr)
  const integLength = integKeyLength(values.integ)
  const material = createPrf(values.prf).plus(values.d.dangerouslyReveal(), seed, 2 * (encrLength + integLength))
  seed.fill(0)
  const cut = new Cutter(material)
  const direction = (): ChildDirectionKeys => ({
    encryption: cut.take(encrLength),
    integrity: values.integ === null ? null : cut.take(integLength),
  })
  const initiator = direction()
  const responder = direction()
  return { initiator, responder }
}

function integKeyLength(integ: { readonly id: number } | null): number {
  if (integ === null) return 0
  const algorithm = integAlgorithm(integ.id)
  assert(algorithm !== null, 'only integrity algorithms that we do are negotiated')
  return algorithm.keyLength
}

/**
 * Cuts keying material into Secrets, from the front. They are views on it, since memory of its own costs each some
 * 200 octets: together they cover all of it, and what is destroyed is overwritten there.
 */
class Cutter {
  readonly #material: Uint8Array
  #at = 0

  constructor(material: Uint8Array) {
    this.#material = material
  }

  take(length: number): Secret {
    const secret = new Secret(this.#material.subarray(this.#at, this.#at + length))
    this.#at += length
    return secret
  }
}
