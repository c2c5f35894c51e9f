import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import fc from 'fast-check'

import { formatProblem } from '../../src/config/problems.ts'
import { resolveReferences, type ResolvedSection } from '../../src/config/references.ts'
import { readSyntaxTree, type Section } from '../../src/config/syntax.ts'
import { memoryFiles } from './memory-files.ts'

type Plain = { [name: string]: string | null | Plain }

function plain(section: Section | ResolvedSection): Plain {
  const settings = [...section.settings.values()].map((setting) => [setting.name, setting.value] as const)
  return Object.fromEntries([...settings, ...[...section.sections.values()].map((inner) => [inner.name, plain(inner)] as const)])
}

function read(text: string, others: Record<string, string | Error> = {}): { tree: Plain; errors: string[]; warnings: string[] } {
  const { root, errors, warnings } = readSyntaxTree('/etc/test.conf', memoryFiles({ '/etc/test.conf': text, ...others }))
  return { tree: plain(root!), errors: errors.map(formatProblem), warnings: warnings.map(formatProblem) }
}

function tree(text: string, others: Record<string, string | Error> = {}): Plain {
  const { tree, errors, warnings } = read(text, others)
  assert.deepEqual([...errors, ...warnings], [])
  return tree
}

function resolve(text: string): { tree: Plain; errors: string[]; order: string[] } {
  const { root } = readSyntaxTree('/etc/test.conf', memoryFiles({ '/etc/test.conf': text }))
  const resolution = resolveReferences(root!)
  return { tree: plain(resolution.root), errors: resolution.errors.map(formatProblem), order: [...resolution.referenced] }
}

describe('settings and sections', () => {
  test('the example of strongswan.conf(5)', () => {
    const text =
      'a = b\nsection-one {\n  somevalue = asdf\n  subsection {\n    othervalue = xxx\n  }\n  # yei, a comment\n  yetanother = zz\n}\nsection-two {\n\tx = 12\n}\n'
    assert.deepEqual(tree(text), {
      'a': 'b',
      'section-one': { somevalue: 'asdf', subsection: { othervalue: 'xxx' }, yetanother: 'zz' },
      'section-two': { x: '12' },
    })
  })

  test('a value ends at the end of the line, a comment or a closing brace, and its words are joined by one space', () => {
    assert.deepEqual(tree('a = one   two\tthree # four\nb { c = d} e = f\ng = h#i'), {
      a: 'one two three',
      b: { c: 'd' },
      e: 'f',
      g: 'h',
    })
  })

  test('a brace opened in a value is part of it', () => {
    assert.deepEqual(tree('a = x{y\n'), { a: 'x{y' })
  })

  test('line ends do not matter between a name and its sign, and carriage returns nowhere', () => {
    assert.deepEqual(tree('a\r\n{\r\nb = c\r\n}\r\nd\n= e\r'), { a: { b: 'c' }, d: 'e' })
  })

  test('a quoted string keeps spaces, braces and number signs, and may span lines', () => {
    assert.deepEqual(tree('a = "x  {y} # z"\nb = "two\nlines"\nc = "joined \\\n  line"\nd = "joined \\\r\nline"'), {
      a: 'x  {y} # z',
      b: 'two\nlines',
      c: 'joined   line',
      d: 'joined line',
    })
  })

  test('escapes in strings: \\n \\r \\t, any other character stands for itself', () => {
    assert.deepEqual(tree('a = "\\n\\r\\t\\"\\\\\\x"'), { a: '\n\r\t"\\x' })
  })

  test('quotes of the other kind are ordinary characters, and strings join words', () => {
    assert.deepEqual(tree(`a = 'My "home" is my "castle"!'`), { a: `'My home is my castle !'` })
  })

  test('an assignment of nothing clears, one of an empty string does not', () => {
    assert.deepEqual(tree('a =\nb = ""\nc = # nothing'), { a: null, b: '', c: null })
  })

  test('a section that comes again extends the first, a setting that comes again replaces it', () => {
    assert.deepEqual(tree('a { b = 1 c = 2\n d = 3 }\ne = 1\na { d = 4\n f = 5 }'), {
      a: { b: '1 c = 2', d: '4', f: '5' },
      e: '1',
    })
  })

  test('every section and setting knows its file and line', () => {
    const { root } = readSyntaxTree('/x', memoryFiles({ '/x': '# one\n\na {\n  b = "c\nd"\n  e = f\n}\n' }))
    const section = root!.sections.get('a')!
    assert.deepEqual([section.file, section.line], ['/x', 3])
    assert.deepEqual(
      [...section.settings.values()].map(({ line }) => line),
      [4, 6],
    )
  })

  test('a setting may be called include', () => {
    assert.deepEqual(tree('include = a\nincluded = b'), { include: 'a', included: 'b' })
  })
})

