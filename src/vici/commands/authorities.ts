/**
 * load-authority, unload-authority, get-authorities, list-authorities: what is known of certification authorities
 * (strongSwan: vici_authority.c).
 */
import { givenAuthority } from '../../config/given.ts'
import type { Authority } from '../../pki/authority.ts'
import { subjectOf } from '../../pki/certificate.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { accepted, loaded, namedSections, warningsOf } from '../given.ts'
import { section, textOf, type ViciSection } from '../message.ts'

export const authorityCommands: Handlers = {
  'load-authority': (request, { operations }) => {
    const { configured } = operations.gateway
    const files = operations.credentialFiles()
    const given = namedSections(request).map((named) => givenAuthority(named, files))
    const authorities = accepted(given, 'authority discarded')
    const warnings = warningsOf(given)
    configured.warn(warnings)
    for (const authority of authorities) configured.credentials.loadAuthority(authority)
    return loaded(warnings)
  },

  'unload-authority': (request, { operations: { gateway } }) => {
    const name = textOf(request, 'name')
    if (name === null) throw new Refusal('unload: missing authority name')
    if (!gateway.configured.credentials.unloadAuthority(name)) throw new Refusal(`unload: authority '${name}' not found`)
    return succeeded()
  },

  'get-authorities': (_request, { operations: { gateway } }) =>
    section(['authorities', gateway.configured.credentials.authorityInfos().map(({ name }) => name)]),

  'list-authorities': async (request, context) => {
    const name = textOf(request, 'name')
    for (const authority of context.operations.gateway.configured.credentials.authorityInfos()) {
      if (name !== null && name !== authority.name) continue
      if (context.signal.aborted) break
      await context.stream('list-authority', section([authority.name, authoritySection(authority)]))
    }
    return section()
  },
}

function authoritySection({ cacert, crlUris, ocspUris, certUriBase }: Authority): ViciSection {
  return section(['cacert', subjectOf(cacert)], ['crl_uris', crlUris], ['ocsp_uris', ocspUris], ['cert_uri_base', certUriBase])
}
