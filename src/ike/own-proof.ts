/**
 * How we prove who we are in one round of IKE_AUTH (RFC 7296 2.15, RFC 7427): ID, the certificates that go with it, AUTH.
 */
import { formatIdentity, identityOfAddress, type Identity } from '../auth/identity.ts'
import { ownCredential, type OwnCredential } from '../auth/own-credential.ts'
import { pskAuthentication } from '../auth/psk.ts'
import { sharedSecretsFor, type SharedSecret } from '../auth/secrets.ts'
import { ownSchemes, signedOctets, writeAuthSignature } from '../auth/signature.ts'
import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import { createPrf, type Prf } from '../crypto/prf.ts'
import { AuthMethod, CertEncoding, NotifyType } from '../iana/ikev2.ts'
import type { IdKind, IdPayload } from '../message/ikev2/id.ts'
import type { Payload } from '../message/ikev2/payload.ts'
import { ocspAnswerFor } from '../pki/revocation.ts'
import { ownCertificates } from './certificate-payloads.ts'
import type { Connection, LocalAuthentication } from './connection.ts'
import { ExchangeFailure } from './failure.ts'
import { octetsOf, type Authenticating, type CertificateRequest, type Opening } from './opening.ts'
import { revocationSources } from './revocation.ts'

/** What of it depends on the peer. */
export interface ProofContext {
  readonly kind: IdKind
  readonly connection: Connection
  /** Who we are, whatever the round says. */
  readonly id: Identity
  /** Whom we prove it to, as far as that is known. */
  readonly peer: Identity
  /** A pre-shared key that the peer has proved to have. */
  readonly secret: SharedSecret | null
  readonly asked: CertificateRequest | null
}

/** ID, CERT and AUTH, in the order of the message. Throws ExchangeFailure when we have nothing to prove it with. */
export async function proveOurselves(
  session: Authenticating,
  round: LocalAuthentication,
  context: ProofContext,
): Promise<readonly Payload[]> {
  const { opening, sa } = session
  assert(opening !== null && sa.suite !== null, 'IKE_SA_INIT comes before IKE_AUTH')
  const idPayload: IdPayload = { kind: context.kind, idType: context.id.type, data: context.id.data }
  const prf = createPrf(sa.suite.prf)
  return round.method === 'psk'
    ? provedByKey(session, opening, prf, idPayload, context)
    : provedBySignature(session, opening, prf, idPayload, round, context)
}

/** Who we are in a round: what is configured, else whom the peer wants to talk to, else our address (strongSwan). */
export function ownIdentity({ id }: LocalAuthentication, requested: Identity | null, session: Authenticating): Identity {
  return id ?? requested ?? identityOfAddress(session.sa.local.address)
}

function provedByKey(
  session: Authenticating,
  opening: Opening,
  prf: Prf,
  idPayload: IdPayload,
  { id, peer, secret: proved }: ProofContext,
): readonly Payload[] {
  const { sa, env } = session
  const secret = proved ?? sharedSecretsFor(env.secrets(), id, peer)[0]
  if (secret === undefined) {
    const between = `'${formatIdentity(id)}' - '${formatIdentity(peer)}'`
    throw unable('NO_SHARED_SECRET', `no shared key found for ${between}`)
  }
  env.report({ event: 'authenticating', sa, id, by: 'pre-shared key' })
  const data = pskAuthentication(prf, secret.secret, octetsOf(sa, opening, idPayload))
  return [idPayload, { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE, data }]
}

async function provedBySignature(
  session: Authenticating,
  opening: Opening,
  prf: Prf,
  idPayload: IdPayload,
  round: LocalAuthentication,
  { id, connection, asked }: ProofContext,
): Promise<readonly Payload[]> {
  const { sa, env } = session
  const credential = ownCredential(id, round, asked?.authorities ?? NONE, env.credentials())
  if (credential === null) throw unable('NO_PRIVATE_KEY', `no private key found for '${formatIdentity(id)}'`)
  const { key } = credential
  const schemes = ownSchemes(key.publicKey, opening.peerHashes, round.constraints, env.settings())
  if (schemes.length === 0) {
    throw unable(
      'NO_SIGNATURE_SCHEME',
      opening.peerHashes === null
        ? `private key of type ${key.type.toUpperCase()} not supported: the peer does not know RFC 7427`
        : `no common hash algorithm found to create signature with ${key.type.toUpperCase()} key`,
    )
  }
  const octets = signedOctets(prf, octetsOf(sa, opening, idPayload))
  let failure: EspalierError | null = null
  for (const { method, scheme } of schemes) {
    let signature: Uint8Array
    try {
      signature = await session.elsewhere(env.signer.sign(key, scheme, octets))
    } catch (error) {
      // A hash that is too long for the key, say: perhaps the next one is not.
      if (!(error instanceof EspalierError) || error.code !== 'SIGNING_FAILED') throw error
      failure ??= error
      continue
    }
    env.report({ event: 'authenticating', sa, id, by: { method, scheme } })
    const certificates = ownCertificates(session, connection, asked, credential)
    const status = await ownStatus(session, connection, asked, credential)
    const data = writeAuthSignature({ method, scheme, signature })
    return [idPayload, ...certificates, ...status, { kind: 'AUTH', method, data }]
  }
  throw unable('SIGNING_FAILED', `authentication of '${formatIdentity(id)}' (myself) failed: ${failure!.message}`)
}

/** What OCSP says of our certificate, for a peer that wants it from us (RFC 4806). */
async function ownStatus(
  session: Authenticating,
  { ocsp }: Connection,
  asked: CertificateRequest | null,
  { certificate, intermediates, root }: OwnCredential,
): Promise<readonly Payload[]> {
  const issuer = intermediates[0] ?? root
  if (asked?.wantsOcsp !== true || (ocsp !== 'reply' && ocsp !== 'both')) return []
  if (certificate === null || issuer === null) return []
  const data = await session.elsewhere(ocspAnswerFor(certificate, issuer, revocationSources(session.env, null)))
  return data === null ? [] : [{ kind: 'CERT', encoding: CertEncoding.OCSP_CONTENT, data }]
}

const NONE: ReadonlySet<string> = new Set()

/** To the peer it is the same as if it had failed. */
function unable(code: string, message: string): ExchangeFailure {
  return new ExchangeFailure('caller', code, message, NotifyType.AUTHENTICATION_FAILED)
}
