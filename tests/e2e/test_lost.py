#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes that did not reach the image: a device on a filesystem without room. Nobody who wrote was told, for nobody
flushed; whoever takes the device away is."""

import ctypes
import fcntl
import os
import shutil
import stat

import support
from support import MiB
from test_live import GUEST_PROFILE, GUEST_SCRIPT


class FullStorage(support.Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        made = support.run("mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", self.storage)
        self.assertEqual(made.returncode, 0, made.stderr)

    def lost(self, *words):
        error = self.fails(1, "disk.lost_writes", *words)
        self.assertIn("not all that was written ", error)
        self.assertIn(self.storage, error)
        return error

    def write(self, path, length):
        """Without a flush, as dd does."""
        with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as f:
            for _ in range(length // MiB):
                f.write(b"x" * MiB)

    def write_lost(self, path):
        """More than there is room for."""
        self.write(path, 16 * MiB)
        with open(path, "rb") as f:
            # Written back without a question for errors, which the kernel answers once.
            if stat.S_ISBLK(os.fstat(f.fileno()).st_mode):
                fcntl.ioctl(f, 0x1261)  # BLKFLSBUF
            else:
                ctypes.CDLL(None).sync_file_range(f.fileno(), ctypes.c_long(0), ctypes.c_long(0), 7)


class LostWrites(FullStorage):
    def create(self, filetype="FT_RAW", driver="FD_LOOP", size="64M"):
        path = os.path.join(self.storage, "disk")
        self.vbd("image", "create", "--filetype", filetype, path, size)
        return self.logical_id(path, filetype, driver)

    def state_of(self, disk):
        return self.vbd_json("disk", "query", disk)["state"]

    def check_detach(self, filetype, driver):
        disk = self.create(filetype, driver)
        self.write_lost(self.vbd("disk", "attach", disk).stdout.strip())
        self.lost("disk", "detach", disk)
        self.assertEqual(self.state_of(disk), "detached")
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.our_loops() + self.our_processes(), [])
        # The next use of the image, perhaps on the same node, has nothing to do with it.
        os.unlink(os.path.join(self.storage, "disk"))
        disk = self.create(filetype, driver)
        self.write(self.vbd("disk", "attach", disk).stdout.strip(), 2 * MiB)
        self.vbd("disk", "detach", disk)

    def test_detach_of_a_loop_device_says_what_was_lost(self):
        self.check_detach("FT_RAW", "FD_LOOP")

    def test_detach_from_the_storage_daemon_says_what_was_lost(self):
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs qemu-storage-daemon and /dev/fuse")
        self.check_detach("FT_QCOW", "FD_BLKTAP")

    def test_umount_says_what_was_lost(self):
        if not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"):
            support.skip(self.id(), "needs mkfs.ext4")
        disk, target = self.create(), os.path.join(self.dir, "mnt")
        os.mkdir(target)
        made = support.run("mkfs.ext4", "-q", "-O", "^has_journal", os.path.join(self.storage, "disk"))
        self.assertEqual(made.returncode, 0, made.stderr)
        self.vbd("disk", "mount", disk, target)
        self.write_lost(os.path.join(target, "file"))
        self.lost("disk", "umount", disk, target)
        self.assertEqual(self.state_of(disk), "detached")
        self.assertFalse(os.path.ismount(target))
        self.assertEqual(self.our_loops(), [])


class LostWritesOfInstances(FullStorage):
    def setUp(self):
        super().setUp()
        script = os.path.join(self.dir, "guest.py")
        with open(script, "w") as f:
            f.write(GUEST_SCRIPT)
        os.chmod(script, 0o755)
        profile = os.path.join(self.dir, "mine.yaml")
        with open(profile, "w") as f:
            f.write(GUEST_PROFILE.replace("%s", script))
        self.write_config(f"hypervisor: {profile}\n")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=64M", "--disk", "1:size=1M", "--no-start",
                 "web1")

    def write_disk(self):
        self.write_lost(self.vbd_json("instance", "info", "web1")["disks"][0]["device"])

    def test_deactivate_disks_says_what_was_lost(self):
        self.vbd("instance", "activate-disks", "web1")
        self.write_disk()
        self.lost("instance", "deactivate-disks", "web1")
        self.assertEqual(self.our_loops(), [])
        self.vbd("instance", "deactivate-disks", "web1")

    def test_stop_says_what_was_lost_and_the_instance_is_stopped(self):
        self.vbd("instance", "start", "web1")
        self.write_disk()
        self.assertIn("instance web1: stopped, but ", self.lost("instance", "stop", "web1"))
        self.assertEqual(self.our_loops() + self.our_processes(), [])
        info = self.vbd_json("instance", "info", "web1")
        self.assertEqual((info["state"], info["disks"][0]["device"]), ("stopped", None))
        self.assertEqual(self.vbd("instance", "stop", "web1").stdout, "instance web1: stopped already\n")
        self.vbd("instance", "remove", "--yes", "web1")


if __name__ == "__main__":
    support.main()
