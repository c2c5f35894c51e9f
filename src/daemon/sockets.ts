/**
 * Our sockets, and in words why they cannot be had.
 */
import { EspalierError, messageOf } from '../base/errors.ts'
import type { LeftSockets } from '../edge/state-file.ts'
import { UdpNetwork, type OnDatagram, type OnNetworkError } from '../edge/udp.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { KernelKind } from './kernel-kind.ts'

/** Bursts of handshakes are short; 1 MiB holds some thousand first messages while one is being answered. */
const RECEIVE_BUFFER_BYTES = 1 << 20

/**
 * Opens the IKE and the NAT-T socket of both families, or takes those that this process has been left. Throws an
 * EspalierError with the remedy.
 */
export function openSockets(
  settings: Pick<IkeSettings, 'port' | 'portNatT'> & Partial<Pick<IkeSettings, 'preferTemporaryAddresses'>>,
  kind: KernelKind,
  onDatagram: OnDatagram,
  onError: OnNetworkError,
  left: LeftSockets | null = null,
): UdpNetwork {
  // Those of another process were closed with it.
  const inherited = left !== null && left.pid === process.pid ? left : null
  try {
    return new UdpNetwork(
      {
        // Of ports that were any, those are kept that the peers know.
        port: settings.port === 0 ? (inherited?.port ?? 0) : settings.port,
        portNatT: settings.portNatT === 0 ? (inherited?.portNatT ?? 0) : settings.portNatT,
        families: [4, 6],
        encapsulation: true,
        // Only a kernel with policies has any to go past.
        bypassPolicy: kind === 'netlink',
        mark: 0,
        prefersTemporary: settings.preferTemporaryAddresses ?? false,
        receiveBufferBytes: RECEIVE_BUFFER_BYTES,
        reusePort: false,
        dscp: 0,
        inherited: inherited?.sockets ?? [],
      },
      onDatagram,
      onError,
    )
  } catch (error) {
    throw new EspalierError(
      'system',
      'SOCKETS_REFUSED',
      `the UDP sockets${settings.port === 0 ? '' : ` on ports ${settings.port} and ${settings.portNatT}`} cannot be opened: ${messageOf(error)}${remedy(error)}`,
      { cause: error },
    )
  }
}

function remedy(error: unknown): string {
  const { code, option } = error as { readonly code?: unknown; readonly option?: unknown }
  if (code === 'EADDRINUSE')
    return '; another IKE daemon is running: stop it (strongSwan: systemctl stop strongswan), or set charon.port and charon.port_nat_t'
  if (code === 'EACCES') return '; run as root, or grant CAP_NET_BIND_SERVICE'
  if (code === 'EPERM') return '; run as root, or grant CAP_NET_ADMIN'
  if (option === 'UDP_ENCAP') return '; this kernel takes no ESP-in-UDP (CONFIG_XFRM is missing)'
  return ''
}
