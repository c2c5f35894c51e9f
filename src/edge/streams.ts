/**
 * Streams: listening and connecting on a path of the file system or a port of this machine.
 */
import { chownSync, lstatSync, statSync, unlinkSync } from 'node:fs'
import { createConnection, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'

import { EspalierError, messageOf } from '../base/errors.ts'
import { formatStreamAddress, type StreamAddress } from '../config/stream-address.ts'
import type { ByteStream, StreamEars } from '../ports.ts'

export interface Listener {
  /** The real one, also where port 0 was asked for. */
  readonly address: StreamAddress
  /** No more streams come; those that are open are closed, if need be with their backlog. */
  close(): Promise<void>
}

/** How long streams may take to send their backlog in the end. */
const LAST_WORDS_TIME = 500

/** `accept` gets each new stream and returns the ears it tells. Rejects with an EspalierError that says what is in the way. */
export async function listen(
  address: StreamAddress,
  accept: (stream: ByteStream) => StreamEars,
  onTrouble: (sentence: string) => void,
): Promise<Listener> {
  if (address.kind === 'unix') await makeRoom(address.path)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    let ears: StreamEars | null = null
    // Nothing arrives before the next turn of the event loop, when accept has returned.
    const stream = streamOf(socket, () => ears)
    ears = accept(stream)
  })
  try {
    await bind(server, address)
  } catch (error) {
    throw new EspalierError(
      'system',
      'CONTROL_SOCKET_REFUSED',
      `${formatStreamAddress(address)} cannot be listened on: ${messageOf(error)}${remedy(error)}`,
      { cause: error },
    )
  }
  server.on('error', (error) => onTrouble(`a client of ${formatStreamAddress(address)} could not be accepted: ${error.message}`))
  return { address: boundTo(server, address), close: () => close(server, sockets) }
}

/** Connects `ears`. Rejects with an EspalierError (system, DAEMON_NOT_REACHABLE). */
export async function connect(address: StreamAddress): Promise<(ears: StreamEars) => ByteStream> {
  const socket = createConnection(optionsOf(address))
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? 'no daemon listens there'
          : error.code === 'EACCES'
            ? 'permission denied; run as root'
            : error.message
      reject(new EspalierError('system', 'DAEMON_NOT_REACHABLE', `${formatStreamAddress(address)}: ${reason}`, { cause: error }))
    })
  })
  return (ears) => streamOf(socket, () => ears)
}

function streamOf(socket: Socket, ears: () => StreamEars | null): ByteStream {
  let failure: Error | null = null
  socket.on('data', (bytes: Buffer) => ears()?.onBytes(bytes))
  socket.on('drain', () => ears()?.onDrained())
  socket.on('error', (error) => (failure = error))
  socket.on('close', () => ears()?.onClosed(failure))
  return {
    write: (bytes) => void (socket.writable && socket.write(bytes)),
    get backlog() {
      return socket.writableLength
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  }
}

/** A socket that a daemon left behind is in the way of its successor; one that a daemon still listens on stays. */
async function makeRoom(path: string): Promise<void> {
  const refuse = (reason: string): EspalierError =>
    new EspalierError('system', 'CONTROL_SOCKET_REFUSED', `unix://${path} cannot be listened on: ${reason}`)
  // Node would call it a lack of permission.
  if (statSync(dirname(path), { throwIfNoEntry: false }) === undefined) throw refuse('its directory is missing')
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status === undefined) return
  if (!status.isSocket()) throw refuse('there is something that is no socket')
  try {
    const open = await connect({ kind: 'unix', path })
    open({ onBytes: () => {}, onDrained: () => {}, onClosed: () => {} }).destroy()
  } catch (error) {
    const { code } = (error as Error).cause as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED') return unlinkSync(path)
    throw error
  }
  throw refuse('another daemon listens there; stop it (strongSwan: systemctl stop strongswan), or set charon.plugins.vici.socket')
}

/** strongSwan: the socket is its user's and group's and nobody else's. */
async function bind(server: Server, address: StreamAddress): Promise<void> {
  const listening = new Promise<void>((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', reject)
  })
  // The path is made within listen(), so there is no moment at which others may connect.
  const before = process.umask(0o117)
  try {
    if (address.kind === 'unix') server.listen(address.path)
    else server.listen(address.port, address.address)
  } finally {
    process.umask(before)
  }
  await listening
  server.removeAllListeners('error')
  // In a directory with the set-group-ID bit it would be of that directory's group.
  if (address.kind === 'unix') chownSync(address.path, process.geteuid!(), process.getegid!())
}

function boundTo(server: Server, asked: StreamAddress): StreamAddress {
  const bound = server.address()
  if (asked.kind === 'unix' || bound === null || typeof bound === 'string') return asked
  return { ...asked, port: bound.port }
}

async function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
  for (const socket of sockets) socket.end()
  const timer = setTimeout(() => {
    for (const socket of sockets) socket.destroy()
  }, LAST_WORDS_TIME)
  await closed
  clearTimeout(timer)
}

function optionsOf(address: StreamAddress): NetConnectOpts {
  return address.kind === 'unix' ? { path: address.path } : { host: address.address, port: address.port }
}

function remedy(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return '; another daemon listens there: stop it, or set charon.plugins.vici.socket'
  if (code === 'EACCES') return '; run as root, or set charon.plugins.vici.socket'
  return ''
}
