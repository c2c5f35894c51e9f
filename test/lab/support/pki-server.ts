/**
 * Where CRLs and OCSP answers are to be had, in a host of the lab: what it offers, the test says, and may change.
 *
 *   const server = await PkiServer.start(router)
 *   const uri = 'http://10.1.0.1/ca.crl'        (of an address of that host, in crlUris of the certificates)
 *   await server.offer('ca.crl', makeCrl({ issuer: ca, ...currentTimes(), revoked: [{ certificate: moon }] }))
 *   await server.answer(moon, ca, { status: 'good' })    (OCSP, at any path)
 *   server.requests()      ['GET /ca.crl 200', 'POST /0a0b.ocsp 200']
 *   await server.stop()    nobody answers any more
 */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { toHex } from '../../../src/base/bytes.ts'
import { DerReader } from '../../../src/base/der.ts'
import type { TestCertificate } from '../../support/pki.ts'
import { HOUR, makeOcspAnswer, type OcspOptions } from '../../support/revocation.ts'
import type { Host } from './network.ts'
import type { Daemon } from './process.ts'

const program = join(import.meta.dirname, 'pki-server-program.ts')

export class PkiServer {
  readonly directory: string
  readonly #host: Host
  readonly #port: number
  #daemon: Daemon

  private constructor(host: Host, directory: string, port: number, daemon: Daemon) {
    this.#host = host
    this.directory = directory
    this.#port = port
    this.#daemon = daemon
  }

  static async start(host: Host, port = 80): Promise<PkiServer> {
    const directory = join(await host.lab.directory(), `${host.name}-pki-${port}`)
    await mkdir(directory, { recursive: true })
    const server = new PkiServer(host, directory, port, run(host, directory, port))
    await server.#daemon.waitFor(/^listening$/)
    return server
  }

  /** At `http://<host>/<name>`; null: no more. */
  async offer(name: string, bytes: Uint8Array | null): Promise<void> {
    const path = join(this.directory, name)
    if (bytes === null) return await rm(path, { force: true })
    // Nobody is to see half of it.
    await writeFile(`${path}.new`, bytes)
    await rename(`${path}.new`, path)
  }

  /** What OCSP requests about a certificate are answered with, from now on for an hour unless `options` says otherwise. */
  async answer(certificate: TestCertificate, issuer: TestCertificate, options: Partial<OcspOptions> = {}): Promise<void> {
    const answer = makeOcspAnswer({ certificate, issuer, ...currentTimes(), ...options })
    await this.offer(`${toHex(certificate.certificate.serial)}.ocsp`, answer)
  }

  /** What was asked since the server was started, `GET /ca.crl 200`. */
  requests(): readonly string[] {
    return this.#daemon.lines.filter((line) => /^(GET|POST) /.test(line))
  }

  async stop(): Promise<void> {
    await this.#daemon.stop()
  }

  async restart(): Promise<void> {
    await this.#daemon.stop()
    this.#daemon = run(this.#host, this.directory, this.#port)
    await this.#daemon.waitFor(/^listening$/)
  }
}

function run(host: Host, directory: string, port: number): Daemon {
  return host.start(process.execPath, [program, directory, `${port}`])
}

/** For lists and answers that are current for an hour by the clock of this machine. */
export function currentTimes(): { readonly thisUpdate: number; readonly nextUpdate: number } {
  return { thisUpdate: Date.now() - HOUR, nextUpdate: Date.now() + HOUR }
}

/** Hex of the serial number that an OCSP request asks about first (RFC 6960 4.1.1). */
export function serialOf(request: Uint8Array): string {
  const certId = DerReader.inside(request).enter().enter().enter().enter()
  // Algorithm, name and key of the issuer.
  for (let i = 0; i < 3; i++) certId.next()
  return toHex(certId.integer())
}
