/**
 * The library's door: a whole gateway over ports of your own, and the configuration's parser.
 */
export { loadConfiguration, type Configuration } from './config/load.ts'
export { Gateway, type GatewayConfiguration, type GatewayPorts } from './gateway/gateway.ts'
export type { IkeEvent } from './ike/events.ts'
export type { Clock, Datagram, Entropy, Kernel, Network } from './ports.ts'
export { linesOf, LogHub, loudnesses, Reporter, type Line } from './report/report.ts'
export { readPrivateKey, type PrivateKey } from './crypto/private-key.ts'
export { readCertificate, readCertificateFile, type Certificate } from './pki/certificate.ts'
export { findPath, type PathFailure, type PathRequest, type PathResult } from './pki/path.ts'
export { readPkcs12, type Pkcs12 } from './pki/pkcs12.ts'
