/**
 * How the peer proves who it is, round by round (RFC 7296 2.15, RFC 4739), and which of the connections that it may be
 * for that fits: always the best of those that all of its rounds so far fit (strongSwan: ike_auth.c,
 * update_cfg_candidates). With another connection we may be somebody else, have another secret with the peer, or trust
 * other CAs.
 */
import { formatIdentity, identitiesEqual, identityKey, matchIdentity, type Identity } from '../auth/identity.ts'
import { verifyPsk } from '../auth/psk.ts'
import { sharedSecretsFor, type SharedSecret } from '../auth/secrets.ts'
import { isSignatureMethod, readAuthSignature, signedOctets, type Means } from '../auth/signature.ts'
import { keysOf, trustOf, type PeerKey, type Trust } from '../auth/trust.ts'
import { assert } from '../base/assert.ts'
import { createPrf } from '../crypto/prf.ts'
import { verify } from '../crypto/public-key.ts'
import { AuthMethod, NotifyType } from '../iana/ikev2.ts'
import type { AuthPayload } from '../message/ikev2/auth.ts'
import type { IdPayload } from '../message/ikev2/id.ts'
import { describeCertificate } from '../pki/certificate.ts'
import { checkRevocation, permits, type RevocationVerdict } from '../pki/revocation.ts'
import type { SentCertificates } from './certificate-payloads.ts'
import type { Connection, LocalAuthentication } from './connection.ts'
import type { Received } from './exchange.ts'
import { ExchangeFailure } from './failure.ts'
import { octetsOf, type Authenticating, type CertificateRequest } from './opening.ts'
import { ownIdentity } from './own-proof.ts'
import { revocationSources } from './revocation.ts'

/** One round as it came. */
export interface PeerRound {
  readonly id: Identity
  readonly idPayload: IdPayload
  /** Whom the peer wants to talk to, null if it does not say. */
  readonly requestedId: Identity | null
  readonly auth: AuthPayload
  readonly sent: SentCertificates
}

interface Proof {
  readonly by: Means
  readonly secret: SharedSecret | null
  readonly trust: Trust | null
  readonly revocation: readonly RevocationVerdict[]
}

/** How far a responder has come with IKE_AUTH, which may take several exchanges (RFC 4739). */
export interface Responding {
  /** What it is about beside who is there. */
  readonly first: Received
  readonly peer: PeerRounds
  /** The initiator takes several rounds. */
  readonly takesRounds: boolean
  peerIsDone: boolean
  /** The certificates that the initiator asks for. */
  asked: CertificateRequest | null
}

/** Why a connection is not the one; `reason` in strongSwan's words. */
interface Refusal {
  readonly reason:
    | 'not proven'
    | 'non-matching authentication done'
    | 'constraint checking failed'
    | 'insufficient authentication rounds'
  readonly sentence: string
}

/** One of our own rounds, with whichever connection that was. */
interface OwnRound {
  readonly method: LocalAuthentication['method']
  readonly id: Identity
}

export class PeerRounds {
  readonly #session: Authenticating
  /** Those that are left, best first. */
  readonly #candidates: Connection[]
  readonly #rounds: PeerRound[] = []
  /** By round: the key that AUTH was made with, or why there is none. */
  readonly #keys: (PeerKey | string)[] = []
  readonly #judged = new Map<Connection, (Proof | Refusal)[]>()
  readonly #revocations = new Map<string, readonly RevocationVerdict[]>()
  /** By round, and by who we are in it: the pre-shared key that AUTH was made with, null if none. */
  readonly #triedSecrets: Map<string, SharedSecret | null>[] = []
  /** What we have proved already: another connection has to be one that we would have proved it for. */
  readonly own: OwnRound[] = []

  constructor(session: Authenticating, candidates: readonly Connection[]) {
    this.#session = session
    this.#candidates = [...candidates]
  }

  /** The one that fits. */
  get connection(): Connection {
    const [best] = this.#candidates
    assert(best !== undefined, 'without a connection authentication has failed')
    return best
  }

  /** The pre-shared key that the peer has proved last to have. */
  get secret(): SharedSecret | null {
    const last = this.#judged.get(this.connection)?.at(-1)
    return last !== undefined && 'by' in last ? last.secret : null
  }

