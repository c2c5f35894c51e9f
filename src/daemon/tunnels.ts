/**
 * Routes and virtual addresses of tunnels, where the kernel protects packets, and as the settings want them.
 */
import { messageOf } from '../base/errors.ts'
import { openTunnelNetwork, type OpenTunnelNetwork } from '../edge/tunnel-network.ts'
import type { IkeSettings } from '../ike/connection.ts'
import type { KernelKind } from './kernel-kind.ts'

/** Never rejects: `onTrouble` hears, in a sentence, why there will be none. */
export async function openTunnels(
  kind: KernelKind,
  settings: IkeSettings,
  onTrouble: (sentence: string) => void,
): Promise<OpenTunnelNetwork | null> {
  const isWanted = settings.installRoutes || settings.installVirtualAddresses
  if (kind === 'memory' || !isWanted) return null
  const { routingTable: table, routingTablePriority: priority } = settings
  try {
    return await openTunnelNetwork({ table, priority, onTrouble })
  } catch (error) {
    onTrouble(`tunnels get no routes and no virtual addresses: ${messageOf(error)}`)
    return null
  }
}
