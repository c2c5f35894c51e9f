/**
 * A line as text, in strongSwan's form.
 */
import type { Line } from './line.ts'

/** `[IKE] <home|1> IKE_SA home[1] established between ...`, as much of it as is asked for. */
export function lineText(line: Line, form: { readonly hasIkeName: boolean; readonly hasLevel: boolean }): string {
  const { group, loudness, ike, message } = line
  const level = form.hasLevel ? loudness : ''
  const name = ike === null || !form.hasIkeName ? '' : `<${ike.name}|${ike.uniqueId}> `
  return `[${group.toUpperCase()}${level}] ${name}${message}`
}
