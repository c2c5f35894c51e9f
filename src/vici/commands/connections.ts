/**
 * load-conn, unload-conn, get-conns, list-conns: what is configured (strongSwan: vici_config.c, vici_query.c).
 */
import { formatIdentity, identityOfKey, type Identity, type IdentityPattern } from '../../auth/identity.ts'
import { SECOND, type Milliseconds } from '../../base/time.ts'
import { givenConnection } from '../../config/given.ts'
import type { PublicKey } from '../../crypto/public-key.ts'
import { ADDITIONAL_KE, TransformType } from '../../iana/transforms.ts'
import type {
  Action,
  AddressPattern,
  ChildConnection,
  Connection,
  LocalAuthentication,
  RemoteAuthentication,
} from '../../ike/connection.ts'
import { transformName } from '../../negotiate/keywords.ts'
import type { SuiteProposal } from '../../negotiate/proposals.ts'
import { formatSelectorTemplate } from '../../negotiate/selectors.ts'
import { subjectOf, type Certificate } from '../../pki/certificate.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { accepted, loaded, namedSections, warningsOf } from '../given.ts'
import { section, textOf, type ViciSection } from '../message.ts'

export const connectionCommands: Handlers = {
  'load-conn': (request, { operations }) => {
    const { configured } = operations.gateway
    const files = operations.credentialFiles()
    const given = namedSections(request).map((named) => givenConnection(named, configured.settings, files))
    const connections = accepted(given)
    const warnings = warningsOf(given)
    configured.warn(warnings)
    for (const connection of connections) configured.loadConnection(connection)
    return loaded(warnings)
  },

  'unload-conn': (request, { operations: { gateway } }) => {
    const name = textOf(request, 'name')
    if (name === null) throw new Refusal('unload: missing connection name')
    if (!gateway.configured.unloadConnection(name)) throw new Refusal(`unload: connection '${name}' not found`)
    return succeeded()
  },

  'get-conns': (_request, { operations: { gateway } }) =>
    section(['conns', gateway.configured.connections().map(({ name }) => name)]),

  'list-conns': async (request, context) => {
    const ike = textOf(request, 'ike')
    for (const connection of context.operations.gateway.configured.connections()) {
      if (ike !== null && ike !== connection.name) continue
      if (context.signal.aborted) break
      await context.stream('list-conn', section([connection.name, connectionSection(connection)]))
    }
    return section()
  },
}

/** strongSwan's keys in its order. */
function connectionSection(connection: Connection): ViciSection {
  const { lifetime, dpdDelay, dpdTimeout, ppk } = connection
  return section(
    ['local_addrs', addresses(connection.localAddresses)],
    ['remote_addrs', addresses(connection.remoteAddresses)],
    ['local_port', String(connection.localPort)],
    ['remote_port', String(connection.remotePort)],
    ['version', connection.version === 0 ? 'IKEv1/2' : 'IKEv2'],
    ['reauth_time', seconds(lifetime.reauth)],
    ['rekey_time', seconds(lifetime.rekey)],
    ['unique', `UNIQUE_${connection.unique.toUpperCase()}`],
    ['proposals', proposalsSection(connection.proposals)],
    ['dpd_delay', dpdDelay === 0 ? null : seconds(dpdDelay)],
    ['dpd_timeout', dpdTimeout === 0 ? null : seconds(dpdTimeout)],
    ['ppk_id', ppk.id === null ? null : formatIdentity(ppk.id)],
    ['ppk_required', ppk.isRequired ? 'yes' : null],
    ...connection.local.map((round, index) => [`local-${index + 1}`, localSection(round)] as const),
    ...connection.remote.map((round, index) => [`remote-${index + 1}`, remoteSection(round)] as const),
    ['children', section(...connection.children.map((child) => [child.name, childSection(child)] as const))],
  )
}

/** What there may be one of comes in the reverse of the order it was loaded in: as one usually writes it, `auth` before `id`. */
function localSection({ id, method, certificates, publicKeys }: LocalAuthentication): ViciSection {
  return section(
    ['id', id === null ? null : formatIdentity(id)],
    ['class', METHODS[method]],
    ['groups', []],
    ['cert_policy', []],
    ['certs', shown(certificates, publicKeys, id)],
    ['cacerts', []],
  )
}

