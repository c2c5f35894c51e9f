/**
 * What strongSwan's charon and espalier agree on, case by case, with packets through both kernels. A case is tried with
 * either of them as the initiator; each ends with echoes both ways, and with nothing left in either kernel.
 */
import { test } from 'node:test'

import { type Arrangement, type Case, Pair, PEERS } from './support/pair.ts'

const ESN = /\bflag\b.*\besn\b/
const NO_ESN = /^(?![^]*\besn\b)/

/** ESP in the kernel's words, with keys and ICVs as long as the RFCs want them. */
const ESP: Readonly<Record<string, readonly RegExp[]>> = {
  'aes128gcm16': [/aead rfc4106\(gcm\(aes\)\) \S+ \(160 bits\) 128$/m],
  'aes256gcm16': [/aead rfc4106\(gcm\(aes\)\) \S+ \(288 bits\) 128$/m],
  'aes128-sha256': [/enc cbc\(aes\) \S+ \(128 bits\)$/m, /auth-trunc hmac\(sha256\) \S+ \(256 bits\) 128$/m],
  'aes256-sha512': [/enc cbc\(aes\) \S+ \(256 bits\)$/m, /auth-trunc hmac\(sha512\) \S+ \(512 bits\) 256$/m],
  'chacha20poly1305': [/aead rfc7539esp\(chacha20,poly1305\) \S+ \(288 bits\) 128$/m],
  'aes128ctr-sha256': [/enc rfc3686\(ctr\(aes\)\) \S+ \(160 bits\)$/m, /auth-trunc hmac\(sha256\) \S+ \(256 bits\) 128$/m],
}

/**
 * An IKE suite together with an ESP suite, which have nothing to do with each other: one connection proves both.
 * `chosen` is how charon words the IKE suite.
 */
function suites(proposals: string, chosen: string, esp: string, esn: 'esn' | 'noesn'): Case {
  return {
    name: `IKE ${proposals}, ESP ${esp}-${esn}`,
    proposals,
    esp: `${esp}-${esn}`,
    kernel: [...ESP[esp]!, esn === 'esn' ? ESN : NO_ESN],
    seen: { charon: [new RegExp(`selected proposal: IKE:${chosen}$`, 'm')] },
  }
}

