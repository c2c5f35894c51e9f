/**
 * One connection, pool or authority by itself, as VICI's clients give them: checked against the same tables and read by the same
 * readers as those of swanctl.conf.
 */
import type { Pool } from '../address/pool.ts'
import type { Connection, IkeSettings } from '../ike/connection.ts'
import type { Authority } from '../pki/authority.ts'
import { readAuthority } from './authority.ts'
import { checkSection, type Report } from './check.ts'
import { readConnection } from './connection.ts'
import type { CredentialFiles } from './credential-files.ts'
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
export function givenConnection(section: ResolvedSection, settings: IkeSettings, files: CredentialFiles): Given<Connection> {
  return given(section, 'connections', (report) => readConnection(section, settings, files, report))
}

export function givenPool(section: ResolvedSection): Given<Pool> {
  return given(section, 'pools', (report) => readPool(section, report))
}

export function givenAuthority(section: ResolvedSection, files: CredentialFiles): Given<Authority> {
  return given(section, 'authorities', (report) => readAuthority(section, files, report))
}

function given<Value>(section: ResolvedSection, parent: Parent, read: (report: Report) => Value | null): Given<Value> {
  const report: Report = { errors: [], warnings: [] }
  checkSection(section, RULES[parent], `${parent}.${section.name}`, report)
  const value = read(report)
  const errors = inOrder(report.errors)
  return { value: errors.length === 0 ? value : null, errors, warnings: inOrder(report.warnings) }
}

type Parent = 'connections' | 'pools' | 'authorities'
const RULES: Readonly<Record<Parent, SectionRules>> = {
  connections: SWANCTL.sections['connections']!.otherSections!,
  pools: SWANCTL.sections['pools']!.otherSections!,
  authorities: SWANCTL.sections['authorities']!.otherSections!,
}
