#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real guest under QEMU: a Debian kernel with an initramfs of busybox that writes to its disks."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time

import support
from support import MiB, Sandbox

INIT = """\
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
for m in %s; do busybox insmod /$m; done
busybox mount -t sysfs sys /sys
put() {  # DISK SECTOR: one sector from stdin
  busybox dd of=/dev/$1 bs=512 seek=$2 count=1 conv=sync,fsync 2>/dev/null
}
cd /sys/block
for disk in vd*; do echo "written by the guest to $disk" | put $disk 0; done
busybox sync
mode=$(busybox sed 's/.*mode=//' /proc/cmdline)
[ $mode = off ] && busybox poweroff -f
if [ $mode = fill ]; then
  busybox tr '\\000' x < /dev/zero | busybox dd of=/dev/vda bs=65536 seek=1 count=%d iflag=fullblock conv=fsync 2>/dev/null
  echo "filled $?" | put vdb 1
fi
while :; do
  for disk in vd*; do echo "sectors $(busybox cat $disk/size)" | put $disk 2; done
  busybox sleep 1
done
"""
FILLED = 384  # blocks of 64 KiB
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")


class Guest(Sandbox):
    needs_loops = True
    settings = "hypervisor: qemu\n"

    def setUp(self):
        super().setUp()
        for program in ("qemu-system-x86_64", "busybox", "cpio"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")
        kernels = sorted(glob.glob("/boot/vmlinuz-*"), key=lambda k: "cloud" not in k)
        if not kernels:
            support.skip(self.id(), "needs a kernel in /boot")
        self.kernel = kernels[0]
        self.initrd = self.make_initrd(os.path.basename(self.kernel).removeprefix("vmlinuz-"))

    def make_initrd(self, version):
        root = os.path.join(self.dir, "root")
        for name in ("bin", "proc", "dev", "sys"):
            os.makedirs(os.path.join(root, name))
        shutil.copy(shutil.which("busybox"), os.path.join(root, "bin", "busybox"))
        found = []
        for module in MODULES:
            for path in glob.glob(f"/lib/modules/{version}/kernel/drivers/*/{module}.ko"):
                shutil.copy(path, root)
                found.append(module + ".ko")
        with open(os.path.join(root, "init"), "w") as f:
            f.write(INIT % (" ".join(found), FILLED))
        os.chmod(os.path.join(root, "init"), 0o755)
        names = "\n".join(os.path.relpath(os.path.join(d, n), root) for d, ds, fs in os.walk(root) for n in ds + fs)
        initrd = os.path.join(self.dir, "initrd")
        with open(initrd, "wb") as f:
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), stdout=f, cwd=root, check=True)
        return initrd

    def add(self, mode, *disks):
        # TCG: a nested KVM that does not boot must not decide.
        disks = disks or ("size=8M", "size=8M,filetype=qcow,driver=blktap")
        self.vbd("instance", "add", "-t", "file:driver=loop",
                 *[word for i, disk in enumerate(disks) for word in ("--disk", f"{i}:{disk}")],
                 "-B", "memory=192", "-H", "accel=tcg", "--no-start", "-H",
                 f"kernel_path={self.kernel},initrd_path={self.initrd},kernel_args=console=ttyS0 mode={mode}", "guest1")

    def seen(self):
        entry = self.vbd_json("instance", "list")["instances"][0]
        return entry["state"], entry["reason"]

    def wait_for(self, what, seconds=90):
        deadline = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), deadline, self.seen())
            time.sleep(0.2)

    def qemus(self):
        found = []
        for pid in self.our_processes():
            try:
                if "qemu-system" in os.path.basename(os.readlink(f"/proc/{pid}/exe")):
                    found.append(pid)
            except OSError:
                pass  # ended in between
        return found

    def sector(self, name, number=0):
        """What the guest wrote there, as text without its padding."""
        path = os.path.join(self.storage, "guest1", name)
        with open(path, "rb") as f:
            raw = f.read(4) != b"QFI\xfb"
        if raw:
            with open(path, "rb") as f:
                f.seek(512 * number)
                return f.read(512).rstrip(b"\0").decode("latin-1")
        # --force-share: beside a running QEMU.
        done = support.run("qemu-io", "-r", "-U", "-f", "qcow2", "-c", f"read -v {512 * number} 64", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [line.split(":", 1)[1].strip()[:47] for line in done.stdout.splitlines() if re.match("[0-9a-f]{8}:", line)]
        return bytes.fromhex("".join(rows)).rstrip(b"\0").decode("latin-1")

    def test_guest_writes_and_powers_off(self):
        self.add("off")
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.seen() == ("stopped", "the guest powered itself off"))
        self.vbd("instance", "stop", "guest1")
        self.assertEqual(self.seen(), ("stopped", None))
        for name, disk in (("sda", "vda"), ("sdb", "vdb")):
            self.assertEqual(self.sector(name), f"written by the guest to {disk}\n")
        self.assert_nothing_left()

    def test_reboot_force_kill_and_start_all(self):
        self.add("stay")
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.sector("sda").startswith("written"))
        self.assertEqual(self.seen(), ("running", None))
        # The qcow image is opened by QEMU itself, which holds its lock.
        self.fails(4, "disk.held", "disk", "attach",
                   self.logical_id(os.path.join(self.storage, "guest1", "sdb"), "FT_QCOW", "FD_BLKTAP"))
        first = self.qemus()
        self.vbd("instance", "reboot", "--force", "guest1")
        self.assertEqual((self.qemus(), self.seen()), (first, ("running", None)))
        os.kill(first[0], signal.SIGKILL)
        self.wait_for(lambda: self.seen() == ("error", "should run, but has ended"), 10)
        self.assertEqual(self.vbd("instance", "start", "--all").stdout, "instance guest1: running\n")
        self.assertEqual(len(self.qemus()), 1)
        self.fails(1, "instance.still_running", "instance", "stop", "--timeout", "1", "guest1")
        self.assertEqual(self.seen(), ("running", None))
        self.vbd("instance", "stop", "--force", "guest1")
        self.assertEqual(self.seen(), ("stopped", None))
        self.assert_nothing_left()

    def test_grow_while_it_runs(self):
        """A loop device, and images that QEMU has opened itself: the guest sees the new size."""
        self.add("stay", "size=8M", "size=8M,filetype=qcow,driver=blktap", "size=8M,driver=blktap")
        self.vbd("instance", "start", "guest1")
        names = ("sda", "sdb", "sdc")
        for name in names:
            self.wait_for(lambda: self.sector(name, 2) == "sectors 16384\n")
        plan = self.vbd("instance", "grow-disk", "guest1", "0", "8M", "--dry-run").stdout.splitlines()
        self.assertEqual(plan[1:], [f"let the device of {self.storage}/guest1/sda show it",
                                    "let the guest see it, through qemu"])
        for name in names:
            self.assertEqual(self.vbd("instance", "grow-disk", "guest1", name, "8M").stdout,
                             f"instance guest1: disk {name} grown\n")
            self.wait_for(lambda: self.sector(name, 2) == "sectors 32768\n")
            self.vbd("instance", "grow-disk", "guest1", name, "16M", "--absolute")  # again: fine
        self.assertEqual([d["size"] for d in self.vbd_json("instance", "info", "guest1")["disks"]], [16 * MiB] * 3)
        self.fails(2, "instance.would_shrink", "instance", "grow-disk", "guest1", "sdb", "8M", "--absolute")
        self.vbd("instance", "stop", "--force", "guest1")
        for name in names:
            self.assertEqual(self.sector(name), f"written by the guest to vd{name[2]}\n")
        self.vbd("image", "check", "--filetype", "qcow", os.path.join(self.storage, "guest1", "sdb"))
        self.vbd("cluster", "verify")
        self.assert_nothing_left()

    def full(self, first):
        """The host's filesystem is full while the guest writes: it waits, and goes on when there is room."""
        if not support.have("mkfs.ext4"):
            support.skip(self.id(), "needs mkfs.ext4")
        host = self.mount_storage(40 * MiB, "mkfs.ext4", "-q", "-O", "^has_journal")
        filler = os.path.join(self.storage, "filler")
        with open(filler, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 20 * MiB)
        self.add("fill", first, "size=8M,driver=blktap")
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.seen()[0] == "error")
        paused = ("error", "paused by a write that failed (io-error): make room on the host, then start it to go on")
        self.assertEqual(self.seen(), paused)
        self.assertIn("make room on the host", self.vbd("instance", "list", "-o", "name,state,reason").stdout)
        self.assertEqual(self.vbd_json("instance", "list", "--state", "error")["instances"][0]["name"], "guest1")
        # Without room it waits again; nobody shuts it down by the way.
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.seen() == paused)
        self.assertIn("it can't shut down: paused", self.fails(1, "instance.still_running", "instance", "stop", "guest1"))
        self.assertEqual(self.sector("sdb", 1), "")
        os.unlink(filler)
        self.assertEqual(self.vbd("instance", "start", "guest1").stdout, "instance guest1: running\n")
        self.wait_for(lambda: self.sector("sdb", 1) == "filled 0\n")
        self.assertEqual(self.seen(), ("running", None))
        # A full host is a reason to end a guest: that works without a block of its own.
        with open(filler, "wb", buffering=0) as f:
            for _ in range(3):  # what was reserved and not needed comes back with each fsync
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * 1024)
                os.fsync(f.fileno())
        self.vbd("instance", "stop", "--force", "guest1")
        self.assertEqual((self.qemus(), self.seen()[0]), ([], "stopped"))
        os.unlink(filler)
        digest = hashlib.sha256(b"x" * (FILLED << 16)).hexdigest()
        raw = os.path.join(self.dir, "raw")
        filetype = "qcow" if "qcow" in first else "raw"
        self.vbd("image", "check", "--filetype", filetype, os.path.join(self.storage, "guest1", "sda"))
        self.vbd("image", "copy", "--filetype", filetype, os.path.join(self.storage, "guest1", "sda"), "--to", "filetype=raw", raw)
        with open(raw, "rb") as f:
            f.seek(65536)
            self.assertEqual(hashlib.sha256(f.read(FILLED << 16)).hexdigest(), digest)
        self.assertEqual([path for _, path in self.our_loops()], [host])
        self.assertEqual(self.our_processes(), [])

    def test_full_host_beneath_a_loop_device(self):
        self.full("size=32M")

    def test_full_host_beneath_a_qcow_image(self):
        self.full("size=32M,filetype=qcow,driver=blktap")


if __name__ == "__main__":
    support.main()
