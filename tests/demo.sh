#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What `./dev demo` shows: an instance from its configuration to a filesystem on a block device, and away again.
# Wants VBD_PREFIX, the prefix of an installed vbd. Leaves nothing behind, also when it fails.
set -euo pipefail
vbd_bin=$VBD_PREFIX/bin/vbd
base=/var/lib
[ "$(id -u)" = 0 ] || base=${XDG_RUNTIME_DIR:-$HOME}
# Without root not every process can be looked at; nobody else knows of these images.
unused=()
[ "$(id -u)" = 0 ] || unused=(--assume-unused)
home=$(mktemp -d "$base/vbdkit-demo.XXXXXX")
chmod 755 "$home"
storage=$home/storage
mount_point=$home/mnt

clean_up() {
  local status=$?
  if mountpoint -q "$mount_point" 2>/dev/null; then umount "$mount_point" || true; fi
  if [ -d "$storage/instance2" ]; then
    vbd disk detach "$disk0" >/dev/null 2>&1 || true
    vbd instance remove "${unused[@]}" --yes instance2 >/dev/null 2>&1 || true
  fi
  rm -rf "$home"
  [ $status = 0 ] || echo "demo: failed" >&2
}
trap clean_up EXIT

vbd() { "$vbd_bin" --config "$home/vbdkit.yaml" "$@"; }
# Shows a command as one would type it, then runs it.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}
step() { printf '\n# %s\n' "$*"; }

cat >"$home/vbdkit.yaml" <<YAML
file_storage_dir: $storage
state_dir: $home/state
run_dir: $home/run
node: node1
YAML
mkdir "$storage" "$mount_point"
disk0="[FD_LOOP, FT_RAW, \"$storage/instance2/sda\"]"
disk1="[FD_LOOP, FT_RAW, \"$storage/instance2/sdb\"]"

step 'An instance with two disks; the drivers are found by the constants of its logical_ids'
show cat "$home/vbdkit.yaml"
show vbd instance add -t file:driver=loop --disk 0:size=5G --disk 1:size=10G --no-start instance2
show vbd instance info instance2

step "The guest's disk lines for Xen, old dialect (xm) and new (xl)"
qcow=$storage/instance2/demo.qcow2
vbd image create --filetype qcow "$qcow" 1G
for id in "$disk0" "[FD_BLKTAP, FT_RAW, \"$storage/instance2/sda\"]" "[FD_BLKTAP, FT_QCOW, \"$qcow\"]"; do
  for dialect in xm xl; do
    show vbd disk render "$id" --dialect $dialect --vdev sda1 --access w
  done
done
vbd image remove "${unused[@]}" --filetype qcow "$qcow"

if [ "$(id -u)" != 0 ] || [ ! -e /dev/loop-control ]; then
  printf '\n# skipped: attach, mkfs and mount need root and /dev/loop-control\n'
else
  step 'Disk 0 as a block device, with a filesystem made through it'
  node=$(vbd disk attach "$disk0")
  printf '\n$ vbd disk attach %s\n%s\n' "$disk0" "$node"
  show mkfs.ext4 -q "$node"
  show mount "$node" "$mount_point"
  show sh -c 'echo "written through the device" >"$1/hello"' sh "$mount_point"
  show umount "$mount_point"
  show vbd disk detach "$disk0"

  step 'Attached again, the file is there'
  show vbd disk mount "$disk0" "$mount_point" --read-only
  show cat "$mount_point/hello"
  [ "$(cat "$mount_point/hello")" = 'written through the device' ]
  show vbd disk umount "$disk0" "$mount_point"
  show vbd disk query "$disk0"
fi

step 'The plugins, and which driver can use which filetype'
show vbd plugin list
show vbd plugin matrix

step 'All of it removed'
show vbd instance remove "${unused[@]}" --yes instance2
[ ! -e "$storage/instance2" ]
show vbd instance list
