#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instances on FUSE: a file that is removed while it is open stays under a hidden name until it is closed, as on
NFS."""

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


if __name__ == "__main__":
    support.main()
