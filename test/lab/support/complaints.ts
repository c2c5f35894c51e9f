/**
 * What in the logs of charon and espalier looks like a mistake, and what each of it means if it is none. charon has no
 * level for errors: its sentences are searched for the words in which it complains, and so are espalier's, besides
 * everything that espalier itself calls a warning or an error.
 */
import type { LogLine } from './espalier.ts'

const COMPLAINT =
  /\b(?:abort|cannot|collision|could not|delet\w+ redundant|denied|discard|drop|error|expire|fail|giving up|ignor|integrity|invalid|lost|malformed|mismatch|missing|no acceptable|no matching|not found|out of|refus|retransmit|too many|unable|unexpected|unknown|unsupported|wrong)|N\((?!ESP_TFC|FRAG_SUP|HASH_ALG|MULT_AUTH|EAP_ONLY|MOBIKE|NATD|ADD_|NO_ADD_ADDR|REKEY_SA|USE_TRANSP|INIT_CONTACT|CHDLESS|REDIR_SUP|MSG_ID_SYN|SIG_HASH|IKEV2_MSG|IKE_INT_SUP|ADD_KE)/i
const WARNING = 40

/** From the beginning of its log on. */
export function complaintsOfCharon(log: string): string[] {
  return log.split('\n').filter((line) => COMPLAINT.test(line))
}

export function complaintsOfEspalier(lines: readonly string[]): string[] {
  return lines.filter((line) => {
    if (!line.startsWith('{')) return true
    const { level, msg } = JSON.parse(line) as LogLine
    return level >= WARNING || COMPLAINT.test(msg)
  })
}

/** What complaints mean that are none, as long as nothing else is wrong. */
export interface Explanation {
  readonly pattern: RegExp
  readonly why: string
}

/** Of any run, from the start of the daemons. */
const STARTING: readonly Explanation[] = [
  { pattern: /\[LIB\] dropped capabilities, running as uid 0/, why: 'charon says as whom it runs' },
  { pattern: /\[LIB\] plugin 'xauth-generic': failed to load/, why: 'strongSwan 6 is unpacked without it' },
]

/** Of two that rekey at the same time. */
export const MEETING: readonly Explanation[] = [
  {
    pattern:
      /detected (?:CHILD|IKE)_REKEY collision with (?:CHILD|IKE)_(?:REKEY|DELETE)|rekey collision (?:won|lost)|colliding exchange did not result in an IKE_SA/,
    why: 'both rekeyed the same SA; the nonces decided (RFC 7296 2.8.1, 2.8.2)',
  },
  {
    pattern:
      /N\(TEMP_FAIL\)|TEMPORARY_FAILURE|unable to create CHILD_SA while rekeying IKE_SA|peer initiated rekeying, but (?:a child is half-open|we did too and already sent IKE_FOLLOWUP_KE)/,
    why: 'one rekeyed the IKE_SA while the other rekeyed or deleted a CHILD_SA, or came after further key exchanges of the other had begun: not now (RFC 7296 2.25, RFC 9370 2.2.4)',
  },
  {
    pattern: /(?:CHILD|IKE)_SA rekeying failed, trying again in \d+ seconds/,
    why: 'so it was put off',
  },
  {
    pattern: /\[JOB\] CHILD_SA ESP\/0x[0-9a-f]+\/\S+ not found for rekey/,
    why: 'charon comes back to what it put off, and it has been rekeyed meanwhile',
  },
  {
    pattern:
      /ignoring request with ID \d+, already processing|peer may not have noticed IKE_SA rekey collision|retransmit 1 of request with message ID|received retransmit of request with ID/,
    why: 'charon throws away a response whose number is that of the request that it is busy with, and asks again or learns of it later',
  },
]

/** Complaints with what they mean, how often and one of them; `null` for what nobody has explained. */
export interface Explained {
  readonly why: string | null
  readonly count: number
  readonly example: string
}

export function explain(complaints: readonly string[], more: readonly Explanation[] = []): Explained[] {
  const found: { why: string | null; count: number; readonly example: string }[] = []
  for (const example of complaints) {
    const why = [...STARTING, ...more].find(({ pattern }) => pattern.test(example))?.why ?? null
    const known = why === null ? undefined : found.find((entry) => entry.why === why)
    if (known === undefined) found.push({ why, count: 1, example })
    else known.count++
  }
  return found
}

/** The complaints of both that nobody has explained. */
export function unexplained(explained: readonly Explained[]): string[] {
  return explained.filter(({ why }) => why === null).map(({ example }) => example)
}
