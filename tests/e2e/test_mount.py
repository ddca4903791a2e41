#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mounting for backup tools: real filesystems with a journal that needs replay, through a loop device and through
qemu-storage-daemon: the files can be read and no byte of the image changes."""

import hashlib
import os
import shutil

import support
from support import MiB, Sandbox


class Mount(Sandbox):
    needs_loops = True

    def digest(self, path):
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def dirty(self, filesystem):
        """An image whose filesystem was cut off while it was mounted: a copy made before the unmount."""
        if not support.have("mkfs." + filesystem):
            support.skip(self.id(), f"needs mkfs.{filesystem}")
        source = os.path.join(self.dir, "source")
        with open(source, "wb") as f:
            f.truncate((320 if filesystem == "xfs" else 32) * MiB)
        self.assertEqual(support.run("mkfs." + filesystem, "-q", source).returncode, 0)
        folder = os.path.join(self.dir, "live")
        os.makedirs(folder, exist_ok=True)
        # The second file is in xfs's journal only, where a mount without replay does not look.
        for name in ("file", "later"):
            self.assertEqual(support.run("mount", "-o", "loop", source, folder).returncode, 0)
            with open(os.path.join(folder, name), "w") as f:
                f.write("in place")
            self.assertEqual(support.run("sync", "-f", folder).returncode, 0)
            if name == "file":
                self.assertEqual(support.run("umount", folder).returncode, 0)
        image = os.path.join(self.storage, "sda")
        shutil.copyfile(source, image)
        os.chmod(image, 0o600)
        self.assertEqual(support.run("umount", folder).returncode, 0)
        if filesystem == "ext4":
            self.assertIn("needs_recovery", support.run("/usr/sbin/dumpe2fs", "-h", image).stdout)
        return image

    def read_only(self, logical_id, image, sync_writes_in_place):
        before = self.digest(image)
        folder = os.path.join(self.dir, "backup")
        os.makedirs(folder, exist_ok=True)
        self.vbd("disk", "mount", logical_id, folder, "--read-only")
        with open("/proc/self/mounts") as f:
            options = next(line.split()[3] for line in f if line.split()[1] == folder).split(",")
        for option in ("ro", "nosuid", "nodev", "noexec"):
            self.assertIn(option, options)
        with open(os.path.join(folder, "file")) as f:
            self.assertEqual(f.read(), "in place")
        if not sync_writes_in_place:
            self.assertNotIn("later", os.listdir(folder))
        with self.assertRaises(OSError):
            open(os.path.join(folder, "new"), "w")
        self.vbd("disk", "umount", logical_id, folder)
        self.assert_nothing_left()
        self.assertEqual(self.digest(image), before)

    def through_loop(self, filesystem):
        image = self.dirty(filesystem)
        self.read_only(self.logical_id(image), image, filesystem == "ext4")

    def through_blktap(self, filesystem):
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse") or not support.have("qemu-img"):
            support.skip(self.id(), "needs qemu-storage-daemon, qemu-img and /dev/fuse")
        raw = self.dirty(filesystem)
        image = os.path.join(self.storage, "sdb")
        done = support.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
        self.assertEqual(done.returncode, 0, done.stderr)
        os.chmod(image, 0o600)
        self.read_only(self.logical_id(image, "FT_QCOW", "FD_BLKTAP"), image, filesystem == "ext4")

    def test_ext4_through_loop(self):
        self.through_loop("ext4")

    def test_xfs_through_loop(self):
        self.through_loop("xfs")

    def test_ext4_through_blktap(self):
        self.through_blktap("ext4")

    def test_xfs_through_blktap(self):
        self.through_blktap("xfs")

    def test_partition(self):
        if not support.have("sfdisk") or not support.have("mkfs.ext4"):
            support.skip(self.id(), "needs sfdisk and mkfs.ext4")
        image = os.path.join(self.storage, "sda")
        part = os.path.join(self.dir, "part")
        with open(part, "wb") as f:
            f.truncate(16 * MiB)
        self.assertEqual(support.run("mkfs.ext4", "-q", "-L", "second", part).returncode, 0)
        with open(image, "wb") as f:
            f.truncate(32 * MiB)
        done = support.subprocess.run(["/usr/sbin/sfdisk", "-q", image], input="label: dos\nstart=2048, size=8192\nstart=10240, size=32768\n",
                                      text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(image, "r+b") as f, open(part, "rb") as source:
            f.seek(10240 * 512)
            f.write(source.read())
        os.chmod(image, 0o600)
        before = self.digest(image)
        folder = os.path.join(self.dir, "backup")
        os.mkdir(folder)
        self.vbd("disk", "mount", self.logical_id(image), folder, "--partition", "2", "--read-only")
        self.assertEqual(os.listdir(folder), ["lost+found"])
        self.vbd("disk", "umount", self.logical_id(image), folder)
        self.assert_nothing_left()
        self.assertEqual(self.digest(image), before)


if __name__ == "__main__":
    support.main()
