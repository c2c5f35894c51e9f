/**
 * One connection or pool by itself, as VICI's clients give them: checked against the same tables and read by the same
 * readers as those of swanctl.conf.
 */
import type { Pool } from '../address/pool.ts'
import type { Connection, IkeSettings } from '../ike/connection.ts'
import { checkSection, type Report } from './check.ts'
import { readConnection } from './connection.ts'
import { SWANCTL, type SectionRules } from './known-keys.ts'
import { readPool } from './pool.ts'
import { inOrder, type Problem } from './problems.ts'
import type { ResolvedSection } from './references.ts'

export interface Given<Value> {
  /** Null if there is any error. */
  readonly value: Value | null
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/** `section` is named as the connection. */
export function givenConnection(section: ResolvedSection, settings: IkeSettings): Given<Connection> {
  return given(section, 'connections', (report) => readConnection(section, settings, report))
}

export function givenPool(section: ResolvedSection): Given<Pool> {
  return given(section, 'pools', (report) => readPool(section, report))
}

function given<Value>(
  section: ResolvedSection,
  parent: 'connections' | 'pools',
  read: (report: Report) => Value | null,
): Given<Value> {
  const report: Report = { errors: [], warnings: [] }
  checkSection(section, RULES[parent], `${parent}.${section.name}`, report)
  const value = read(report)
  const errors = inOrder(report.errors)
  return { value: errors.length === 0 ? value : null, errors, warnings: inOrder(report.warnings) }
}

const RULES: Readonly<Record<'connections' | 'pools', SectionRules>> = {
  connections: SWANCTL.sections['connections']!.otherSections!,
  pools: SWANCTL.sections['pools']!.otherSections!,
}
