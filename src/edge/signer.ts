/**
 * The Signer port: RSA in the thread pool, where its milliseconds hold nobody up; what takes a tenth of one on the spot,
 * which is less than the way to a thread and back.
 */
import type { PrivateKey } from '../crypto/private-key.ts'
import type { SignatureScheme } from '../crypto/signature-scheme.ts'
import type { Signer } from '../ports.ts'

export const systemSigner: Signer = {
  async sign(key: PrivateKey, scheme: SignatureScheme, data: Uint8Array): Promise<Uint8Array> {
    return key.type === 'rsa' ? key.signInThread(scheme, data) : key.sign(scheme, data)
  },
}
