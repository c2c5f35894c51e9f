/**
 * `espalier load`: has the daemon take over what swanctl.conf says now, as `swanctl --load-all` does.
 */
import type { Command } from 'commander'

import { formatIdentity, identityOfSubject } from '../../auth/identity.ts'
import type { LoadedCredentials } from '../../auth/loaded-credentials.ts'
import type { SharedSecret } from '../../auth/secrets.ts'
import { toHex } from '../../base/bytes.ts'
import type { CredentialFiles } from '../../config/credential-files.ts'
import type { Configuration, SwanctlSections } from '../../config/load.ts'
import { formatProblem } from '../../config/problems.ts'
import type { ResolvedSection } from '../../config/references.ts'
import { configurationPaths, credentialFiles, readForClient } from '../../daemon/configuration.ts'
import type { PrivateKey } from '../../crypto/private-key.ts'
import { describeAttributeCertificate } from '../../pki/attribute-certificate.ts'
import { subjectOf } from '../../pki/certificate.ts'
import { UnknownToDaemon } from '../../vici/client.ts'
import { listOf, section, textOf, UnwritableVici, type ViciSection } from '../../vici/message.ts'
import { sectionsOf, wordOf, wordsOf } from '../answers.ts'
import { RequestFailed } from '../failures.ts'
import { harmless } from '../output.ts'
import { withClient, type Client, type Shell } from '../shell.ts'
import {
  authorityMessage,
  certificateMessage,
  connectionMessage,
  keyMessage,
  poolMessage,
  sharedMessage,
} from '../swanctl-messages.ts'
import { count } from '../words.ts'
import { examples } from './examples.ts'

interface LoadOptions {
  readonly creds?: true
  readonly conns?: true
  readonly pools?: true
  readonly authorities?: true
  readonly clear?: true
}

export function addLoadCommand(program: Command, shell: Shell): void {
  program
    .command('load')
    .summary('have the daemon take over what swanctl.conf says now')
    .description(
      [
        'Reads swanctl.conf and loads what is in it; what is no longer in it is unloaded. SAs that are up stay up.',
        'With an error in the files nothing is loaded. Without options everything is.',
        '',
        'The files: $SWANCTL_DIR/swanctl.conf (default /etc/swanctl), and for the defaults $STRONGSWAN_CONF.',
      ].join('\n'),
    )
    .option('--conns', 'connections')
    .option('--creds', 'certificates, private keys and secrets')
    .option('--pools', 'pools of virtual addresses')
    .option('--authorities', 'certification authorities')
    .option('--clear', 'unload all certificates, keys and secrets first, also those that swanctl or another client has loaded')
    .addHelpText(
      'after',
      examples('load', 'load --conns', 'load --creds --clear', 'SWANCTL_DIR=/root/try espalier load').replace(
        'espalier SWANCTL_DIR',
        'SWANCTL_DIR',
      ),
    )
    .action((options: LoadOptions) => load(shell, options))
}

async function load(shell: Shell, options: LoadOptions): Promise<void> {
  const { output } = shell
  const paths = configurationPaths(shell.environment)
  const { configuration, sections, errors, warnings } = readForClient(paths)
  const told = warnings.map(formatProblem)
  for (const line of told) output.complain(harmless(`warning: ${line}`))
  for (const problem of errors) output.complain(harmless(`error: ${formatProblem(problem)}`))
  if (configuration === null) throw new RequestFailed(`nothing was loaded: ${count(errors.length, 'error')} in the configuration`)
  const { creds, conns, pools, authorities } = options
  const files = credentialFiles(paths)
  const isAll = creds !== true && conns !== true && pools !== true && authorities !== true
  await withClient(shell, async (client) => {
    const loading = new Loading(shell, client, told)
    // strongSwan's order: what connections refer to comes before them.
    if (options.clear === true) await loading.clear()
    if (isAll || creds === true) {
      await loading.run(certificatesOf(configuration.credentials))
      await loading.run(keysOf(configuration.credentials.privateKeys))
      await loading.run(secretsOf(configuration, sections))
    }
    if (isAll || authorities === true) await loading.run(authoritiesOf(sections.authorities, files))
    if (isAll || pools === true) await loading.run(poolsOf(sections.pools))
    if (isAll || conns === true) await loading.run(connectionsOf(sections.connections, files))
    loading.end()
  })
}