  /** Takes in a round. Throws ExchangeFailure (AUTHENTICATION_FAILED) when there is no connection left that it fits. */
  async admit(round: PeerRound): Promise<void> {
    this.#rounds.push(round)
    await this.#settle(false)
    const proof = this.#judged.get(this.connection)?.[this.#rounds.length - 1]
    assert(proof !== undefined && 'by' in proof, 'the rounds of a connection that fits were judged')
    const { sa, env } = this.#session
    const { id } = round
    if (proof.trust !== null) env.report({ event: 'peer-trusted', sa, trust: proof.trust, revocation: proof.revocation })
    env.report({ event: 'peer-authenticated', sa, id, by: proof.by })
  }

  /** No more rounds come. Throws as admit. */
  requireAll(): Promise<void> {
    return this.#settle(true)
  }

  async #settle(isStrict: boolean): Promise<void> {
    const [first] = this.#candidates
    assert(first !== undefined, 'without a connection authentication has failed')
    let refusal: Refusal | null = null
    for (;;) {
      const [connection] = this.#candidates
      if (connection === undefined) break
      const against = await this.#refusalOf(connection, isStrict)
      if (against === null) break
      refusal ??= against
      this.#candidates.shift()
      const isLast = this.#candidates.length === 0
      this.#session.env.report({ event: 'connection-refused', sa: this.#session.sa, connection, ...against, isLast })
    }
    if (this.#candidates.length === 0) throw failed(refusal!.sentence)
    if (this.connection !== first)
      this.#session.env.report({ event: 'connection-switched', sa: this.#session.sa, from: first, to: this.connection })
  }

