/**
 * Completion for shells, made from the tree of commands: which words may follow which command, and which options take
 * what. The scripts ask nobody while they complete, so that Tab answers at once.
 */
import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

export type Shell = (typeof SHELLS)[number];

/** One command as the scripts see it; `path` is empty for the program itself. */
interface Node {
  readonly path: string;
  readonly children: readonly Word[];
  readonly options: readonly OptionWord[];
}

interface Word {
  readonly word: string;
  readonly about: string;
}

interface OptionWord {
  readonly names: readonly string[];
  readonly about: string;
  readonly value: 'none' | 'file' | 'text' | readonly string[];
}

/** `program` is the command's name in the shell, `root` what it runs. */
export function renderCompletion(shell: Shell, program: string, root: Command): string {
  const nodes = listNodes(root, '');
  const render = { bash: renderBash, zsh: renderZsh, fish: renderFish }[shell];
  return render(program, nodes);
}

const HELP: OptionWord = { names: ['-h', '--help'], about: 'show help', value: 'none' };

function listNodes(command: Command, path: string): readonly Node[] {
  const node: Node = {
    path,
    children: command.commands.map((child) => ({ word: child.name(), about: child.description() })),
    options: [...command.options.map(toWord), HELP],
  };
  const below = command.commands.flatMap((child) => listNodes(child, `${path} ${child.name()}`.trim()));
  return [node, ...below];
}

function toWord(option: Option): OptionWord {
  const names = [option.short, option.long].filter((name) => typeof name === 'string');
  return { names, about: option.description, value: takenBy(option) };
}

function takenBy(option: Option): OptionWord['value'] {
  if (!option.required && !option.optional) return 'none';
  if (option.argChoices !== undefined) return option.argChoices;
  return /<(path|file|folder)>/.test(option.flags) ? 'file' : 'text';
}

/** Inside single quotes, for all three shells. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const isList = (value: OptionWord['value']): value is readonly string[] => typeof value !== 'string';
const wordsOf = ({ children, options }: Node): string =>
  [...children.map(({ word }) => word), ...options.flatMap(({ names }) => names)].join(' ');

/** The commands that a word leads to, for walking the line from its start. */
function renderSteps(nodes: readonly Node[], indent: string): string {
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => quote(path));
  return `${indent}${paths.join(`|\\\n${indent}`)}) at=$next ;;`;
}

interface Taking {
  readonly pattern: string;
  readonly value: OptionWord['value'];
}

/** Options that take a value, each as `PATH:--option`. */
function listTaking(nodes: readonly Node[]): readonly Taking[] {
  return nodes.flatMap(({ path, options }) =>
    options
      .filter(({ value }) => value !== 'none')
      .map(({ names, value }) => ({ pattern: names.map((name) => quote(`${path}:${name}`)).join('|'), value })),
  );
}

/** The walk is the same in bash and zsh: `at` is the command so far, `taking` the option that waits for its value. */
function renderWalk(nodes: readonly Node[]): string {
  const taking = listTaking(nodes).map(({ pattern }) => pattern);
  return `    if [[ -n $taking ]]; then taking=; continue; fi
    case "$at:$word" in
      ${[...taking, "'::'"].join('|\\\n      ')}) taking="$at:$word"; continue ;;
    esac
    next="\${at:+$at }$word"
    case "$next" in
${renderSteps(nodes, '      ')}
    esac`;
}

function renderBash(program: string, nodes: readonly Node[]): string {
  const values = listTaking(nodes).map(({ pattern, value }) => {
    if (isList(value))
      return `    ${pattern}) COMPREPLY=($(compgen -W ${quote(value.join(' '))} -- "$current")); return ;;`;
    return value === 'file'
      ? `    ${pattern}) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;`
      : `    ${pattern}) return ;;`;
  });
  const words = nodes.map((node) => `    ${quote(node.path)}) words=${quote(wordsOf(node))} ;;`);
  return `# Completion for bash: source <(${program} completion bash)
_${program}() {
  local at= taking= next word words= index current="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
${renderWalk(nodes)}
  done
  case "$taking" in
    '') ;;
${values.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _${program} ${program}
`;
}

function renderZsh(program: string, nodes: readonly Node[]): string {
  const values = listTaking(nodes).map(({ pattern, value }) => {
    if (isList(value)) return `    ${pattern}) compadd -- ${value.map(quote).join(' ')}; return ;;`;
    return value === 'file' ? `    ${pattern}) _files; return ;;` : `    ${pattern}) return ;;`;
  });
  const describe = (word: string, about: string): string => quote(`${word}:${about.replaceAll(':', '\\:')}`);
  const words = nodes.map(({ path, children, options }) => {
    const commands = children.map(({ word, about }) => describe(word, about));
    const flags = options.flatMap(({ names, about }) => names.map((name) => describe(name, about)));
    return `    ${quote(path)}) below=(${commands.join(' ')}) flags=(${flags.join(' ')}) ;;`;
  });
  return `# Completion for zsh: source <(${program} completion zsh), after compinit
_${program}() {
  local at= taking= next word index
  local -a below flags
  for ((index = 2; index < CURRENT; index++)); do
    word="\${words[index]}"
${renderWalk(nodes)}
  done
  case "$taking" in
    '') ;;
${values.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
  if (( $#below )); then
    _describe -t commands command below
  elif [[ "\${words[CURRENT]}" != -* ]]; then
    _files
  fi
  if [[ "\${words[CURRENT]}" == -* || $#below -eq 0 ]]; then
    _describe -t options option flags
  fi
}
compdef _${program} ${program}
`;
}

function renderFish(program: string, nodes: readonly Node[]): string {
  const test = (path: string): string => `-n ${quote(`__${program}_at ${quoteInside(path)}`)}`;
  const lines = nodes.flatMap(({ path, children, options }) => [
    ...children.map(({ word, about }) => `complete -c ${program} ${test(path)} -f -a ${word} -d ${fish(about)}`),
    ...options.map((option) => `complete -c ${program} ${test(path)} ${renderFishOption(option)}`),
  ]);
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => fish(path));
  const taking = listTaking(nodes).map(({ pattern }) => pattern.replaceAll('|', ' '));
  return `# Completion for fish: ${program} completion fish | source
function __${program}_at
  set -l at ''
  set -l taking 0
  set -l tokens (commandline -opc)
  for word in $tokens[2..-1]
    if test $taking -eq 1
      set taking 0
      continue
    end
    if contains -- "$at:$word" ${taking.join(' ')}
      set taking 1
      continue
    end
    set -l next (string trim -- "$at $word")
    if contains -- "$next" ${paths.join(' ')}
      set at "$next"
    end
  end
  test "$at" = "$argv"
end
${lines.join('\n')}
`;
}

function renderFishOption({ names, about, value }: OptionWord): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const takes =
    value === 'none'
      ? []
      : isList(value)
        ? ['-x', '-a', fish(value.join(' '))]
        : value === 'file'
          ? ['-r', '-F']
          : ['-x'];
  return [...flags, ...takes, '-d', fish(about)].join(' ');
}

/** Fish reads \\ and \' inside single quotes, and nothing else. */
const fish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const quoteInside = (path: string): string => (path === '' ? '""' : path);
