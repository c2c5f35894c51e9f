import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { SWANCTL, STRONGSWAN, type SectionRules, type Treatment } from '../../src/config/known-keys.ts'

const manual = readFileSync(`${import.meta.dirname}/../../docs/configuration.md`, 'utf8')

/** The table the manual has to have for one section: its honoured keys, their defaults and meanings. */
function tableOf(rules: SectionRules): string {
  const rows = [
    ...Object.entries(rules.keys),
    ...Object.entries(rules.prefixedKeys).map(([name, treatment]): [string, Treatment] => [`${name}<suffix>`, treatment]),
  ]
  return rows
    .flatMap(([name, treatment]) =>
      treatment.kind === 'honoured'
        ? [`| \`${name}\` | ${treatment.fallback === '' ? '' : `\`${treatment.fallback}\``} | ${treatment.meaning} |`]
        : [],
    )
    .join('\n')
}

const CONNECTION = SWANCTL.sections.connections!.otherSections!
const sections: [string, SectionRules][] = [
  ['connections.<name>', CONNECTION],
  ['connections.<name>.local<suffix>', CONNECTION.prefixedSections.local!],
  ['connections.<name>.remote<suffix>', CONNECTION.prefixedSections.remote!],
  ['connections.<name>.children.<name>', CONNECTION.sections.children!.otherSections!],
  ['secrets.private<suffix>', SWANCTL.sections.secrets!.prefixedSections.private!],
  ['authorities.<name>', SWANCTL.sections.authorities!.otherSections!],
  ['secrets.ike<suffix>', SWANCTL.sections.secrets!.prefixedSections.ike!],
  ['pools.<name>', SWANCTL.sections.pools!.otherSections!],
  ['charon', STRONGSWAN.sections.charon!],
  ['charon.filelog.<name>', STRONGSWAN.sections.charon!.sections.filelog!.otherSections!],
  ['charon.plugins.attr', STRONGSWAN.sections.charon!.sections.plugins!.sections.attr!],
  ['charon.plugins.resolve', STRONGSWAN.sections.charon!.sections.plugins!.sections.resolve!],
  ['charon.plugins.resolve.resolvconf', STRONGSWAN.sections.charon!.sections.plugins!.sections.resolve!.sections.resolvconf!],
  ['charon.plugins.revocation', STRONGSWAN.sections.charon!.sections.plugins!.sections.revocation!],
  ['charon.plugins.updown', STRONGSWAN.sections.charon!.sections.plugins!.sections.updown!],
  ['charon.plugins.vici', STRONGSWAN.sections.charon!.sections.plugins!.sections.vici!],
]

for (const [name, rules] of sections) {
  test(`docs/configuration.md has the honoured keys of ${name}, as known-keys.ts describes them`, () => {
    const table = tableOf(rules)
    assert.ok(table.split('\n').length >= 2)
    const heading = `### ${name}\n`
    assert.ok(manual.includes(heading), `no heading ### ${name}`)
    const [part] = manual.slice(manual.indexOf(heading) + heading.length).split(/^#/m)
    const rows = part!.split('\n').filter((line) => line.startsWith('| `'))
    assert.equal(rows.join('\n'), table)
  })
}
