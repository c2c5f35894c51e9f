/**
 * What get-algorithms answers: what IKE can be done with, under strongSwan's headings and names, each with who does it.
 */
import { ALGORITHMS } from '../crypto/algorithms.ts'
import { TransformType } from '../iana/transforms.ts'
import { transformName } from '../negotiate/proposals.ts'
import { section, type ViciSection } from './message.ts'

/** strongSwan's name of the plugin over the same library; node:crypto is OpenSSL. */
const OPENSSL = 'openssl'

const { ENCR, INTEG, PRF, KE } = TransformType

/** ESP's algorithms are the kernel's affair, as in strongSwan. */
export function algorithms(): ViciSection {
  const { encr, integ, prf, ke } = ALGORITHMS
  return section(
    [
      'encryption',
      named(
        ENCR,
        encr.filter(({ mode }) => mode === 'cbc' || mode === 'ctr'),
      ),
    ],
    ['integrity', named(INTEG, integ)],
    [
      'aead',
      named(
        ENCR,
        encr.filter(({ mode }) => mode === 'aead'),
      ),
    ],
    ['hasher', section(['HASH_SHA1', OPENSSL])],
    ['prf', named(PRF, prf)],
    ['xof', section()],
    ['kdf', section(['KDF_PRF', OPENSSL], ['KDF_PRF_PLUS', OPENSSL])],
    ['drbg', section()],
    ['ke', named(KE, ke)],
    ['rng', section(['RNG_STRONG', OPENSSL], ['RNG_TRUE', OPENSSL])],
    ['nonce-gen', section(['NONCE_GEN', OPENSSL])],
  )
}

function named(type: number, found: readonly { readonly id: number }[]): ViciSection {
  return section(...found.map(({ id }) => [transformName({ type, id }), OPENSSL] as const))
}
