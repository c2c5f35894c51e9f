/**
 * The library's door: a whole gateway over ports of your own, and the configuration's parser.
 */
export { loadConfiguration, type Configuration } from './config/load.ts'
export { Gateway, type GatewayConfiguration, type GatewayPorts } from './gateway/gateway.ts'
export type { IkeEvent } from './ike/events.ts'
export type { Clock, Datagram, Entropy, Kernel, Network } from './ports.ts'
export { linesOf, LogHub, loudnesses, Reporter, type Line } from './report/report.ts'