function remoteSection(round: RemoteAuthentication): ViciSection {
  const { id, method, certificates, publicKeys, caId, groups, revocation } = round
  return section(
    ['id', patternText(id)],
    ['class', METHODS[method]],
    ['ca_id', caId === null ? null : (patternText(caId) ?? '%any')],
    ['revocation', VALIDATIONS[revocation]],
    ['groups', groups.map(formatIdentity)],
    ['cert_policy', round.certificatePolicies],
    ['certs', shown(certificates, publicKeys, id.kind === 'any' ? null : id.identity)],
    ['cacerts', round.caCertificates.map(subjectOf)],
  )
}

/** A public key without a certificate is whose it is. */
function shown(certificates: readonly Certificate[], keys: readonly PublicKey[], id: Identity | null): readonly string[] {
  return [
    ...certificates.map(subjectOf),
    ...keys.map(({ spkiFingerprint }) => formatIdentity(id ?? identityOfKey(spkiFingerprint))),
  ]
}

/** strongSwan: auth_class_names. Nothing where none was asked for. */
const METHODS = { psk: 'pre-shared key', pubkey: 'public key', any: null } as const

/** strongSwan: cert_validation_names, of the least that will do; nothing for relaxed. */
const VALIDATIONS = { strict: 'GOOD', ifuri: 'SKIPPED', relaxed: null } as const

function childSection(child: ChildConnection): ViciSection {
  const { time, bytes, packets } = child.lifetime
  return section(
    ['mode', child.mode.toUpperCase()],
    ['label', child.label],
    ['rekey_time', seconds(time.rekey)],
    ['rekey_bytes', String(bytes.rekey)],
    ['rekey_packets', String(packets.rekey)],
    ['dpd_action', actionText(child.dpdAction)],
    ['close_action', actionText(child.closeAction)],
    ['esp_proposals', proposalsSection(child.proposals)],
    ['ah_proposals', section()],
    ['local-ts', child.localSelectors.map(formatSelectorTemplate)],
    ['remote-ts', child.remoteSelectors.map(formatSelectorTemplate)],
    ['interface', child.interface],
    ['priority', child.priority === 0 ? null : String(child.priority)],
  )
}

/** By number; of each, the names of what it offers by type (strongSwan 6.0.7). */
function proposalsSection(proposals: readonly SuiteProposal[]): ViciSection {
  return section(
    ...proposals.map(({ transforms }, index) => {
      const named = TYPES.map(([key, type]) => {
        const names = transforms
          .filter((transform) => transform.type === type)
          .map((transform) => `${transformName(transform)}${transform.keyLength === null ? '' : `_${transform.keyLength}`}`)
        return [key, names.length === 0 ? null : names] as const
      })
      return [String(index), section(...named)] as const
    }),
  )
}

const TYPES = [
  ['encr', TransformType.ENCR],
  ['integ', TransformType.INTEG],
  ['prf', TransformType.PRF],
  ['ke', TransformType.KE],
  ...ADDITIONAL_KE.map((type, index) => [`ake${index + 1}`, type] as const),
  ['sn', TransformType.ESN],
] as const

function addresses(patterns: readonly AddressPattern[]): readonly string[] {
  return patterns.length === 0 ? ['%any'] : patterns.map(addressText)
}

function addressText(pattern: AddressPattern): string {
  switch (pattern.kind) {
    case 'any':
      return `%any${pattern.family ?? ''}`
    case 'host':
      return pattern.name
    case 'range': {
      const { first, last } = pattern.range
      return first.equals(last) ? first.toString() : pattern.range.toString()
    }
  }
}

/** Nothing for %any, which is what is meant where there is no id. */
function patternText(pattern: IdentityPattern): string | null {
  switch (pattern.kind) {
    case 'any':
      return null
    case 'exact':
      return formatIdentity(pattern.identity)
    case 'wildcard':
      return pattern.text
  }
}

/** strongSwan: action_names. */
function actionText({ trap, start }: Action): string {
  return [trap ? 'trap' : '', start ? 'start' : ''].filter((word) => word !== '').join('|') || 'none'
}

function seconds(time: Milliseconds): string {
  return String(Math.trunc(time / SECOND))
}
