/** Whether two connections are with the same peer on the same terms. */
import { isDeepStrictEqual } from 'node:util'

import type { Connection } from './connection.ts'

/** The same but for the name, the children and what is about the way (strongSwan: peer_cfg's equals, which has no ike_cfg). */
export function isSamePolicy(a: Connection, b: Connection): boolean {
  return a === b || isDeepStrictEqual(policyOf(a), policyOf(b))
}

function policyOf(connection: Connection): unknown {
  const {
    name: _name,
    children: _children,
    localAddresses: _localAddresses,
    remoteAddresses: _remoteAddresses,
    localPort: _localPort,
    remotePort: _remotePort,
    proposals: _proposals,
    forceEncapsulation: _forceEncapsulation,
    natPolicy: _natPolicy,
    publicAddresses: _publicAddresses,
    fragmentation: _fragmentation,
    childless: _childless,
    dscp: _dscp,
    ...policy
  } = connection
  return policy
}
