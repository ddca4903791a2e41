#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An image that is no longer as large as its instance says: every verb that uses a disk refuses it."""

import os
import shutil
import tempfile

import support
from support import MiB
from test_instance_disks import Disks
from test_live import Live


class TooLarge(support.Sandbox):
    def test_a_size_over_2_to_63_is_no_internal_error(self):
        directory = tempfile.mkdtemp(prefix="vbdkit-test.", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "image")
        with open(path, "wb") as f:
            try:
                f.truncate(2**63 - 1)
            except OSError as e:
                support.skip(self.id(), f"no filesystem with so large files: {e}")
        for verb in ("info", "map", "digest"):
            with self.subTest(verb):
                error = self.fails(6, "image.bad_size", "image", verb, "--filetype", "raw", path)
                self.assertIn(str(2**63 - 1), error)


class Truncated(Disks):
    def cut(self):
        self.add("0:size=1M", "1:size=64M")
        os.truncate(self.path("sdb"), 32 * MiB)
        self.before = self.snapshot(self.storage)

    def is_refused(self, *words):
        with self.subTest(words):
            error = self.fails(6, "image.truncated", *words)
            self.assertIn(self.path("sdb"), error)
            self.assertIn(str(32 * MiB), error)
            self.assertIn(str(64 * MiB), error)
            self.assertEqual(self.snapshot(self.storage), self.before)
            if support.can_make_loops():
                self.assertEqual(self.our_loops(), [])

    def test_every_verb_refuses_a_truncated_disk(self):
        self.cut()
        disk = self.logical_id(self.path("sdb"))
        for words in (("instance", "grow-disk", "inst", "1", "8M"), ("instance", "grow-disk", "--absolute", "inst", "1", "72M"),
                      ("instance", "modify", "--disk", "1:mode=ro", "inst"), ("backup", "export", "--raw", "inst"),
                      ("backup", "export", "--mode", "image", "inst")):
            self.is_refused(*words)
            self.is_refused(*words, "--dry-run")
        if not support.can_make_loops():
            return
        target = os.path.join(self.dir, "mnt")
        os.mkdir(target)
        for words in (("disk", "attach", disk), ("disk", "attach", "--read-only", disk), ("disk", "mount", disk, target),
                      ("instance", "activate-disks", "inst")):
            self.is_refused(*words)
            self.is_refused(*words, "--dry-run")

    def test_hint_works(self):
        self.cut()
        done = self.vbd("instance", "grow-disk", "inst", "1", "8M", rc=6)
        self.assertIn("vbd instance modify --disk 1:size=actual inst", done.stderr)
        told = self.vbd("cluster", "verify", rc=1).stdout
        self.assertIn("its end is missing", told)
        plan = self.vbd("instance", "modify", "--disk", "1:size=actual", "inst", "--dry-run").stdout
        self.assertEqual(plan, f"take {self.path('sdb')} as it is: {32 * MiB} bytes, and no longer {64 * MiB}\n")
        self.assertEqual(self.snapshot(self.storage), self.before)
        self.vbd("instance", "modify", "--disk", "1:size=actual", "inst")
        self.assertEqual(self.sizes(), [MiB, 32 * MiB])
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        self.vbd("instance", "grow-disk", "inst", "1", "8M")
        self.assertEqual(self.sizes(), [MiB, 40 * MiB])

    def test_restored_is_as_before(self):
        self.cut()
        os.truncate(self.path("sdb"), 64 * MiB)
        self.vbd("instance", "grow-disk", "inst", "1", "8M")
        self.assertEqual(self.sizes(), [MiB, 72 * MiB])

    def test_truncated_disk_can_be_removed(self):
        self.cut()
        self.vbd("instance", "modify", "--yes", "--disk", "remove:1", "inst")
        self.vbd("instance", "remove", "--yes", "inst")

    def test_shrunk_qcow(self):
        if not support.have("qemu-img"):
            support.skip(self.id(), "needs qemu-img")
        self.add("0:size=64M", template="file:driver=blktap,filetype=qcow")
        done = support.run("qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", self.path("sda"), "32M")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.fails(6, "image.truncated", "instance", "grow-disk", "inst", "0", "8M")
        self.fails(6, "image.truncated", "disk", "attach", "--dry-run",
                   self.logical_id(self.path("sda"), "FT_QCOW", "FD_BLKTAP"))
        self.vbd("instance", "modify", "--disk", "0:size=actual", "inst")
        self.assertEqual(self.sizes(), [32 * MiB])


class Larger(Disks):
    """Grown by other hands: nothing is lost, and the image counts."""

    def test_grow_goes_on_from_what_is_there(self):
        self.add("0:size=1M")
        os.truncate(self.path("sda"), 4 * MiB)
        self.fails(2, "instance.would_shrink", "instance", "grow-disk", "--absolute", "inst", "0", "2M")
        plan = self.vbd("instance", "grow-disk", "--absolute", "inst", "0", "4M", "--dry-run").stdout
        self.assertEqual(plan, f"note that {self.path('sda')} has {4 * MiB} bytes\n")
        self.vbd("instance", "grow-disk", "inst", "0", "1M")
        self.assertEqual(self.sizes(), [5 * MiB])
        os.truncate(self.path("sda"), 8 * MiB)
        self.vbd("instance", "grow-disk", "--absolute", "inst", "0", "8M")
        self.assertEqual(self.sizes(), [8 * MiB])


class Device(Disks):
    needs_loops = True

    def test_attach_of_its_own_device_shows_the_size_of_today(self):
        self.add("0:size=1M")
        disk = self.logical_id(self.path("sda"))
        node = self.vbd("disk", "attach", disk).stdout
        self.assertEqual(self.vbd_json("disk", "query", disk)["size"], MiB)
        os.truncate(self.path("sda"), 4 * MiB)  # as a node that shares the storage grows it
        self.assertEqual(self.vbd_json("disk", "query", disk)["size"], MiB)
        self.assertEqual(self.vbd("disk", "attach", disk, "--dry-run").returncode, 0)
        self.assertEqual(self.vbd_json("disk", "query", disk)["size"], MiB)
        again = self.vbd_json("disk", "attach", disk)
        self.assertEqual((again["device"] + "\n", again["size"]), (node, 4 * MiB))
        with open(node.strip(), "rb") as device:
            self.assertEqual(device.seek(0, os.SEEK_END), 4 * MiB)
        self.vbd("disk", "detach", disk)

    def test_truncated_under_its_device(self):
        self.add("0:size=4M")
        disk = self.logical_id(self.path("sda"))
        self.vbd("disk", "attach", disk)
        os.truncate(self.path("sda"), MiB)
        self.fails(6, "image.truncated", "disk", "attach", disk)
        self.assertEqual(self.vbd_json("disk", "query", disk)["size"], 4 * MiB)  # and not cut as well
        self.fails(6, "image.truncated", "instance", "grow-disk", "inst", "0", "1M")
        os.truncate(self.path("sda"), 4 * MiB)
        self.vbd("disk", "detach", disk)


class Start(Live):
    def test_truncated_disk_is_not_started(self):
        self.add("inst", "--disk", "1:size=64M")
        os.truncate(os.path.join(self.storage, "inst", "sdb"), 32 * MiB)
        before = self.snapshot(self.storage)
        for more in (("--dry-run",), ()):
            self.fails(6, "image.truncated", "instance", "start", "inst", *more)
            self.assertEqual(self.snapshot(self.storage), before)
            self.assertEqual(self.our_loops(), [])


del Disks, Live  # theirs run elsewhere

if __name__ == "__main__":
    support.main()
