/**
 * strongswan.conf and swanctl.conf to the typed configuration the gateway runs on, or to all that is wrong with them.
 */
import type { Pool } from '../address/pool.ts'
import { NOTHING_LOADED, type LoadedCredentials } from '../auth/loaded-credentials.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import { DEFAULT_IKE_SETTINGS, type Connection, type IkeSettings } from '../ike/connection.ts'
import { readAuthority } from './authority.ts'
import { checkSection, namesIn, nearest, sectionRules, type Report } from './check.ts'
import { readConnection } from './connection.ts'
import { CredentialFiles } from './credential-files.ts'
import { readCredentials, readPassphrases } from './credentials.ts'
import { escapePattern, type ConfigurationFiles } from './files.ts'
import { STRONGSWAN, SWANCTL, type SectionRules } from './known-keys.ts'
import { DEFAULT_LOG_SETTINGS, readLogSettings, type LogSettings } from './log.ts'
import { readPool } from './pool.ts'
import { problemAt, inOrder, type Problem } from './problems.ts'
import { resolveReferences, type ResolvedSection } from './references.ts'
import { readSecrets } from './secret.ts'
import { readControl, readSettings } from './settings.ts'
import { DEFAULT_CONTROL_SOCKET, type StreamAddress } from './stream-address.ts'
import { readSyntaxTree } from './syntax.ts'
import { DEFAULT_SYSTEM_SETTINGS, readSystem, type SystemSettings } from './system.ts'

export interface Configuration {
  readonly connections: readonly Connection[]
  readonly secrets: readonly SharedSecret[]
  readonly pools: readonly Pool[]
  /** What is in swanctl's directories, and `authorities`. */
  readonly credentials: LoadedCredentials
  readonly settings: IkeSettings
  readonly log: LogSettings
  /** Where VICI clients find us; null: nowhere. */
  readonly control: StreamAddress | null
  readonly system: SystemSettings
}

/** swanctl.conf's sections as they are written, for who hands them on to a daemon. */
export interface SwanctlSections {
  readonly connections: readonly ResolvedSection[]
  readonly secrets: readonly ResolvedSection[]
  readonly pools: readonly ResolvedSection[]
  readonly authorities: readonly ResolvedSection[]
}

