/**
 * Completion for bash and zsh: a script with all subcommands and options in it, which asks the daemon by the hidden
 * command `names` only for what it alone knows. Whatever a name consists of, no shell ever expands it.
 */
import type { Command } from 'commander'

/** Whose names complete a command's argument. */
export const NAME_KINDS = ['connections', 'children', 'up', 'pools'] as const
export type NameKind = (typeof NAME_KINDS)[number]

/** Of the commands whose argument is a name. */
const KINDS: Readonly<Record<string, NameKind>> = {
  up: 'children',
  down: 'up',
  rekey: 'up',
  sas: 'up',
  nat: 'up',
  conns: 'connections',
  pools: 'pools',
  counters: 'connections',
  log: 'connections',
  monitor: 'connections',
}

interface Completed {
  readonly name: string
  readonly summary: string
  readonly options: readonly string[]
  /** Options that want a value, with the values if they are known. */
  readonly values: readonly { readonly option: string; readonly choices: readonly string[] }[]
  readonly kind: NameKind | null
  readonly words: readonly string[]
}

export function completionScript(shell: 'bash' | 'zsh', program: Command): string {
  const commands = completedOf(program)
  return shell === 'bash' ? bash(commands) : zsh(commands)
}

function completedOf(program: Command): readonly Completed[] {
  const help = program.createHelp()
  const visible = help.visibleCommands(program)
  const global = help.visibleOptions(program)
  return visible.map((command) => {
    const isHelp = command.name() === 'help'
    const options = isHelp ? [] : [...help.visibleOptions(command), ...global.filter(({ long }) => long === '--uri')]
    return {
      name: command.name(),
      summary: help.subcommandDescription(command),
      options: options.flatMap(({ long }) => long ?? []),
      values: options
        .filter(({ required }) => required)
        .map(({ long, argChoices }) => ({ option: long ?? '', choices: argChoices ?? [] })),
      kind: KINDS[command.name()] ?? null,
      words: isHelp
        ? visible.map((other) => other.name())
        : command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    }
  })
}

const list = (words: readonly string[]): string => words.join(' ')

/** Lines of a `case` on the option before, which wants a value. */
function valueCases(commands: readonly Completed[], indent: string): string {
  const choices = new Map<string, Set<string>>()
  for (const { values } of commands)
    for (const { option, choices: some } of values) choices.set(option, new Set([...(choices.get(option) ?? []), ...some]))
  return [...choices].map(([option, words]) => `${indent}${option}) words='${list([...words])}' wants_value=yes ;;`).join('\n')
}

function commandCases(commands: readonly Completed[], indent: string): string {
  return commands
    .map(
      ({ name, options, kind, words }) =>
        `${indent}${name}) options='${list(options)}' kind='${kind ?? ''}' words='${list(words)}' ;;`,
    )
    .join('\n')
}

/** What both shells have in common, in words that both understand: from `command` and `previous` to `options`, `kind` and `words`. */
function decide(commands: readonly Completed[]): string {
  return `  local options='' kind='' words='' wants_value=''
  case $previous in
${valueCases(commands, '    ')}
  esac
  if [[ -z $wants_value ]]; then
    case $command in
      '') options='--help --uri --version' words='${list(commands.map(({ name }) => name))}' ;;
${commandCases(commands, '      ')}
    esac
  fi`
}

function bash(commands: readonly Completed[]): string {
  return `# Completion of espalier for bash:  source <(espalier completion bash)
_espalier() {
  # bash cuts --uri's value at its colons; here words are what blanks are between.
  local line=() i command='' uri=() current=\${COMP_WORDS[COMP_CWORD]} previous=''
  read -ra line <<<"\${COMP_LINE:0:COMP_POINT}"
  [[ \${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && line+=('')
  for ((i = 1; i < \${#line[@]} - 1; i++)); do
    case \${line[i]} in
      --uri) uri=(--uri "\${line[i + 1]}") ; ((i++)) ;;
      --uri=*) uri=("\${line[i]}") ;;
      -*) ;;
      *) [[ -n $command ]] || command=\${line[i]} ;;
    esac
  done
  ((\${#line[@]} > 2)) && previous=\${line[\${#line[@]} - 2]}
${decide(commands)}
  local candidate candidates=()
  if [[ $current == -* && -z $wants_value ]]; then
    read -ra candidates <<<"$options"
  else
    read -ra candidates <<<"$words"
    if [[ -n $kind && -z $wants_value ]]; then
      while IFS= read -r candidate; do candidates+=("$candidate"); done \\
        < <("\${line[0]/#\\~/$HOME}" "\${uri[@]}" names "$kind" 2>/dev/null)
    fi
  fi
  COMPREPLY=()
  for candidate in "\${candidates[@]}"; do
    [[ $candidate == "$current"* ]] && COMPREPLY+=("$(printf '%q' "$candidate")")
  done
}
complete -F _espalier espalier
`
}

function zsh(commands: readonly Completed[]): string {
  return `#compdef espalier
# Completion of espalier for zsh:  source <(espalier completion zsh)
_espalier() {
  local i command='' current=\${words[CURRENT]} previous=\${words[CURRENT-1]} program=\${words[1]}
  local -a uri candidates
  for ((i = 2; i < CURRENT; i++)); do
    case \${words[i]} in
      --uri) uri=(--uri "\${(Q)words[i+1]}"); ((i++)) ;;
      --uri=*) uri=("\${(Q)words[i]}") ;;
      -*) ;;
      *) [[ -n $command ]] || command=\${words[i]} ;;
    esac
  done
  _espalier_candidates
  compadd -a candidates
}
# Apart, for within it \`words\` is not the command line.
_espalier_candidates() {
${decide(commands)}
  if [[ $current == -* && -z $wants_value ]]; then
    candidates=(\${=options})
  else
    candidates=(\${=words})
    if [[ -n $kind && -z $wants_value ]]; then
      candidates+=("\${(@f)$("\${(Q)program/#\\~/$HOME}" "\${uri[@]}" names "$kind" 2>/dev/null)}")
      # Who has no names has said one that is empty.
      candidates=(\${candidates:#})
    fi
  fi
}
if (( $+functions[compdef] )); then
  compdef _espalier espalier
else
  autoload -Uz compinit && compinit && compdef _espalier espalier
fi
`
}
