/**
 * initiate, terminate, rekey, redirect, install, uninstall, reload-settings: what changes SAs, and what is said about it
 * meanwhile. Filters, answers and their words are strongSwan's (its vici_control.c); what we cannot do is refused
 * once it is clear that something was meant by it.
 */
import { parseIdentity, parseIdentityPattern, type Identity, type IdentityPattern } from '../../auth/identity.ts'
import { EspalierError } from '../../base/errors.ts'
import { IpRange } from '../../base/ip.ts'
import { IdType } from '../../iana/ikev2.ts'
import { ControlRefused, type ConfigurationFilter, type Patience, type SaFilter } from '../../gateway/control.ts'
import { formatGateway, parseGateway, type GatewayIdentity } from '../../message/ikev2/redirect.ts'
import { TIMED_OUT } from '../../gateway/timeouts.ts'
import { DEFAULT_LOUDNESS, loudnesses } from '../../report/line.ts'
import { Refusal, succeeded, type CommandContext, type Handlers } from '../command.ts'
import { configurationFilter, saFilter } from '../filters.ts'
import { controlLogEvent } from '../log.ts'
import { booleanOf, integerOf, section, textOf, type ViciSection } from '../message.ts'

/** Lines of progress that a client may leave unread; it gets no more of them then, but the answer all the same. */
const UNREAD_LINES_MAX = 1000

export const controlCommands: Handlers = {
  'initiate': async (request, context) => {
    const { gateway } = context.operations
    const filter = configurationFilter(request)
    if (filter.ike === null && filter.child === null) throw new Refusal('missing configuration name')
    const type = filter.child === null ? 'IKE_SA' : 'CHILD_SA'
    const name = filter.child ?? filter.ike
    tell(context, `vici initiate ${type} '${name}'`)
    const patience = patienceOf(request)
    const concerned = new Set<number>()
    const outcome = await followed(request, context, patience, concerned, async () => {
      try {
        return await gateway.control.initiate(filter, { patience, limits: booleanOf(request, 'init-limits', false) }, (ikeSa) =>
          concerned.add(ikeSa),
        )
      } catch (error) {
        throw initiationRefusal(error, type, name, concerned.size > 0)
      }
    })
    if (outcome === TIMED_OUT) throw new Refusal(`${type} '${name}' not established after ${patience}ms`)
    return succeeded()
  },

  'terminate': async (request, context) => {
    const filter = demandedSas(request, 'terminate')
    tell(context, `vici terminate${formatFilter(filter)}`)
    const patience = patienceOf(request)
    const termination = context.operations.gateway.control.terminate(filter, {
      patience,
      force: booleanOf(request, 'force', false),
    })
    const { matches, ikeSas } = termination
    const terminated = await followed(request, context, patience, ikeSas, () => termination.carryOut())
    return counted(terminationProblem(matches, terminated), ['matches', matches], ['terminated', terminated])
  },

  'rekey': (request, context) => {
    const filter = demandedSas(request, 'rekey')
    tell(context, `vici rekey${formatFilter(filter)}`)
    const matches = context.operations.gateway.control.rekey(filter, booleanOf(request, 'reauth', false))
    return counted(matches === 0 ? 'no matching SAs to rekey found' : null, ['matches', matches])
  },

  'redirect': (request, context) => {
    const target = textOf(request, 'gateway')
    if (target === null) throw new Refusal('missing target gateway')
    const gateway = gatewayOf(target)
    if (gateway === null) throw new Refusal('unsupported gateway identity')
    const { ike, ikeId } = saFilter(request)
    const [ip, id] = [textOf(request, 'peer-ip'), textOf(request, 'peer-id')]
    const selector = { ike, ikeId, peerAddresses: ip === null ? null : rangeOf(ip), peerId: id === null ? null : patternOf(id) }
    if (Object.values(selector).every((value) => value === null)) throw new Refusal('missing redirect selector')
    const by = [
      ip === null ? [] : `src ${ip}`,
      id === null ? [] : `ID '${id}'`,
      ikeId === null ? [] : `#${ikeId}`,
      ike === null ? [] : `'${ike}'`,
    ]
    tell(context, `vici redirect IKE_SAs with ${by.flat().join(', ')} to ${formatGateway(gateway)}`)
    const matches = context.operations.gateway.control.redirect(selector, gateway)
    return counted(matches === 0 ? 'no matching SAs to redirect found' : null, ['matches', matches])
  },

  'install': async (request, context) => {
    const filter = demandedChild(request)
    tell(context, `vici install '${filter.child}'`)
    try {
      await context.operations.gateway.control.install(filter)
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error
      if (error instanceof ControlRefused) throw new Refusal('configuration name not found')
      throw new Refusal(`installing policy '${filter.child}' failed: ${error.message}`)
    }
    return succeeded()
  },

  'uninstall': async (request, context) => {
    const filter = demandedChild(request)
    tell(context, `vici uninstall '${filter.child}'`)
    if (!(await context.operations.gateway.control.uninstall(filter))) throw new Refusal(`policy '${filter.child}' not found`)
    return succeeded()
  },

  'reload-settings': async (_request, { operations: { daemon } }) => {
    await daemon.reloadSettings()
    return succeeded()
  },
}

