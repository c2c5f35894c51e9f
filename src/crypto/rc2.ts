/**
 * RC2 in CBC mode (RFC 2268), decryption only: certificates in PKCS#12 files of OpenSSL 1 lie under 40 bits of it, and
 * OpenSSL 3 no longer has it. It protects nothing and is used for nothing else.
 */
import { concatBytes } from '../base/bytes.ts'

/** The plain text without its padding; null if there is none. The effective length is that of `key`. */
export function decryptRc2(key: Uint8Array, iv: Uint8Array, encrypted: Uint8Array): Uint8Array | null {
  if (encrypted.length === 0 || encrypted.length % BLOCK !== 0) return null
  const words = expanded(key)
  let previous = iv
  const blocks: Uint8Array[] = []
  for (let at = 0; at < encrypted.length; at += BLOCK) {
    const block = encrypted.subarray(at, at + BLOCK)
    blocks.push(decryptBlock(words, block).map((byte, i) => byte ^ previous[i]!))
    previous = block
  }
  words.fill(0)
  const plain = concatBytes(...blocks)
  const padding = plain.at(-1)!
  const isPadded = padding >= 1 && padding <= BLOCK && plain.subarray(-padding).every((byte) => byte === padding)
  return isPadded ? plain.subarray(0, plain.length - padding) : null
}

/** RFC 2268 2: 64 words of 16 bits. */
function expanded(key: Uint8Array): Uint16Array {
  const bytes = new Uint8Array(128)
  bytes.set(key)
  const size = key.length
  for (let i = size; i < 128; i++) bytes[i] = PI_TABLE[(bytes[i - 1]! + bytes[i - size]!) & 0xff]!
  bytes[128 - size] = PI_TABLE[bytes[128 - size]!]!
  for (let i = 127 - size; i >= 0; i--) bytes[i] = PI_TABLE[bytes[i + 1]! ^ bytes[i + size]!]!
  const words = Uint16Array.from({ length: 64 }, (_, i) => bytes[2 * i]! | (bytes[2 * i + 1]! << 8))
  bytes.fill(0)
  return words
}

/** RFC 2268 4. */
function decryptBlock(words: Uint16Array, block: Uint8Array): Uint8Array {
  const r = Uint16Array.from({ length: 4 }, (_, i) => block[2 * i]! | (block[2 * i + 1]! << 8))
  let j = 63
  const mix = (rounds: number): void => {
    for (let round = 0; round < rounds; round++) {
      for (let i = 3; i >= 0; i--) {
        const rotated = (r[i]! >>> ROTATIONS[i]!) | (r[i]! << (16 - ROTATIONS[i]!))
        const [one, two, three] = [r[(i + 3) & 3]!, r[(i + 2) & 3]!, r[(i + 1) & 3]!]
        r[i] = rotated - words[j--]! - (one & two) - (~one & three)
      }
    }
  }
  const mash = (): void => {
    for (let i = 3; i >= 0; i--) r[i]! -= words[r[(i + 3) & 3]! & 63]!
  }
  mix(5)
  mash()
  mix(6)
  mash()
  mix(5)
  return Uint8Array.from({ length: BLOCK }, (_, i) => (i % 2 === 0 ? r[i >> 1]! & 0xff : r[i >> 1]! >> 8))
}

const BLOCK = 8
const ROTATIONS = [1, 2, 3, 5]

/** RFC 2268 2: digits of pi. */
const PI_TABLE = Uint8Array.from(
  Buffer.from(
    'd978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2' +
      '179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82' +
      '54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626' +
      '6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7' +
      '08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec' +
      'c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731' +
      '2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9' +
      '0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad',
    'hex',
  ),
)