/** One kind of things: what there is to load, and how one asks for it. */
interface Stock {
  readonly noun: string
  readonly plural: string
  readonly items: readonly Item[]
  readonly command: string
  /** Null where there is no way to unload one. */
  readonly unload: { readonly command: string; readonly key: 'name' | 'id' } | null
  readonly present: (client: Client) => Promise<readonly string[]>
}

interface Item {
  readonly name: string
  readonly noun?: string
  readonly message: ViciSection
  /** When it is sent. */
  readonly after?: () => void
}

function secretsOf({ secrets }: Configuration, { secrets: written }: SwanctlSections): Stock {
  const item = (secret: SharedSecret): Stock['items'][number] => ({
    name: secret.name,
    noun: `${secret.kind} secret`,
    message: sharedMessage(
      secret,
      written.find(({ name }) => name === secret.name)!,
    ),
  })
  return {
    noun: 'secret',
    plural: 'secrets',
    items: secrets.map(item),
    command: 'load-shared',
    unload: { command: 'unload-shared', key: 'id' },
    present: async (client) => listOf(await client.call('get-shared'), 'keys') ?? [],
  }
}

/** Certificates, public keys, attribute certificates and CRLs. */
function certificatesOf({ certificates, attributeCertificates, publicKeys, crls }: LoadedCredentials): Stock {
  return {
    noun: 'certificate',
    plural: 'certificates',
    items: [
      ...certificates.map((entry) => ({ name: subjectOf(entry.certificate), message: certificateMessage(entry) })),
      ...publicKeys.map((key) => ({
        name: toHex(key.fingerprint),
        noun: 'public key',
        message: section(['type', 'PUBKEY'], ['data', key.spki]),
      })),
      ...attributeCertificates.map((certificate) => ({
        name: describeAttributeCertificate(certificate),
        message: section(['type', 'X509_AC'], ['data', certificate.der]),
      })),
      ...crls.map((crl) => ({
        name: formatIdentity(identityOfSubject(crl.issuer)),
        noun: 'CRL of',
        message: section(['type', 'X509_CRL'], ['data', crl.der]),
      })),
    ],
    command: 'load-cert',
    unload: null,
    present: () => Promise.resolve([]),
  }
}

function keysOf(keys: readonly PrivateKey[]): Stock {
  return {
    noun: 'private key',
    plural: 'private keys',
    items: keys.map((key) => {
      const data = key.dangerouslyExport()
      return { name: toHex(key.publicKey.fingerprint), message: keyMessage(data), after: () => void data.fill(0) }
    }),
    command: 'load-key',
    unload: { command: 'unload-key', key: 'id' },
    present: async (client) => listOf(await client.call('get-keys'), 'keys') ?? [],
  }
}

function authoritiesOf(written: readonly ResolvedSection[], files: CredentialFiles): Stock {
  return {
    noun: 'authority',
    plural: 'authorities',
    items: written.map((authority) => ({ name: authority.name, message: authorityMessage(authority, files) })),
    command: 'load-authority',
    unload: { command: 'unload-authority', key: 'name' },
    present: async (client) => listOf(await client.call('get-authorities'), 'authorities') ?? [],
  }
}

function poolsOf(written: readonly ResolvedSection[]): Stock {
  return {
    noun: 'pool',
    plural: 'pools',
    items: written.map((pool) => ({ name: pool.name, message: poolMessage(pool) })),
    command: 'load-pool',
    unload: { command: 'unload-pool', key: 'name' },
    present: async (client) => sectionsOf(await client.call('get-pools')).map(([name]) => name),
  }
}

