/**
 * What fits of one offer, for many connections: most of them have the same proposals, which are held against it once. An
 * offer may have a thousand transforms, and come from a stranger.
 */
import { chooseProposal, type Choice, type SuiteProposal, type WireProposalLike } from './proposals.ts'

export class Choices {
  readonly #offered: readonly WireProposalLike[]
  /** By the text of what is configured. */
  readonly #found = new Map<string, Choice | null>()

  constructor(offered: readonly WireProposalLike[]) {
    this.#offered = offered
  }

  /** See chooseProposal. */
  of(configured: readonly SuiteProposal[]): Choice | null {
    const text = textOf(configured)
    const known = this.#found.get(text)
    if (known !== undefined) return known
    const choice = chooseProposal(configured, this.#offered)
    this.#found.set(text, choice)
    return choice
  }
}

/** Of lists that are never changed: those of connections. */
const texts = new WeakMap<readonly SuiteProposal[], string>()

/** The same for proposals that say the same. */
function textOf(proposals: readonly SuiteProposal[]): string {
  const known = texts.get(proposals)
  if (known !== undefined) return known
  const text = proposals
    .map(({ protocol, transforms }) => [protocol, ...transforms.map(({ type, id, keyLength }) => `${type}/${id}/${keyLength}`)])
    .join(' | ')
  texts.set(proposals, text)
  return text
}
