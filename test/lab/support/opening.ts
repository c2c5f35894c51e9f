/** On which ports an IKE_SA begins that has additional key exchanges, as a router before its responder sees it. */
import { Capture } from './capture.ts'
import type { Host } from './network.ts'

/** Port 500, and of port 4500 IKE_INTERMEDIATE (43) with message ID 1 behind the marker of four zeros. */
const FILTER = 'udp port 500 or (udp port 4500 and udp[8:4] = 0 and udp[30] = 43 and udp[32:4] = 1)'

/** IKE_SA_INIT and its answer, then the additional key exchange and its answer, in as many fragments as they take. */
export const FLOATS_AT_INTERMEDIATE = /^500(?: 500)+(?: 4500){2,}$/

/** Begins to look; what it returns tells the responder's port of every packet so far, in order. */
export async function watchOpening(router: Host, interfaceName: string, responder: string): Promise<() => Promise<string>> {
  const capture = await Capture.start(router, interfaceName, FILTER)
  const port = new RegExp(`${responder.replaceAll('.', String.raw`\.`)}\\.(\\d+)(?=:| >)`)
  return async () => (await capture.stop()).map((line) => port.exec(line)?.[1]).join(' ')
}