describe('errors', () => {
  const cases: [string, string, string[]][] = [
    ['a name alone', 'a = 1\nb\nc = 2\n', ["/etc/test.conf:2: 'b' is followed by neither '=' nor '{'"]],
    ['two names', 'a b = 1\nc = 2\n', ["/etc/test.conf:1: 'a' is followed by neither '=' nor '{'"]],
    ['a dotted key', 'a.b = 1\nc = 2', ["/etc/test.conf:1: 'a' is followed by neither '=' nor '{'"]],
    ['a brace too many', 'a {\n}\n}\nc = 2', ["/etc/test.conf:3: '}' closes no section"]],
    [
      'a section that is not closed',
      'c = 2\na {\n  b = 1\n',
      ["/etc/test.conf:4: the file ends within section 'a' opened in line 2"],
    ],
    [
      'a string that is not closed',
      'c = 2\na = "x\ny',
      ['/etc/test.conf:2: the string that opens in line 2 has no closing quote'],
    ],
    ['a string where a name should be', '"a" = b\nc = 2', [`/etc/test.conf:1: '"' begins neither a section nor a setting`]],
    [
      'a reference to nothing',
      'a : {\n}\nc = 2',
      ["/etc/test.conf:1: 'a :' is not followed by the names of sections, separated by commas, and '{'"],
    ],
    ['an include of nothing', 'include \nc = 2', ['/etc/test.conf:1: include names no file']],
  ]
  for (const [title, text, expected] of cases) {
    test(`${title} is one error, and what follows is still read`, () => {
      const { tree, errors } = read(text)
      assert.deepEqual(errors, expected)
      assert.equal(tree.c, '2')
    })
  }

  test('a line that makes no sense but opens a section does not let its closing brace close another', () => {
    const { tree, errors } = read('a {\n b c {\n  d = 1\n }\n e = 2\n}\nf = 3')
    assert.deepEqual(errors, ["/etc/test.conf:2: 'b' is followed by neither '=' nor '{'"])
    assert.deepEqual(tree, { a: { e: '2' }, f: '3' })
  })

  test('a file of nonsense gives twenty errors and one that says so', () => {
    const { errors } = read('x y\n'.repeat(1000))
    assert.equal(errors.length, 21)
    assert.equal(errors.at(-1), '/etc/test.conf:20: too many errors; the rest of the file was not read')
  })

  test('sections within sections are limited', () => {
    const { errors } = read('a{'.repeat(100_000))
    assert.equal(errors[0], '/etc/test.conf:1: more than 32 sections within each other')
  })
})