export interface Loaded {
  /** Null if there is any error: a configuration is taken as a whole or not at all. */
  readonly configuration: Configuration | null
  readonly sections: SwanctlSections
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

export interface Sources {
  /** Path of strongswan.conf; without such a file the defaults hold. */
  readonly strongswanConf: string
  /** Directory of swanctl.conf; an existing one without that file has no connections. */
  readonly swanctlDir: string
  readonly files: ConfigurationFiles
}

/** A section at the top whose name is this near to a known one is taken for a slip, not for a template. */
const MAXIMUM_SLIPS = 2

/** Reads both files. Nothing in them makes this throw; what does is a defect of ours. */
export function loadConfiguration(sources: Sources): Loaded {
  const report: Report = { errors: [], warnings: [] }
  const strongswan = readStrongswan(sources, report)
  const swanctl = readTree(`${sources.swanctlDir}/swanctl.conf`, sources.files, report)
  if (swanctl === null && sources.files.glob(escapePattern(sources.swanctlDir)).length === 0) {
    report.errors.push(problemAt({ file: sources.swanctlDir, line: 0 }, null, 'there is no such directory'))
  }
  const read =
    swanctl === null
      ? NOTHING
      : readSwanctl(swanctl, strongswan.settings, new CredentialFiles(sources.swanctlDir, sources.files), report)
  const errors = inOrder(report.errors)
  const configuration = errors.length === 0 ? { ...read, ...strongswan } : null
  return { configuration, sections: sectionsOf(swanctl), errors, warnings: inOrder(report.warnings) }
}

function sectionsOf(tree: Tree | null): SwanctlSections {
  const of = (name: string): ResolvedSection[] => [...(tree?.root.sections.get(name)?.sections.values() ?? [])]
  return { connections: of('connections'), secrets: of('secrets'), pools: of('pools'), authorities: of('authorities') }
}

/** strongswan.conf alone. */
export function loadSettings(sources: Omit<Sources, 'swanctlDir'>): {
  /** Null if there is any error. */
  readonly settings: IkeSettings | null
  readonly log: LogSettings
  /** Where VICI clients find the daemon; null: nowhere. */
  readonly control: StreamAddress | null
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
} {
  const report: Report = { errors: [], warnings: [] }
  const { settings, log, control } = readStrongswan(sources, report)
  const errors = inOrder(report.errors)
  return { settings: errors.length === 0 ? settings : null, log, control, errors, warnings: inOrder(report.warnings) }
}

type FromStrongswan = Pick<Configuration, 'settings' | 'log' | 'control' | 'system'>
type FromSwanctl = Omit<Configuration, keyof FromStrongswan>
const NOTHING: FromSwanctl = { connections: [], secrets: [], pools: [], credentials: NOTHING_LOADED }

function readStrongswan(sources: Omit<Sources, 'swanctlDir'>, report: Report): FromStrongswan {
  const tree = readTree(sources.strongswanConf, sources.files, report)
  if (tree === null)
    return {
      settings: DEFAULT_IKE_SETTINGS,
      log: DEFAULT_LOG_SETTINGS,
      control: DEFAULT_CONTROL_SOCKET,
      system: DEFAULT_SYSTEM_SETTINGS,
    }
  checkSection(withoutTemplates(tree, STRONGSWAN, report), STRONGSWAN, '', report)
  const { root } = tree
  return {
    settings: readSettings(root, report),
    log: readLogSettings(root, report),
    control: readControl(root, report),
    system: readSystem(root, report),
  }
}

function readSwanctl(tree: Tree, settings: IkeSettings, files: CredentialFiles, report: Report): FromSwanctl {
  checkSection(withoutTemplates(tree, SWANCTL, report), SWANCTL, '', report)
  const { connections, pools, authorities } = sectionsOf(tree)
  const secrets = tree.root.sections.get('secrets')
  return {
    connections: connections.flatMap((section) => readConnection(section, settings, files, report)),
    secrets: secrets === undefined ? [] : readSecrets(secrets, report),
    pools: pools.flatMap((section) => readPool(section, report) ?? []),
    credentials: readCredentials(
      files,
      {
        passphrases: secrets === undefined ? [] : readPassphrases(secrets, report),
        authorities: authorities.flatMap((section) => readAuthority(section, files, report) ?? []),
      },
      report,
    ),
  }
}

interface Tree {
  readonly root: ResolvedSection
  readonly referenced: ReadonlySet<string>
}

/** Null if there is no file. A file that does not parse is an empty one with errors: its keys tell nothing any more. */
function readTree(path: string, files: ConfigurationFiles, report: Report): Tree | null {
  const tree = readSyntaxTree(path, files)
  report.errors.push(...tree.errors)
  report.warnings.push(...tree.warnings)
  if (tree.root === null) return null
  if (tree.errors.length === 0) {
    const { root, referenced, errors } = resolveReferences(tree.root)
    report.errors.push(...errors)
    if (errors.length === 0) return { root, referenced }
  }
  return { root: { name: '', file: path, line: 0, settings: new Map(), sections: new Map() }, referenced: new Set() }
}

/**
 * The tree without the sections that only serve as templates: they may have any name, and are checked where they are
 * inherited. One that nobody inherits is a warning, or an error (by checkSection) if it looks like a slip of the keys.
 */
function withoutTemplates(tree: Tree, rules: SectionRules, report: Report): ResolvedSection {
  const sections = new Map(tree.root.sections)
  for (const section of tree.root.sections.values()) {
    if (sectionRules(section.name, rules) !== null) continue
    const referenced = tree.referenced.has(section.name)
    const slips = nearest(section.name, namesIn(rules))?.distance ?? Infinity
    if (!referenced && slips <= MAXIMUM_SLIPS) continue
    sections.delete(section.name)
    if (!referenced)
      report.warnings.push(
        problemAt(section, section.name, 'not used: no section of this name is known, and no other one refers to it'),
      )
  }
  return { ...tree.root, sections }
}
