import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Report } from '../../src/config/check.ts'
import { resolveReferences } from '../../src/config/references.ts'
import { readRevocation } from '../../src/config/revocation.ts'
import { readSyntaxTree } from '../../src/config/syntax.ts'
import { DEFAULT_REVOCATION_SETTINGS } from '../../src/pki/revocation.ts'

function read(text: string) {
  const report: Report = { errors: [], warnings: [] }
  const tree = readSyntaxTree('strongswan.conf', { read: () => text, readBytes: () => null, glob: () => [] })
  const { root } = resolveReferences(tree.root!)
  return { settings: readRevocation(root, report), errors: report.errors.map(({ message }) => message) }
}

test('revocation is checked as strongSwan does by default', () => {
  assert.deepEqual(read('charon { }'), { settings: DEFAULT_REVOCATION_SETTINGS, errors: [] })
  assert.deepEqual(DEFAULT_REVOCATION_SETTINGS, {
    ocsp: true,
    crl: true,
    timeout: 10_000,
    nonceLength: 32,
    cache: true,
    keepCrls: false,
  })
})

test('every key of it is read', () => {
  const text = `charon {
    plugins { revocation { enable_ocsp = no \n timeout = 2s } }
    ocsp_nonce_len = 16
    cert_cache = no
    cache_crls = yes
  }
  charon-systemd { plugins { revocation { enable_crl = no } } }`
  const settings = { ocsp: false, crl: false, timeout: 2000, nonceLength: 16, cache: false, keepCrls: true }
  assert.deepEqual(read(text), { settings, errors: [] })
})

test('without the plugin nothing is checked', () => {
  const { settings } = read('charon { plugins { revocation { load = no } } }')
  assert.deepEqual([settings.ocsp, settings.crl], [false, false])
})

test('times and lengths that make no sense are errors', () => {
  assert.deepEqual(read('charon { plugins { revocation { timeout = 0 } } }').errors, ["expected a time from 1s to 600s, not '0'"])
  assert.equal(read('charon { ocsp_nonce_len = 33 }').errors.length, 1)
})