describe('include', () => {
  test('the example of strongswan.conf(5): files extend the section the include stands in', () => {
    const text = 'a = b\nsection-one {\n  somevalue = before include\n  include include.conf\n}\ninclude other.conf\n'
    const files = {
      '/etc/include.conf': 'somevalue = asdf\nsubsection {\n  othervalue = yyy\n}\nyetanother = zz\n',
      '/etc/other.conf': 'section-one {\n  subsection {\n    othervalue = xxx\n  }\n}\nsection-two {\n  x = 12\n}\n',
    }
    assert.deepEqual(tree(text, files), {
      'a': 'b',
      'section-one': { somevalue: 'asdf', subsection: { othervalue: 'xxx' }, yetanother: 'zz' },
      'section-two': { x: '12' },
    })
  })

  test('files come in sorted order, relative to the file that includes them', () => {
    const files = {
      '/etc/conf.d/20.conf': 'who = 20',
      '/etc/conf.d/10.conf': 'who = 10\ninclude more/*',
      '/etc/conf.d/more/x': 'nested = yes',
      '/etc/more/y': 'wrong = yes',
    }
    assert.deepEqual(tree('include conf.d/*.conf', files), { who: '20', nested: 'yes' })
  })

  test('a pattern that matches nothing is fine, a plain name is a warning', () => {
    const { errors, warnings } = read('include conf.d/*.conf\ninclude gone.conf')
    assert.deepEqual(errors, [])
    assert.deepEqual(warnings, ['/etc/test.conf:2: there is no file gone.conf to include'])
  })

  test('a pattern ends at white space, a brace or a comment; escaped or quoted they are part of it', () => {
    const files = { '/etc/a b': 'x = 1', '/etc/c#d': 'y = 2', '/etc/e f': 'z = 3', '/etc/g': 'w = 4' }
    assert.deepEqual(tree('s { include g}\ninclude a\\ b\ninclude c\\#d # comment\ninclude "e f"', files), {
      s: { w: '4' },
      x: '1',
      y: '2',
      z: '3',
    })
  })

  test('a file that includes itself, by way of another, is an error and not the end', () => {
    const { errors, tree } = read('include a\nb = 1', { '/etc/a': 'include test.conf' })
    assert.deepEqual(errors, ['/etc/a:1: /etc/test.conf includes itself'])
    assert.equal(tree.b, '1')
  })

  test('files within files are limited', () => {
    const chain = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`/etc/${i}`, `include ${i + 1}`]))
    const { errors } = read('include 0', chain)
    assert.deepEqual(errors, ['/etc/15:1: more than 16 files include each other'])
  })

  test('files that multiply are limited', () => {
    const files = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`/etc/l${i}`, `include l${i + 1}\n`.repeat(8)]))
    const { errors } = read('include l0', files)
    assert.match(errors[0]!, /more than 4096 files are included/)
  })

  test('a file that cannot be read is an error where it is included', () => {
    const { errors } = read('\ninclude a*', { '/etc/ab': new Error('EACCES: permission denied') })
    assert.deepEqual(errors, ['/etc/test.conf:2: /etc/ab cannot be read: EACCES: permission denied'])
  })

  test('a section opened in an included file has to be closed there', () => {
    const { errors } = read('include a\n}', { '/etc/a': 'b {' })
    assert.deepEqual(errors, [
      "/etc/a:1: the file ends within section 'b' opened in line 1",
      "/etc/test.conf:2: '}' closes no section",
    ])
  })
})

