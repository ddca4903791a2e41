#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The disks of an instance that is there: grown, activated, changed, adopted."""

import os
import subprocess

import support
from support import GiB, MiB, Sandbox


class Disks(Sandbox):
    def add(self, *disks, template="file:driver=loop", name="inst"):
        words = [word for disk in disks for word in ("--disk", disk)]
        self.vbd("instance", "add", "-t", template, *words, "--no-start", name)

    def path(self, file, name="inst"):
        return os.path.join(self.storage, name, file)

    def disks(self, name="inst"):
        return self.vbd_json("instance", "info", name)["disks"]

    def sizes(self):
        return [d["size"] for d in self.disks()]


class Grow(Disks):
    def test_raw_by_number_and_name(self):
        self.add("0:size=1M", "1:size=2M")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "1M").stdout, "instance inst: disk 0 grown\n")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "sdb", "1.5g").stdout, "instance inst: disk sdb grown\n")
        self.vbd("instance", "grow-disk", "inst", "disk/0", "4", "--absolute")
        self.assertEqual(self.sizes(), [4 * MiB, 2 * MiB + 3 * GiB // 2])
        self.assertEqual([os.stat(self.path(f)).st_size for f in ("sda", "sdb")], self.sizes())
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "4M", "--absolute").stdout,
                         "instance inst: disk 0 has that size\n")

    def test_plan(self):
        self.add("0:size=1M")
        before = self.snapshot()
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "1G", "--dry-run").stdout,
                         f"grow {self.path('sda')} (FT_RAW) from 1048576 to 1074790400 bytes\n")
        self.assertEqual(self.snapshot(), before)
        done = self.vbd_json("instance", "grow-disk", "inst", "0", "1G")
        self.assertEqual(done, {"schema": "vbdkit.plan/1", "dry_run": False,
                                "steps": [f"grow {self.path('sda')} (FT_RAW) from 1048576 to 1074790400 bytes"]})

    def test_qcow_keeps_its_data(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        self.add("0:size=64M", template="file:driver=blktap,filetype=qcow")
        image = self.path("sda")
        wrote = support.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 128k", image)
        self.assertEqual(wrote.returncode, 0, wrote.stderr)
        self.vbd("instance", "grow-disk", "inst", "0", "10G")
        self.assertEqual(self.sizes(), [10 * GiB + 64 * MiB])
        check = support.run("qemu-img", "check", "-f", "qcow2", image)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        read = support.run("qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 1M 128k", "-c", "read -P 0 10G 64M", image)
        self.assertEqual(read.returncode, 0, read.stdout + read.stderr)
        self.assertNotIn("failed", read.stdout)

    def test_attached_loop_device_shows_it(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        self.add("0:size=1M")
        node = self.vbd("disk", "attach", self.logical_id(self.path("sda"))).stdout.strip()
        plan = self.vbd("instance", "grow-disk", "inst", "0", "7M", "--dry-run").stdout
        self.assertEqual(plan, f"grow {self.path('sda')} (FT_RAW) from 1048576 to 8388608 bytes\n"
                               f"let the device of {self.path('sda')} show it\n")
        with open(node, "rb") as device:  # also while somebody has it open
            self.vbd("instance", "grow-disk", "inst", "0", "7M")
            self.assertEqual(device.seek(0, os.SEEK_END), 8 * MiB)
        self.assertEqual(self.sizes(), [8 * MiB])
        self.vbd("disk", "detach", self.logical_id(self.path("sda")))

    def test_attached_qcow_is_refused(self):
        if not support.can_make_loops() or not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs root, loop devices, qemu-storage-daemon and /dev/fuse")
        self.add("0:size=4M", template="file:driver=blktap,filetype=qcow")
        disk = self.logical_id(self.path("sda"), "FT_QCOW", "FD_BLKTAP")
        self.vbd("disk", "attach", disk)
        before = self.snapshot(self.storage)
        error = self.fails(4, "instance.grow_attached", "instance", "grow-disk", "inst", "0", "1M")
        self.assertIn("FD_BLKTAP can't let its device grow", error)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd("disk", "detach", disk)
        self.vbd("instance", "grow-disk", "inst", "0", "1M")

    def test_in_use_by_another_program(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        self.add("0:size=1M")
        holder = subprocess.Popen(["qemu-io", "-f", "raw", self.path("sda")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.read(1)  # its prompt: the image is open and locked
            before = self.snapshot(self.storage)
            self.fails(4, "image.in_use", "instance", "grow-disk", "inst", "0", "1M")
            self.assertEqual(self.snapshot(self.storage), before)
        finally:
            holder.communicate(b"quit\n")

    def test_refused(self):
        self.add("0:size=2M")
        before = self.snapshot(self.storage)
        for rc, error, words in (
            (2, "usage.size", ("0", "0")), (2, "usage.size", ("0", "x")), (2, "usage.size", ("0", "100b")),
            (2, "usage.size", ("0", "8388608t")), (2, "usage.size", ("0", "-1")),
            (2, "instance.would_shrink", ("0", "1M", "--absolute")), (2, "usage.size", ("0", "0", "--absolute")),
            (3, "instance.no_disk", ("1", "1M")), (3, "instance.no_disk", ("sdb", "1M")), (3, "instance.no_disk", ("", "1M")),
            (3, "instance.no_disk", ("99999999999999999999", "1M")),
        ):
            with self.subTest(words):
                self.fails(rc, error, "instance", "grow-disk", "inst", *words)
                self.assertEqual(self.snapshot(self.storage), before)
        self.fails(3, "instance.not_found", "instance", "grow-disk", "nosuch", "0", "1M")

    def test_warns_below_min_free(self):
        self.add("0:size=1M")
        self.write_config("min_free: 8388607T\n")
        done = self.vbd("instance", "grow-disk", "inst", "0", "1M")
        self.assertIn("free on its filesystem, below min_free", done.stderr)
        self.assertEqual(self.sizes(), [2 * MiB])


class Activate(Disks):
    needs_loops = True

    def test_there_and_back(self):
        self.add("0:size=1M", "1:size=2M,mode=ro")
        out = self.vbd("instance", "activate-disks", "inst").stdout
        nodes = [line.split(":")[2] for line in out.splitlines()]
        self.assertEqual(out, "".join(f"node1:disk/{i}:{node}\n" for i, node in enumerate(nodes)))
        self.assertEqual(sorted(nodes), sorted(node for node, _ in self.our_loops()))
        self.assertEqual([d["device"] for d in self.disks()], nodes)
        self.assertEqual([support.run("blockdev", "--getro", node).stdout for node in nodes], ["0\n", "1\n"])
        self.assertEqual(self.vbd("instance", "activate-disks", "inst").stdout, out)  # again: the same
        active = self.vbd_json("instance", "activate-disks", "inst")
        self.assertEqual(active, {"schema": "vbdkit.activated/1", "name": "inst", "node": "node1", "disks": [
            {"index": i, "logical_id": ["FD_LOOP", "FT_RAW", self.path(f)], "device": nodes[i]}
            for i, f in enumerate(("sda", "sdb"))]})
        self.fails(4, "disk.held", "instance", "remove", "--yes", "inst")
        self.assertEqual(self.vbd("instance", "deactivate-disks", "inst", "--dry-run").stdout,
                         "".join(f"detach {self.path(f)} for instance:inst\n" for f in ("sdb", "sda")))
        self.assertEqual(len(self.our_loops()), 2)
        self.vbd("instance", "deactivate-disks", "inst")
        self.assert_nothing_left()
        self.vbd("instance", "deactivate-disks", "inst")  # nothing attached: fine

    def test_all_or_none(self):
        self.add("0:size=1M", "1:size=1M")
        taken = self.logical_id(self.path("sdb"))
        self.vbd("disk", "attach", taken)
        self.assertIn("cli", self.fails(4, "disk.held", "instance", "activate-disks", "inst"))
        self.assertEqual([path for _, path in self.our_loops()], [self.path("sdb")])
        warned = self.vbd("instance", "deactivate-disks", "inst")  # not its own: stays
        self.assertIn("stays attached for cli", warned.stderr)
        self.assertEqual(len(self.our_loops()), 1)
        self.vbd("disk", "detach", taken)

    def test_dry_run(self):
        self.add("0:size=1M")
        self.assertEqual(self.vbd("instance", "activate-disks", "inst", "--dry-run").stdout,
                         f"attach {self.path('sda')} for instance:inst\n")
        self.assert_nothing_left()

    def test_busy_is_refused(self):
        self.add("0:size=1M")
        node = self.vbd("instance", "activate-disks", "inst").stdout.strip().split(":")[2]
        with open(node, "rb"):
            self.fails(4, "disk.busy", "instance", "deactivate-disks", "inst")
        self.vbd("instance", "deactivate-disks", "inst")
        self.assert_nothing_left()


class Refused(Disks):
    def test_replace_disks(self):
        self.add("0:size=1M")
        error = self.fails(5, "instance.no_mirror", "instance", "replace-disks", "-p", "inst")
        self.assertEqual(error, "vbd: error[instance.no_mirror]: instance inst: there is nothing to replace its disks from: "
                                "each is one file, and no other copy is kept")
        self.fails(3, "instance.not_found", "instance", "replace-disks", "nosuch")


if __name__ == "__main__":
    support.main()
