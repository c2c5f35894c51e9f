/**
 * The demo: two clients behind one NAT, one of them Debian's charon, the other espalier, tunnel to an espalier gateway.
 * Both clients are driven with Debian's swanctl. scripts/demo runs it in the lab. Nothing is claimed that was not read
 * from a log, the router's translations, a capture or the kernel, or said by swanctl; what was announced and not seen
 * makes it fail.
 */
import { Charon } from '../support/charon.ts'
import { Espalier, type LogLine } from '../support/espalier.ts'
import type { LabOwner, Mapping } from '../support/network.ts'
import { eventually } from '../support/process.ts'
import { xfrmStates, type XfrmState } from '../support/xfrm.ts'
import {
  build,
  type Client,
  clientConfiguration,
  DRAWING,
  GATEWAY,
  GATEWAY_CONFIGURATION,
  identityOf,
  OUTSIDE,
  type Place,
  SERVER,
} from './place.ts'
import { listing, paint, print, quote, say, show, Sights, step, table, title } from './screen.ts'
import { ESP_IN_UDP, KEEPALIVE, type Packet, Wire } from './wire.ts'

const PINGS = 10
/** Handshakes take a second or two; an emulated machine with busy neighbours takes its time. */
const HANDSHAKE_MS = 30_000
const LAST_LINES = 15

const SIGHTS = {
  swanctl: 'the same swanctl loads both clients and brings both tunnels up',
  natOfCharon: 'charon finds itself behind a NAT',
  natOfEspalier: 'espalier finds itself behind a NAT where it is the client',
  natOfGateway: 'the gateway finds both clients behind a NAT, itself not',
  float: 'both clients begin on port 500 and float to 4500',
  mapping: 'each has its own port outside; the gateway answers there',
  pings: 'both ping the office at once; every echo is answered',
  esp: 'all they say travels as ESP in UDP, nothing in the clear',
  keepalive: 'both clients send keepalives, the gateway none',
  kernel: "the gateway's kernel has both tunnels, with these ports",
  listed: 'the same swanctl shows both clients their tunnel, with all packets',
  end: 'after a goodbye no kernel holds anything any more',
}
const sights = new Sights(Object.values(SIGHTS))

/** The lab asks its owner how things went before it takes itself down. */
class Owner implements LabOwner {
  passed = true
  #actions: (() => Promise<void>)[] = []

  after(action: () => Promise<void>): void {
    this.#actions.push(action)
  }

  diagnostic(text: string): void {
    const [heading, ...lines] = text.trimEnd().split('\n')
    print()
    listing(`the last lines of ${heading}`, lines.slice(-LAST_LINES).map(readable))
  }

