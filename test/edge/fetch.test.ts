import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { EspalierError } from '../../src/base/errors.ts'
import { systemFetcher } from '../../src/edge/fetch.ts'

const PATIENT = { limit: 1000, timeout: 60_000 }

async function listening(t: TestContext, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const serve = async (t: TestContext, listener: RequestListener): Promise<string> =>
  `http://${await listening(t, createServer(listener))}`

async function refusal(promise: Promise<unknown>): Promise<EspalierError> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof EspalierError, String(error))
    return error
  }
  return assert.fail('nothing was refused')
}

test('what is at an URI is got as it is', async (t) => {
  const uri = await serve(t, (request, response) => response.end(`${request.method} ${request.url}`))
  const bytes = await systemFetcher.fetch(`${uri}/a list.crl?x=1`, PATIENT)
  assert.equal(Buffer.from(bytes).toString(), 'GET /a%20list.crl?x=1')
})

test('a question is posted with its type, and to where the server redirects it', async (t) => {
  const uri = await serve(t, (request, response) => {
    if (request.url === '/old') return response.writeHead(307, { location: '/new' }).end()
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => response.end(`${request.headers['content-type']} ${Buffer.concat(parts).toString()}`))
  })
  const post = { body: Buffer.from('question'), contentType: 'application/ocsp-request' }
  const bytes = await systemFetcher.fetch(`${uri}/old`, { ...PATIENT, post })
  assert.equal(Buffer.from(bytes).toString(), 'application/ocsp-request question')
})

test('redirects are followed, but not for ever, and to nothing but http', async (t) => {
  const uri = await serve(t, (request, response) => {
    const left = Number(request.url!.slice(1))
    if (Number.isNaN(left)) response.writeHead(302, { location: 'file:///etc/hostname' }).end()
    else if (left === 0) response.end('there')
    else response.writeHead(302, { location: `/${left - 1}` }).end()
  })
  assert.equal(Buffer.from(await systemFetcher.fetch(`${uri}/5`, PATIENT)).toString(), 'there')
  assert.equal(
    (await refusal(systemFetcher.fetch(`${uri}/6`, PATIENT))).message,
    'the server has redirected us more than 5 times',
  )
  assert.equal(
    (await refusal(systemFetcher.fetch(`${uri}/elsewhere`, PATIENT))).message,
    'only http and file URIs can be fetched, not file:',
  )
})

test('an answer that is larger than the limit is refused, whether its length was told or not', async (t) => {
  const uri = await serve(t, (request, response) => {
    const body = Buffer.alloc(1001)
    if (request.url === '/told') return response.end(body)
    response.write(body.subarray(500))
    response.end(body.subarray(0, 501))
  })
  for (const path of ['/told', '/untold']) {
    const error = await refusal(systemFetcher.fetch(uri + path, PATIENT))
    assert.equal(error.code, 'FETCH_TOO_LARGE')
    assert.equal(error.message, 'it is larger than the 1000 bytes that we take')
  }
  const whole = await systemFetcher.fetch(`${uri}/untold`, { ...PATIENT, limit: 1002 })
  assert.equal(whole.length, 1002)
})

test('a server that refuses, is not there, says nothing or breaks off is told apart', async (t) => {
  const uri = await serve(t, (request, response) => {
    if (request.url === '/broken') {
      response.writeHead(200, { 'content-length': 10 }).write('1')
      response.destroy()
    } else response.writeHead(404).end()
  })
  assert.equal((await refusal(systemFetcher.fetch(uri, PATIENT))).message, 'the server answers with status 404 Not Found')
  assert.equal((await refusal(systemFetcher.fetch(`${uri}/broken`, PATIENT))).code, 'FETCH_FAILED')
  const silent = await listening(
    t,
    createTcpServer((socket) => t.after(() => socket.destroy())),
  )
  assert.equal(
    (await refusal(systemFetcher.fetch(`http://${silent}/`, { limit: 1000, timeout: 200 }))).message,
    'nothing complete came within 0.2 s',
  )
  const gone = createTcpServer()
  const address = await new Promise<AddressInfo>((resolve) => {
    gone.listen(0, '127.0.0.1', () => resolve(gone.address() as AddressInfo))
  })
  await new Promise((resolve) => gone.close(resolve))
  const refused = await refusal(systemFetcher.fetch(`http://127.0.0.1:${address.port}/`, PATIENT))
  assert.match(refused.message, /ECONNREFUSED/)
})

test('what is no URI of http is refused by its scheme', async () => {
  for (const scheme of ['https', 'ldap', 'ftp']) {
    const error = await refusal(systemFetcher.fetch(`${scheme}://127.0.0.1/x.crl`, PATIENT))
    assert.equal(error.message, `only http and file URIs can be fetched, not ${scheme}:`)
  }
  assert.equal((await refusal(systemFetcher.fetch('nowhere', PATIENT))).code, 'URI_INVALID')
})

test('a local file is read within the same limit; a directory, a pipe and what is missing are refused', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'espalier-fetch-'))
  t.after(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'a%20b.crl'), Buffer.alloc(1000, 7))
  writeFileSync(join(directory, 'large.crl'), Buffer.alloc(1001))
  execFileSync('mkfifo', [join(directory, 'pipe')])
  const read = (name: string): Promise<Uint8Array> => systemFetcher.fetch(`file://${directory}/${name}`, PATIENT)
  assert.deepEqual(await read('a%20b.crl'), Buffer.alloc(1000, 7))
  assert.equal((await refusal(read('large.crl'))).code, 'FETCH_TOO_LARGE')
  assert.equal((await refusal(read('pipe'))).message, 'this is no file')
  assert.equal((await refusal(read(''))).message, 'this is no file')
  assert.match((await refusal(read('missing.crl'))).message, /ENOENT/)
})
