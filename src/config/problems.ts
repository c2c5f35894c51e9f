/**
 * What is wrong, or not done, in a configuration: where it stands and a sentence about it.
 */
export interface Problem {
  readonly file: string
  /** Counted from 1; 0 where the problem is the file as a whole. */
  readonly line: number
  /** Dotted path of the key or section, null where the text could not be read that far. */
  readonly key: string | null
  readonly message: string
  readonly kind: ProblemKind
}

/** What a problem is about, for a client that knows strongSwan's sentences: a key or section nobody knows, a value that is none, what we cannot do. */
export type ProblemKind = 'unknown-key' | 'unknown-section' | 'invalid' | 'unsupported' | 'other'

/** A place in a file that problems point at; no file (`''`) where the configuration did not come from one. */
export interface Place {
  readonly file: string
  readonly line: number
}

export function problemAt(place: Place, key: string | null, message: string, kind: ProblemKind = 'other'): Problem {
  return { file: place.file, line: place.line, key, message, kind }
}

/** `file:line: key: message`, as compilers and editors understand it. */
export function formatProblem({ file, line, key, message }: Problem): string {
  const place = file === '' ? '' : `${file}${line > 0 ? `:${line}` : ''}: `
  return `${place}${key === null ? '' : `${key}: `}${message}`
}

/** File by file and line by line; the same key inherited by ten connections is still one problem. */
export function inOrder(problems: readonly Problem[]): Problem[] {
  const files = [...new Set(problems.map(({ file }) => file))]
  const seen = new Set<string>()
  const distinct = problems.filter((problem) => {
    const name = problem.key?.slice(problem.key.lastIndexOf('.') + 1) ?? ''
    const text = JSON.stringify([problem.file, problem.line, name, problem.message])
    return seen.size !== seen.add(text).size
  })
  return distinct.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line)
}
