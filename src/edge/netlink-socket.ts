/**
 * A netlink socket of the npm package netlink, as all edges want one: what the kernel says, message by message, and
 * nobody else's.
 *
 * The package hides a trap: when the kernel marks a socket with an error, and a receive buffer that overflowed is one
 * (ENOBUFS), the package ends the process. So the socket is told not to be marked, and what it lost is read from its
 * counter of drops (native.netlinkDrops, by the descriptor).
 */
import { RawNetlinkSocket } from 'netlink/dist/raw.js'

import { messageOf } from '../base/errors.ts'
import { readMessages, type ReceivedMessage } from '../kernel/xfrm/attributes.ts'
import { XfrmFormatError } from '../kernel/xfrm/structs.ts'
import { native } from './native.ts'

export interface NetlinkSocketOptions {
  readonly protocol: number
  readonly receiveBufferBytes: number
  readonly onMessages: (messages: readonly ReceivedMessage[]) => void
  /** What befell the socket, a sentence each: for the log. */
  readonly onTrouble: (sentence: string) => void
  /** What is in the datagrams is to be nowhere any more when they are read: nothing decoded may be a view on them. */
  readonly wipes?: true
}

export interface NetlinkSocket {
  readonly socket: RawNetlinkSocket
  readonly descriptor: number
  /** Nothing is heard from then on. We may be inside a callback of the very socket, which does not bear to be closed there. */
  close(): Promise<void>
}

/** Throws a system error where there is no such protocol, or no permission. */
export function openNetlinkSocket(options: NetlinkSocketOptions): NetlinkSocket {
  const { protocol, receiveBufferBytes, onMessages, onTrouble, wipes } = options
  const socket = new RawNetlinkSocket(protocol)
  let isClosed = false
  const handleDatagram = (datagram: Uint8Array): void => {
    if (isClosed) return
    try {
      onMessages(readMessages(datagram))
    } catch (error) {
      if (!(error instanceof XfrmFormatError)) throw error
      onTrouble(error.message)
    } finally {
      if (wipes === true) datagram.fill(0)
    }
  }
  // An exception that leaves the package's callback aborts the process; from a microtask it is reported as any other.
  // Port 0 is the kernel; others may write to us as well, and are not heard.
  socket.on('message', (datagram, { port }) => {
    if (port === 0) queueMicrotask(() => handleDatagram(datagram))
  })
  socket.on('error', (error) => onTrouble(`a netlink socket could not be read: ${messageOf(error)}`))
  try {
    return {
      socket,
      descriptor: native.extendNetlinkSocket(protocol, socket.address().port, receiveBufferBytes),
      async close() {
        if (isClosed) return
        isClosed = true
        await new Promise((resolve) => void setImmediate(resolve))
        socket.close()
      },
    }
  } catch (error) {
    socket.close()
    throw error
  }
}
