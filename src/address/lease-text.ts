/**
 * Who has which virtual address, as text that outlives the daemon (edge/lease-file.ts): a line for each lease, in the
 * order in which Leases tells them.
 *
 *   espalier leases 1
 *   ["clients","10.3.0.1","2 alice@example.org","alice@example.org"]
 *   end 1
 *
 * The first line has the version of the format, the last one how many leases there are: a text that was cut off has none.
 */
import { EspalierError } from '../base/errors.ts'
import { IpAddress } from '../base/ip.ts'
import type { KeptLease } from '../ports.ts'

const FORMAT = 'espalier leases'
const VERSION = '1'

/** Our limit: leases that outlive us; those of who has been away longest are the first not to. */
export const KEPT_LEASES_MAX = 100_000

/** Our limit: the characters of a lease's line (names of identities have at most 512, escaped in JSON). */
const LEASE_LINE_MAX = 8192

export function formatLeases(leases: readonly KeptLease[]): string {
  const lines = leases
    .slice(-KEPT_LEASES_MAX)
    .map(({ pool, address, holder }) => JSON.stringify([pool, address.toString(), holder.key, holder.name]))
    .filter((line) => line.length <= LEASE_LINE_MAX)
  return `${FORMAT} ${VERSION}\n${lines.map((line) => `${line}\n`).join('')}end ${lines.length}\n`
}

/** Throws an EspalierError that says what is wrong, if anything is: a text is taken as a whole or not at all. */
export function parseLeases(text: string): readonly KeptLease[] {
  const [head, ...rest] = text.split('\n')
  if (head !== `${FORMAT} ${VERSION}`)
    throw invalid(head?.startsWith(`${FORMAT} `) === true ? 'it is of another version' : 'it is no list of leases')
  const [end, ...lines] = rest.slice(0, -1).toReversed()
  if (rest.at(-1) !== '' || end !== `end ${lines.length}`) throw invalid('its end is missing')
  if (lines.length > KEPT_LEASES_MAX) throw invalid(`it has more than ${KEPT_LEASES_MAX} leases`)
  return lines.toReversed().map(parseLease)
}

function parseLease(line: string, at: number): KeptLease {
  const [pool, address, key, name, ...more] = fieldsOf(line)
  const parsed = address === undefined ? null : IpAddress.tryParse(address)
  if (pool === undefined || parsed === null || key === undefined || name === undefined || more.length > 0)
    throw invalid(`line ${at + 2} is no lease`)
  return { pool, address: parsed, holder: { key, name } }
}

/** None where it is anything but a list of texts. */
function fieldsOf(line: string): readonly string[] {
  if (line.length > LEASE_LINE_MAX) return []
  try {
    const value: unknown = JSON.parse(line)
    return Array.isArray(value) && value.every((field) => typeof field === 'string') ? value : []
  } catch {
    return []
  }
}

function invalid(why: string): EspalierError {
  return new EspalierError('system', 'LEASES_INVALID', why)
}
