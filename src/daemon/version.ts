/**
 * Our version.
 */
import { createRequire } from 'node:module'

/** Of the package, two folders up from here in the checkout and in the published package alike. */
export const { version } = createRequire(import.meta.url)('../../package.json') as { readonly version: string }
