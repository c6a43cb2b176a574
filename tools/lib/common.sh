# Shell functions that the commands in tools/ share. Source it from bash; it sets `source_dir`,
# `build_root` and `python`, and changes nothing else.
# shellcheck shell=bash

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_root=${NIXBUILD_BUILD_ROOT:-$source_dir/build}

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
fi

heading() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '    %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# The packages of the given groups of tools/lib/packages, one a line, alternatives decided.
packages_of() {
  local group line word choice
  for group in "$@"; do
    while read -r line; do
      for word in ${line#*:}; do
        for choice in ${word//|/ }; do
          if [[ $word != *'|'* ]] || package_known "$choice"; then
            echo "$choice"
            continue 2
          fi
        done
        echo "${word%%|*}"
      done
    done < <(grep "^$group:" "$source_dir/tools/lib/packages")
  done | sort -u
}

package_known() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

package_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing_of() {
  local package
  packages_of "$@" | while read -r package; do
    package_installed "$package" || echo "$package"
  done
}

# Makes sure that the packages of these groups are there: installs them as root, otherwise prints
# the command that does and exits 2. A system without apt is taken to have them.
need_packages() {
  command -v apt-get >/dev/null || return 0
  local missing
  mapfile -t missing < <(missing_of "$@")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    {
      echo "Packages are missing. Install them with"
      echo
      echo "  sudo apt-get install --no-install-recommends ${missing[*]}"
    } >&2
    exit 2
  fi
  heading "install ${missing[*]}"
  # Which of several alternatives exists is known only once there are package lists.
  apt-get update -q || say "apt-get update failed; going on with the lists that are there"
  mapfile -t missing < <(missing_of "$@")
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" \
    </dev/null || die "apt-get could not install: ${missing[*]}"
}

# The name of a tool of LLVM, 16 where it is there: llvm_tool clang++ → clang++-16.
llvm_tool() {
  local version
  for version in 16 18 19 17; do
    if command -v "$1-$version" >/dev/null; then
      echo "$1-$version"
      return 0
    fi
  done
  return 1
}

# Debian's python3 even where another one comes first in PATH: pytest and PyNaCl are its packages.
python=python3
# shellcheck disable=SC2034 # for those who source this
if [[ -x /usr/bin/python3 ]]; then python=/usr/bin/python3; fi

# configure NAME COMPILER OPTION…: sets up $build_root/NAME, anew where the options have changed.
# COMPILER is that of C++, or `default`.
configure() {
  local directory=$build_root/$1 compiler=$2 recorded
  shift 2
  recorded="$compiler $*"
  if [[ ! -f $directory/build.ninja || $(cat "$directory/configured" 2>/dev/null) != "$recorded" ]]; then
    rm -rf "$directory"
    mkdir -p "$build_root"
    (
      if [[ $compiler != default ]]; then
        export CXX=$compiler CC=${compiler/clang++/clang}
        if command -v ccache >/dev/null; then export CXX="ccache $CXX" CC="ccache $CC"; fi
      fi
      cd "$source_dir" && meson setup "$directory" "$@"
    ) >"$build_root/${directory##*/}.setup.log" 2>&1 || {
      cat "$build_root/${directory##*/}.setup.log"
      return 1
    }
    echo "$recorded" >"$directory/configured"
  fi
}

# compile NAME [TARGET…]: builds in $build_root/NAME; shows the compiler's output where it fails or
# warns.
compile() {
  local name=$1 started=$SECONDS log
  shift
  log=$build_root/$name.compile.log
  if ! CCACHE_BASEDIR=${CCACHE_BASEDIR:-$source_dir} CCACHE_NOHASHDIR=1 \
    ninja -C "$build_root/$name" "$@" >"$log" 2>&1 </dev/null; then
    tail -n 200 "$log"
    say "the build failed; all of its output is in $log"
    return 1
  fi
  if grep -q 'warning:' "$log"; then
    grep -A 3 'warning:' "$log"
  fi
  say "built $build_root/$name in $((SECONDS - started)) s"
}

# Options that every build has; the commands in tools/ share $build_root/release. Warnings are errors
# in CI only: elsewhere a newer compiler's new warning should not keep anyone from building.
common_options=(-Dserver=enabled -Dtests=enabled)
if [[ ${CI:-} == true ]]; then common_options+=(--werror); fi

# Makes sure of build/release/src/cli/nixbuild, and of the packages for it and of the further groups
# given. Sets `program` to its path. NIXBUILD_BINARY names one that is built already.
build_program() {
  need_packages build "$@"
  if [[ -n ${NIXBUILD_BINARY:-} ]]; then
    program=$(realpath -e "$NIXBUILD_BINARY") || die "NIXBUILD_BINARY: no such program"
    return 0
  fi
  # shellcheck disable=SC2034 # for the caller
  program=$build_root/release/src/cli/nixbuild
  heading "build"
  configure release default "${common_options[@]}" || die "the build could not be set up"
  compile release src/cli/nixbuild || die "the build failed"
}
