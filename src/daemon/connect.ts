/**
 * The control socket, called: a VICI client of the daemon that runs here. Loads nothing of the daemon itself, for the
 * commands that use it are to start fast.
 */
import { loadSettings } from '../config/load.ts'
import { DEFAULT_CONTROL_SOCKET, formatStreamAddress, parseStreamAddress } from '../config/stream-address.ts'
import { diskFiles } from '../edge/files.ts'
import { connect } from '../edge/streams.ts'
import { ViciClient } from '../vici/client.ts'

/** Connects to a daemon; without `uri`, where strongSwan's listens as well. Rejects with an EspalierError (caller VALUE_INVALID, system DAEMON_NOT_REACHABLE). */
export async function connectControl(uri: string | null): Promise<ViciClient> {
  return new ViciClient(await connect(uri === null ? DEFAULT_CONTROL_SOCKET : parseStreamAddress(uri)))
}

/** Where strongswan.conf has the daemon listen (charon.plugins.vici.socket). What is wrong in it is the daemon's to tell. */
export function configuredControl(strongswanConf: string): string {
  return formatStreamAddress(loadSettings({ strongswanConf, files: diskFiles }).control ?? DEFAULT_CONTROL_SOCKET)
}
