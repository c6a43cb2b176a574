# Shell functions that the commands in tools/ share. Source it from bash; it sets `source_dir`,
# `build_root`, `cache_root` and `python`, and changes nothing else.
# shellcheck shell=bash

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_root=${NIXBUILD_BUILD_ROOT:-$source_dir/build}

# What is kept from run to run: root directories, tools, results.
# shellcheck disable=SC2034 # for those who source this
if ((EUID == 0)); then
  cache_root=/var/cache/nixbuild
else
  cache_root=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nixbuild
fi

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

# packages_of GROUP…: the packages of these groups of tools/lib/packages, one a line. Alternatives
# are resolved by what apt offers here or, if `apt_root` is set, in that root directory.
packages_of() {
  local group line word choice
  for group in "$@"; do
    while read -r line; do
      for word in ${line#*:}; do
        if [[ $word =~ -[0-9]+\+ ]]; then
          lowest_version "$word"
          continue
        fi
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

# shellcheck disable=SC2154 # set by those who need it
apt_cache() { ${apt_root:+chroot "$apt_root"} apt-cache "$@" 2>/dev/null; }

# For a purely virtual package `apt-cache show` prints nothing and still exits 0.
package_known() { [[ -n $(apt_cache show --no-all-versions "$1") ]]; }

# lowest_version clang-16+: clang-16, or the lowest later version that apt offers.
lowest_version() {
  local prefix suffix least found
  [[ $1 =~ ^(.*-)([0-9]+)\+(.*)$ ]] || die "tools/lib/packages: cannot read $1"
  prefix=${BASH_REMATCH[1]} least=${BASH_REMATCH[2]} suffix=${BASH_REMATCH[3]}
  found=$(apt_cache search --names-only "^${prefix}[0-9]+$suffix\$" |
    sed -nE "s/^$prefix([0-9]+)$suffix .*/\1/p" | sort -n |
    while read -r version; do ((version < least)) || echo "$version"; done | head -n 1)
  echo "$prefix${found:-$least}$suffix"
}

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

# llvm_tool NAME: the installed version of a tool of LLVM, the lowest from 16 on if there are several
# (clang++ → clang++-16), or NAME itself if only an unversioned one of 16 or newer is installed.
llvm_tool() {
  local tool version
  for tool in $(compgen -c "$1-" | sort -uV); do
    version=${tool#"$1-"}
    if [[ $version =~ ^[0-9]+$ ]] && ((version >= 16)); then
      echo "$tool"
      return 0
    fi
  done
  if [[ $("$1" --version 2>/dev/null) =~ version\ ([0-9]+) ]] && ((BASH_REMATCH[1] >= 16)); then
    echo "$1"
    return 0
  fi
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

# Options that every build has: these builds are made from scratch, seldom from a few changes. The commands in tools/ share $build_root/release. Warnings are errors
# in CI only: elsewhere a newer compiler's new warning should not keep anyone from building.
common_options=(-Dserver=enabled -Dtests=enabled -Dcombine_sources=enabled)
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
