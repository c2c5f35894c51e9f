/**
 * Certificates and keys that are loaded, from files and by clients, and those that connections and authorities name. What
 * is the same is there once. Lists have the newest first (strongSwan), and are made once: strangers make us look at them.
 */
import { isDeepStrictEqual } from 'node:util'

import type { Credentials } from '../auth/credentials.ts'
import {
  formatIdentity,
  identitiesEqual,
  identityKey,
  identityOfKey,
  identityOfSubject,
  type Identity,
} from '../auth/identity.ts'
import { flagged, type FlaggedCertificate, type LoadedCredentials } from '../auth/loaded-credentials.ts'
import { toHex } from '../base/bytes.ts'
import { EspalierError } from '../base/errors.ts'
import type { PrivateKey } from '../crypto/private-key.ts'
import type { PublicKey } from '../crypto/public-key.ts'
import type { Connection } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import { describeAttributeCertificate, type AttributeCertificate } from '../pki/attribute-certificate.ts'
import type { Authority } from '../pki/authority.ts'
import { subjectOf, type Certificate } from '../pki/certificate.ts'
import type { Crl } from '../pki/crl.ts'
import { isNewer } from '../pki/crl-judgement.ts'
import { nameOf, Store, type Origin } from './store.ts'

/** Ours. */
const CERTIFICATES_MAX = 20_000
const KEYS_MAX = 5_000
const CRLS_MAX = 1_000
const AUTHORITIES_MAX = 1_000

export class CredentialStore implements Credentials {
  readonly #connections: () => readonly Connection[]
  readonly #report: (event: IkeEvent) => void
  readonly #certificates: Store<FlaggedCertificate>
  readonly #attributeCertificates: Store<AttributeCertificate>
  readonly #crls: Store<Crl>
  readonly #publicKeys: Store<PublicKey>
  readonly #privateKeys: Store<PrivateKey>
  readonly #authorities: Store<Authority>
  /** Of the connections as they were when it was made. */
  #view: View | null = null

  /** Takes what the files have. `connections`: those that are loaded, which name some more. */
  constructor(loaded: LoadedCredentials, connections: () => readonly Connection[], report: (event: IkeEvent) => void) {
    this.#connections = connections
    this.#report = report
    this.#certificates = new Store(loaded.certificates, ({ certificate }) => certificate.fingerprint, CERTIFICATES_MAX)
    this.#attributeCertificates = new Store(loaded.attributeCertificates, ({ fingerprint }) => fingerprint, CERTIFICATES_MAX)
    this.#crls = new Store(newestCrls(loaded.crls), keyOfCrl, CRLS_MAX)
    this.#publicKeys = new Store(loaded.publicKeys, idOf, KEYS_MAX)
    this.#privateKeys = new Store(loaded.privateKeys, ({ publicKey }) => idOf(publicKey), KEYS_MAX)
    this.#authorities = new Store(loaded.authorities, nameOf, AUTHORITIES_MAX)
  }

  // -- what is asked --------------------------------------------------------------------------------------------------

  privateKeyFor(publicKey: PublicKey): PrivateKey | null {
    return this.#privateKeys.get(idOf(publicKey))
  }
  certificates(): readonly Certificate[] {
    return this.#current().certificates
  }
  authorities(): readonly Certificate[] {
    return this.#current().authorities
  }
  ocspSigners(): readonly Certificate[] {
    return this.#current().ocspSigners
  }
  attributeAuthorities(): readonly Certificate[] {
    return this.#current().attributeAuthorities
  }
  attributeCertificates(): readonly AttributeCertificate[] {
    return this.#attributeCertificates.all()
  }
  rawPublicKeys(): readonly PublicKey[] {
    return this.#current().publicKeys
  }
  /** Public keys with whose they are, as connections say; null for those of nobody in particular. */
  ownedPublicKeys(): readonly OwnedPublicKey[] {
    return this.#current().ownedKeys
  }
  intermediates(): readonly Certificate[] {
    return this.#current().intermediates
  }
  authorityInfos(): readonly Authority[] {
    return this.#authorities.all()
  }
  crls(): readonly Crl[] {
    return this.#crls.all()
  }

  /** All certificates but those that are only there to build chains with. */
  flaggedCertificates(): readonly FlaggedCertificate[] {
    return this.#current().flagged
  }

  /** Hex of their public keys' fingerprints. */
  privateKeyIds(): readonly string[] {
    return this.#privateKeys
      .all()
      .map(({ publicKey }) => idOf(publicKey))
      .toReversed()
  }

  #current(): View {
    const connections = this.#connections()
    if (this.#view === null || this.#view.connections !== connections) this.#view = this.#look(connections)
    return this.#view
  }

