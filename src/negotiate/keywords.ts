/**
 * The words for transforms: strongSwan's keywords in proposal strings, and the names it lists transforms by. Keywords
 * that it knows and we do not do are kept by name, so that an error can tell a typing mistake from a missing algorithm.
 */
import { ADDITIONAL_KE, EncrId, EsnId, IntegId, isAdditionalKe, KeId, PrfId, TransformType } from '../iana/transforms.ts'
import type { Transform } from './transform.ts'

const { ENCR, PRF, INTEG, KE, ESN } = TransformType
const AES_KEY_LENGTHS = [128, 192, 256]

const PLAIN: ReadonlyMap<string, Transform> = new Map([
  word('null', ENCR, EncrId.ENCR_NULL),
  ...aes(EncrId.ENCR_AES_CBC, ''),
  word('aes', ENCR, EncrId.ENCR_AES_CBC, 128),
  ...aes(EncrId.ENCR_AES_CTR, 'ctr'),
  ...aes(EncrId.ENCR_AES_GCM_16, 'gcm16', 'gcm128', 'gcm'),
  ...aes(EncrId.ENCR_AES_GCM_12, 'gcm12', 'gcm96'),
  ...aes(EncrId.ENCR_AES_GCM_8, 'gcm8', 'gcm64'),
  word('chacha20poly1305', ENCR, EncrId.ENCR_CHACHA20_POLY1305),

  word('sha1', INTEG, IntegId.AUTH_HMAC_SHA1_96),
  word('sha', INTEG, IntegId.AUTH_HMAC_SHA1_96),
  word('sha256', INTEG, IntegId.AUTH_HMAC_SHA2_256_128),
  word('sha2_256', INTEG, IntegId.AUTH_HMAC_SHA2_256_128),
  word('sha384', INTEG, IntegId.AUTH_HMAC_SHA2_384_192),
  word('sha2_384', INTEG, IntegId.AUTH_HMAC_SHA2_384_192),
  word('sha512', INTEG, IntegId.AUTH_HMAC_SHA2_512_256),
  word('sha2_512', INTEG, IntegId.AUTH_HMAC_SHA2_512_256),
  word('aesxcbc', INTEG, IntegId.AUTH_AES_XCBC_96),
  word('aescmac', INTEG, IntegId.AUTH_AES_CMAC_96),

  word('prfsha1', PRF, PrfId.PRF_HMAC_SHA1),
  word('prfsha256', PRF, PrfId.PRF_HMAC_SHA2_256),
  word('prfsha384', PRF, PrfId.PRF_HMAC_SHA2_384),
  word('prfsha512', PRF, PrfId.PRF_HMAC_SHA2_512),
  word('prfaesxcbc', PRF, PrfId.PRF_AES128_XCBC),
  word('prfaescmac', PRF, PrfId.PRF_AES128_CMAC),

  word('none', KE, KeId.NONE),
  word('modpnone', KE, KeId.NONE),
  word('modp2048', KE, KeId.MODP_2048),
  word('modp3072', KE, KeId.MODP_3072),
  word('modp4096', KE, KeId.MODP_4096),
  word('modp6144', KE, KeId.MODP_6144),
  word('modp8192', KE, KeId.MODP_8192),
  word('ecp256', KE, KeId.ECP_256),
  word('ecp384', KE, KeId.ECP_384),
  word('ecp521', KE, KeId.ECP_521),
  word('x25519', KE, KeId.CURVE25519),
  word('curve25519', KE, KeId.CURVE25519),
  word('x448', KE, KeId.CURVE448),
  word('curve448', KE, KeId.CURVE448),
  word('mlkem512', KE, KeId.ML_KEM_512),
  word('mlkem768', KE, KeId.ML_KEM_768),
  word('mlkem1024', KE, KeId.ML_KEM_1024),

  word('noesn', ESN, EsnId.NO_ESN),
  word('esn', ESN, EsnId.ESN),
])

const GROUPS = [...PLAIN].filter(([, { type }]) => type === KE)

/**
 * Several keywords may mean the same transform; the first one is the one that is printed. Additional key exchanges
 * (RFC 9370) are those of the first one behind `ke1_` to `ke7_`.
 */
