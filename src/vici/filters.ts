/**
 * The filters that commands have in common: ike, ike-id, child, child-id. 0 is no number of an SA: strongSwan takes it
 * for none at all.
 */
import type { ConfigurationFilter, SaFilter } from '../gateway/control.ts'
import { integerOf, textOf, type ViciSection } from './message.ts'

export function configurationFilter(request: ViciSection): ConfigurationFilter {
  return { ike: textOf(request, 'ike'), child: textOf(request, 'child') }
}

export function saFilter(request: ViciSection): SaFilter {
  return {
    ...configurationFilter(request),
    ikeId: numberOf(request, 'ike-id'),
    childId: numberOf(request, 'child-id'),
  }
}

function numberOf(request: ViciSection, key: string): number | null {
  const number = integerOf(request, key) ?? 0
  return number === 0 ? null : number
}