describe('references', () => {
  test('settings and sections are inherited, own ones win, earlier references win over later ones', () => {
    const { tree, errors } = resolve(
      'one { a = 1\n b = 1\n s { x = 1 } }\ntwo { b = 2\n c = 2\n s { y = 2 } }\nz : one, two { a = 0\n s { x = 0 } }',
    )
    assert.deepEqual(errors, [])
    assert.deepEqual(tree.z, { a: '0', b: '1', c: '2', s: { x: '0', y: '2' } })
  })

  test('a reference may lead to a later section, into a section, and to what that one inherits', () => {
    const text =
      'connections {\n c : connections.a { }\n a : defaults {\n  children {\n   x : child { mode = transport }\n  }\n }\n}\ndefaults { version = 2 }\nchild { local_ts = 10.0.0.0/8 }'
    const { tree } = resolve(text)
    assert.deepEqual((tree.connections as Plain).c, {
      version: '2',
      children: { x: { mode: 'transport', local_ts: '10.0.0.0/8' } },
    })
  })

  test('what a section inherits into its subsections comes behind what those refer to', () => {
    const { tree } = resolve(
      'outer { s { a = outer\n b = outer\n c = outer } }\ninner { a = inner\n b = inner }\nz : outer { s : inner { a = own } }',
    )
    assert.deepEqual(tree.z, { s: { a: 'own', b: 'inner', c: 'outer' } })
  })

  test('inherited sections follow the own ones', () => {
    const { tree } = resolve('d { local { a = 1 }\n remote { a = 1 } }\nz : d { remote { b = 2 } }')
    assert.deepEqual(Object.keys(tree.z as Plain), ['remote', 'local'])
  })

  test('an empty assignment clears what would be inherited', () => {
    const { tree } = resolve('d { a = 1 }\nz : d { a = }')
    assert.deepEqual(tree.z, { a: null })
  })

  test('a setting keeps the place where it was written', () => {
    const { root } = readSyntaxTree('/x', memoryFiles({ '/x': 'd {\n a = 1\n}\nz : d { }' }))
    assert.equal(resolveReferences(root!).root.sections.get('z')!.settings.get('a')!.line, 2)
  })

  const bad: [string, string, RegExp][] = [
    ['to nothing', 'a : b, c { }\nc { }', /^\/etc\/test\.conf:1: a: there is no section 'b' to inherit from$/],
    ['to itself', 'a : a { }', /^\/etc\/test\.conf:1: a: the reference to 'a' leads back to where it comes from$/],
    ['in a circle', 'a : b { }\nb : c { }\nc : a { }', /leads back to where it comes from$/],
    [
      'to the section around it',
      'a {\n b : a { }\n}',
      /^\/etc\/test\.conf:2: b: the section contains itself by way of a reference$/,
    ],
    ['into itself', 'a : a.b {\n b { }\n}', /the reference to 'a\.b' leads back to where it comes from$/],
    ['to a path with a hole', 'a : b..c { }\nb { c { } }', /there is no section 'b\.\.c' to inherit from$/],
  ]
  for (const [title, text, expected] of bad) {
    test(`a reference ${title} is an error`, () => {
      const { errors } = resolve(text)
      assert.equal(errors.length, 1)
      assert.match(errors[0]!, expected)
    })
  }

  test('a chain of thousands of references is refused, not run into the ground', () => {
    const text = Array.from({ length: 10_000 }, (_, i) => `s${i} : s${i + 1} { }`).join('\n')
    const { errors } = resolve(`${text}\ns10000 { }`)
    assert.match(errors[0]!, /more than 32 references follow each other$/)
  })

  test('sections that double with each reference are refused', () => {
    const levels = Array.from({ length: 30 }, (_, i) => `l${i} { x : l${i + 1} { }\n y : l${i + 1} { } }`).join('\n')
    const { errors } = resolve(`${levels}\nl30 { }`)
    assert.match(errors.join('\n'), /references make more than 65536 sections/)
  })
})

test('no text makes the reader throw or hang', () => {
  const pieces = fc.constantFrom(
    'a',
    'b',
    ' ',
    '\n',
    '{',
    '}',
    '=',
    ':',
    ',',
    '.',
    '"',
    '\\',
    '#',
    '\r',
    '\t',
    'include ',
    'include',
    '*',
    '[',
    'é',
    '\0',
  )
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(pieces, { maxLength: 80 }).map((list) => list.join('')),
  )
  fc.assert(
    fc.property(texts, texts, (text, other) => {
      const { root, errors } = readSyntaxTree(
        '/etc/test.conf',
        memoryFiles({ '/etc/test.conf': text, '/etc/a': other, '/etc/b': text }),
      )
      const resolution = resolveReferences(root!)
      for (const problem of [...errors, ...resolution.errors]) {
        assert.ok(problem.line >= 1 && problem.line <= `${text}${other}`.split('\n').length)
        assert.ok(problem.message.length > 0)
      }
    }),
    { numRuns: 3000 },
  )
})

test('what can be written is read back', () => {
  const names = fc.stringMatching(/^[a-z][a-z0-9_-]{0,6}$/).filter((name) => name !== 'include')
  const quote = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\r', '\\r')}"`
  const values = fc.string({ unit: 'binary', maxLength: 20 })
  const { section } = fc.letrec<{ section: Plain }>((tie) => ({
    section: fc.dictionary(names, fc.oneof({ depthSize: 'small' }, values, tie('section')), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  }))
  const write = (content: Plain): string =>
    Object.entries(content)
      .map(([name, value]) =>
        typeof value === 'string' ? `${name} = ${quote(value)}\n` : `${name} {\n${write(value as Plain)}}\n`,
      )
      .join('')
  const sorted = (content: Plain): Plain =>
    Object.fromEntries(
      Object.entries(content)
        .map(([name, value]) => [name, typeof value === 'string' || value === null ? value : sorted(value)] as const)
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    )
  fc.assert(fc.property(section, (content) => assert.deepEqual(sorted(tree(write(content))), sorted(content))))
})