export const KEYWORDS: ReadonlyMap<string, Transform> = new Map([
  ...PLAIN,
  ...ADDITIONAL_KE.flatMap((type, i) => GROUPS.map(([keyword, { id }]) => word(`ke${i + 1}_${keyword}`, type, id))),
])

/** strongSwan's keywords for groups that we do not do. */
const UNSUPPORTED_GROUPS =
  'modpnull|modp768|modp1024|modp1536|modp1024s160|modp2048s224|modp2048s256|ecp192|ecp224|ecp(?:224|256|384|512)bp'

/** The same for everything; key lengths and ICV lengths are left off. */
const UNSUPPORTED = new RegExp(
  [
    '^(?:3des|des|cast128|(?:blowfish|serpent|twofish)(?:128|192|256)?|camellia(?:128|192|256)?',
    'camellia(?:128|192|256)(?:ctr|ccm(?:8|64|12|96|16|128))|aes(?:128|192|256)(?:ccm(?:8|64|12|96|16|128)?|gmac)',
    'chacha20poly1305compat|sha1_160|sha256_96|sha2_256_96|md5|md5_128|camelliaxcbc|prfmd5|prfcamelliaxcbc',
    `gost256|gost512|(?:ke[1-7]_)?(?:${UNSUPPORTED_GROUPS}))$`,
  ].join('|'),
)

/** strongSwan knows the keyword, we do not do the transform. */
export function isUnsupportedKeyword(token: string): boolean {
  return UNSUPPORTED.test(token)
}

/** The keyword most like `token`, by the fewest letters changed, added or left out. */
export function nearestKeyword(token: string): string {
  let nearest = ''
  let least = Number.POSITIVE_INFINITY
  for (const keyword of KEYWORDS.keys()) {
    const distance = editDistance(token, keyword)
    if (distance >= least) continue
    nearest = keyword
    least = distance
  }
  return nearest
}

/** The keyword of a transform that came out of KEYWORDS. */
export function keywordOf(transform: Transform): string {
  for (const [keyword, { type, id, keyLength }] of KEYWORDS) {
    if (type === transform.type && id === transform.id && keyLength === transform.keyLength) return keyword
  }
  return transformName(transform)
}

