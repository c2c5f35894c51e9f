/**
 * This machine's addresses and routes, followed by rtnetlink; where there is none, they are taken to stay.
 */
import { messageOf } from '../base/errors.ts'
import { openHostNetwork, type OpenHostNetwork } from '../edge/rtnetlink.ts'
import type { IkeSettings } from '../ike/connection.ts'

/**
 * Never rejects: `onTrouble` hears, in a sentence, why nothing is followed. Routes of `charon.routing_table` come and go with
 * CHILD_SAs, and change no way to a peer.
 */
export async function openHost(
  settings: IkeSettings,
  onChange: () => void,
  onTrouble: (sentence: string) => void,
): Promise<OpenHostNetwork> {
  try {
    return await openHostNetwork({
      onChange,
      onTrouble,
      isIgnored: (name) => isIgnored(settings, name),
      prefersTemporary: settings.preferTemporaryAddresses,
      followsRoutes: settings.processRoute,
      ownTable: settings.routingTable,
    })
  } catch (error) {
    onTrouble(`addresses and routes cannot be followed, IKE_SAs stay where they are: ${messageOf(error)}`)
    return {
      addresses: () => [],
      isIgnored: () => false,
      reaches: () => Promise.resolve(true),
      mtu: () => Promise.resolve(null),
      interfaceTo: () => Promise.resolve(null),
      interfaceIndex: () => null,
      close: () => Promise.resolve(),
    }
  }
}

/** strongSwan: those that are to be used leave no others; else those that are to be ignored are. */
function isIgnored({ interfacesUse, interfacesIgnore }: IkeSettings, name: string): boolean {
  return interfacesUse.length > 0 ? !interfacesUse.includes(name) : interfacesIgnore.includes(name)
}
