#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A full filesystem: what frees space, or gives something back, works without a single block; what can't be given back
is not begun."""

import errno
import os
import shutil

import support
from support import MiB, Sandbox
from test_kill import CHANGES, Injected
from test_live import GUEST_PROFILE, GUEST_SCRIPT

EXT4 = ("mkfs.ext4", "-q", "-m", "0", "-F")
XFS = ("mkfs.xfs", "-q", "-f")


class Full(Sandbox):
    needs_loops = True
    one = False  # RUN and STATE on the filesystem that gets full, too

    def mount(self):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.mount()
        if self.one:
            self.state, self.run_dir = (os.path.join(self.storage, name) for name in ("state", "run"))
        script = os.path.join(self.dir, "guest.py")
        with open(script, "w") as f:
            f.write(GUEST_SCRIPT)
        os.chmod(script, 0o755)
        self.profile = os.path.join(self.dir, "mine.yaml")
        with open(self.profile, "w") as f:
            f.write(GUEST_PROFILE.replace("%s", script))
        self.write_config(f"hypervisor: {self.profile}\n")
        self.fillers = 0

    def fill(self):
        """To the last block: large pieces first, as long as another file can be made."""
        for _ in range(3):
            self.fillers += 1
            try:
                fd = os.open(os.path.join(self.storage, f"filler{self.fillers}"), os.O_WRONLY | os.O_CREAT, 0o600)
            except OSError:
                break
            at = 0
            for block in (64 * MiB >> shift for shift in range(17)):
                try:
                    while True:
                        os.posix_fallocate(fd, at, block)
                        at += block
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)
            os.close(fd)
        self.assert_full()

    def assert_full(self):
        probe = os.path.join(self.storage, "probe")
        with self.assertRaises(OSError) as raised:
            fd = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(fd, b"x" * 4096)
                os.fsync(fd)
            finally:
                os.close(fd)
                os.unlink(probe)
        self.assertEqual(raised.exception.errno, errno.ENOSPC)

    def free(self):
        st = os.statvfs(self.storage)
        return st.f_bfree * st.f_frsize

    def add(self, name):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=1M", "--no-start", name)

    def image(self, name="disk.img"):
        path = os.path.join(self.storage, name)
        with open(path, "wb") as f:
            f.write(b"d" * MiB)
        os.chmod(path, 0o600)
        return path

    def state_of(self, name="web1"):
        return self.vbd_json("instance", "info", name)["state"]


class Verbs:
    def test_remove(self):
        self.add("web1")
        with open(os.path.join(self.storage, "web1", "sda"), "r+b") as f:
            f.write(b"d" * MiB)
        self.fill()
        before = self.free()
        self.vbd("instance", "remove", "--yes", "web1")
        self.assertFalse(os.path.exists(os.path.join(self.storage, "web1")))
        self.assertGreater(self.free(), before + MiB // 2)
        self.add("web2")

    def test_remove_keep_files(self):
        self.add("web1")
        self.fill()
        self.vbd("instance", "remove", "--yes", "--keep-files", "web1")
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
        self.assertEqual(sorted(os.listdir(os.path.join(self.storage, "web1"))), ["sda", "sdb"])

    def test_detach_of_an_image(self):
        path = self.image()
        disk = self.logical_id(path)
        self.vbd("disk", "attach", disk)
        self.fill()
        self.vbd("disk", "detach", disk)
        self.assertIsNone(self.vbd_json("lease", "show", path)["node"])
        self.assertEqual(self.our_loops_below(self.storage), [])
        self.again(disk)
        self.vbd("image", "remove", "--filetype", "raw", path)
        self.assertFalse(os.path.exists(path))

    def test_attach_of_an_image_that_could_not_be_given_back(self):
        path = self.image()
        self.fill()
        before = self.snapshot(self.storage)
        self.assertIn(self.storage, self.fails(1, "io.no_space", "disk", "attach", self.logical_id(path)))
        left = {p: s for p, s in self.snapshot(self.storage).items() if not p.startswith((".vbdkit.lock", "run"))}
        self.assertEqual(left, before)
        self.assertEqual(self.our_loops_below(self.storage), [])

    def test_detach_of_a_disk_of_an_instance(self):
        self.add("web1")
        disk = self.logical_id(os.path.join(self.storage, "web1", "sda"))
        self.vbd("disk", "attach", disk)
        self.fill()
        self.vbd("disk", "detach", disk)
        self.again(disk)

    def test_deactivate_disks(self):
        self.add("web1")
        self.vbd("instance", "activate-disks", "web1")
        self.fill()
        self.vbd("instance", "deactivate-disks", "web1")
        self.assertEqual(self.our_loops_below(self.storage), [])
        self.assertEqual(self.state_of(), "stopped")

    def test_stop_and_start(self):
        self.add("web1")
        self.vbd("instance", "start", "web1")
        self.fill()
        self.assertEqual(self.vbd("instance", "stop", "web1").stderr, "")
        self.assertEqual(self.state_of(), "stopped")
        self.assertEqual(self.our_loops_below(self.storage), [])
        if self.one:
            return  # a new guest's directory in RUN wants room
        for _ in range(3):
            self.assertEqual(self.vbd("instance", "start", "web1").stderr, "")
            self.assertEqual(self.state_of(), "running")
            self.assert_full()
            self.vbd("instance", "stop", "web1")
        self.vbd("instance", "remove", "--yes", "web1")

    def again(self, disk):
        """What was kept for the detach is there for the next one as well."""
        for _ in range(0 if self.one else 3):  # another attachment's record in RUN wants room
            self.assert_full()
            self.vbd("disk", "attach", disk)
            self.vbd("disk", "detach", disk)

    def our_loops_below(self, folder):
        return [loop for loop in self.our_loops() if loop[1].startswith(folder + "/")]


class FullExt4(Verbs, Full):
    def mount(self):
        if not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"):
            support.skip(self.id(), "needs mkfs.ext4")
        self.mount_storage(16 * MiB, *EXT4)

    def test_the_spare_is_no_image_and_no_leftover(self):
        self.add("web1")
        folder = os.path.join(self.storage, "web1")
        self.assertIn(".vbdkit.spare", os.listdir(folder))
        self.assertGreaterEqual(os.stat(os.path.join(folder, ".vbdkit.spare")).st_blocks * 512, 16384)
        self.assertIn("no problems", self.vbd("cluster", "verify").stdout)
        self.vbd("instance", "remove", "--yes", "--keep-files", "web1")
        self.vbd("instance", "add", "-t", f"file:path={folder},reuse", "--no-start", "web2")
        self.vbd("instance", "remove", "--yes", "web2")
        self.assertFalse(os.path.exists(folder))


class FullExt4WithRun(Verbs, Full):
    one = True
    mount = FullExt4.mount


class FullXfs(Verbs, Full):
    def mount(self):
        if not shutil.which("mkfs.xfs", path="/usr/sbin:/sbin"):
            support.skip(self.id(), "needs mkfs.xfs")
        self.mount_storage(300 * MiB, *XFS)


class FullTmpfs(Verbs, Full):
    def mount(self):
        made = support.run("mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", self.storage)
        self.assertEqual(made.returncode, 0, made.stderr)


class KilledWhileFull(Injected, Full):
    """Before each call of a verb that writes its record into the spare: the record is whole, the next verb goes on."""

    mount = FullExt4.mount

    def each_kill(self, words, prepare, after):
        def once(template):
            prepare()
            self.fill()
            done = self.strace(template.format("signal=KILL"), *words)
            self.assertIn(done.returncode, (0, -9), done.stderr)
            after()
            for name in os.listdir(self.storage):
                if name.startswith("filler"):
                    os.unlink(os.path.join(self.storage, name))
            return done.returncode == -9
        self.each_call(CHANGES, once)

    def test_detach(self):
        disk = self.logical_id(self.image())

        def after():
            lease = os.path.join(self.storage, ".vbdkit-lease.yaml")
            with open(lease) as f:
                self.assertRegex(f.read(), r"\A#[^\n]*\nschema: 1\nimages:\n  disk\.img:\n(    [a-z_]+: [^\n]*\n)+\Z")
            self.vbd("disk", "detach", disk)
            self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "detached")
        self.each_kill(("disk", "detach", disk), lambda: self.vbd("disk", "attach", disk), after)

    def test_remove(self):
        def prepare():
            self.add("web1")

        def after():
            states = {i["name"]: i["state"] for i in self.vbd_json("instance", "list")["instances"]}
            self.assertIn(states.get("web1", "none"), ("stopped", "interrupted", "none", "unreachable"))
            self.assertIn(self.vbd("instance", "remove", "--yes", "web1", rc=None).returncode, (0, 3))
            self.vbd("cluster", "verify", "--repair", rc=None)
            self.assertEqual([n for n in os.listdir(self.storage) if not n.startswith((".vbdkit", "filler", "lost"))], [])
        self.each_kill(("instance", "remove", "--yes", "web1"), prepare, after)


if __name__ == "__main__":
    support.main()