/** RFC 5685 9.2: an address or a host's name is what a peer can be sent to; null for anything else. */
function gatewayOf(text: string): GatewayIdentity | null {
  const identity = identityOf(text)
  if (identity === null) return null
  const isName = identity.type === IdType.ID_FQDN
  const isAddress = identity.type === IdType.ID_IPV4_ADDR || identity.type === IdType.ID_IPV6_ADDR
  return isName || isAddress ? parseGateway(isName ? new TextDecoder().decode(identity.data) : text) : null
}

/** An address, a subnet or a range. */
function rangeOf(text: string): IpRange {
  try {
    return IpRange.parse(text)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new Refusal('invalid peer IP selector', { cause: error })
  }
}

function patternOf(text: string): IdentityPattern {
  try {
    return parseIdentityPattern(text)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    throw new Refusal('invalid peer identity selector', { cause: error })
  }
}

/** strongSwan: milliseconds; 0 waits for the end, below 0 nobody waits. */
function patienceOf(request: ViciSection): Patience {
  const timeout = integerOf(request, 'timeout') ?? 0
  return timeout === 0 ? 'for-ever' : timeout < 0 ? 'not-at-all' : timeout
}

/**
 * strongSwan says no more than that it failed, since the lines of the IKE_SA say why. Where there is no IKE_SA that
 * could say it, the answer does.
 */
function initiationRefusal(error: unknown, type: string, name: string | null, isTold: boolean): unknown {
  if (!(error instanceof EspalierError)) return error
  const code = error instanceof ControlRefused ? error.code : null
  if (code === 'NO_SUCH_CONFIGURATION') return new Refusal(`${type} config '${name}' not found`)
  if (code === 'INIT_LIMITS') return new Refusal(`establishing ${type} '${name}' not possible at the moment due to limits`)
  return new Refusal(`establishing ${type} '${name}' failed${isTold ? '' : `: ${error.message}`}`)
}

function terminationProblem(matches: number, terminated: number): string | null {
  if (matches === 0) return 'no matching SAs to terminate found'
  if (terminated === matches) return null
  return matches === 1 ? 'terminating SA failed' : 'not all matching SAs could be terminated'
}

/** strongSwan: the counts come before what went wrong. */
function counted(problem: string | null, ...counts: readonly (readonly [string, number])[]): ViciSection {
  const told = counts.map(([key, count]) => [key, String(count)] as const)
  return section(['success', problem === null ? 'yes' : 'no'], ...told, ['errmsg', problem])
}

function demandedSas(request: ViciSection, command: string): SaFilter {
  const filter = saFilter(request)
  if (Object.values(filter).every((value) => value === null)) throw new Refusal(`missing ${command} selector`)
  return filter
}

function demandedChild(request: ViciSection): ConfigurationFilter {
  const filter = configurationFilter(request)
  if (filter.child === null) throw new Refusal('missing configuration name')
  return filter
}

function identityOf(text: string): Identity | null {
  try {
    return parseIdentity(text)
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error
    return null
  }
}

// -- what is said meanwhile ----------------------------------------------------------------------------------------

/** Does the work; who waits for it hears the lines of the IKE_SAs concerned as control-log events. */
async function followed<T>(
  request: ViciSection,
  context: CommandContext,
  patience: Patience,
  concerned: ReadonlySet<number>,
  work: () => Promise<T>,
): Promise<T> {
  if (patience === 'not-at-all') return work()
  const loudest = integerOf(request, 'loglevel') ?? DEFAULT_LOUDNESS
  let unread = 0
  const stop = context.operations.log.listen(loudnesses(loudest), (line) => {
    if (line.ike === null || !concerned.has(line.ike.uniqueId) || unread >= UNREAD_LINES_MAX) return
    unread++
    context.stream('control-log', controlLogEvent(line)).then(
      () => unread--,
      // A client that has left leaves the work going on.
      () => stop(),
    )
  })
  try {
    return await work()
  } finally {
    stop()
  }
}

/** What was asked of us, for the log. */
function tell({ operations: { log } }: CommandContext, message: string): void {
  log.write({ group: 'cfg', loudness: 1, level: 'info', message, ike: null, fields: { event: 'vici-command' } })
}

function formatFilter({ ike, ikeId, child, childId }: SaFilter): string {
  const one = (name: string | null, id: number | null): string =>
    [name === null ? [] : [`'${name}'`], id === null ? [] : [`#${id}`]].flat().join(' ')
  const [children, ikes] = [one(child, childId), one(ike, ikeId)]
  return `${children === '' ? '' : ` CHILD_SA ${children}`}${children !== '' && ikes !== '' ? ' of' : ''}${ikes === '' ? '' : ` IKE_SA ${ikes}`}`
}
