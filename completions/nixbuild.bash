# bash completion for nixbuild. What can follow on the line is asked of `nixbuild complete`, so that
# this file cannot disagree with the program.

# Offers those of the words $2... that begin with $1. They are not expanded: some are a server's.
_nixbuild_offer() {
  local current=$1 word
  shift
  for word; do
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done
}

_nixbuild() {
  local current='' program word text=${COMP_LINE:0:COMP_POINT}
  # Not COMP_WORDS: there, HOST:PORT is three words.
  local -a line candidates=()
  COMPREPLY=()
  read -ra line <<<"$text"
  if [[ $text == *[[:space:]] ]]; then
    line+=('')
  else
    current=${line[-1]}
  fi
  program=${line[0]}
  [[ ${program##*/} == nixbuild ]] || program=nixbuild
  # A word, a tab, what it is.
  while IFS=$'\t' read -r word _; do
    candidates+=("$word")
  done < <("$program" complete -- "${line[@]}" 2>/dev/null | grep -e $'\t' -e '^:')
  if [[ $current == --*=* ]]; then current=${current#*=}; fi
  case ${candidates[0]} in
    :files) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    :directories) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    *)
      _nixbuild_offer "$current" "${candidates[@]}"
      # Builds come newest first.
      compopt -o nosort 2>/dev/null ;;
  esac
}

complete -F _nixbuild nixbuild build-trigger build-status build-logs bootstrap-new-machine bt bs bl system-update
