/**
 * The end of each command's help: how one uses it.
 */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  espalier ${line}`).join('\n')}`
}
