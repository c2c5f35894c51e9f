/**
 * Where a control socket is: `unix:///path` or `tcp://127.0.0.1:4502`, as strongSwan writes it.
 *
 * VICI has neither encryption nor authentication: who reaches the socket commands the daemon. A path has its permissions;
 * a port has nothing, so it may only be one of this machine's own addresses.
 */
import { EspalierError } from '../base/errors.ts'
import { IpAddress } from '../base/ip.ts'

export type StreamAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number }

/** strongSwan: VICI_DEFAULT_URI. */
export const DEFAULT_CONTROL_SOCKET: StreamAddress = { kind: 'unix', path: '/var/run/charon.vici' }

/** unix(7): sun_path has 108 bytes, the last of them zero. */
const PATH_BYTES_MAX = 107

/** Throws EspalierError (caller, VALUE_INVALID) with what was expected. */
export function parseStreamAddress(text: string): StreamAddress {
  if (text.startsWith('unix://')) return { kind: 'unix', path: parsePath(text.slice('unix://'.length), text) }
  const tcp = /^tcp:\/\/(?:\[([\da-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (tcp === null) throw invalid(`"${text}" is neither unix:///path nor tcp://127.0.0.1:port`)
  const host = tcp[1] ?? tcp[2]!
  const port = Number(tcp[3])
  if (port > 65535) throw invalid(`"${text}": ${port} is no port`)
  const address = host === 'localhost' ? '127.0.0.1' : host
  if (!isLoopback(address))
    throw invalid(
      `"${text}": VICI is neither encrypted nor authenticated, so its port may only be on this machine's own 127.0.0.0/8 or [::1]`,
    )
  return { kind: 'tcp', address, port }
}

/** As one writes it. */
export function formatStreamAddress(address: StreamAddress): string {
  if (address.kind === 'unix') return `unix://${address.path}`
  return `tcp://${address.address.includes(':') ? `[${address.address}]` : address.address}:${address.port}`
}

function parsePath(path: string, text: string): string {
  if (!path.startsWith('/')) throw invalid(`"${text}" is to have a path from the root: unix:///path`)
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw invalid(`"${text}": the path is longer than ${PATH_BYTES_MAX} bytes`)
  if (path.includes('\0')) throw invalid('a path has no zero byte')
  return path
}

function isLoopback(text: string): boolean {
  const address = IpAddress.tryParse(text)
  if (address === null) return false
  return address.family === 4 ? address.bytes[0] === 127 : address.toString() === '::1'
}

function invalid(message: string): EspalierError {
  return new EspalierError('caller', 'VALUE_INVALID', message)
}
