/**
 * load-authority, unload-authority, get-authorities, list-authorities: what is known of certification authorities
 * (strongSwan: vici_authority.c). As long as no certificate is read there is none, and loading one is refused.
 */
import { Refusal, type Handlers } from '../command.ts'
import { CERTIFICATES_UNSUPPORTED } from '../given.ts'
import { section, textOf } from '../message.ts'

export const authorityCommands: Handlers = {
  'load-authority': () => {
    throw new Refusal(CERTIFICATES_UNSUPPORTED)
  },

  'unload-authority': (request) => {
    const name = textOf(request, 'name')
    throw new Refusal(name === null ? 'unload: missing authority name' : `unload: authority '${name}' not found`)
  },

  'get-authorities': () => section(['authorities', []]),

  'list-authorities': () => section(),
}
