/**
 * What revocation checks remember between handshakes: CRLs and OCSP answers that were fetched and found to be signed by
 * who may, where nothing was to be had of late, and what is being fetched. All of it has limits.
 */
import { toHex } from '../base/bytes.ts'
import type { Milliseconds } from '../base/time.ts'
import type { Certificate } from './certificate.ts'
import { isNewer } from './crl-judgement.ts'
import type { Crl } from './crl.ts'
import type { OcspAnswer } from './ocsp.ts'
import { isCrlSignedBy } from './revocation-signers.ts'

export interface CacheLimits {
  readonly crlCount: number
  readonly crlBytes: number
  readonly ocspCount: number
  readonly ocspBytes: number
  readonly failureCount: number
  /** Fetches from one server at a time. */
  readonly fetchesPerServer: number
}

export const CACHE_LIMITS: CacheLimits = {
  crlCount: 128,
  crlBytes: 64 * 1024 * 1024,
  ocspCount: 4096,
  ocspBytes: 16 * 1024 * 1024,
  failureCount: 1024,
  fetchesPerServer: 16,
}

/** One for all IKE_SAs of a gateway. */
export class RevocationCache {
  readonly #crls: LimitedMap<Crl>
  readonly #ocsp: LimitedMap<OcspAnswer>
  readonly #failures: LimitedMap<{ readonly until: Milliseconds; readonly sentence: string }>
  readonly #underWay = new Map<string, Promise<unknown>>()
  readonly #servers = new Map<string, Server>()
  readonly #fetchesPerServer: number
  /** Signatures that were checked, also of CRLs that somebody else keeps: by the signer's fingerprint. */
  readonly #signatures = new WeakMap<Crl, Map<string, boolean>>()

  constructor(limits: CacheLimits = CACHE_LIMITS) {
    this.#crls = new LimitedMap(limits.crlCount, limits.crlBytes)
    this.#ocsp = new LimitedMap(limits.ocspCount, limits.ocspBytes)
    this.#failures = new LimitedMap(limits.failureCount, Infinity)
    this.#fetchesPerServer = limits.fetchesPerServer
  }

  /** VICI's flush-certs. What is under way still comes to its end. */
  flush(what: 'all' | 'crls' | 'ocsp' = 'all'): void {
    if (what !== 'ocsp') this.#crls.clear()
    if (what !== 'crls') this.#ocsp.clear()
    this.#failures.clear()
  }

  /** CRLs, the most recently used last. */
  crls(): Iterable<Crl> {
    return this.#crls.values()
  }

  /** OCSP answers, the most recently used last. */
  ocspAnswers(): Iterable<OcspAnswer> {
    return this.#ocsp.values()
  }

  /** Keeps a CRL whose signer was found, unless one of the same kind is as new. */
  addCrl(crl: Crl): boolean {
    const scope = crl.scope === null ? '' : JSON.stringify(crl.scope)
    const key = [crl.issuer, crl.authorityKeyId ?? new Uint8Array()].map(toHex).concat(String(crl.baseNumber !== null), scope)
    const known = this.#crls.get(key.join())
    if (known !== undefined && !isNewer(crl, known)) return false
    // The index of its entries has about so many bytes for each.
    this.#crls.set(key.join(), crl, crl.der.length + 12 * crl.entryCount)
    return true
  }

  isSignedBy(crl: Crl, signer: Certificate): boolean {
    const known = this.#signatures.get(crl) ?? new Map<string, boolean>()
    this.#signatures.set(crl, known)
    const isSigned = known.get(signer.fingerprint) ?? isCrlSignedBy(crl, signer)
    if (known.size < SIGNERS_MAX) known.set(signer.fingerprint, isSigned)
    return isSigned
  }

  /** An answer about a certificate whose signer was found. */
  ocsp(certificate: Certificate, issuer: Certificate): OcspAnswer | null {
    return this.#ocsp.get(ocspKey(certificate, issuer)) ?? null
  }

  addOcsp(certificate: Certificate, issuer: Certificate, answer: OcspAnswer): void {
    this.#ocsp.set(ocspKey(certificate, issuer), answer, answer.der.length)
  }

  /** What went wrong with something not long ago, as a sentence. `now` is the monotonic clock's. */
  failureOf(what: string, now: Milliseconds): string | null {
    const failure = this.#failures.get(what)
    return failure !== undefined && now < failure.until ? failure.sentence : null
  }

  rememberFailure(what: string, sentence: string, until: Milliseconds): void {
    this.#failures.set(what, { until, sentence }, 0)
  }

  /** What `start` does, at most once at a time: whoever asks for the same meanwhile shares it. */
  shared<Value>(what: string, start: () => Promise<Value>): Promise<Value> {
    const underWay = this.#underWay.get(what) as Promise<Value> | undefined
    if (underWay !== undefined) return underWay
    const started = start().finally(() => this.#underWay.delete(what))
    this.#underWay.set(what, started)
    return started
  }

  /** When it is its turn with a server: not all at once. */
  async inTurn<Value>(name: string, start: () => Promise<Value>): Promise<Value> {
    const server = this.#servers.get(name) ?? { busy: 0, waiting: [] }
    this.#servers.set(name, server)
    if (server.busy < this.#fetchesPerServer) server.busy++
    // Whoever is done hands the place on.
    else await new Promise<void>((resolve) => server.waiting.push(resolve))
    try {
      return await start()
    } finally {
      const next = server.waiting.shift()
      if (next !== undefined) next()
      else if (--server.busy === 0) this.#servers.delete(name)
    }
  }
}

interface Server {
  busy: number
  readonly waiting: (() => void)[]
}

function ocspKey(certificate: Certificate, issuer: Certificate): string {
  return `${toHex(issuer.publicKey.fingerprint)} ${toHex(certificate.serial)}`
}

/** Our limit: how many signers of one CRL are remembered. */
const SIGNERS_MAX = 16

/** A map that forgets what was not used for longest when it has too many entries or these weigh too much. */
class LimitedMap<Value> {
  readonly #entries = new Map<string, { readonly value: Value; readonly weight: number }>()
  readonly #count: number
  readonly #limit: number
  #weight = 0

  constructor(count: number, weight: number) {
    this.#count = count
    this.#limit = weight
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  *values(): Iterable<Value> {
    for (const { value } of this.#entries.values()) yield value
  }

  set(key: string, value: Value, weight: number): void {
    this.#drop(key)
    this.#entries.set(key, { value, weight })
    this.#weight += weight
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#count && this.#weight <= this.#limit) return
      this.#drop(oldest)
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#weight = 0
  }

  #drop(key: string): void {
    this.#weight -= this.#entries.get(key)?.weight ?? 0
    this.#entries.delete(key)
  }
}