  async #refusalOf(connection: Connection, isStrict: boolean): Promise<Refusal | null> {
    const { remote, local } = connection
    const count = this.#rounds.length
    if (remote.length < count || (isStrict && remote.length > count)) {
      const reason = 'insufficient authentication rounds'
      return { reason, sentence: `${reason}: connection ${connection.name} wants ${remote.length}, the peer does ${count}` }
    }
    const isOurs = this.own.every(
      ({ method, id }, i) =>
        local[i] !== undefined && isSameMethod(local[i], method) && (local[i].id === null || identitiesEqual(local[i].id, id)),
    )
    if (!isOurs) return { reason: 'non-matching authentication done', sentence: 'we have proved already to be somebody else' }
    const judged = this.#judged.get(connection) ?? []
    this.#judged.set(connection, judged)
    for (let i = 0; i < count; i++) {
      judged[i] ??= await this.#judge(connection, i)
      if ('reason' in judged[i]!) return judged[i] as Refusal
    }
    return null
  }

  #judge(connection: Connection, index: number): Promise<Proof | Refusal> | Proof | Refusal {
    const { id, auth } = this.#rounds[index]!
    const wanted = connection.remote[index]!
    if (matchIdentity(wanted.id, id) === 0) {
      const sentence = `constraint check failed: the peer says it is ${formatIdentity(id)}, which remote.id does not allow`
      return { reason: 'constraint checking failed', sentence }
    }
    if (auth.method === AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE)
      return wanted.method === 'pubkey' ? wrongClass('public key', 'pre-shared key') : this.#judgeKey(connection, index)
    if (isSignatureMethod(auth.method) && wanted.method === 'psk') return wrongClass('pre-shared key', 'public key')
    return this.#judgeSignature(connection, index)
  }

  #judgeKey(connection: Connection, index: number): Proof | Refusal {
    const { id, requestedId } = this.#rounds[index]!
    const { local } = connection
    const localId = ownIdentity(local[Math.min(index, local.length - 1)]!, requestedId, this.#session)
    const secrets = sharedSecretsFor(this.#session.env.secrets(), localId, id)
    const tried = (this.#triedSecrets[index] ??= new Map<string, SharedSecret | null>())
    const key = identityKey(localId)
    // Who we are decides about the secrets: with the same there is nothing new to try.
    const known = tried.get(key)
    const secret = known === undefined ? (secrets.find((candidate) => this.#isMadeWith(index, candidate)) ?? null) : known
    tried.set(key, secret)
    if (secret === null) return { reason: 'not proven', sentence: notProven(localId, id, secrets.length) }
    return { by: 'pre-shared key', secret, trust: null, revocation: [] }
  }

  #isMadeWith(index: number, { secret }: SharedSecret): boolean {
    const { sa, opening } = this.#session
    const { idPayload, auth } = this.#rounds[index]!
    assert(opening !== null && sa.suite !== null, 'IKE_SA_INIT comes before IKE_AUTH')
    return verifyPsk(createPrf(sa.suite.prf), secret, octetsOf(sa, opening, idPayload), auth.data)
  }

  async #judgeSignature(connection: Connection, index: number): Promise<Proof | Refusal> {
    const { id, auth, sent } = this.#rounds[index]!
    const { env } = this.#session
    const wanted = connection.remote[index]!
    const refused = (sentence: string): Refusal => ({ reason: 'constraint checking failed', sentence })
    const signature = readAuthSignature(auth.method, auth.data)
    if (typeof signature === 'string') return refused(`${formatIdentity(id)}: ${signature}`)
    const key = (this.#keys[index] ??= this.#findKey(index))
    if (typeof key === 'string') return { reason: 'not proven', sentence: key }
    const { method, scheme } = signature
    const context = { credentials: env.credentials(), settings: env.settings(), now: env.clock.wall() }
    const certificates = sent.leaf === null ? [] : [sent.leaf, ...sent.issuers()]
    const attributeCertificates = wanted.groups.length === 0 ? [] : sent.attributeCertificates()
    const trust = trustOf(key, scheme, { id, certificates, attributeCertificates }, wanted, context)
    if (typeof trust === 'string')
      return trust.startsWith('no trusted') ? { reason: 'not proven', sentence: trust } : refused(trust)
    const revocation = await this.#revocationsOf(trust, sent)
    const permission = permits(wanted.revocation, revocation)
    if (!permission.ok) return refused(`constraint check failed: ${permission.sentence}`)
    return { by: { method, scheme }, secret: null, trust, revocation }
  }

  /** The key that AUTH was made with, whoever trusts it. */
  #findKey(index: number): PeerKey | string {
    const { sa, env, opening } = this.#session
    const { id, idPayload, auth, sent } = this.#rounds[index]!
    assert(opening !== null && sa.suite !== null, 'IKE_SA_INIT comes before IKE_AUTH')
    const signature = readAuthSignature(auth.method, auth.data)
    assert(typeof signature !== 'string', 'a signature was read before')
    const { scheme } = signature
    const octets = signedOctets(createPrf(sa.suite.prf), octetsOf(sa, opening, idPayload))
    const rounds = this.#candidates.flatMap(({ remote }) => remote[index] ?? [])
    let first: PeerKey | null = null
    const shown = { id, certificates: sent.leaf === null ? [] : [sent.leaf] }
    for (const candidate of keysOf(scheme.key, shown, rounds, env.credentials())) {
      if (verify(candidate.key, scheme, octets, signature.signature)) return candidate
      first ??= candidate
    }
    if (first !== null) {
      const whose =
        first.certificate === null ? 'the public key that is configured' : `the key of ${describeCertificate(first.certificate)}`
      return `signature validation failed: AUTH of '${formatIdentity(id)}' was not made with ${whose}`
    }
    const { leaf } = sent
    const why =
      leaf === null
        ? 'it sent no certificate, and none of its own is loaded'
        : `${describeCertificate(leaf)} does not confirm this identity, or has a key of another type`
    return `no trusted ${scheme.key.toUpperCase()} public key found for '${formatIdentity(id)}': ${why}`
  }

  async #revocationsOf({ path, isAnchored }: Trust, sent: SentCertificates): Promise<readonly RevocationVerdict[]> {
    if (!isAnchored || path.length < 2) return []
    const name = path.map(({ fingerprint }) => fingerprint).join(' ')
    const known = this.#revocations.get(name)
    if (known !== undefined) return known
    const session = this.#session
    const verdicts = await session.elsewhere(checkRevocation(path, revocationSources(session.env, sent)))
    this.#revocations.set(name, verdicts)
    return verdicts
  }
}

/** None of our secrets for these two makes the peer's AUTH. */
function notProven(localId: Identity, remoteId: Identity, tried: number): string {
  const between = `'${formatIdentity(localId)}' - '${formatIdentity(remoteId)}'`
  if (tried === 0) return `no shared key found for ${between}`
  return `tried ${tried} shared key${tried === 1 ? '' : 's'} for ${between}, but MAC mismatched: the pre-shared key of the peer is not ours`
}

function wrongClass(wanted: string, used: string): Refusal {
  return {
    reason: 'non-matching authentication done',
    sentence: `constraint requires ${wanted} authentication, but ${used} was used`,
  }
}

function isSameMethod(round: LocalAuthentication, method: LocalAuthentication['method']): boolean {
  return (round.method === 'psk') === (method === 'psk')
}

export function failed(message: string): ExchangeFailure {
  return new ExchangeFailure('peer-misbehaved', 'AUTHENTICATION_FAILED', message, NotifyType.AUTHENTICATION_FAILED)
}
