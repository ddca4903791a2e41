#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What comes from outside is checked whole before it counts: reuse, adopt, register, import, attach and start."""

import os
import shutil
import struct

import support
from support import MiB
from test_instance_disks import Disks

CLUSTER = 65536


class Images(Disks):
    """qcow2 images with refcount 0 on a cluster that is used: a write elsewhere would overwrite earlier data."""

    TEMPLATE = "file:driver=blktap,filetype=qcow"

    def setUp(self):
        super().setUp()
        for program in ("qemu-img", "qemu-io"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")

    def image(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for words in (("qemu-img", "create", "-q", "-f", "qcow2", path, "16M"),
                      ("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 0 256k", path)):
            done = support.run(*words)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return path

    def set_refcount(self, path, value, which=-1):
        """Of the last cluster that is counted."""
        with open(path, "r+b") as f:
            f.seek(48)
            table, = struct.unpack(">Q", f.read(8))
            f.seek(table)
            block, = struct.unpack(">Q", f.read(8))
            f.seek(block)
            counts = struct.unpack(f">{CLUSTER // 2}H", f.read(CLUSTER))
            used = [i for i, count in enumerate(counts) if count]
            f.seek(block + 2 * (used[-1] if which < 0 else which))
            f.write(struct.pack(">H", value))
        return path

    def damaged(self, path):
        return self.set_refcount(self.image(path), 0)

    def leaking(self, path):
        self.image(path)
        with open(path, "r+b") as f:
            f.seek(0, os.SEEK_END)
            end = f.tell() // CLUSTER
            f.truncate((end + 1) * CLUSTER)
        return self.set_refcount(path, 1, end)

    def refuses(self, path, *words):
        for more in (("--dry-run",), ()):
            before = self.images()
            error = self.fails(6, "image.damaged", *words, *more)
            self.assertIn(path, error)
            self.assertIn("qcow.refcount_too_low", error)
            self.assertEqual(self.images(), before)

    def images(self):
        """All of the storage but lock files, which a refused attach may leave."""
        return {name: seen for name, seen in self.snapshot(self.storage).items() if not name.endswith(".vbdkit.lock")}

    def qemu_check(self, path):
        return support.run("qemu-img", "check", "-f", "qcow2", path).returncode


class Vetting(Images):
    def test_reuse_of_a_damaged_qcow2(self):
        path = self.damaged(self.path("sda"))
        words = ("instance", "add", "-t", self.TEMPLATE + ",reuse", "--no-start", "inst")
        self.refuses("sda", *words)
        plan = self.vbd(*words, "--repair", "--dry-run").stdout
        self.assertIn("repair the images that are taken", plan)
        self.assertEqual(self.qemu_check(path), 2)
        self.vbd(*words, "--repair")
        self.assertEqual(self.qemu_check(path), 0)

    def test_reuse_unchecked(self):
        path = self.damaged(self.path("sda"))
        self.vbd("instance", "add", "-t", self.TEMPLATE + ",reuse", "--no-start", "--unchecked", "inst")
        self.assertEqual(self.qemu_check(path), 2)
        attach = ("disk", "attach", "--dry-run", self.logical_id(path, "FT_QCOW", "FD_BLKTAP"))
        self.vbd(*attach)  # the operator has said it of this image
        os.utime(path)
        self.fails(6, "image.damaged", *attach)  # but not of what others make of it

    def test_adopt(self):
        path = self.damaged(os.path.join(self.storage, "other.qcow2"))
        words = ("instance", "add", "-t", self.TEMPLATE, "--disk", f"0:adopt={path}", "--no-start", "inst")
        self.refuses(path, *words)
        self.vbd(*words, "--repair")
        self.assertEqual(self.qemu_check(self.path("sda")), 0)
        other = self.damaged(os.path.join(self.storage, "another.qcow2"))
        words = ("instance", "modify", "--disk", f"add:adopt={other}", "inst")
        self.refuses(other, *words)
        self.vbd(*words, "--unchecked")
        self.assertEqual(self.qemu_check(self.path("sdb")), 2)

    def test_register(self):
        self.add("0:size=16M", template=self.TEMPLATE)
        shutil.copytree(os.path.join(self.storage, "inst"), os.path.join(self.storage, "copy"))
        path = self.damaged(self.path("sda", "copy"))
        words = ("instance", "register", "--as", "copy", os.path.join(self.storage, "copy"))
        self.refuses(path, *words)
        self.vbd(*words, "--repair")
        self.assertEqual(self.qemu_check(path), 0)

    def test_import_of_images(self):
        self.write_config(f"export_dir: {self.dir}/export\n")
        os.mkdir(os.path.join(self.dir, "export"), 0o755)
        self.add("0:size=16M", template=self.TEMPLATE)
        path = self.path("sda")
        for words in (("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 0 256k", path),):
            self.assertEqual(support.run(*words).returncode, 0)
        self.set_refcount(path, 0)
        self.vbd("backup", "export", "--mode", "image", "inst")
        self.vbd("instance", "remove", "--yes", "inst")
        words = ("backup", "import", "inst")
        before = self.snapshot(self.storage)
        self.fails(6, "image.damaged", *words)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd(*words, "--repair")
        self.assertEqual(self.qemu_check(path), 0)

    def test_attach_of_a_bare_image(self):
        path = self.damaged(os.path.join(self.storage, "bare.qcow2"))
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        self.refuses(path, "disk", "attach", disk)
        self.fails(2, "usage.value", "disk", "attach", "--repair", "--unchecked", disk)
        warned = self.vbd("disk", "attach", "--dry-run", "--repair", disk)
        self.assertIn("would be repaired", warned.stderr)
        self.assertEqual(self.qemu_check(path), 2)

    def test_leaks_are_only_a_warning(self):
        path = self.leaking(os.path.join(self.storage, "bare.qcow2"))
        self.assertEqual(self.qemu_check(path), 3)
        done = self.vbd("disk", "attach", "--dry-run", self.logical_id(path, "FT_QCOW", "FD_BLKTAP"))
        self.assertIn("lost clusters", done.stderr)

    def test_notes_of_others_do_not_count(self):
        path = self.damaged(self.path("sda"))
        self.vbd("instance", "add", "-t", self.TEMPLATE + ",reuse", "--no-start", "--unchecked", "inst")
        attach = ("disk", "attach", "--dry-run", self.logical_id(path, "FT_QCOW", "FD_BLKTAP"))
        self.vbd(*attach)
        os.chmod(os.path.join(self.state, "checked"), 0o777)
        self.fails(6, "image.damaged", *attach)


class Attached(Images):
    needs_loops = True

    def setUp(self):
        super().setUp()
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs qemu-storage-daemon and /dev/fuse")

    def test_repair_at_attach_and_remembered_after_detach(self):
        path = self.damaged(os.path.join(self.storage, "bare.qcow2"))
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        node = self.vbd("disk", "attach", "--repair", disk).stdout.strip()
        self.assertEqual(self.vbd("disk", "attach", disk).stdout.strip(), node)
        with open(node, "r+b", buffering=0) as device:
            device.write(b"x" * 4096)
            os.fsync(device.fileno())
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.qemu_check(path), 0)
        notes = os.path.join(self.state, "checked")
        with open(os.path.join(notes, os.listdir(notes)[0])) as f:
            self.assertIn(path, f.read())
        noted = self.snapshot(self.state)
        self.vbd("disk", "attach", "--dry-run", disk)
        self.assertEqual(self.snapshot(self.state), noted)
        self.set_refcount(path, 0)  # while nobody of ours had it
        self.refuses(path, "disk", "attach", disk)

    def test_changed_by_others(self):
        self.add("0:size=16M", template=self.TEMPLATE)
        path = self.path("sda")
        self.vbd("instance", "activate-disks", "inst")
        self.vbd("instance", "deactivate-disks", "inst")
        self.assertEqual(support.run("qemu-io", "-f", "qcow2", "-c", "write 0 256k", path).returncode, 0)
        self.set_refcount(path, 0)
        for more in (("--dry-run",), ()):
            self.fails(6, "image.damaged", "instance", "activate-disks", "inst", *more)
        self.vbd("instance", "activate-disks", "--unchecked", "inst")
        self.vbd("instance", "deactivate-disks", "inst")
        self.vbd("instance", "activate-disks", "inst")  # said once
        self.vbd("instance", "deactivate-disks", "inst")
        self.vbd("instance", "activate-disks", "inst", "--repair")
        self.vbd("instance", "deactivate-disks", "inst")


del Disks  # its tests run elsewhere

if __name__ == "__main__":
    support.main()