function connectionsOf(written: readonly ResolvedSection[], files: CredentialFiles): Stock {
  return {
    noun: 'connection',
    plural: 'connections',
    items: written.map((connection) => ({ name: connection.name, message: connectionMessage(connection, files) })),
    command: 'load-conn',
    unload: { command: 'unload-conn', key: 'name' },
    present: async (client) => listOf(await client.call('get-conns'), 'conns') ?? [],
  }
}

class Loading {
  readonly #shell: Shell
  readonly #client: Client
  /** Warnings that were given with their line; the daemon says the same of a section that has none. */
  readonly #told: readonly string[]
  readonly #loaded: string[] = []
  #unloaded = 0
  #failed = 0

  constructor(shell: Shell, client: Client, told: readonly string[]) {
    this.#shell = shell
    this.#client = client
    this.#told = told
  }

  async clear(): Promise<void> {
    await this.#try('credentials not cleared', 'clear-creds', section(), 'cleared all certificates, keys and secrets')
  }

  async run({ noun, plural, items, command, unload, present }: Stock): Promise<void> {
    const before = await present(this.#client)
    let loaded = 0
    for (const item of items) {
      const what = `${item.noun ?? noun} '${harmless(item.name)}'`
      if (await this.#try(`${what} not loaded`, command, item.message, `loaded ${what}`)) loaded++
      item.after?.()
    }
    if (unload === null) return this.#count(items, loaded, noun, plural)
    const isKept = new Set(items.map(({ name }) => name))
    for (const name of before.filter((name) => !isKept.has(name))) {
      const what = `${noun} '${harmless(name)}'`
      const request = section([unload.key, name])
      if (await this.#try(`${what} not unloaded`, unload.command, request, `unloaded ${what}`)) this.#unloaded++
    }
    this.#count(items, loaded, noun, plural)
  }

  #count(items: readonly Item[], loaded: number, noun: string, plural: string): void {
    if (items.length > 0) this.#loaded.push(count(loaded, noun, plural))
  }

  /** Whether the daemon did it. */
  async #try(failure: string, command: string, request: ViciSection, done: string): Promise<boolean> {
    const { output } = this.#shell
    const response = await this.#client.call(command, request).catch((error: unknown) => {
      if (!(error instanceof UnknownToDaemon || error instanceof UnwritableVici)) throw error
      return section(['success', 'no'], ['errmsg', error.message])
    })
    for (const warning of wordsOf(response, 'warnings'))
      if (!this.#told.some((line) => isSameWarning(line, warning))) output.complain(`warning: ${warning}`)
    if (textOf(response, 'success') === 'yes') {
      output.print(done)
      return true
    }
    this.#failed++
    output.complain(`error: ${failure}: ${wordOf(response, 'errmsg') ?? 'the daemon gives no reason'}`)
    return false
  }

  /** Throws a RequestFailed if anything failed. */
  end(): void {
    const loaded = this.#loaded.length === 0 ? 'nothing to load' : `${this.#loaded.join(', ')} loaded`
    const summary = `${loaded}, ${this.#unloaded} unloaded`
    if (this.#failed > 0) throw new RequestFailed(`${summary}, ${this.#failed} failed`)
    this.#shell.output.print(summary)
  }
}

/** `file:line: a.b.key: sentence` of ours, `a.b.key: sentence` of the daemon's; the file says it once for all who inherit it. */
function isSameWarning(line: string, warning: string): boolean {
  const [, key, sentence] = /^(\S+): (.*)$/.exec(warning) ?? []
  if (key === undefined || sentence === undefined) return false
  const last = key.slice(key.lastIndexOf('.') + 1)
  return line.endsWith(`${last}: ${sentence}`)
}
