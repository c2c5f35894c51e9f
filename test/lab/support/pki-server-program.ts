/**
 * A web server with a directory in which tests put CRLs, and OCSP answers by serial number: `<serial>.ocsp`. Run in the
 * namespace of a host: node pki-server-program.ts DIRECTORY PORT. Each request is a line: `GET /ca.crl 200`.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

import { serialOf } from './pki-server.ts'

const [directory, port] = process.argv.slice(2) as [string, string]

const server = createServer((request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const name = request.method === 'POST' ? `${serialOf(Buffer.concat(parts))}.ocsp` : request.url!.slice(1)
    const body = readIfThere(join(directory, name.replaceAll('/', '_')))
    console.log(`${request.method} /${name} ${body === null ? 404 : 200}`)
    response.writeHead(body === null ? 404 : 200).end(body ?? undefined)
  })
})
server.listen(Number(port), '::', () => console.log('listening'))

function readIfThere(path: string): Buffer | null {
  try {
    return readFileSync(path)
  } catch {
    return null
  }
}
