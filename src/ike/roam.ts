/**
 * Our own addresses, links or routes have changed: what that means for an IKE_SA (strongSwan: ike_sa.c, roam). A path
 * that still works is kept. One that does not is replaced, with MOBIKE, by the first on which the peer answers; without,
 * the IKE_SA is made anew. With no way at all it is stale: it waits.
 */
import { Endpoint, type IpAddress } from '../base/ip.ts'
import type { Way } from '../nat/path.ts'
import { IKE_PORT, NAT_T_PORT } from '../nat/ports.ts'
import { tellInElder } from './elder.ts'
import type { RoamFinding } from './events.ts'
import { startKeepalives } from './keepalive.ts'
import { probe } from './liveness.ts'
import { moveEndpoints } from './moves.ts'
import { watchesMapping } from './nat-mapping.ts'
import { reauthenticate } from './reauthenticate.ts'
import type { IkeSa } from './sa.ts'
import type { Session } from './session.ts'

/** For a piece of work (turns.ts). `addressesChanged`: not only routes and links. */
export async function roam(session: Session, addressesChanged: boolean): Promise<void> {
  const { sa, exchanges } = session
  if (sa.state === 'connecting' || sa.state === 'closed') return
  // strongSwan: who configures the address wants that one.
  if (sa.mobike === null && hasConfiguredAddress(sa)) return
  // While several ways are tried, the answer tells; there may be others now.
  const isProbing = exchanges.ways !== null && exchanges.ways.length > 0
  if (!isProbing && (await isPathValid(session))) return keepPath(session, addressesChanged)
  tell(session, 'path-lost')
  if (sa.mobike === null) return renew(session)
  const ways = await waysToPeer(session)
  becomeStale(session, ways.length === 0)
  exchanges.tryWays(ways)
  if (ways.length === 0) return tell(session, 'no-route')
  if (session.successor?.elder === session) tellInElder(session.successor)
  if (sa.state !== 'established') return
  const isResponder = sa.originalRole === 'responder'
  tell(session, isResponder ? 'list-wanted' : 'update-wanted')
  session.wantMobike({ check: true, addresses: addressesChanged || isResponder })
}

/** The peer has answered along one of the ways that were tried: that is where the IKE_SA is now, and the peer hears of it. */
export async function settle(session: Session, way: Way): Promise<void> {
  const { sa } = session
  becomeStale(session, false)
  if (way.local.equals(sa.local) && way.remote.equals(sa.remote)) return
  await moveEndpoints(session, way, 'roam')
  if (sa.state !== 'established') return
  session.wantMobike(sa.originalRole === 'initiator' ? { update: true } : { addresses: true })
}

/** From our best address for each of the peer's: ports as they are where the address stays, those of NAT traversal elsewhere. */
export async function waysToPeer(session: Session): Promise<readonly Way[]> {
  const { sa, env } = session
  const own = env.host.addresses()
  const ways: Way[] = []
  for (const address of peerAddresses(sa)) {
    // What the peer has as well is not the way to it.
    if (own.some((ours) => ours.address.equals(address))) continue
    const source = await sourceTo(session, address)
    if (source === null) continue
    const local = source.equals(sa.local.address) ? sa.local : new Endpoint(source, env.ports.portNatT)
    ways.push({ local, remote: address.equals(sa.remote.address) ? sa.remote : new Endpoint(address, newPort(sa)) })
  }
  return ways
}

function newPort({ connection }: IkeSa): number {
  const port = connection?.remotePort ?? IKE_PORT
  return port === IKE_PORT ? NAT_T_PORT : port
}

function peerAddresses({ remote, mobike }: IkeSa): readonly IpAddress[] {
  const others = mobike?.peerAddresses ?? []
  return [remote.address, ...others.filter((address) => !address.equals(remote.address))]
}

/**
 * Our address on the way to one of the peer's, null where there is none. The kernel may choose one that a peer gave us,
 * because of a route into a tunnel: then it is the first of our own that has a way.
 */
async function sourceTo({ env: { network, host } }: Session, remote: IpAddress): Promise<IpAddress | null> {
  const own = host.addresses().map(({ address }) => address)
  const best = await network.sourceFor(remote)
  if (best !== null && own.some((address) => address.equals(best))) return (await host.reaches(best, remote)) ? best : null
  for (const address of own) if (address.family === remote.family && (await host.reaches(address, remote))) return address
  return null
}

async function isPathValid(session: Session): Promise<boolean> {
  const {
    sa: { local, remote },
    env,
  } = session
  if (!(await env.host.reaches(local.address, remote.address))) return false
  if (!env.settings().preferBestPath) return true
  return (await sourceTo(session, remote.address))?.equals(local.address) ?? false
}

function keepPath(session: Session, addressesChanged: boolean): void {
  const { sa, env, exchanges } = session
  const wasStale = sa.isStale
  tell(session, 'path-kept')
  becomeStale(session, false)
  exchanges.tryWays(null)
  if (sa.state !== 'established') return
  if (sa.mobike !== null && addressesChanged) {
    tell(session, 'addresses-told')
    session.wantMobike({ addresses: true })
  }
  // The mapping of a NAT may be gone since.
  if (wasStale && watchesMapping(session)) session.wantMobike({ update: true })
  if (!env.settings().checkCurrentPath || session.tasks.running !== null) return
  tell(session, 'path-checked')
  void session.runExchange(probe, 'probe')
}

/** Without MOBIKE another IKE_SA takes its place, from where we are now. */
async function renew(session: Session): Promise<void> {
  const { sa } = session
  const source = await sourceTo(session, sa.remote.address)
  if (source === null) tell(session, 'no-route')
  // strongSwan: it is the initiator's to begin again.
  const isStale = source === null || sa.originalRole === 'responder'
  becomeStale(session, isStale)
  if (isStale || sa.state !== 'established') return
  sa.local = new Endpoint(source, sa.local.port)
  tell(session, 'reauthentication-wanted')
  reauthenticate(session)
}

function becomeStale(session: Session, isStale: boolean): void {
  const { sa } = session
  if (sa.isStale === isStale) return
  sa.isStale = isStale
  startKeepalives(session)
}

function hasConfiguredAddress({ connection, local }: IkeSa): boolean {
  const patterns = connection?.localAddresses ?? []
  return patterns.some(
    (pattern) =>
      pattern.kind === 'range' && pattern.range.first.equals(local.address) && pattern.range.last.equals(local.address),
  )
}

function tell({ sa, env }: Session, finding: RoamFinding): void {
  env.report({ event: 'roamed', sa, finding })
}