const SUITES: readonly Case[] = [
  suites('aes128-sha256-curve25519', 'AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519', 'aes256gcm16', 'noesn'),
  suites('aes256-sha512-ecp384', 'AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/ECP_384', 'aes256gcm16', 'esn'),
  suites('aes128-sha256-modp2048', 'AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048', 'aes128-sha256', 'noesn'),
  suites('aes128-sha1-modp4096', 'AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_4096', 'aes128-sha256', 'esn'),
  suites('aes256gcm16-prfsha384-ecp384', 'AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384', 'aes256-sha512', 'noesn'),
  suites('aes128-aesxcbc-prfaesxcbc-modp2048', 'AES_CBC_128/AES_XCBC_96/PRF_AES128_XCBC/MODP_2048', 'aes256-sha512', 'esn'),
  suites('chacha20poly1305-prfsha256-x25519', 'CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519', 'chacha20poly1305', 'noesn'),
  suites('aes128ctr-aescmac-prfaescmac-ecp521', 'AES_CTR_128/AES_CMAC_96/PRF_AES128_CMAC/ECP_521', 'chacha20poly1305', 'esn'),
  suites('aes128gcm16-prfsha256-ecp256', 'AES_GCM_16_128/PRF_HMAC_SHA2_256/ECP_256', 'aes128ctr-sha256', 'noesn'),
  suites('aes256gcm16-prfsha512-x448', 'AES_GCM_16_256/PRF_HMAC_SHA2_512/CURVE_448', 'aes128ctr-sha256', 'esn'),
  {
    name: 'INVALID_KE_PAYLOAD: the initiator guesses modp2048, the responder has ecp256 only, and wants no ESN',
    initiator: { proposals: 'aes128-sha256-modp2048-ecp256', esp: 'aes128gcm16-esn-noesn' },
    responder: { proposals: 'aes128-sha256-ecp256', esp: 'aes128gcm16-noesn' },
    kernel: [...ESP['aes128gcm16']!, NO_ESN],
    seen: { charon: [/selected proposal: IKE:AES_CBC_128\/HMAC_SHA2_256_128\/PRF_HMAC_SHA2_256\/ECP_256$/m] },
    seenFrom: {
      // strongSwan 5.9 speaks of a DH group, 6.0 of a key exchange method.
      charon: { charon: [/peer didn't accept (?:DH group|key exchange method) MODP_2048, it requested ECP_256/] },
      espalier: { espalier: [/peer didn't accept key exchange method MODP_2048, it requested ECP_256/] },
    },
  },
]

const REFUSED = /received AUTHENTICATION_FAILED notify error/
const MISMATCHED = /tried \d+ shared keys? for '.*' - '.*', but MAC mismatched/

const REFUSALS: readonly Case[] = [
  {
    name: 'no IKE proposal in common',
    initiator: { proposals: 'aes128-sha256-ecp256' },
    responder: { proposals: 'aes256-sha512-ecp256' },
    fails: true,
    seenFrom: {
      charon: {
        charon: [/received NO_PROPOSAL_CHOSEN notify error/],
        espalier: [/received proposals unacceptable/],
      },
      espalier: {
        charon: [/received proposals unacceptable/],
        espalier: [/received NO_PROPOSAL_CHOSEN notify error: the peer accepts none of our proposals/],
      },
    },
  },
  {
    name: 'no ESP proposal in common',
    initiator: { esp: 'aes128-sha256' },
    responder: { esp: 'aes256gcm16' },
    fails: true,
    seenFrom: {
      charon: {
        charon: [/received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built/],
        espalier: [/no acceptable proposal found/, /failed to establish CHILD_SA, keeping IKE_SA/],
      },
      espalier: {
        charon: [/no acceptable proposal found/],
        espalier: [/received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built/],
      },
    },
  },
  {
    name: "the initiator's pre-shared key is a wrong one",
    initiator: { secret: 'a guess' },
    fails: true,
    seenFrom: {
      charon: { charon: [REFUSED], espalier: [MISMATCHED] },
      espalier: { charon: [MISMATCHED], espalier: [REFUSED] },
    },
  },
  {
    name: 'unacceptable traffic selectors',
    initiator: { remoteTs: '172.16.0.0/16' },
    fails: true,
    seenFrom: {
      charon: {
        charon: [/received TS_UNACCEPTABLE notify, no CHILD_SA built/],
        espalier: [/traffic selectors 172\.16\.0\.0\/16 === .* unacceptable/],
      },
      espalier: {
        charon: [/traffic selectors .* unacceptable/],
        espalier: [/received TS_UNACCEPTABLE notify, no CHILD_SA built/],
      },
    },
  },
]

const TRAFFIC: readonly Case[] = [
  {
    name: 'narrowing: the initiator asks for 10.0.0.0/8 and gets what the responder has',
    initiators: ['charon'],
    initiator: { remoteTs: '10.0.0.0/8' },
  },
  {
    name: 'narrowing: the initiator asks for everything, IPv4 and IPv6, and gets two networks',
    inside: [4, 6],
    initiator: { remoteTs: '0.0.0.0/0, ::/0' },
  },
  { name: 'several selectors: IPv4 in IPv6 and IPv6 in IPv6', outside: 6, inside: [4, 6] },
  { name: 'IPv4 in IPv6', outside: 6 },
  { name: 'IPv6 in IPv4', inside: [6] },
  { name: 'transport mode', mode: 'transport' },
  { name: 'transport mode over IPv6', mode: 'transport', outside: 6 },
  { name: 'mobike = no at the initiator: everything stays on port 500', initiator: { ike: 'mobike = no' }, floats: false },
  { name: 'mobike = no at the responder: floats all the same', responder: { ike: 'mobike = no' } },
  { name: 'encap = yes at the initiator', initiator: { ike: 'encap = yes' }, encapsulated: true },
  { name: 'encap = yes at the responder', responder: { ike: 'encap = yes' }, encapsulated: true },
  { name: 'encap = yes at both', initiator: { ike: 'encap = yes' }, responder: { ike: 'encap = yes' }, encapsulated: true },
]

/** The last ones, since charon goes on asking for cookies for a while. */
const COOKIES: readonly Case[] = [
  {
    name: 'the responder demands a cookie',
    afterStranger: true,
    seenFrom: {
      charon: { charon: [/parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/], espalier: [/"event":"cookie-demanded"/] },
      espalier: { charon: [/generating IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/], espalier: [/"event":"cookie-returned"/] },
    },
  },
]

/** The initiator is behind a NAT, the responder has a public address. */
const NAT: readonly Case[] = [
  { name: 'IPv4' },
  { name: 'NAT66: IPv4 and IPv6 in UDP over IPv6', outside: 6, inside: [4, 6] },
  { name: "TCP to one port of the responder's, and nothing else", onlyPort: 80 },
  {
    name: 'narrowing: the initiator asks for two networks, and gets one port of TCP',
    initiator: { localTs: '10.0.0.0/8', remoteTs: '10.0.0.0/8' },
    onlyPort: 80,
  },
]

const BOTH_BEHIND: Case['seen'] = { espalier: [/local host is behind NAT, sending keep alives/, /remote host is behind NAT/] }

const NATS: readonly Case[] = [
  { name: 'both behind NATs, ports 500 and 4500 forwarded', seen: BOTH_BEHIND },
  { name: 'IPv6 and IPv4 in UDP', inside: [4, 6], initiators: ['charon'], seen: BOTH_BEHIND },
  {
    name: 'chacha20poly1305 with ESN in UDP',
    esp: 'chacha20poly1305-esn',
    kernel: [ESN],
    initiators: ['espalier'],
    seen: BOTH_BEHIND,
  },
]

matrix('direct', 'charon and espalier on one network', [...SUITES, ...REFUSALS, ...TRAFFIC, ...COOKIES])
matrix('nat', 'charon and espalier, the initiator of which is behind a NAT', NAT)
matrix('nats', 'charon and espalier behind a NAT each', NATS)

function matrix(arrangement: Arrangement, title: string, cases: readonly Case[]): void {
  test(title, async (t) => {
    const pair = await Pair.start(t, arrangement)
    for (const what of cases) {
      for (const initiator of what.initiators ?? PEERS) {
        await t.test(`${what.name} (${initiator} initiates)`, async (t) => await pair.try(t, what, initiator))
      }
    }
  })
}