  async end(): Promise<void> {
    for (const action of this.#actions.splice(0)) await action()
  }
}

interface Cast {
  readonly gateway: Espalier
  readonly charon: Charon
  readonly espalier: Espalier
  readonly wire: Wire
}

/** What the router made of a client's flows to ports 500 and 4500 of the gateway. */
interface Mapped {
  readonly client: Client
  readonly ike: Mapping
  readonly natT: Mapping
}

async function main(): Promise<boolean> {
  const owner = new Owner()
  try {
    await story(owner)
    owner.passed = sights.allSeen
  } catch (error) {
    owner.passed = false
    const [reason, ...details] = (error instanceof Error ? error.message : String(error)).trimEnd().split('\n')
    print()
    say(`${paint('red', 'It did not go on from here:')} ${reason}`)
    for (const line of details.slice(-LAST_LINES)) print(`     ${readable(line)}`)
  }
  await owner.end()
  title('Summary')
  return sights.summary()
}

async function story(owner: LabOwner): Promise<void> {
  title('espalier: two clients behind one NAT, a gateway in front of it')

  step('The network')
  show(DRAWING)
  say(
    'Every name is a network namespace. The router is nothing but nftables: it masquerades, with ports of its own ' +
      'choice, and lets nothing in that nobody inside asked for.',
  )
  const place = await build(owner)

  step('The daemons')
  say(
    "The gateway runs espalier. client-a runs charon, strongSwan's daemon as Debian ships it, client-b runs espalier. The " +
      'gateway has read its swanctl.conf; the clients have none yet. keep_alive = 3s instead of the usual 20s, or we would wait ' +
      'longer for the keepalives.',
  )
  const cast = await start(place)

  step('swanctl at both clients')
  await bringUp(place, cast)

  step('Who is behind a NAT?')
  await natDetection(place, cast)

  step('The ports')
  const mapped = await ports(place, cast)

  step('Both ping the office at the same time')
  const echoes = await ping(place, cast.wire)

  step('Then they are silent, but for keepalives')
  await keepalives(mapped, cast.wire)

  step("The gateway's kernel")
  const states = await kernel(place, mapped)

  step('The tunnels, as the gateway sees them')
  tunnels(cast.gateway, mapped, echoes, states)

  step('The tunnels, as the clients see them')
  await listSas(place, cast)

  step('The end')
  await end(place, cast)
}

async function start({ router, gateway, a, b }: Place): Promise<Cast> {
  const settings = 'keep_alive = 3s'
  const [wire, server] = await Promise.all([
    Wire.tap(router),
    Espalier.start(gateway, { configuration: GATEWAY_CONFIGURATION, settings }),
  ])
  quote('gateway', server.events('started').map(told))
  const [charon, espalier] = await Promise.all([
    Charon.start(a.host, { configuration: '', settings }),
    Espalier.start(b.host, { configuration: '', settings }),
  ])
  quote('client-b', espalier.events('started').map(told))
  return { gateway: server, charon, espalier, wire }
}

/** Who is asked by swanctl, whichever daemon it is. */
type Asked = readonly [Client, Charon | Espalier]

const clientsOf = ({ a, b }: Place, { charon, espalier }: Cast): readonly Asked[] => [
  [a, charon],
  [b, espalier],
]

/** Of what is said while a tunnel is brought up: the main things. Only charon sends vendor IDs. */
const PROGRESS = /^\[IKE\] (?!.* vendor ID)|completed/

async function bringUp(place: Place, cast: Cast): Promise<void> {
  say(
    "swanctl is strongSwan's command, as Debian ships it. At either daemon's control socket it loads a swanctl.conf, the same " +
      "but for the client's name, and brings the tunnel up. Of the progress it shows only the lines of the group IKE are here.",
  )
  const said = await Promise.all(
    clientsOf(place, cast).map(async ([client, daemon]) => {
      await daemon.configure(clientConfiguration(client))
      const loaded = await daemon.swanctl('--load-all', '--noprompt')
      const initiated = await daemon.swanctl('--initiate', '--child', 'office', '--timeout', String(HANDSHAKE_MS / 1000))
      return { client, loaded: linesOf(loaded), initiated: linesOf(initiated) }
    }),
  )
  for (const { client, loaded, initiated } of said) {
    quote(client.name, [
      ...[paint('bold', '$ swanctl --load-all'), ...loaded],
      ...[paint('bold', '$ swanctl --initiate --child office'), ...initiated.filter((line) => PROGRESS.test(line))],
    ])
  }
  await eventually('both tunnels', () => bothStand(cast.gateway, cast.espalier), HANDSHAKE_MS)
  quote('gateway', [...cast.gateway.events('ike-established'), ...cast.gateway.events('child-established')].map(told))
  const isDone = said.every(
    ({ loaded, initiated }) =>
      loaded.includes("loaded connection 'gateway'") && initiated.at(-1) === 'initiate completed successfully',
  )
  sights.judge(SIGHTS.swanctl, isDone, 'what swanctl said')
}

async function listSas(place: Place, cast: Cast): Promise<void> {
  const listed: string[][] = []
  for (const [client, daemon] of clientsOf(place, cast)) {
    const lines = linesOf(await daemon.swanctl('--list-sas'))
    listed.push(lines)
    listing(`${client.name}$ swanctl --list-sas`, lines)
  }
  const isRight = listed.every((lines) => {
    const text = lines.join('\n')
    const packets = [...text.matchAll(/^ {4}(?:in|out) .*, +(\d+) packets/gm)].map(([, count]) => Number(count))
    return /ESTABLISHED/.test(text) && /INSTALLED, TUNNEL-in-UDP/.test(text) && packets.join(' ') === `${PINGS} ${PINGS}`
  })
  sights.judge(SIGHTS.listed, isRight, 'what swanctl said')
}

function linesOf(printed: string): string[] {
  return printed.split('\n').filter((line) => line !== '')
}

/** As soon as one has failed there is nothing to wait for. */
function bothStand(gateway: Espalier, client: Espalier): true | undefined {
  const failures = [gateway, client].flatMap((daemon) =>
    ['ike-failed', 'child-failed', 'not-initiated', 'broken'].flatMap((name) => daemon.events(name)),
  )
  if (failures.length > 0) throw new Error(failures[0]!.msg)
  return gateway.events('child-established').length === 2 && client.events('child-established').length === 1 ? true : undefined
}

async function natDetection({ a, b }: Place, { gateway, charon, espalier }: Cast): Promise<void> {
  say(
    'In IKE_SA_INIT each side sends hashes of the addresses it believes in. Where they do not fit what the other side sees, somebody translated.',
  )
  const ofCharon = await charon.waitForLog(/behind NAT/, HANDSHAKE_MS)
  const ofEspalier = await espalier.event('nat-detected', HANDSHAKE_MS)
  const ofGateway = gateway.events('nat-detected')
  quote('client-a', [ofCharon.replace(/^.*?(?=\[IKE\])/, '')])
  quote('client-b', [told(ofEspalier)])
  quote(
    'gateway',
    ofGateway.map((line) => `${told(line)} (${String(line['remote'])})`),
  )
  sights.judge(SIGHTS.natOfCharon, /local host is behind NAT/.test(ofCharon), `log of ${a.name}`)
  sights.judge(SIGHTS.natOfEspalier, natOf(ofEspalier) === 'here', `log of ${b.name}`)
  const facts = ofGateway.map(natOf)
  sights.judge(SIGHTS.natOfGateway, facts.length === 2 && facts.every((fact) => fact === 'there'), 'log of the gateway')
}

async function ports({ router, a, b }: Place, { gateway, wire }: Cast): Promise<readonly Mapped[]> {
  say(
    'An IKE_SA begins on UDP port 500. With a NAT in between it goes on on 4500, where ESP can travel in UDP, too. The ' +
      'router makes a port of its own out of each, and the gateway has to answer to that one.',
  )
  const mappings = await router.mappings()
  const mappedOf = (client: Client): Mapped => {
    const flow = (port: number): Mapping => {
      const found = mappings.find((mapping) => mapping.inside.address === client.address && mapping.remote.port === port)
      if (found === undefined) throw new Error(`the router knows no flow of ${client.name} to port ${port}`)
      return found
    }
    return { client, ike: flow(500), natT: flow(4500) }
  }
  const mapped = [a, b].map(mappedOf)
  const packets = wire.packets.filter((packet) => packet.side === 'lan' && packet.destination === GATEWAY)
  const flights = mapped.map(({ client }) => {
    const sent = packets.filter((packet) => packet.source === client.address)
    return {
      client,
      init: sent.find((packet) => /ikev2_init/.test(packet.content)),
      auth: sent.find((packet) => /ikev2_auth/.test(packet.content)),
    }
  })
  print()
  table(
    ['', 'sent as', 'translated to', 'arrives at', 'carries'],
    mapped.flatMap(({ client, ike, natT }) => [
      [
        client.name,
        `${ike.inside.address}:${ike.inside.port}`,
        `${ike.outside.address}:${ike.outside.port}`,
        `${ike.remote.address}:${ike.remote.port}`,
        'IKE_SA_INIT',
      ],
      [
        '',
        `${natT.inside.address}:${natT.inside.port}`,
        `${natT.outside.address}:${natT.outside.port}`,
        `${natT.remote.address}:${natT.remote.port}`,
        'IKE_AUTH, then ESP',
      ],
    ]),
  )
  print()
  const floated = flights.every(
    ({ init, auth }) =>
      init?.sourcePort === 500 && init.destinationPort === 500 && auth?.sourcePort === 4500 && auth.destinationPort === 4500,
  )
  sights.judge(SIGHTS.float, floated, 'capture: IKE_SA_INIT, IKE_AUTH')
  const distinct = new Set(mapped.map(({ natT }) => natT.outside.port)).size === 2
  const answers = mapped.every(
    ({ client, natT }) => establishedOf(gateway, client)['remote'] === `${OUTSIDE}[${natT.outside.port}]`,
  )
  sights.judge(SIGHTS.mapping, distinct && answers, 'conntrack, log of the gateway')
  return mapped
}

/** How many echoes of each client were answered. */
async function ping({ a, b }: Place, wire: Wire): Promise<ReadonlyMap<Client, number>> {
  say(`Each sends ${PINGS} echo requests to the server in the office.`)
  const counts = await Promise.all([a, b].map(async (client) => await client.host.ping(SERVER, client.address, PINGS)))
  const echoes = new Map([a, b].map((client, index) => [client, counts[index]!]))
  for (const [client, count] of echoes) quote(client.name, [`${count} of ${PINGS} echoes answered`])

  const spans = [a, b].map((client) => {
    const times = wire.packets
      .filter((packet) => packet.side === 'lan' && packet.source === client.address && ESP_IN_UDP.test(packet.content))
      .map((packet) => packet.time)
    return { first: times[0] ?? Number.POSITIVE_INFINITY, last: times.at(-1) ?? Number.NEGATIVE_INFINITY }
  })
  const together = Math.min(...spans.map((span) => span.last)) - Math.max(...spans.map((span) => span.first))
  sights.judge(
    SIGHTS.pings,
    counts.every((count) => count === PINGS) && together > 0,
    `${counts.join(' + ')} answers, ${together.toFixed(1)} s together`,
  )

  say('An echo request of client-b as it reaches the router and as it leaves it, and the answer:')
  const request = wire.packets.filter((packet) => packet.source === b.address && ESP_IN_UDP.test(packet.content))[0]
  const spi = request === undefined ? 'none' : spiOf(request)
  const behind = wire.packets.find((packet) => packet.side === 'wan' && spiOf(packet) === spi)
  const answer = wire.packets.find(
    (packet) =>
      packet.side === 'wan' &&
      packet.source === GATEWAY &&
      packet.destinationPort === behind?.sourcePort &&
      ESP_IN_UDP.test(packet.content),
  )
  listing(
    'router$ tcpdump',
    [request, behind, answer].map((packet) => packet?.text ?? '(not seen)'),
  )
  // A request and an answer for each echo; tcpdump may still have the last of them to tell.
  const carried = await wire.waitForMany(
    'echoes outside',
    (packet) => packet.side === 'wan' && ESP_IN_UDP.test(packet.content),
    4 * PINGS,
  )
  const strangers = wire.strangers
  sights.judge(SIGHTS.esp, carried >= 4 * PINGS && strangers.length === 0, strangers[0] ?? `capture: ${carried} packets outside`)
  return echoes
}

async function keepalives(mapped: readonly Mapped[], wire: Wire): Promise<void> {
  say(
    'A router forgets a flow nobody uses. So whoever is behind it sends one byte when nothing else has left for a while, here for 3 s. The gateway is not behind one and sends none.',
  )
  const kept: Packet[] = []
  for (const { client, natT } of mapped) {
    kept.push(
      await wire.waitFor(
        `a keepalive of ${client.name}`,
        (packet) => packet.source === client.address && KEEPALIVE.test(packet.content),
      ),
    )
    // Outside too, from the port the router uses for this client's ESP: that is the mapping to be kept.
    kept.push(
      await wire.waitFor(
        `a keepalive of ${client.name} outside`,
        (packet) => packet.source === OUTSIDE && packet.sourcePort === natT.outside.port && KEEPALIVE.test(packet.content),
      ),
    )
  }
  listing(
    'router$ tcpdump',
    kept.map((packet) => packet.text),
  )
  const ofGateway = wire.packets.filter((packet) => packet.source === GATEWAY && KEEPALIVE.test(packet.content))
  sights.judge(SIGHTS.keepalive, ofGateway.length === 0, ofGateway[0]?.text ?? 'capture, inside and outside')
}

async function kernel({ gateway }: Place, mapped: readonly Mapped[]): Promise<readonly XfrmState[]> {
  say(
    'Each tunnel is two states, one for each direction. "encap" is where ESP-in-UDP comes from and goes to: the ports of ' +
      'the router. (Keys are never printed; lines about limits are left out here.)',
  )
  // "nokeys", so that they are not even read here.
  const printed = await gateway.run('ip', ['-s', 'xfrm', 'state', 'list', 'nokeys'])
  if (/0x[0-9a-f]{32}/.test(printed)) throw new Error('ip xfrm shows keys although it was told not to')
  listing('gateway$ ip -s xfrm state list nokeys', shortened(printed))
  const states = await xfrmStates(gateway)
  const right = mapped.every(({ natT }) => {
    const [incoming, outgoing] = statesOf(states, natT)
    return incoming !== undefined && outgoing !== undefined && incoming.packets >= PINGS && outgoing.packets >= PINGS
  })
  sights.judge(SIGHTS.kernel, right && states.length === 4, 'ip xfrm')
  return states
}

function tunnels(
  gateway: Espalier,
  mapped: readonly Mapped[],
  echoes: ReadonlyMap<Client, number>,
  states: readonly XfrmState[],
): void {
  table(
    ['client', 'runs', 'ESP comes from', 'its side', 'our side', 'encryption', 'in', 'out', 'echoes'],
    mapped.map(({ client, natT }) => {
      const child = childOf(gateway, client)
      const [incoming, outgoing] = statesOf(states, natT)
      return [
        ...[client.name, client.program, `${natT.outside.address}:${natT.outside.port}`],
        ...[child.remoteSelectors.join(' '), child.localSelectors.join(' '), child.proposal.replace(/^ESP:|\/NO_EXT_SEQ$/g, '')],
        ...[`${incoming?.packets ?? 0}`, `${outgoing?.packets ?? 0}`, `${echoes.get(client) ?? 0}/${PINGS}`],
      ]
    }),
  )
}

async function end({ gateway, a, b }: Place, cast: Cast): Promise<void> {
  say('The gateway is told to end (SIGTERM). It tells both peers and leaves nothing in its kernel; they do the same.')
  await cast.gateway.stop()
  await Promise.all([
    cast.charon.waitForLog(/received DELETE for IKE_SA/, HANDSHAKE_MS),
    cast.espalier.event('ike-closed', HANDSHAKE_MS),
  ])
  quote('client-b', cast.espalier.events('delete-received').map(told))
  const left = async (): Promise<number> =>
    (await Promise.all([gateway, a.host, b.host].map(async (host) => (await xfrmStates(host)).length))).reduce(
      (sum, count) => sum + count,
    )
  await eventually('empty kernels', async () => ((await left()) === 0 ? true : undefined), HANDSHAKE_MS)
  sights.judge(SIGHTS.end, true, 'logs of the clients, ip xfrm')
  await cast.wire.stop()
}

/** Which side the daemon believes to be translated. */
function natOf(line: LogLine): 'here' | 'there' | 'other' {
  const nat = line['nat'] as {
    readonly supported: boolean
    readonly here: boolean
    readonly there: boolean
    readonly faked: boolean
  }
  if (!nat.supported || nat.faked || nat.here === nat.there) return 'other'
  return nat.here ? 'here' : 'there'
}

function establishedOf(gateway: Espalier, client: Client): LogLine {
  const found = gateway.events('ike-established').find((line) => line['remoteId'] === identityOf(client))
  if (found === undefined) throw new Error(`the gateway's log tells of no IKE_SA with ${client.name}`)
  return found
}

interface ChildFields {
  readonly localSelectors: readonly string[]
  readonly remoteSelectors: readonly string[]
  readonly proposal: string
}

function childOf(gateway: Espalier, client: Client): ChildFields {
  const ike = establishedOf(gateway, client)['ike']
  const found = gateway.events('child-established').find((line) => line['ike'] === ike)
  if (found === undefined) throw new Error(`the gateway's log tells of no CHILD_SA with ${client.name}`)
  return found['child'] as ChildFields
}

/** Towards us and away from us, of the tunnel whose ESP the router translates so. */
function statesOf(states: readonly XfrmState[], natT: Mapping): readonly [XfrmState | undefined, XfrmState | undefined] {
  const { port } = natT.outside
  return [
    states.find(
      (state) =>
        state.source === OUTSIDE && state.encapsulation?.sourcePort === port && state.encapsulation.destinationPort === 4500,
    ),
    states.find(
      (state) =>
        state.destination === OUTSIDE && state.encapsulation?.sourcePort === 4500 && state.encapsulation.destinationPort === port,
    ),
  ]
}

function spiOf(packet: Packet): string | undefined {
  return /spi=(0x[0-9a-f]+)/.exec(packet.content)?.[1]
}

/** Of each state the lines that differ from one tunnel to another; the one about UDP stands out. */
function shortened(printed: string): string[] {
  const lines = printed.split('\n')
  return lines.flatMap((line, index) => {
    const flat = line.replaceAll('\t', '  ').trimEnd()
    if (/encap type/.test(line)) return [paint('yellow', flat)]
    if (/lifetime current/.test(line)) return [`${flat.trimEnd()} ${lines[index + 1]?.trim() ?? ''}`]
    return /^src|^\s+proto|^\s+(aead|enc|auth)/.test(line) ? [flat] : []
  })
}

/** A line of espalier's log as strongSwan would write it. */
function told({ msg, ...line }: LogLine): string {
  const { ike: uniqueId, connection } = line as { readonly ike?: number; readonly connection?: string }
  const ike = uniqueId === undefined ? '' : `<${connection ?? '(unnamed)'}|${uniqueId}> `
  return `[${String(line['group']).toUpperCase()}] ${ike}${msg}`
}

/** espalier's log as its reader on a terminal would see it. */
function readable(line: string): string {
  if (!line.startsWith('{')) return line
  try {
    return told(JSON.parse(line) as LogLine)
  } catch {
    return line
  }
}

process.exitCode = (await main()) ? 0 : 1
