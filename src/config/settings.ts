/**
 * strongswan.conf's share of the configuration: what section `charon` says to the core.
 */
import { SECOND } from '../base/time.ts'
import { DEFAULT_IKE_SETTINGS, type IkeSettings } from '../ike/connection.ts'
import type { Report } from './check.ts'
import { isLoaded, pluginLayers, readFirst } from './plugins.ts'
import { readAttributes, readServers } from './pool.ts'
import type { ResolvedSection } from './references.ts'
import { readRevocation } from './revocation.ts'
import { Values } from './section-values.ts'
import { DEFAULT_CONTROL_SOCKET, parseStreamAddress, type StreamAddress } from './stream-address.ts'
import { parseBoolean, parseDecimal, parseInteger, parseReplayWindow, parseTime } from './values.ts'

/** Our limits: the times keep sums of milliseconds exact. */
const MAXIMUM_SECONDS = 1_000_000
const MAXIMUM_TRIES = 1000
const MAXIMUM_DATAGRAM = 65535
const MAXIMUM_COUNT = 1_000_000_000
/** strongSwan: RETRANSMIT_JITTER_MAX. */
const MAXIMUM_JITTER = 20

/** Numbers and priorities of routing tables are 32 bits. */
const MAXIMUM_WORD = 0xffff_ffff