const NAMES: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map([
  [
    ENCR,
    new Map<number, string>([
      [EncrId.ENCR_DES, 'DES_CBC'],
      [EncrId.ENCR_3DES, '3DES_CBC'],
      [EncrId.ENCR_CAST, 'CAST_CBC'],
      [EncrId.ENCR_BLOWFISH, 'BLOWFISH_CBC'],
      [EncrId.ENCR_NULL, 'NULL'],
      [EncrId.ENCR_AES_CBC, 'AES_CBC'],
      [EncrId.ENCR_AES_CTR, 'AES_CTR'],
      [EncrId.ENCR_AES_CCM_8, 'AES_CCM_8'],
      [EncrId.ENCR_AES_CCM_12, 'AES_CCM_12'],
      [EncrId.ENCR_AES_CCM_16, 'AES_CCM_16'],
      [EncrId.ENCR_AES_GCM_8, 'AES_GCM_8'],
      [EncrId.ENCR_AES_GCM_12, 'AES_GCM_12'],
      [EncrId.ENCR_AES_GCM_16, 'AES_GCM_16'],
      [EncrId.ENCR_NULL_AUTH_AES_GMAC, 'NULL_AES_GMAC'],
      [EncrId.ENCR_CAMELLIA_CBC, 'CAMELLIA_CBC'],
      [EncrId.ENCR_CAMELLIA_CTR, 'CAMELLIA_CTR'],
      [EncrId.ENCR_CAMELLIA_CCM_8, 'CAMELLIA_CCM_8'],
      [EncrId.ENCR_CAMELLIA_CCM_12, 'CAMELLIA_CCM_12'],
      [EncrId.ENCR_CAMELLIA_CCM_16, 'CAMELLIA_CCM_16'],
      [EncrId.ENCR_CHACHA20_POLY1305, 'CHACHA20_POLY1305'],
    ]),
  ],
  [
    PRF,
    new Map<number, string>([
      [PrfId.PRF_HMAC_MD5, 'PRF_HMAC_MD5'],
      [PrfId.PRF_HMAC_SHA1, 'PRF_HMAC_SHA1'],
      [PrfId.PRF_AES128_XCBC, 'PRF_AES128_XCBC'],
      [PrfId.PRF_HMAC_SHA2_256, 'PRF_HMAC_SHA2_256'],
      [PrfId.PRF_HMAC_SHA2_384, 'PRF_HMAC_SHA2_384'],
      [PrfId.PRF_HMAC_SHA2_512, 'PRF_HMAC_SHA2_512'],
      [PrfId.PRF_AES128_CMAC, 'PRF_AES128_CMAC'],
    ]),
  ],
  [
    INTEG,
    new Map<number, string>([
      [IntegId.NONE, 'NONE'],
      [IntegId.AUTH_HMAC_MD5_96, 'HMAC_MD5_96'],
      [IntegId.AUTH_HMAC_SHA1_96, 'HMAC_SHA1_96'],
      [IntegId.AUTH_AES_XCBC_96, 'AES_XCBC_96'],
      [IntegId.AUTH_HMAC_MD5_128, 'HMAC_MD5_128'],
      [IntegId.AUTH_HMAC_SHA1_160, 'HMAC_SHA1_160'],
      [IntegId.AUTH_AES_CMAC_96, 'AES_CMAC_96'],
      [IntegId.AUTH_HMAC_SHA2_256_128, 'HMAC_SHA2_256_128'],
      [IntegId.AUTH_HMAC_SHA2_384_192, 'HMAC_SHA2_384_192'],
      [IntegId.AUTH_HMAC_SHA2_512_256, 'HMAC_SHA2_512_256'],
    ]),
  ],
  [
    KE,
    new Map<number, string>([
      [KeId.NONE, 'KE_NONE'],
      [KeId.MODP_768, 'MODP_768'],
      [KeId.MODP_1024, 'MODP_1024'],
      [KeId.MODP_1536, 'MODP_1536'],
      [KeId.MODP_2048, 'MODP_2048'],
      [KeId.MODP_3072, 'MODP_3072'],
      [KeId.MODP_4096, 'MODP_4096'],
      [KeId.MODP_6144, 'MODP_6144'],
      [KeId.MODP_8192, 'MODP_8192'],
      [KeId.ECP_256, 'ECP_256'],
      [KeId.ECP_384, 'ECP_384'],
      [KeId.ECP_521, 'ECP_521'],
      [KeId.MODP_1024_160, 'MODP_1024_160'],
      [KeId.MODP_2048_224, 'MODP_2048_224'],
      [KeId.MODP_2048_256, 'MODP_2048_256'],
      [KeId.ECP_192, 'ECP_192'],
      [KeId.ECP_224, 'ECP_224'],
      [KeId.ECP_224_BP, 'ECP_224_BP'],
      [KeId.ECP_256_BP, 'ECP_256_BP'],
      [KeId.ECP_384_BP, 'ECP_384_BP'],
      [KeId.ECP_512_BP, 'ECP_512_BP'],
      [KeId.CURVE25519, 'CURVE_25519'],
      [KeId.CURVE448, 'CURVE_448'],
      [KeId.ML_KEM_512, 'ML_KEM_512'],
      [KeId.ML_KEM_768, 'ML_KEM_768'],
      [KeId.ML_KEM_1024, 'ML_KEM_1024'],
    ]),
  ],
  [
    ESN,
    new Map<number, string>([
      [EsnId.NO_ESN, 'NO_EXT_SEQ'],
      [EsnId.ESN, 'EXT_SEQ'],
    ]),
  ],
])

/** strongSwan's name of a transform without its key length, as VICI has it (`encr-alg`, `dh-group` ...); `(1234)` for one without a name. */
export function transformName(transform: Pick<Transform, 'type' | 'id'>): string {
  const type = isAdditionalKe(transform.type) ? KE : transform.type
  return NAMES.get(type)?.get(transform.id) ?? `(${transform.id})`
}

function word(keyword: string, type: number, id: number, keyLength: number | null = null): [string, Transform] {
  return [keyword, { type, id, keyLength }]
}

/** `aes128` ... `aes256` with each of the endings. */
function aes(id: number, ...endings: readonly string[]): [string, Transform][] {
  return endings.flatMap((ending) => AES_KEY_LENGTHS.map((bits) => word(`aes${bits}${ending}`, ENCR, id, bits)))
}

function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    above = row
  }
  return above[b.length]!
}
