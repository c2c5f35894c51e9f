/**
 * This machine's addresses and routes, followed by rtnetlink; where there is none, they are taken to stay.
 */
import { messageOf } from '../base/errors.ts'
import { openHostNetwork, type OpenHostNetwork } from '../edge/rtnetlink.ts'

/**
 * Never rejects: `onTrouble` hears, in a sentence, why nothing is followed. Routes of `ownTable` come and go with
 * CHILD_SAs, and change no way to a peer.
 */
export async function openHost(
  ownTable: number,
  onChange: () => void,
  onTrouble: (sentence: string) => void,
): Promise<OpenHostNetwork> {
  try {
    return await openHostNetwork({
      onChange,
      onTrouble,
      isIgnored: () => false,
      prefersTemporary: false,
      ownTable,
    })
  } catch (error) {
    onTrouble(`addresses and routes cannot be followed, IKE_SAs stay where they are: ${messageOf(error)}`)
    return {
      addresses: () => [],
      reaches: () => Promise.resolve(true),
      mtu: () => Promise.resolve(null),
      close: () => Promise.resolve(),
    }
  }
}
