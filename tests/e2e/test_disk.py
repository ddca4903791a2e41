#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks as block devices: attach, holders, locks, mounts, disk strings."""

import json
import os
import shutil
import subprocess

import support
from support import MiB, Sandbox


class Render(Sandbox):
    def path(self, name="sda", filetype="raw", *options):
        path = os.path.join(self.storage, name)
        self.vbd("image", "create", "--filetype", filetype, *options, path, "1G")
        return path

    def line(self, driver, filetype, path, dialect, access="w", vdev="sda1"):
        return self.vbd("disk", "render", f'[{driver}, {filetype}, "{path}"]', "--dialect", dialect, "--vdev", vdev,
                        "--access", access).stdout.rstrip("\n")

    def test_xm(self):
        raw, q3, q1 = self.path(), self.path("q3", "qcow"), self.path("q1", "qcow", "-O", "version=1")
        self.assertEqual(self.line("FD_LOOP", "FT_RAW", raw, "xm"), f"file:{raw},sda1,w")
        self.assertEqual(self.line("FD_BLKTAP", "FT_RAW", raw, "xm"), f"tap:aio:{raw},sda1,w")
        self.assertEqual(self.line("FD_BLKTAP", "FT_QCOW", q3, "xm"), f"tap:qcow2:{q3},sda1,w")
        self.assertEqual(self.line("FD_BLKTAP", "FT_QCOW", q1, "xm"), f"tap:qcow:{q1},sda1,w")
        self.assertEqual(self.line("FD_LOOP", "FT_RAW", raw, "xm", access="r"), f"file:{raw},sda1,r")

    def test_xl(self):
        # facts: what xl of Xen 4.17 does with each form; target= last
        raw, q3 = self.path(), self.path("q3", "qcow")
        self.assertEqual(self.line("FD_LOOP", "FT_RAW", raw, "xl"),
                         f"format=raw,vdev=sda1,access=rw,backendtype=phy,target={raw}")
        self.assertEqual(self.line("FD_BLKTAP", "FT_RAW", raw, "xl"),
                         f"format=raw,vdev=sda1,access=rw,backendtype=qdisk,target={raw}")
        self.assertEqual(self.line("FD_BLKTAP", "FT_QCOW", q3, "xl"),
                         f"format=qcow2,vdev=sda1,access=rw,backendtype=qdisk,target={q3}")

    def test_what_a_string_cannot_carry(self):
        for name, dialect in (("a,script=x", "xm"), ("a\nscript=x", "xm"), ("a\nscript=x", "xl"), ("a\tb", "xl")):
            with self.subTest(name=name, dialect=dialect):
                path = os.path.join(self.storage, name)
                with open(path, "wb") as f:
                    f.truncate(MiB)
                done = self.vbd("disk", "render", f"[FD_LOOP, FT_RAW, {json.dumps(path)}]", "--dialect", dialect, "--vdev",
                                "sda1", "--access", "w", rc=5)
                self.assertEqual(len(done.stderr.strip().splitlines()[0].split("vbd: error[")), 2)
                self.assertEqual(done.stdout, "")

    def test_unknown_dialect_detached(self):
        self.fails(5, "disk.dialect", "disk", "render", self.logical_id(self.path()), "--dialect", "nosuch", "--vdev", "sda",
                   "--access", "w")

    def test_outside_allowed_dirs(self):
        self.fails(5, "path.outside_allowed_dirs", "disk", "render", self.logical_id("/etc/passwd"), "--dialect", "xm",
                   "--vdev", "sda", "--access", "w")


