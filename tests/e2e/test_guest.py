#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real guest under QEMU: a Debian kernel with an initramfs of busybox that writes to its disks."""

import glob
import os
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
for disk in vda vdb; do
  echo "written by the guest to $disk" | busybox dd of=/dev/$disk bs=512 count=1 conv=sync,fsync 2>/dev/null
done
busybox sync
busybox grep -q mode=off /proc/cmdline && busybox poweroff -f
busybox sleep 100000
"""
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
        for name in ("bin", "proc", "dev"):
            os.makedirs(os.path.join(root, name))
        shutil.copy(shutil.which("busybox"), os.path.join(root, "bin", "busybox"))
        found = []
        for module in MODULES:
            for path in glob.glob(f"/lib/modules/{version}/kernel/drivers/*/{module}.ko"):
                shutil.copy(path, root)
                found.append(module + ".ko")
        with open(os.path.join(root, "init"), "w") as f:
            f.write(INIT % " ".join(found))
        os.chmod(os.path.join(root, "init"), 0o755)
        names = "\n".join(os.path.relpath(os.path.join(d, n), root) for d, ds, fs in os.walk(root) for n in ds + fs)
        initrd = os.path.join(self.dir, "initrd")
        with open(initrd, "wb") as f:
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), stdout=f, cwd=root, check=True)
        return initrd

    def add(self, mode):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=8M",
                 "--disk", "1:size=8M,filetype=qcow,driver=blktap", "-B", "memory=192", "-H", "accel=tcg", "--no-start", "-H",
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

    def first_bytes(self, name):
        path = os.path.join(self.storage, "guest1", name)
        if name == "sda":
            with open(path, "rb") as f:
                return f.read(64)
        raw = os.path.join(self.dir, "raw")
        done = support.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(raw, "rb") as f:
            content = f.read(64)
        os.unlink(raw)
        return content

    def test_guest_writes_and_powers_off(self):
        # TCG: a nested KVM that does not boot must not decide.
        self.add("off")
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.seen() == ("stopped", "the guest powered itself off"))
        self.vbd("instance", "stop", "guest1")
        self.assertEqual(self.seen(), ("stopped", None))
        for name, disk in (("sda", b"vda"), ("sdb", b"vdb")):
            self.assertTrue(self.first_bytes(name).startswith(b"written by the guest to " + disk + b"\n"), name)
        self.assert_nothing_left()

    def test_reboot_force_kill_and_start_all(self):
        self.add("stay")
        self.vbd("instance", "start", "guest1")
        self.wait_for(lambda: self.first_bytes("sda").startswith(b"written"))
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


if __name__ == "__main__":
    support.main()
