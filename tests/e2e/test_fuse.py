#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instances on FUSE: a file that is removed while it is open stays under a hidden name until it is closed, as on
NFS."""

import json
import os
import subprocess
import time

import support
from support import Sandbox


class OnFuse(Sandbox):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or not support.have("bindfs") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs root, bindfs and /dev/fuse")
        self.below = os.path.join(self.dir, "below")
        os.mkdir(self.below, 0o755)
        done = support.run("bindfs", self.below, self.storage)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.addCleanup(support.run, "umount", "-l", self.storage)

    def add(self, name="inst"):
        self.vbd("instance", "add", "-t", "file:", "--disk", "0:size=1M", "--no-start", name)

    def test_remove_leaves_no_directory(self):
        self.add()
        self.vbd("instance", "remove", "--yes", "inst")
        self.assertEqual(os.listdir(self.storage), [])
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")

    def test_a_failed_add_leaves_no_directory(self):
        self.vbd("instance", "add", "-t", "file:", "--disk", "0:size=1M", "-o", "nosuchos", "--no-start", "inst", rc=None)
        self.assertEqual(os.listdir(self.storage), [])

    def test_repair_removes_what_an_earlier_remove_left(self):
        left = os.path.join(self.storage, ".vbd-bb28078d-4426-4c35-8fdf-d1bb21565c72.tmp")
        os.mkdir(left)
        for name in (".vbdkit.lock", ".fuse_hidden0000000300000001"):
            open(os.path.join(left, name), "w").close()
        self.assertIn("directory of a killed run", self.vbd("cluster", "verify", rc=1).stdout)
        self.vbd("cluster", "verify", "--repair", rc=None)
        self.assertEqual(os.listdir(self.storage), [])

    def test_somebody_who_waits_for_the_lock_keeps_no_directory(self):
        self.add()
        holder = subprocess.Popen(["sh", "-c", 'exec 9<"$0"; echo; read x', f"{self.storage}/inst/.vbdkit.lock"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(holder.wait)
        holder.stdout.readline()
        remove = subprocess.Popen(self.argv("instance", "remove", "--yes", "inst"), env=self.environment())
        while os.path.exists(f"{self.storage}/inst"):
            time.sleep(0.01)
        holder.communicate(b"\n")  # it has the lock's file open a moment longer than the remove
        self.assertEqual(remove.wait(), 0)
        self.assertEqual(os.listdir(self.storage), [])


class ReadOnly(Sandbox):
    """Storage that can't be written to any more."""

    settings = ""

    def test_export_from_a_read_only_filesystem(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        self.write_config(f"export_dir: {self.dir}/export\n")
        self.mount_storage(64 << 20, "mkfs.ext4", "-q")
        self.addCleanup(support.run, "umount", self.storage)
        self.vbd("instance", "add", "-t", "file:", "--disk", "0:size=1M", "--no-start", "inst")
        with open(f"{self.storage}/inst/sda", "r+b") as f:
            f.write(b"data")
        self.assertEqual(support.run("mount", "-o", "remount,ro", self.storage).returncode, 0)
        self.vbd("backup", "export", "inst")
        with open(f"{self.dir}/export/inst/config.ini") as f:
            self.assertIn("disk0_dump", f.read())
        self.fails(1, "io.read_only_filesystem", "instance", "grow-disk", "inst", "0", "1M")


class VerifyAsks(Sandbox):
    needs_loops = True

    def test_attached_disks_keep_verify_no_second_each(self):
        disks = [word for i in range(4) for word in ("--disk", f"{i}:size=1M")]
        self.vbd("instance", "add", "-t", "file:", *disks, "--no-start", "inst")
        self.vbd("instance", "activate-disks", "inst")
        begin = time.monotonic()
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        alone = time.monotonic() - begin
        self.vbd("instance", "deactivate-disks", "inst")
        begin = time.monotonic()
        self.vbd("cluster", "verify")
        self.assertLess(alone, time.monotonic() - begin + 2)  # it was one second for each


class OldInode(Sandbox):
    """A new image with the inode number of an old one, as ext4 gives the lowest free one."""

    needs_loops = True

    def setUp(self):
        super().setUp()
        self.mount_storage(64 << 20, "mkfs.ext4", "-q")
        self.addCleanup(support.run, "umount", self.storage)

    def image(self, name):
        path = os.path.join(self.storage, name)
        with open(path, "wb") as f:
            f.truncate(1 << 20)
        return path, os.stat(path).st_ino

    def forget_file(self, path, change):
        """The record of an attachment whose device and image went without vbd."""
        node = self.vbd("disk", "attach", self.logical_id(path)).stdout.strip()
        self.assertEqual(support.run("losetup", "-d", node).returncode, 0)
        folder = os.path.join(self.run_dir, "attachments")
        [name] = [name for name in os.listdir(folder) if name.endswith(".json")]
        with open(os.path.join(folder, name)) as f:
            record = json.load(f)
        self.assertGreater(record["birth"], 0)
        record.update(change)
        with open(os.path.join(folder, name), "w") as f:
            json.dump(record, f)
        os.unlink(path)

    def again(self, change):
        path, inode = self.image("a")
        self.forget_file(path, change)
        for attempt in range(50):
            path, new = self.image(f"b{attempt}")
            if new == inode:
                return path
        support.skip(self.id(), "the filesystem does not give the number again")

    def check(self, change):
        path = self.again(change)
        self.assertIn("detached", self.vbd("disk", "query", self.logical_id(path)).stdout)
        node = self.vbd("disk", "attach", self.logical_id(path)).stdout.strip()
        self.assertTrue(os.path.exists(node))
        self.vbd("disk", "detach", self.logical_id(path))
        self.assertEqual([n for n in os.listdir(os.path.join(self.run_dir, "attachments")) if n.endswith(".json")], [])

    def test_of_a_device(self):
        self.check({})

    def test_of_a_guest_that_had_it_open_itself(self):
        self.check({"lent": True, "node": "", "holders": ["instance:gone"]})

    def test_verify_drops_the_record(self):
        path = self.again({"lent": True, "node": "", "holders": ["instance:gone"]})
        os.rename(path, os.path.join(self.storage, "a"))
        self.assertIn("another one has its inode now", self.vbd("cluster", "verify", rc=1).stdout)
        self.vbd("cluster", "verify", "--repair", rc=None)
        self.assertEqual([n for n in os.listdir(os.path.join(self.run_dir, "attachments")) if n.endswith(".json")], [])


if __name__ == "__main__":
    support.main()
