#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Killed before every system call that changes something, and refused at each of them: nothing is lost, nothing
leaks, the next command goes on."""

import os
import subprocess
import tempfile

import support
from support import MiB, Sandbox

CHANGES = ("mkdirat,mkdir,renameat2,renameat,rename,linkat,link,symlinkat,unlinkat,unlink,rmdir,ftruncate,fallocate,write,pwrite64,"
           "fsync,fdatasync,fchmod,fchown,mount,umount2,clone,clone3,vfork,copy_file_range,sendfile")
# openat is left out: the scan of /proc for users of an image opens hundreds of files, and what a creating one makes is
# seen by the kill before the next change.
OPENS = "openat2,ioctl"
# A sanitized binary under strace is slow: every STRIDE-th call only, another one in each round.
STRIDE = 7 if support.SANITIZED else 1


class Injected(Sandbox):
    needs_loops = True
    stride = STRIDE

    def setUp(self):
        super().setUp()
        if not support.have("strace") or support.run("strace", "-o", "/dev/null", "true").returncode != 0:
            support.skip(self.id(), "needs a working strace")

    def environment(self):
        # LeakSanitizer can't work under ptrace.
        return {**super().environment(), "ASAN_OPTIONS": "detect_leaks=0"}

    def strace(self, inject, *words):
        """self.refused: whether a call was met."""
        self.refused = False
        with tempfile.NamedTemporaryFile("r", prefix="vbdkit-trace.", errors="replace") as trace:
            done = self.traced(trace.name, inject, *words)
            self.refused = "(INJECTED)" in trace.read()
        return done

    def traced(self, trace, inject, *words):
        # -b execve: helpers run untraced, or strace would wait for a daemon that outlives vbd.
        return subprocess.run(["strace", "-f", "-b", "execve", "-qq", "-o", trace, "-e", "trace=" + inject.split(":")[0],
                               "-e", "inject=" + inject, *self.argv(*words)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              env=self.environment())

    def each_call(self, calls, what, start=1, limit=2000, least=3):
        """Yields N = 1, 2, ... until `what` said that the run was not cut any more (it returns False)."""
        number, cut = start, 0
        while number < limit:
            if not what(f"{calls}:{{}}:when={number}"):
                break
            cut += 1
            number += self.stride
        else:
            self.fail("no run completed")
        self.assertGreaterEqual(cut, least if self.stride == 1 else min(least, 1), f"{calls}: nothing was cut: the test sees no system call")
        return cut

    def kill_everywhere(self, words, prepare, after, sets=(CHANGES, OPENS)):
        """prepare(); `words` killed before call N; after(killed) checks and cleans up."""
        for calls in sets:
            def once(template):
                prepare()
                done = self.strace(template.format("signal=KILL"), *words)
                killed = done.returncode == -9
                try:
                    after(killed)
                except AssertionError as e:
                    raise AssertionError(f"killed at {template}: {e}") from e
                return killed or done.returncode != 0
            self.each_call(calls, once)

    def names(self):
        return sorted(n for n in os.listdir(self.storage) if not n.startswith(".vbdkit"))


class KillInstance(Injected):
    ADD = ("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=2M", "--no-start", "inst")

    def test_add(self):
        def after(_killed):
            # It is there, interrupted, or was never begun; adding again works or says that it is there.
            states = {i["name"]: i["state"] for i in self.vbd_json("instance", "list")["instances"]}
            self.assertIn(states.get("inst", "none"), ("stopped", "interrupted", "none"))
            again = self.vbd(*self.ADD, rc=None)
            self.assertIn(again.returncode, (0, 4), again.stderr)
            info = self.vbd_json("instance", "info", "inst")
            self.assertEqual(info["state"], "stopped")
            self.assertEqual([d["size"] for d in info["disks"]], [MiB, 2 * MiB])
            self.vbd("instance", "remove", "--yes", "inst")
            self.assertEqual(self.names(), [])
        self.kill_everywhere(self.ADD, lambda: None, after)

    def test_add_then_remove(self):
        """After a killed add, `remove` or `cluster verify --repair` cleans up as well as a second add does."""
        turn = [0]

        def after(_killed):
            turn[0] += 1
            if turn[0] % 2:
                done = self.vbd("instance", "remove", "--yes", "inst", rc=None)
                self.assertIn(done.returncode, (0, 3), done.stderr)
            self.vbd("cluster", "verify", "--repair", rc=None)
            self.vbd("instance", "remove", "--yes", "inst", rc=None)
            self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
            self.assertEqual(self.names(), [])
        self.kill_everywhere(self.ADD, lambda: None, after)

    def test_reuse_never_loses_a_file(self):
        folder = os.path.join(self.storage, "inst")
        content = os.urandom(1 * MiB)

        def prepare():
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "sda"), "wb") as f:
                f.write(content)

        def after(_killed):
            with open(os.path.join(folder, "sda"), "rb") as f:
                self.assertEqual(f.read(), content)
            words = ("instance", "add", "-t", f"file:path={folder},reuse", "inst")
            self.assertIn(self.vbd(*words, rc=None).returncode, (0, 4))
            self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")
            with open(os.path.join(folder, "sda"), "rb") as f:
                self.assertEqual(f.read(), content)
            self.vbd("instance", "remove", "--yes", "inst")
        self.kill_everywhere(("instance", "add", "-t", f"file:path={folder},reuse", "inst"), prepare, after)

    def test_killed_reuse_undone_keeps_the_file(self):
        folder = os.path.join(self.storage, "inst")
        content = os.urandom(64 * 1024)

        def prepare():
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "sda"), "wb") as f:
                f.write(content)

        def after(_killed):
            self.vbd("cluster", "verify", "--repair", rc=None)
            with open(os.path.join(folder, "sda"), "rb") as f:
                self.assertEqual(f.read(), content)
            self.vbd("instance", "remove", "--yes", "--keep-files", "inst", rc=None)
            with open(os.path.join(folder, "sda"), "rb") as f:
                self.assertEqual(f.read(), content)
        self.kill_everywhere(("instance", "add", "-t", f"file:path={folder},reuse", "inst"), prepare, after)

    def test_remove(self):
        def prepare():
            self.vbd(*self.ADD)

        def after(_killed):
            done = self.vbd("instance", "remove", "--yes", "inst", rc=None)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            self.vbd("cluster", "verify", "--repair", rc=None)
            self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
            self.assertEqual(self.names(), [])
        self.kill_everywhere(("instance", "remove", "--yes", "inst"), prepare, after)


class KillDisk(Injected):
    driver, filetype = "FD_LOOP", "raw"

    def disk(self):
        path = os.path.join(self.storage, "image")
        if not os.path.exists(path):
            self.vbd("image", "create", "--filetype", self.filetype, path, "4M")
        return self.logical_id(path, "FT_" + self.filetype.upper(), self.driver)

    def settle(self):
        """The next commands repair: attach gives a device that works, detach leaves nothing."""
        disk = self.disk()
        state = self.vbd_json("disk", "query", disk)["state"]
        self.assertIn(state, ("attached", "detached", "broken"))
        node = self.vbd("disk", "attach", disk).stdout.strip()
        with open(node, "rb") as f:
            self.assertEqual(len(f.read(4096)), 4096)
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "detached")
        self.assert_nothing_left()

    def test_attach(self):
        self.kill_everywhere(("disk", "attach", self.disk()), lambda: None, lambda _: self.settle())

    def test_detach(self):
        self.kill_everywhere(("disk", "detach", self.disk()), lambda: self.vbd("disk", "attach", self.disk()),
                             lambda _: self.settle())

    def test_killed_attach_then_detach(self):
        def after(_killed):
            self.vbd("disk", "detach", self.disk())
            self.assert_nothing_left()
        self.kill_everywhere(("disk", "attach", self.disk()), lambda: None, after)


class KillBlktap(KillDisk):
    driver, filetype = "FD_BLKTAP", "qcow"

    def setUp(self):
        super().setUp()
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs qemu-storage-daemon and /dev/fuse")
        if support.SANITIZED:
            support.skip(self.id(), "the same steps as in the plain build, too slow under sanitizers")


class NoSpace(Injected):
    """ENOSPC, EIO and EROFS at each write, fsync and rename of add: one clear error, and no remains."""

    def refuse_everywhere(self, calls, error, words, check_ok):
        before = self.snapshot(self.storage)

        def once(template):
            done = self.strace(template.format("error=" + error), *words)
            errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error[")]
            if done.returncode == 0 or not self.refused:
                self.assertEqual(done.returncode, 0, f"{template}: {done.stderr}")
                check_ok()  # it could bear that, or there are not so many calls
                return self.refused
            self.assertEqual(done.returncode, 1, f"{template}: {done.stderr}")
            self.assertEqual(len(errors), 1, f"{template}: {done.stderr}")
            if "error[output.failed]" in errors[0]:
                check_ok()
                return True
            left = {p: s for p, s in self.snapshot(self.storage).items() if ".vbdkit" not in p}
            self.assertEqual(left, before, f"{template}: {errors}")
            self.assertEqual(self.vbd_json("instance", "list")["instances"], [], template)
            return True
        self.each_call(calls, once, least=1)

    def test_add(self):
        def check_ok():
            self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")
            self.vbd("instance", "remove", "--yes", "inst")
        # One system call at a time: strace counts each by itself, and two that fail are more than an undo can bear.
        # Each of them is one that this add makes: what was not cut is no proof.
        for calls, error in (("write", "ENOSPC"), ("fsync", "EIO"), ("renameat2", "ENOSPC"), ("renameat", "ENOSPC"),
                             ("ftruncate", "ENOSPC"), ("mkdirat", "ENOSPC")):
            if support.SANITIZED and calls == "write":
                continue  # the sanitizer's own runtime probes memory with it
            with self.subTest(calls=calls, error=error):
                self.refuse_everywhere(calls, error, KillInstance.ADD, check_ok)


class FullFilesystem(Sandbox):
    needs_loops = True

    def small(self, *options):
        image = os.path.join(self.dir, "small.img")
        with open(image, "wb") as f:
            f.truncate(4 * MiB)
        self.assertEqual(support.run("mkfs.ext4", "-q", "-O", "^has_journal", *options, image).returncode, 0)
        self.assertEqual(support.run("mount", "-o", "loop", image, self.storage).returncode, 0)

    def fill(self):
        block = 64 * 1024
        with open(os.path.join(self.storage, "filler"), "wb", buffering=0) as f:
            while block:
                try:
                    f.write(b"x" * block)
                except OSError:
                    block //= 2

    def refused(self, *words):
        before = self.snapshot()
        error = self.fails(1, "io.no_space", *words)
        self.assertIn(self.storage, error)
        self.assertEqual(self.snapshot(), before)

    def test_out_of_blocks(self):
        self.small()
        self.vbd("cluster", "init")
        self.fill()
        self.refused("instance", "add", "-t", "file:", "--disk", "0:size=1G", "inst")
        self.refused("image", "create", "--filetype", "qcow", os.path.join(self.storage, "q"), "1G")

    def test_out_of_inodes(self):
        self.small("-N", "16")
        self.vbd("cluster", "init")
        number = 0
        try:
            while number < 1000:
                os.close(os.open(os.path.join(self.storage, f"f{number}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                number += 1
        except OSError:
            pass
        self.assertLess(number, 1000)
        self.refused("instance", "add", "-t", "file:", "--disk", "0:size=1G", "inst")
        self.refused("image", "create", "--filetype", "raw", os.path.join(self.storage, "r"), "1G")

    def test_read_only_filesystem(self):
        self.small()
        self.vbd("image", "create", "--filetype", "raw", os.path.join(self.storage, "sda"), "1M")
        self.assertEqual(support.run("mount", "-o", "remount,ro", self.storage).returncode, 0)
        self.fails(1, "io.read_only_filesystem", "instance", "add", "-t", "file:", "--disk", "0:size=1G", "inst")
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
        self.vbd("image", "info", "--filetype", "raw", os.path.join(self.storage, "sda"))

    def test_larger_than_the_filesystem_takes(self):
        self.small()
        done = self.vbd("image", "create", "--filetype", "raw", os.path.join(self.storage, "big"), "1048576T", rc=1)
        self.assertIn("big", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.storage, "big")))
        self.assertEqual([n for n in os.listdir(self.storage) if n.startswith(".vbd-")], [])


if __name__ == "__main__":
    support.main()