class Attach(Sandbox):
    needs_loops = True

    def image(self, name="sda", size=32 * MiB):
        path = os.path.join(self.storage, name)
        self.vbd("image", "create", "--filetype", "raw", path, str(size))
        return path

    def test_filesystem_survives_detach(self):
        disk = self.logical_id(self.image())
        node = self.vbd("disk", "attach", disk).stdout
        self.assertRegex(node, r"^/dev/loop[0-9]+\n$")
        node = node.strip()
        self.assertEqual(support.run("mkfs.ext4", "-q", node).returncode, 0)
        target = os.path.join(self.dir, "mnt")
        os.mkdir(target)
        self.assertEqual(support.run("mount", node, target).returncode, 0)
        with open(os.path.join(target, "hello"), "w") as f:
            f.write("hello")
        # A busy detach is refused, not deferred: the device stays as it is, naming the mount.
        self.assertIn(target, self.fails(4, "disk.busy", "disk", "detach", disk))
        self.assertEqual([n for n, _ in self.our_loops()], [node])
        with open(f"/sys/block/{os.path.basename(node)}/loop/autoclear") as f:
            self.assertEqual(f.read().strip(), "0")
        self.assertEqual(support.run("umount", target).returncode, 0)
        self.vbd("disk", "detach", disk)
        self.assert_nothing_left()
        self.vbd("disk", "mount", disk, target, "--read-only")
        with open(os.path.join(target, "hello")) as f:
            self.assertEqual(f.read(), "hello")
        self.vbd("disk", "umount", disk, target)
        self.assert_nothing_left()

    def test_busy_by_a_plain_opener(self):
        disk = self.logical_id(self.image())
        node = self.vbd("disk", "attach", disk).stdout.strip()
        fd = os.open(node, os.O_RDWR)
        try:
            self.assertIn(node, self.fails(4, "disk.busy", "disk", "detach", disk))
            self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "attached")
        finally:
            os.close(fd)
        self.vbd("disk", "detach", disk)
        self.assert_nothing_left()

    def test_attach_and_detach_may_be_repeated(self):
        disk = self.logical_id(self.image())
        first = self.vbd("disk", "attach", disk).stdout
        self.assertEqual(self.vbd("disk", "attach", disk).stdout, first)
        self.assertEqual(len(self.our_loops()), 1)
        self.vbd("disk", "detach", disk)
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "detached")
        self.assert_nothing_left()

    def test_block_size_and_direct_io_are_shown(self):
        disk = self.logical_id(self.image())
        node = self.vbd("disk", "attach", disk).stdout.strip()
        with open(f"/sys/block/{os.path.basename(node)}/queue/logical_block_size") as f:
            self.assertEqual(f.read().strip(), "512")
        with open(f"/sys/block/{os.path.basename(node)}/loop/dio") as f:
            dio = f.read().strip() == "1"
        self.assertEqual(self.vbd_json("disk", "query", disk)["facts"]["direct_io"], dio)
        self.vbd("disk", "detach", disk)

    def test_somebody_elses_loop_device(self):
        path = self.image()
        os.link(path, os.path.join(self.dir, "other-name"))
        theirs = support.run("losetup", "-f", "--show", os.path.join(self.dir, "other-name")).stdout.strip()
        try:
            self.assertIn(theirs, self.fails(4, "image.in_use", "disk", "attach", self.logical_id(path)))
        finally:
            support.run("losetup", "-d", theirs)
        self.assert_nothing_left()

    def test_qemu_is_refused_while_attached_also_after_vbd_exited(self):
        if not support.have("qemu-img"):
            support.skip(self.id(), "needs qemu-img")
        path = self.image()
        self.vbd("disk", "attach", self.logical_id(path))
        for words in (["convert", "-f", "raw", "-O", "raw", path, os.path.join(self.dir, "out")],
                      ["create", "-f", "raw", path, "1M"], ["resize", "-f", "raw", path, "64M"]):
            done = support.run("qemu-img", *words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn("lock", done.stderr)
        self.vbd("disk", "detach", self.logical_id(path))
        self.assertEqual(support.run("qemu-img", "resize", "-f", "raw", path, "64M").returncode, 0)

    def test_refused_while_qemu_holds_it(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        path = self.image()
        holder = subprocess.Popen(["qemu-io", "-f", "raw", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.read(1)
            self.fails(4, "image.in_use", "disk", "attach", self.logical_id(path))
        finally:
            holder.communicate(b"quit\n")
        self.assert_nothing_left()

    def test_refused_paths(self):
        path = self.image()
        link = os.path.join(self.storage, "link")
        os.symlink("sda", link)
        os.symlink(self.storage, os.path.join(self.storage, "loopback"))
        fifo = os.path.join(self.storage, "fifo")
        os.mkfifo(fifo)
        for rc, error_id, where in ((5, "path.symlink", link), (5, "path.symlink", os.path.join(self.storage, "loopback", "sda")),
                                    (5, "path.not_regular_file", fifo), (5, "path.not_regular_file", self.storage + "/."[:0] + "/d"),
                                    (3, "path.not_found", path + "x"), (5, "path.outside_allowed_dirs", "/etc/passwd")):
            if where.endswith("/d"):
                os.mkdir(where)
            with self.subTest(where):
                self.fails(rc, error_id, "disk", "attach", self.logical_id(where))
        self.assert_nothing_left()

    def test_parent_that_others_may_write(self):
        folder = os.path.join(self.storage, "open")
        os.mkdir(folder)
        self.image("open/sda")
        os.chmod(folder, 0o777)
        self.assertIn(folder, self.fails(5, "path.unsafe_parent", "disk", "attach",
                                         self.logical_id(os.path.join(folder, "sda"))))

    def test_pairing(self):
        path = os.path.join(self.storage, "q")
        self.vbd("image", "create", "--filetype", "qcow", path, "1G")
        error = self.fails(5, "plugin.not_paired", "disk", "attach", self.logical_id(path, "FT_QCOW"))
        self.assertIn("FD_LOOP", error)
        self.assertIn("FT_QCOW", error)
        error = self.vbd("disk", "attach", self.logical_id(path, "FT_QCOU"), rc=3).stderr
        for piece in ("FT_QCOU", "ft-qcou.so", "FT_QCOW"):
            self.assertIn(piece, error)

    def test_instance_with_an_attached_disk_is_not_removed(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=8M", "--no-start", "inst")
        disk = self.logical_id(os.path.join(self.storage, "inst", "sda"))
        node = self.vbd("disk", "attach", disk).stdout.strip()
        self.assertEqual(self.vbd_json("instance", "info", "inst")["disks"][0]["device"], node)
        done = self.vbd("instance", "remove", "--yes", "inst", rc=4)
        self.assertIn("sda", done.stderr)
        self.vbd("disk", "detach", disk)
        self.vbd("instance", "remove", "--yes", "inst")
        self.assert_nothing_left()


class Blktap(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        for program in ("qemu-img", "qemu-io", "qemu-storage-daemon"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")
        if not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs /dev/fuse")

    def test_raw_that_ends_within_a_block_of_direct_io(self):
        """xfs wants whole blocks of it, and QEMU opens no such file for writing with direct I/O."""
        if not support.have("mkfs.xfs"):
            support.skip(self.id(), "needs mkfs.xfs")
        self.mount_storage(320 * MiB, "mkfs.xfs", "-q", "-s", "size=4096")
        path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", path, str(MiB + 512))
        disk = self.logical_id(path, "FT_RAW", "FD_BLKTAP")
        done = self.vbd("disk", "attach", disk)
        self.assertIn("there is no direct I/O on its filesystem or at its size", done.stderr)
        with open(done.stdout.strip(), "r+b") as f:
            f.seek(MiB)
            f.write(b"x" * 512)
        self.vbd("disk", "detach", disk)
        with open(path, "rb") as f:
            f.seek(MiB)
            self.assertEqual(f.read(), b"x" * 512)

    def test_real_qcow2(self):
        path = os.path.join(self.storage, "disk.qcow2")
        self.assertEqual(support.run("qemu-img", "create", "-f", "qcow2", path, "256M").returncode, 0)
        self.assertEqual(support.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 200M 1M", path).returncode, 0)
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        node = self.vbd("disk", "attach", disk).stdout.strip()
        with open(node, "rb") as f:
            f.seek(200 * MiB)
            self.assertEqual(f.read(MiB), b"\x5a" * MiB)
        self.assertEqual(self.vbd_json("disk", "query", disk)["facts"]["backend"], "qsd")
        for words in (["convert", "-f", "qcow2", "-O", "raw", path, os.path.join(self.dir, "out")],
                      ["create", "-f", "qcow2", path, "1M"]):
            self.assertNotEqual(support.run("qemu-img", *words).returncode, 0, words)
        self.assertEqual(support.run("mkfs.ext4", "-q", node).returncode, 0)
        target = os.path.join(self.dir, "mnt")
        os.mkdir(target)
        self.assertEqual(support.run("mount", node, target).returncode, 0)
        with open(os.path.join(target, "file"), "wb") as f:
            f.write(b"vbdkit" * 1000)
        self.fails(4, "disk.busy", "disk", "detach", disk)
        self.assertEqual(support.run("umount", target).returncode, 0)
        with open(node, "rb") as f:
            content = f.read()
        self.vbd("disk", "detach", disk)
        self.assert_nothing_left()
        check = support.run("qemu-img", "check", "-f", "qcow2", path)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        out = os.path.join(self.dir, "out.raw")
        self.assertEqual(support.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, out).returncode, 0)
        with open(out, "rb") as f:
            self.assertTrue(f.read() == content, "qemu-img convert shows other bytes than the device did")

    def test_busy_while_qemu_holds_it(self):
        path = os.path.join(self.storage, "disk.qcow2")
        self.vbd("image", "create", "--filetype", "qcow", path, "64M")
        holder = subprocess.Popen(["qemu-io", "-f", "qcow2", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.read(1)
            self.fails(4, "image.in_use", "disk", "attach", self.logical_id(path, "FT_QCOW", "FD_BLKTAP"))
        finally:
            holder.communicate(b"quit\n")
        self.assert_nothing_left()

    def test_killed_daemon_is_broken_and_repaired(self):
        path = os.path.join(self.storage, "disk.qcow2")
        self.vbd("image", "create", "--filetype", "qcow", path, "64M")
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        self.vbd("disk", "attach", disk)
        for pid in self.our_processes():
            os.kill(pid, 9)
        self.assertEqual(self.vbd_json("disk", "query", disk, rc=0)["state"], "broken")
        # The loop device over the dead mount answers nobody (ENOTCONN): no reason to refuse other images.
        self.vbd("image", "create", "--filetype", "raw", os.path.join(self.storage, "other"), "1M")
        self.vbd("disk", "detach", disk)
        self.assert_nothing_left()

    def test_a_program_beside_a_plugin_is_trusted_as_the_plugin_is(self):
        path, plugins = os.path.join(self.storage, "disk.qcow2"), os.path.join(self.dir, "plugins")
        self.vbd("image", "create", "--filetype", "qcow", path, "64M")
        shutil.copytree(os.path.join(support.PREFIX, "lib", "vbdkit", "plugins-1"), plugins)
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        flush = os.path.join(plugins, "vbdkit-flush")
        os.chmod(flush, 0o757)
        self.assertIn("vbdkit-flush: not run: is writable by others",
                      self.vbd("--plugin-dir", plugins, "disk", "attach", disk, rc=5).stderr)
        self.assert_nothing_left()
        os.chmod(flush, 0o755)
        self.vbd("--plugin-dir", plugins, "disk", "attach", disk)
        self.assertEqual(len(self.our_processes()), 2)
        self.vbd("--plugin-dir", plugins, "disk", "detach", disk)
        self.assert_nothing_left()

    def test_backing_file_is_never_shown_as_zeros(self):
        """Policy may allow the reference; a driver gets one file only, so attaching it is refused all the same."""
        self.write_config("references: below-allowed-dirs\n")
        base, top = os.path.join(self.storage, "base"), os.path.join(self.storage, "top.qcow2")
        with open(base, "wb") as f:
            f.write(b"y" * MiB)
        made = support.run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "raw", top)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.vbd("disk", "attach", self.logical_id(top, "FT_QCOW", "FD_BLKTAP"), rc=5)
        self.assert_nothing_left()

    def test_references_and_encryption_are_refused_before_a_helper_sees_them(self):
        secret = os.path.join(self.dir, "secret")
        with open(secret, "wb") as f:
            f.write(b"x" * MiB)
        path = os.path.join(self.storage, "evil.qcow2")
        support.run("qemu-img", "create", "-f", "qcow2", "-b", secret, "-F", "raw", path)
        done = self.vbd("disk", "attach", self.logical_id(path, "FT_QCOW", "FD_BLKTAP"), rc=5)
        self.assertIn("backing", done.stderr)
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
