# bash completion for nixbuild. Commands and flags are read from `nixbuild ... --help`, so that this
# file never tells another story than the program.

# The lists of options and commands in a help; what follows is prose and examples.
_nixbuild_help() {
  "$@" --help 2>/dev/null | awk '/^(Options|Subcommands):$/ { on = 1; next } /^[^ ]/ { on = 0 } on'
}

# Their first column: "  --flag VALUE", "  -h,--help", "  command".
_nixbuild_help_words() {
  _nixbuild_help "$@" |
    sed -nE 's/^  ((-[a-zA-Z],)?(--[a-z-]+)|([a-z][a-z-]*))( .*)?$/\3\4/p'
}

_nixbuild() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} word
  local -a command=("${COMP_WORDS[0]}")
  COMPREPLY=()
  # The commands on the line: words in front of the first flag.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    command+=("$word")
  done
  case $previous in
    --*-file | --file | --config)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return ;;
    --*-dir)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return ;;
  esac
  # A flag that takes one of a few words shows them in the help: "--compression zstd|xz|none".
  if [[ $previous == --* ]]; then
    local choices
    choices=$(_nixbuild_help "${command[@]}" |
      sed -nE "s/^  $previous ([a-z]+(\|[a-z]+)+)( .*)?$/\1/p")
    if [[ -n $choices ]]; then
      mapfile -t COMPREPLY < <(compgen -W "${choices//|/ }" -- "$current")
      return
    fi
  fi
  mapfile -t COMPREPLY < <(compgen -W "$(_nixbuild_help_words "${command[@]}")" -- "$current")
}

complete -F _nixbuild nixbuild
