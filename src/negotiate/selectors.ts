/**
 * Traffic selectors (RFC 7296 2.9, 3.13): what a CHILD_SA carries, as configured and as narrowed.
 */
import type { IpRange } from '../base/ip.ts'

/** One selector: an address range, an IP protocol (0 = any) and an inclusive port range (0..65535 = any; first > last = OPAQUE, RFC 7296 3.13.1). */
export interface TrafficSelector {
  readonly range: IpRange
  readonly protocol: number
  readonly firstPort: number
  readonly lastPort: number
}

/** As configured: `range` null is `dynamic`, to be replaced by the host's own address (or virtual IP) when the SA is negotiated. */
export interface SelectorTemplate {
  readonly range: IpRange | null
  readonly protocol: number
  readonly firstPort: number
  readonly lastPort: number
}
