/**
 * What the sections of a configuration have inherited: `name : a, b.c { }` makes everything in `a` and `b.c` part of
 * `name`. Its own settings win over inherited ones, those of earlier references over those of later ones, and sections
 * of the same name are joined by the same rule; inherited settings and sections follow its own (strongswan.conf(5)).
 */
import { problemAt, type Place, type Problem } from './problems.ts'
import type { Reference, Section, Setting } from './syntax.ts'

/** A section with all it inherited. Settings that were cleared are still there, with value null. */
export interface ResolvedSection extends Place {
  readonly name: string
  readonly settings: ReadonlyMap<string, Setting>
  readonly sections: ReadonlyMap<string, ResolvedSection>
}

export interface Resolution {
  readonly root: ResolvedSection
  /** First names of all references: the sections that serve as templates. */
  readonly referenced: ReadonlySet<string>
  readonly errors: readonly Problem[]
}

/** Resolves all references under `root`. A reference to nothing and one that leads back to itself are errors. */
export function resolveReferences(root: Section): Resolution {
  const resolver = new Resolver(root)
  const resolved = resolver.build([root], [])
  return { root: resolved, referenced: resolver.referenced, errors: resolver.errors }
}

/** Our limits: references from one to the next, sections within each other, sections after all were copied to where they are inherited. */
const MAXIMUM_CHAIN = 32
const MAXIMUM_DEPTH = 64
const MAXIMUM_SECTIONS = 65_536

class Resolver {
  readonly errors: Problem[] = []
  readonly referenced = new Set<string>()
  readonly #root: Section
  readonly #layers = new Map<Section, readonly Section[]>()
  readonly #busy = new Set<Section>()
  #sections = 0

  constructor(root: Section) {
    this.#root = root
  }

  /** One section out of its layers: what was written there first, what it inherits behind it. `around`: the first layers of the sections around it. */
  build(layers: readonly Section[], around: readonly Section[]): ResolvedSection {
    const own = layers[0]!
    const settings = new Map<string, Setting>()
    const names = new Set<string>()
    for (const layer of layers) {
      for (const setting of layer.settings.values()) if (!settings.has(setting.name)) settings.set(setting.name, setting)
      for (const name of layer.sections.keys()) names.add(name)
    }
    const sections = new Map<string, ResolvedSection>()
    if (this.#mayHaveSections(own, around)) {
      for (const name of names) sections.set(name, this.build(this.#sectionsNamed(layers, name), [...around, own]))
    }
    return { name: own.name, file: own.file, line: own.line, settings, sections }
  }

  #mayHaveSections(own: Section, around: readonly Section[]): boolean {
    this.#sections++
    if (around.includes(own)) this.#fail(own, own.name, 'the section contains itself by way of a reference')
    else if (around.length > MAXIMUM_DEPTH)
      this.#fail(own, own.name, `references put more than ${MAXIMUM_DEPTH} sections within each other`)
    else if (this.#sections === MAXIMUM_SECTIONS)
      this.#fail(own, own.name, `references make more than ${MAXIMUM_SECTIONS} sections`)
    else return this.#sections < MAXIMUM_SECTIONS
    return false
  }

  /** The sections called `name` in any of `layers`, each with what it refers to. */
  #sectionsNamed(layers: readonly Section[], name: string): readonly Section[] {
    const found = new Set<Section>()
    for (const layer of layers) {
      const section = layer.sections.get(name)
      if (section !== undefined) for (const part of this.#layersOf(section)) found.add(part)
    }
    return [...found]
  }

  /** The section and, behind it, all it refers to, directly or not. */
  #layersOf(section: Section): readonly Section[] {
    const known = this.#layers.get(section)
    if (known !== undefined) return known
    const layers = new Set([section])
    this.#busy.add(section)
    for (const reference of section.references) for (const part of this.#find(reference, section)) layers.add(part)
    this.#busy.delete(section)
    this.#layers.set(section, [...layers])
    return [...layers]
  }

  #find(reference: Reference, from: Section): readonly Section[] {
    const names = reference.path.split('.')
    this.referenced.add(names[0]!)
    if (this.#busy.size > MAXIMUM_CHAIN)
      return this.#fail(reference, from.name, `more than ${MAXIMUM_CHAIN} references follow each other`)
    let layers: readonly Section[] = [this.#root]
    for (const name of names) {
      for (const layer of layers) {
        const next = layer.sections.get(name)
        if (next !== undefined && this.#busy.has(next)) {
          return this.#fail(reference, from.name, `the reference to '${reference.path}' leads back to where it comes from`)
        }
      }
      layers = this.#sectionsNamed(layers, name)
    }
    if (layers.length === 0) return this.#fail(reference, from.name, `there is no section '${reference.path}' to inherit from`)
    return layers
  }

  #fail(place: Place, key: string, message: string): readonly Section[] {
    this.errors.push(problemAt(place, key, message))
    return []
  }
}
