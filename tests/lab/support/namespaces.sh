# Shared by tests/lab/run and tests/lab/soak: checks whether the lab can run here, and makes the
# namespaces that it runs in. Source it from bash.
# shellcheck shell=bash source-path=SCRIPTDIR source=../../../tools/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../tools/lib/common.sh"

skip() {
  echo "lab skipped: $1"
  exit 77
}

# Everything below runs in these namespaces: however the command ends, the kernel ends each process in
# them and removes their mounts and networks.
inside=(unshare --mount --net --pid --ipc --uts --cgroup --fork --mount-proc --kill-child
  --propagation private --)

check_kernel() {
  local error
  if ! error=$("${inside[@]}" true 2>&1); then
    skip "namespaces cannot be made here: $error"
  fi
  # shellcheck disable=SC2016 # for the inner shell
  if ! error=$("${inside[@]}" sh -ec '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/lower /mnt/upper /mnt/work
    mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt
    ip link add lab0 type bridge
    ip link add lab1 type veth peer name lab2' 2>&1); then
    skip "no cgroup2, overlay file system, bridge or veth here: $error"
  fi
}

# in_lab [--release RELEASE] ARGUMENT…: runs Python with these arguments in tests/lab, where the machines
# can boot that release of Debian. NIXBUILD_LAB_DIRECTORY is the directory of their disks,
# NIXBUILD_LAB_LAYERS what they share.
in_lab() {
  local release=trixie
  if [[ ${1:-} == --release ]]; then
    release=${2:-}
    shift 2
  fi
  ((EUID == 0)) || skip "it needs root"
  command -v apt-get >/dev/null || skip "it needs Debian or Ubuntu, whose debootstrap makes the machines"
  need_packages lab
  check_kernel
  heading "what the machines boot ($release)"
  local started=$SECONDS status=0 directory layers
  layers=$("$source_dir/tests/lab/image" "$release") || status=$?
  if ((status == 75)); then skip "$release could not be installed"; fi
  ((status == 0)) || return "$status"
  say "$((SECONDS - started)) s"

  heading "the lab"
  directory=$(mktemp --directory /var/cache/nixbuild/lab/run.XXXXXX)
  # shellcheck disable=SC2016 # for the inner shell
  NIXBUILD_LAB_DIRECTORY=$directory NIXBUILD_LAB_LAYERS=${layers//$'\n'/:} "${inside[@]}" sh -ec '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /run/netns
    mount -t tmpfs tmpfs /run/netns
    ip link set lo up
    cd "$1"
    shift
    exec "$@"
  ' sh "$source_dir/tests/lab" "$python" -B "$@" </dev/null || status=$?
  if [[ -z ${NIXBUILD_LAB_KEEP:-} ]]; then rm -rf --one-file-system "$directory"; fi
  return "$status"
}