/** Reads `charon-systemd` first, `charon` for what is not there, and the defaults for the rest. */
export function readSettings(root: ResolvedSection, report: Report): IkeSettings {
  const layers = ['charon-systemd', 'charon'].map((name) => Values.of(root, name, report))
  const read = readFirst(layers)
  const updown = pluginLayers(root, 'updown', report)
  const port = (text: string): number => parseInteger(text, 0, 65535)
  const count = (text: string): number => parseInteger(text, 0, MAXIMUM_COUNT)
  const seconds = (text: string): number => parseInteger(text, 0, MAXIMUM_SECONDS) * SECOND
  const names = (text: string): readonly string[] => text.split(/[\s,]+/).filter((name) => name !== '')
  const protection = read('dos_protection', parseBoolean, true)
  const cookieThreshold = read('cookie_threshold', count, DEFAULT_IKE_SETTINGS.cookieThreshold)
  const cookieThresholdIp = read('cookie_threshold_ip', count, DEFAULT_IKE_SETTINGS.cookieThresholdIp)
  const blockThreshold = read('block_threshold', count, DEFAULT_IKE_SETTINGS.blockThreshold)
  const octets = (text: string): number => parseInteger(text, 0, MAXIMUM_DATAGRAM)
  const fragmentSize = read('fragment_size', octets, DEFAULT_IKE_SETTINGS.fragmentSizeV4)
  const settings: IkeSettings = {
    ...DEFAULT_IKE_SETTINGS,
    port: read('port', port, DEFAULT_IKE_SETTINGS.port),
    portNatT: read('port_nat_t', port, DEFAULT_IKE_SETTINGS.portNatT),
    keepAlive: read('keep_alive', parseTime, DEFAULT_IKE_SETTINGS.keepAlive),
    keepAliveDpdMargin: read('keep_alive_dpd_margin', parseTime, DEFAULT_IKE_SETTINGS.keepAliveDpdMargin),
    retryInitiateInterval: read('retry_initiate_interval', parseTime, DEFAULT_IKE_SETTINGS.retryInitiateInterval),
    retransmitTimeout: read(
      'retransmit_timeout',
      (text) => Math.round(parseDecimal(text, 0.001, MAXIMUM_SECONDS) * SECOND),
      DEFAULT_IKE_SETTINGS.retransmitTimeout,
    ),
    retransmitBase: read('retransmit_base', (text) => parseDecimal(text, 1, 100), DEFAULT_IKE_SETTINGS.retransmitBase),
    retransmitTries: read(
      'retransmit_tries',
      (text) => parseInteger(text, 0, MAXIMUM_TRIES),
      DEFAULT_IKE_SETTINGS.retransmitTries,
    ),
    retransmitJitter: read(
      'retransmit_jitter',
      (text) => Math.min(parseInteger(text, 0, 100), MAXIMUM_JITTER),
      DEFAULT_IKE_SETTINGS.retransmitJitter,
    ),
    retransmitLimit: read('retransmit_limit', seconds, DEFAULT_IKE_SETTINGS.retransmitLimit),
    cookieThreshold: protection ? cookieThreshold : 0,
    cookieThresholdIp: protection ? cookieThresholdIp : 0,
    blockThreshold: protection ? blockThreshold : 0,
    closeIkeOnChildFailure: read('close_ike_on_child_failure', parseBoolean, DEFAULT_IKE_SETTINGS.closeIkeOnChildFailure),
    signatureAuthentication: read('signature_authentication', parseBoolean, DEFAULT_IKE_SETTINGS.signatureAuthentication),
    signatureAuthenticationConstraints: read(
      'signature_authentication_constraints',
      parseBoolean,
      DEFAULT_IKE_SETTINGS.signatureAuthenticationConstraints,
    ),
    rsaPss: read('rsa_pss', parseBoolean, DEFAULT_IKE_SETTINGS.rsaPss),
    multipleAuthentication: read('multiple_authentication', parseBoolean, DEFAULT_IKE_SETTINGS.multipleAuthentication),
    revocation: readRevocation(root, report),
    followRedirects: read('follow_redirects', parseBoolean, DEFAULT_IKE_SETTINGS.followRedirects),
    ikeSaLimit: read('ikesa_limit', count, DEFAULT_IKE_SETTINGS.ikeSaLimit),
    halfOpenTimeout: read('half_open_timeout', seconds, DEFAULT_IKE_SETTINGS.halfOpenTimeout),
    initLimitHalfOpen: read('init_limit_half_open', count, DEFAULT_IKE_SETTINGS.initLimitHalfOpen),
    initLimitJobLoad: read('init_limit_job_load', count, DEFAULT_IKE_SETTINGS.initLimitJobLoad),
    installRoutes: read('install_routes', parseBoolean, DEFAULT_IKE_SETTINGS.installRoutes),
    installVirtualAddresses: read('install_virtual_ip', parseBoolean, DEFAULT_IKE_SETTINGS.installVirtualAddresses),
    virtualAddressesOn: read<string | null>(
      'install_virtual_ip_on',
      (text) => text || null,
      DEFAULT_IKE_SETTINGS.virtualAddressesOn,
    ),
    attributes: [...readServers(layers), ...readAttributes(pluginLayers(root, 'attr', report))],
    runsUpdown: isLoaded(updown),
    updownHandlesNameServers: readFirst(updown)('dns_handler', parseBoolean, DEFAULT_IKE_SETTINGS.updownHandlesNameServers),
    routingTable: read('routing_table', (text) => parseInteger(text, 1, MAXIMUM_WORD), DEFAULT_IKE_SETTINGS.routingTable),
    routingTablePriority: read(
      'routing_table_prio',
      (text) => parseInteger(text, 0, MAXIMUM_WORD),
      DEFAULT_IKE_SETTINGS.routingTablePriority,
    ),
    deleteRekeyedDelay: read('delete_rekeyed_delay', seconds, DEFAULT_IKE_SETTINGS.deleteRekeyedDelay),
    makeBeforeBreak: read('make_before_break', parseBoolean, DEFAULT_IKE_SETTINGS.makeBeforeBreak),
    inactivityCloseIke: read('inactivity_close_ike', parseBoolean, DEFAULT_IKE_SETTINGS.inactivityCloseIke),
    // strongSwan: 0 is what every path carries.
    fragmentSizeV4: read('fragment_size_v4', octets, 0) || fragmentSize || 576,
    fragmentSizeV6: read('fragment_size_v6', octets, 0) || fragmentSize || 1280,
    maxPacket: read('max_packet', octets, DEFAULT_IKE_SETTINGS.maxPacket),
    interfacesIgnore: read('interfaces_ignore', names, DEFAULT_IKE_SETTINGS.interfacesIgnore),
    interfacesUse: read('interfaces_use', names, DEFAULT_IKE_SETTINGS.interfacesUse),
    preferTemporaryAddresses: read('prefer_temporary_addrs', parseBoolean, DEFAULT_IKE_SETTINGS.preferTemporaryAddresses),
    processRoute: read('process_route', parseBoolean, DEFAULT_IKE_SETTINGS.processRoute),
    preferBestPath: read('prefer_best_path', parseBoolean, DEFAULT_IKE_SETTINGS.preferBestPath),
    checkCurrentPath: read('check_current_path', parseBoolean, DEFAULT_IKE_SETTINGS.checkCurrentPath),
    replayWindow: read('replay_window', parseReplayWindow, DEFAULT_IKE_SETTINGS.replayWindow),
  }
  const portValues = layers.find((values) => values.has('port_nat_t')) ?? layers.find((values) => values.has('port'))
  if (settings.port === settings.portNatT && settings.port !== 0)
    portValues?.error('port_nat_t', 'has to be another port than port')
  return settings
}

/** charon.plugins.vici: where VICI clients find us; null where they are not to. */
export function readControl(root: ResolvedSection, report: Report): StreamAddress | null {
  const layers = pluginLayers(root, 'vici', report)
  const address = readFirst(layers)('socket', parseStreamAddress, DEFAULT_CONTROL_SOCKET)
  return isLoaded(layers) ? address : null
}
