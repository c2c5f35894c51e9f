/**
 * Our sockets, and in words why they cannot be had.
 */
import { EspalierError, messageOf } from '../base/errors.ts'
import { UdpNetwork, type OnDatagram, type OnNetworkError } from '../edge/udp.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { KernelKind } from './kernel-kind.ts'

/** Bursts of handshakes are short; 1 MiB holds some thousand first messages while one is being answered. */
const RECEIVE_BUFFER_BYTES = 1 << 20

/** Opens the IKE and the NAT-T socket of both families. Throws an EspalierError with the remedy. */
export function openSockets(
  settings: Pick<IkeSettings, 'port' | 'portNatT'> & Partial<Pick<IkeSettings, 'preferTemporaryAddresses'>>,
  kind: KernelKind,
  onDatagram: OnDatagram,
  onError: OnNetworkError,
): UdpNetwork {
  try {
    return new UdpNetwork(
      {
        port: settings.port,
        portNatT: settings.portNatT,
        families: [4, 6],
        encapsulation: true,
        // Only a kernel with policies has any to go past.
        bypassPolicy: kind === 'netlink',
        mark: 0,
        prefersTemporary: settings.preferTemporaryAddresses ?? false,
        receiveBufferBytes: RECEIVE_BUFFER_BYTES,
        reusePort: false,
        dscp: 0,
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