  #look(connections: readonly Connection[]): View {
    const named = connections.flatMap(({ local, remote }) => [
      ...[...local, ...remote].flatMap(({ certificates }) => certificates.map((certificate) => flagged(certificate, 'NONE')!)),
      ...remote.flatMap(({ caCertificates }) => caCertificates.flatMap((certificate) => flagged(certificate, 'CA') ?? [])),
    ])
    const ofAuthorities = this.#authorities.all().flatMap(({ cacert }) => flagged(cacert, 'CA') ?? [])
    const all = new Map<string, FlaggedCertificate>()
    for (const entry of [...this.#certificates.all(), ...ofAuthorities, ...named])
      if (!all.has(entry.certificate.fingerprint)) all.set(entry.certificate.fingerprint, entry)
    const inOrder = [...all.values()].toReversed()
    const owned = new Map<string, OwnedPublicKey>()
    const unowned = this.#publicKeys.all().map((key) => ({ key, owner: null }))
    for (const entry of [...unowned, ...connections.flatMap(keysOf)].toReversed()) {
      const index = `${idOf(entry.key)} ${entry.owner === null ? '' : identityKey(entry.owner)}`
      if (!owned.has(index)) owned.set(index, entry)
    }
    const ownedKeys = [...owned.values()]
    const having = (isWanted: (flag: FlaggedCertificate['flag']) => boolean): readonly Certificate[] =>
      inOrder.filter(({ flag }) => isWanted(flag)).map(({ certificate }) => certificate)
    return {
      connections,
      flagged: inOrder,
      certificates: having((flag) => flag !== 'CA'),
      authorities: having((flag) => flag === 'CA'),
      ocspSigners: having((flag) => flag === 'OCSP'),
      attributeAuthorities: having((flag) => flag === 'AA'),
      intermediates: [...new Map(inOrder.flatMap(({ chain }) => chain.map((link) => [link.fingerprint, link]))).values()],
      ownedKeys,
      publicKeys: [...new Map(ownedKeys.map(({ key }) => [idOf(key), key])).values()],
    }
  }

  // -- what is loaded -------------------------------------------------------------------------------------------------

  /** Takes over what the files have now; what clients loaded besides stays. */
  replaceAll(loaded: LoadedCredentials): void {
    for (const key of this.#certificates.goneFrom(loaded.certificates)) this.#removeCertificate(key)
    for (const key of this.#attributeCertificates.goneFrom(loaded.attributeCertificates)) this.#removeAttributeCertificate(key)
    for (const key of this.#crls.goneFrom(loaded.crls)) this.#crls.remove(key)
    for (const key of this.#publicKeys.goneFrom(loaded.publicKeys)) this.#publicKeys.remove(key)
    for (const id of this.#privateKeys.goneFrom(loaded.privateKeys)) this.unloadPrivateKey(id)
    for (const name of this.#authorities.goneFrom(loaded.authorities)) this.unloadAuthority(name)
    this.#each(loaded.certificates, (certificate) => this.loadCertificate(certificate, 'files'))
    this.#each(loaded.attributeCertificates, (certificate) => this.loadAttributeCertificate(certificate, 'files'))
    this.#each(loaded.crls, (crl) => this.loadCrl(crl, 'files'))
    this.#each(loaded.publicKeys, (key) => this.loadPublicKey(key, 'files'))
    this.#each(loaded.privateKeys, (key) => this.loadPrivateKey(key, 'files'))
    this.#each(loaded.authorities, (authority) => this.loadAuthority(authority, 'files'))
    this.#view = null
  }

  /** As many as there may be. */
  #each<Thing>(things: readonly Thing[], load: (thing: Thing) => void): void {
    try {
      things.forEach(load)
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      this.#report({ event: 'configuration-warning', sentence: error.message })
    }
  }

  /** Throws EspalierError when there are too many; so do those below. */
  loadCertificate(entry: FlaggedCertificate, origin: Origin = 'client'): void {
    const { certificate, flag, chain } = entry
    const before = this.#certificates.get(certificate.fingerprint)
    if (before !== null && before.flag === flag && before.chain.length === chain.length)
      return this.#certificates.keep(certificate.fingerprint, origin)
    this.#certificates.put(entry, origin)
    this.#view = null
    this.#tell('certificate', subjectOf(certificate), 'added')
  }

  #removeCertificate(fingerprint: string): void {
    const removed = this.#certificates.remove(fingerprint)
    this.#view = null
    if (removed !== null) this.#tell('certificate', subjectOf(removed.certificate), 'removed')
  }

  loadAttributeCertificate(certificate: AttributeCertificate, origin: Origin = 'client'): void {
    const { fingerprint } = certificate
    if (this.#attributeCertificates.get(fingerprint) !== null) return this.#attributeCertificates.keep(fingerprint, origin)
    this.#attributeCertificates.put(certificate, origin)
    this.#tell('certificate', describeAttributeCertificate(certificate), 'added')
  }

  #removeAttributeCertificate(fingerprint: string): void {
    const removed = this.#attributeCertificates.remove(fingerprint)
    if (removed !== null) this.#tell('certificate', describeAttributeCertificate(removed), 'removed')
  }

  /** In the place of an older one of the same issuer about the same; an older one is not taken (strongSwan: add_crl). */
  loadCrl(crl: Crl, origin: Origin = 'client'): void {
    const before = this.#crls.get(keyOfCrl(crl))
    if (before !== null && !isNewer(crl, before)) return this.#crls.keep(keyOfCrl(crl), origin)
    this.#crls.put(crl, origin)
    this.#tell('crl', formatIdentity(identityOfSubject(crl.issuer)), 'added')
  }

  loadPublicKey(key: PublicKey, origin: Origin = 'client'): void {
    if (this.#publicKeys.get(idOf(key)) !== null) return this.#publicKeys.keep(idOf(key), origin)
    this.#publicKeys.put(key, origin)
    this.#view = null
    this.#tell('public-key', idOf(key), 'added')
  }

  loadPrivateKey(key: PrivateKey, origin: Origin = 'client'): void {
    const id = idOf(key.publicKey)
    if (this.#privateKeys.get(id) !== null) return this.#privateKeys.keep(id, origin)
    this.#privateKeys.put(key, origin)
    this.#tell('private-key', id, 'added')
  }

  /** By its identifier, hex in lower case. False if there is none. */
  unloadPrivateKey(id: string): boolean {
    if (this.#privateKeys.remove(id) === null) return false
    this.#tell('private-key', id, 'removed')
    return true
  }

  /** In the place of the one of its name. */
  loadAuthority(authority: Authority, origin: Origin = 'client'): void {
    const before = this.#authorities.get(authority.name)
    if (before !== null && isDeepStrictEqual(before, authority)) return this.#authorities.keep(authority.name, origin)
    // strongSwan: the one that is new is the last.
    this.#authorities.remove(authority.name)
    this.#authorities.put(authority, origin)
    this.#view = null
    this.#tell('authority', authority.name, before === null ? 'added' : 'replaced')
  }

  /** False if there is none of this name. */
  unloadAuthority(name: string): boolean {
    if (this.#authorities.remove(name) === null) return false
    this.#view = null
    this.#tell('authority', name, 'removed')
    return true
  }

  /** All certificates and keys, but those that connections and authorities name. */
  clear(): void {
    for (const { certificate } of [...this.#certificates.all()]) this.#removeCertificate(certificate.fingerprint)
    for (const id of this.privateKeyIds()) this.unloadPrivateKey(id)
    for (const { fingerprint } of [...this.#attributeCertificates.all()]) this.#removeAttributeCertificate(fingerprint)
    for (const crl of [...this.#crls.all()]) this.#crls.remove(keyOfCrl(crl))
    for (const key of [...this.#publicKeys.all()]) this.#publicKeys.remove(idOf(key))
    this.#view = null
  }

  #tell(what: 'certificate' | 'crl' | 'public-key' | 'private-key' | 'authority', name: string, change: Change): void {
    this.#report({ event: 'configuration-changed', what, name, change, secret: null })
  }
}

type Change = 'added' | 'replaced' | 'removed'

interface View {
  readonly connections: readonly Connection[]
  readonly flagged: readonly FlaggedCertificate[]
  readonly certificates: readonly Certificate[]
  readonly authorities: readonly Certificate[]
  readonly ocspSigners: readonly Certificate[]
  readonly attributeAuthorities: readonly Certificate[]
  readonly intermediates: readonly Certificate[]
  readonly ownedKeys: readonly OwnedPublicKey[]
  readonly publicKeys: readonly PublicKey[]
}

export interface OwnedPublicKey {
  readonly key: PublicKey
  readonly owner: Identity | null
}

/** The keys that a connection names. Without an id, the key itself is whose it is. */
function keysOf({ local, remote }: Connection): readonly OwnedPublicKey[] {
  const of = (keys: readonly PublicKey[], id: Identity | null): readonly OwnedPublicKey[] =>
    keys.map((key) => ({
      key,
      owner: id === null || identitiesEqual(id, identityOfKey(key.spkiFingerprint)) ? null : id,
    }))
  return [
    ...local.flatMap(({ publicKeys, id }) => of(publicKeys, id)),
    ...remote.flatMap(({ publicKeys, id }) => of(publicKeys, id.kind === 'any' ? null : id.identity)),
  ]
}

function idOf({ fingerprint }: PublicKey): string {
  return toHex(fingerprint)
}

/** One complete list and one delta for each issuer and each part of what it has issued. */
function keyOfCrl({ issuer, authorityKeyId, baseNumber, scope }: Crl): string {
  const parts = [toHex(issuer), authorityKeyId === null ? '' : toHex(authorityKeyId), baseNumber === null ? '' : 'delta']
  return [...parts, ...(scope?.uris ?? [])].join(' ')
}

function newestCrls(crls: readonly Crl[]): readonly Crl[] {
  const newest = new Map<string, Crl>()
  for (const crl of crls) {
    const before = newest.get(keyOfCrl(crl))
    if (before === undefined || isNewer(crl, before)) newest.set(keyOfCrl(crl), crl)
  }
  return [...newest.values()]
}
