import { strict as assert } from 'node:assert'
import { test } from 'node:test'

import { fromHex, toHex } from '../../src/base/bytes.ts'
import { createCipher } from '../../src/crypto/cipher.ts'
import { Secret } from '../../src/crypto/secret.ts'
import { EncrId } from '../../src/iana/transforms.ts'

interface Vector {
  readonly title: string
  readonly id: number
  readonly bits: number | null
  /** With the salt behind it. */
  readonly key: string
  readonly iv: string
  readonly associatedData?: string
  readonly plaintext: string
  /** With the ICV behind it. */
  readonly ciphertext: string
}

const { ENCR_AES_CBC, ENCR_AES_CTR, ENCR_AES_GCM_8, ENCR_AES_GCM_12, ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305 } = EncrId
const COUNTING = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223'
const SINGLE_BLOCK = toHex(new TextEncoder().encode('Single block msg'))
const NIST_PLAINTEXT =
  '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710'
const NIST_CBC = { id: ENCR_AES_CBC, iv: COUNTING.slice(0, 32), plaintext: NIST_PLAINTEXT }
const GCM_PLAINTEXT =
  'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255'
const GCM = {
  id: ENCR_AES_GCM_16,
  iv: 'facedbaddecaf888',
  plaintext: GCM_PLAINTEXT.slice(0, 120),
  associatedData: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
}
const GCM_CASE_3 = {
  bits: 128,
  key: 'feffe9928665731c6d6a8f9467308308cafebabe',
  iv: 'facedbaddecaf888',
  plaintext: GCM_PLAINTEXT,
}
const GCM_CASE_3_CIPHERTEXT =
  '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985'
const CHACHA = {
  id: ENCR_CHACHA20_POLY1305,
  bits: null,
  key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3',
  iv: '1011121314151617',
}

const VECTORS: readonly Vector[] = [
  {
    title: 'RFC 3602 4 case 1',
    id: ENCR_AES_CBC,
    bits: 128,
    key: '06a9214036b8a15b512e03d534120006',
    iv: '3dafba429d9eb430b422da802c9fac41',
    plaintext: SINGLE_BLOCK,
    ciphertext: 'e353779c1079aeb82708942dbe77181a',
  },
  {
    title: 'RFC 3602 4 case 2',
    id: ENCR_AES_CBC,
    bits: 128,
    key: 'c286696d887c9aa0611bbb3e2025a45a',
    iv: '562e17996d093d28ddb3ba695a2e6f58',
    plaintext: COUNTING.slice(0, 64),
    ciphertext: 'd296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1',
  },
  {
    title: 'NIST SP 800-38A F.2.1',
    ...NIST_CBC,
    bits: 128,
    key: '2b7e151628aed2a6abf7158809cf4f3c',
    ciphertext:
      '7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7',
  },
  {
    title: 'NIST SP 800-38A F.2.3',
    ...NIST_CBC,
    bits: 192,
    key: '8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b',
    ciphertext:
      '4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd',
  },
  {
    title: 'NIST SP 800-38A F.2.5',
    ...NIST_CBC,
    bits: 256,
    key: '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4',
    ciphertext:
      'f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b',
  },
  {
    title: 'RFC 3686 6 vector 1',
    id: ENCR_AES_CTR,
    bits: 128,
    key: 'ae6852f8121067cc4bf7a5765577f39e00000030',
    iv: '0000000000000000',
    plaintext: SINGLE_BLOCK,
    ciphertext: 'e4095d4fb7a7b3792d6175a3261311b8',
  },
  {
    title: 'RFC 3686 6 vector 3',
    id: ENCR_AES_CTR,
    bits: 128,
    key: '7691be035e5020a8ac6e618529f9a0dc00e0017b',
    iv: '27777f3f4a1786f0',
    plaintext: COUNTING,
    ciphertext: 'c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f',
  },
  {
    title: 'RFC 3686 6 vector 6',
    id: ENCR_AES_CTR,
    bits: 192,
    key: '02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe0007bdfd',
    iv: '5cbd60278dcc0912',
    plaintext: COUNTING,
    ciphertext: '96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935',
  },
  {
    title: 'RFC 3686 6 vector 9',
    id: ENCR_AES_CTR,
    bits: 256,
    key: 'ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d001cc5b7',
    iv: '51a51d70a1c11148',
    plaintext: COUNTING,
    ciphertext: 'eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8',
  },
  {
    title: 'GCM specification case 3, ICV of 8',
    id: ENCR_AES_GCM_8,
    ...GCM_CASE_3,
    ciphertext: `${GCM_CASE_3_CIPHERTEXT}4d5c2af327cd64a6`,
  },
  {
    title: 'GCM specification case 3, ICV of 12',
    id: ENCR_AES_GCM_12,
    ...GCM_CASE_3,
    ciphertext: `${GCM_CASE_3_CIPHERTEXT}4d5c2af327cd64a62cf35abd`,
  },
  {
    title: 'GCM specification case 3',
    id: ENCR_AES_GCM_16,
    ...GCM_CASE_3,
    ciphertext: `${GCM_CASE_3_CIPHERTEXT}4d5c2af327cd64a62cf35abd2ba6fab4`,
  },
  {
    title: 'GCM specification case 4',
    ...GCM,
    bits: 128,
    key: 'feffe9928665731c6d6a8f9467308308cafebabe',
    ciphertext:
      '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47',
  },
  {
    title: 'GCM specification case 10',
    ...GCM,
    bits: 192,
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731ccafebabe',
    ciphertext:
      '3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda27102519498e80f1478f37ba55bd6d27618c',
  },
  {
    title: 'GCM specification case 16',
    ...GCM,
    bits: 256,
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308cafebabe',
    ciphertext:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
  },
  {
    title: 'RFC 7634 appendix A, an ESP packet',
    ...CHACHA,
    associatedData: '0102030400000005',
    plaintext:
      '45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204',
    ciphertext:
      '24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43',
  },
  {
    title: 'RFC 7634 appendix B, an IKE message',
    ...CHACHA,
    associatedData: 'c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029',
    plaintext: '0000000c000040010000000a00',
    ciphertext: '610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2',
  },
]

for (const { title, id, bits, key, iv, associatedData = '', plaintext, ciphertext } of VECTORS) {
  test(`encryption algorithm ${id}: ${title}`, () => {
    const secret = new Secret(fromHex(key))
    const cipher = createCipher({ id, keyLength: bits }, secret)
    // Between octets that are nobody's business.
    const sealed = new Uint8Array(ciphertext.length / 2 + 3).fill(0xee)
    cipher.encrypt(fromHex(iv), fromHex(associatedData), fromHex(plaintext), sealed, 2)
    assert.equal(toHex(sealed), `eeee${ciphertext}ee`)
    const opened = cipher.decrypt(fromHex(iv), fromHex(associatedData), fromHex(ciphertext))
    assert.equal(opened === null ? null : toHex(opened), plaintext)
  })
}
