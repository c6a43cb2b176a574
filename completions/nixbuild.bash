# bash completion for nixbuild. Commands and flags are read from `nixbuild ... --help`, so that this
# file never tells another story than the program; repositories and builds come from the server.

# Reads the help of a command: _nixbuild_read_help PREVIOUS COMMAND... sets _nixbuild_words to its
# commands and flags, _nixbuild_arguments to the names of its arguments, _nixbuild_value to what the
# flag PREVIOUS is followed by.
_nixbuild_read_help() {
  local previous=$1 line section=''
  shift
  _nixbuild_words=() _nixbuild_arguments='' _nixbuild_value=''
  while IFS= read -r line; do
    case $line in
      'Options:' | 'Subcommands:' | 'Positionals:') section=$line ;;
      [!\ ]*) section= ;;
    esac
    # "  --flag VALUE", "  -f,--flag", "  command", "  ARGUMENT"; what it does stands further right.
    [[ $line =~ ^'  '((-[a-zA-Z]),)?([^\ ]+)(' '([^\ ]+))? ]] || continue
    case $section in
      'Positionals:') _nixbuild_arguments+=" ${BASH_REMATCH[3]}" ;;
      'Options:' | 'Subcommands:')
        _nixbuild_words+=("${BASH_REMATCH[3]}")
        if [[ -n $previous && ($previous == "${BASH_REMATCH[2]}" || $previous == "${BASH_REMATCH[3]}") ]]; then
          _nixbuild_value=${BASH_REMATCH[5]}
        fi ;;
    esac
  done < <("$@" --help 2>/dev/null)
}

# Offers those of the words $2... that begin with $1. They are not expanded: some are a server's.
_nixbuild_offer() {
  local current=$1 word
  shift
  for word; do
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done
}

# Offers what the server lists: repositories or builds.
_nixbuild_ask() {
  local kind=$1 current=$2 program=${line[0]} word
  local -a listed=()
  [[ ${program##*/} == nixbuild ]] || program=nixbuild
  while IFS=$'\t' read -r word _; do
    listed+=("$word")
  done < <("$program" complete "$kind" "${line[@]:1}" 2>/dev/null | grep -F $'\t')
  _nixbuild_offer "$current" "${listed[@]}"
  # Builds come newest first.
  compopt -o nosort 2>/dev/null
}

# Offers what stands for such a value: its name is that of the help.
_nixbuild_offer_value() {
  local value=$1 current=$2
  case $value in
    *REPO*ID*) _nixbuild_ask repositories "$current"; _nixbuild_ask builds "$current" ;;
    REPO) _nixbuild_ask repositories "$current" ;;
    ID) _nixbuild_ask builds "$current" ;;
    FILE) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    DIR) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    # A flag that takes one of a few words shows them: "--compression zstd|xz|none".
    [a-z]*'|'*)
      local -a choices
      IFS='|' read -ra choices <<<"$value"
      _nixbuild_offer "$current" "${choices[@]}" ;;
  esac
}

_nixbuild() {
  local current='' previous='' word text=${COMP_LINE:0:COMP_POINT}
  local _nixbuild_value _nixbuild_arguments
  # Not COMP_WORDS: there, HOST:PORT is three words.
  local -a line command _nixbuild_words
  COMPREPLY=()
  read -ra line <<<"$text"
  if [[ $text != *[[:space:]] ]]; then
    current=${line[-1]}
    unset 'line[-1]'
  fi
  # The commands on the line: words in front of the first flag.
  for word in "${line[@]}"; do
    [[ $word == -* ]] && break
    command+=("$word")
  done
  previous=${line[-1]}
  if [[ $current == --*=* ]]; then
    previous=${current%%=*} current=${current#*=}
  elif [[ $previous != -* ]]; then
    previous=
  fi
  _nixbuild_read_help "$previous" "${command[@]}"
  if [[ -n $_nixbuild_value ]]; then
    _nixbuild_offer_value "$_nixbuild_value" "$current"
    return
  fi
  if [[ $current != -* ]]; then
    for word in $_nixbuild_arguments; do
      _nixbuild_offer_value "$word" "$current"
    done
    [[ -z $_nixbuild_arguments ]] || return
  fi
  _nixbuild_offer "$current" "${_nixbuild_words[@]}"
}

complete -F _nixbuild nixbuild build-trigger build-status build-logs bootstrap-new-machine bt bs bl system-update
