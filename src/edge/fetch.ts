/**
 * The Fetcher port: http by Node's own client, without proxies, and local files. https, ldap and ftp are not done:
 * whoever publishes CRLs and OCSP answers signs them, and RFC 5280 8 warns of a TLS that waits for its own answer.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'

import { EspalierError, messageOf } from '../base/errors.ts'
import { SECOND } from '../base/time.ts'
import type { Fetcher, FetchRequest } from '../ports.ts'

/** Our limit: a server that sends us further and further is none. */
const REDIRECTS_MAX = 5
/** RFC 9110 15.4: the answers that name another place to ask the same of; 303 is for what is got. */
const MOVED = new Set([301, 302, 307, 308])
const SEE_OTHER = 303

export const systemFetcher: Fetcher = {
  async fetch(uri, request) {
    const limits = { request, signal: AbortSignal.timeout(Math.max(1, Math.ceil(request.timeout))) }
    try {
      return uri.startsWith('file://') ? await readLocal(uri, limits) : await ask(uri, limits)
    } catch (error) {
      if (error instanceof EspalierError) throw error
      if (limits.signal.aborted) throw failed(`nothing complete came within ${request.timeout / SECOND} s`, error)
      throw failed(sentenceOf(error), error)
    }
  },
}

interface Limits {
  readonly request: FetchRequest
  readonly signal: AbortSignal
}

async function ask(uri: string, limits: Limits): Promise<Uint8Array> {
  let url = parse(uri)
  for (let redirects = 0; ; redirects++) {
    const response = await get(url, limits)
    const status = response.statusCode ?? 0
    if (status === 200) return readBody(response, limits)
    const { location } = response.headers
    response.destroy()
    const isElsewhere = MOVED.has(status) || (status === SEE_OTHER && limits.request.post === undefined)
    if (!isElsewhere || location === undefined)
      throw failed(`the server answers with status ${status} ${response.statusMessage ?? ''}`.trimEnd())
    if (redirects === REDIRECTS_MAX) throw failed(`the server has redirected us more than ${REDIRECTS_MAX} times`)
    url = parse(location, url)
  }
}

/** strongSwan: a space is written as %20, all the rest has to be an URI already. */
function parse(uri: string, base?: URL): URL {
  const text = uri.replaceAll(' ', '%20')
  if (!URL.canParse(text, base)) throw new EspalierError('caller', 'URI_INVALID', 'this is no URI')
  const url = new URL(text, base)
  if (url.protocol !== 'http:')
    throw new EspalierError('policy', 'URI_UNSUPPORTED', `only http and file URIs can be fetched, not ${url.protocol}`)
  return url
}

function get(url: URL, { request, signal }: Limits): Promise<IncomingMessage> {
  const { post } = request
  return new Promise((resolve, reject) => {
    // A connection of its own, whose end frees it; none of the shared agent's, which may know of proxies.
    const sent = httpRequest(url, {
      agent: false,
      signal,
      method: post === undefined ? 'GET' : 'POST',
      headers: {
        'user-agent': 'espalier',
        'accept': '*/*',
        'connection': 'close',
        ...(post === undefined ? {} : { 'content-type': post.contentType, 'content-length': post.body.length }),
      },
    })
    sent.on('response', resolve)
    sent.on('error', reject)
    sent.end(post?.body)
  })
}

async function readBody(response: IncomingMessage, { request }: Limits): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  if (Number(response.headers['content-length'] ?? 0) > request.limit) {
    response.destroy()
    throw tooLarge(request.limit)
  }
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    // Leaving the loop closes the connection.
    if (length > request.limit) throw tooLarge(request.limit)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** strongSwan: what follows `file://` is a path as it is, nothing in it is decoded. */
async function readLocal(uri: string, { request }: Limits): Promise<Uint8Array> {
  if (request.post !== undefined) throw new EspalierError('caller', 'URI_UNSUPPORTED', 'nobody answers questions in a file')
  // A pipe without a writer must not hold us.
  const file = await open(uri.slice('file://'.length), constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const status = await file.stat()
    if (!status.isFile()) throw failed('this is no file')
    if (status.size > request.limit) throw tooLarge(request.limit)
    return await file.readFile()
  } finally {
    await file.close()
  }
}

function tooLarge(limit: number): EspalierError {
  return new EspalierError('policy', 'FETCH_TOO_LARGE', `it is larger than the ${limit} bytes that we take`)
}

function failed(sentence: string, cause?: unknown): EspalierError {
  return new EspalierError('system', 'FETCH_FAILED', sentence, cause === undefined ? undefined : { cause })
}

/** Of several addresses tried in vain Node says nothing but what each of them came to. */
function sentenceOf(error: unknown): string {
  return error instanceof AggregateError ? error.errors.map(messageOf).join(', ') : messageOf(error)
}
