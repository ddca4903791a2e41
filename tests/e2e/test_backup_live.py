#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports of an instance that runs under a real QEMU (which has no guest to boot), from snapshots on xfs: held still
meanwhile, let go afterwards, also when the export failed or was killed."""

import json
import os
import random
import socket

import support
from support import MiB
from test_kill import CHANGES, Injected


class LiveGuest(Injected):
    EXPORT = ("backup", "export", "--live", "web1")

    def setUp(self):
        super().setUp()
        for program in ("qemu-system-x86_64", "mkfs.xfs"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")
        self.mount_storage(400 * MiB, "mkfs.xfs", "-q", "-m", "reflink=1")
        # The shipped profile, with one monitor more to listen at.
        profile = os.path.join(self.dir, "qemu.yaml")
        with open(os.path.join(support.PREFIX, "share", "vbdkit", "hypervisors", "qemu.yaml")) as f:
            text = f.read()
        self.assertIn('"{arguments}"]', text)
        with open(profile, "w") as f:
            f.write(text.replace('"{arguments}"]', f'-qmp, "unix:{self.dir}/events,server=on,wait=off", "{{arguments}}"]'))
        self.exports = os.path.join(self.dir, "export")
        self.write_config(f"export_dir: {self.exports}\nhypervisor: {profile}\n")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk",
                 "1:size=1M,driver=blktap,filetype=qcow", "-B", "memory=32", "-H", "accel=tcg", "--no-start", "web1")
        self.content = random.Random(3).randbytes(MiB)
        with open(os.path.join(self.storage, "web1", "sda"), "r+b") as f:
            f.write(self.content)
        self.vbd("instance", "start", "web1")
        self.addCleanup(self.vbd, "instance", "stop", "--force", "web1", rc=None)
        self.monitor = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.monitor.close)
        self.monitor.connect(os.path.join(self.dir, "events"))
        self.lines = self.monitor.makefile("rw")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command):
        """What it returns, and the events before that."""
        self.lines.write(json.dumps({"execute": command}))
        self.lines.flush()
        events = []
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return answer["return"], events
            events.append(answer["event"])

    def held(self):
        status, events = self.ask("query-status")
        return status["status"], [e for e in events if e in ("STOP", "RESUME")]

    def shown(self):
        return self.vbd_json("instance", "info", "web1")["state"]

    def exported(self):
        with open(os.path.join(self.exports, "web1", "sda.raw"), "rb") as f:
            self.assertEqual(f.read(), self.content)


class Held(LiveGuest):
    def test_held_and_let_go(self):
        self.assertIn("vbd instance stop web1", self.vbd("backup", "export", "web1", rc=4).stderr)
        before = self.vbd("instance", "list").stdout
        self.vbd(*self.EXPORT, "--dry-run")
        self.assertEqual(self.held(), ("running", []))
        self.vbd(*self.EXPORT)
        self.assertEqual(self.held(), ("running", ["STOP", "RESUME"]))
        self.exported()
        self.vbd("backup", "export", "--live", "--mode", "image", "--filetype", "raw", "web1")
        self.assertEqual(self.held(), ("running", ["STOP", "RESUME"]))
        self.assertEqual(self.vbd("instance", "list").stdout, before)
        with open(os.path.join(self.storage, "web1", "instance.yaml")) as f:
            text = f.read()
        self.assertNotIn("operation", text)
        self.assertIn("holder: ", text)
        # One that somebody paused stays so.
        self.ask("stop")
        self.held()
        self.vbd(*self.EXPORT)
        self.assertEqual(self.held(), ("paused", []))
        self.ask("cont")
        self.held()
        # A failure lets it go as well.
        done = self.strace("ioctl:error=EOPNOTSUPP", *self.EXPORT)
        self.assertIn("error[backup.snapshot]", done.stderr)
        self.strace("linkat:error=ENOSPC", *self.EXPORT)
        self.assertEqual(self.held()[0], "running")
        self.assertEqual(self.shown(), "running")

    def test_killed(self):
        if support.SANITIZED:
            support.skip(self.id(), "the same steps as in the plain build, too slow under sanitizers")

        def after(killed):
            status, _ = self.held()
            if status == "paused":
                self.assertEqual(self.shown(), "interrupted")
                paused.append(1)
                self.vbd("instance", "start", "web1")
            else:
                self.vbd(*self.EXPORT)
                self.exported()
            self.assertEqual(self.held()[0], "running")
            self.assertEqual(self.shown(), "running")
        paused = []
        self.kill_everywhere(self.EXPORT, lambda: None, after, (CHANGES + ",sendto", "ioctl"))
        self.assertGreaterEqual(len(paused), 2)  # before each of the snapshots


if __name__ == "__main__":
    support.main()
