#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vbd image copy: every pair of filetypes under random data, against qemu-img; interrupted, out of space, beside
a reflink filesystem; nothing is left but what is whole."""

import json
import os
import random
import resource
import shlex
import signal
import subprocess
import tempfile
import time

import support
from support import MiB, Sandbox

KiB = 1024


def spill(path, size, seed, extents=40):
    """A sparse file with extents of random, repeating and zero bytes, some not aligned to anything but sectors."""
    rng = random.Random(seed)
    with open(path, "wb") as f:
        f.truncate(size)
        for _ in range(extents):
            length = rng.choice((512, 4 * KiB, 20 * KiB, 64 * KiB, 300 * KiB, 1 * MiB))
            at = rng.randrange(0, size - length + 1) // 512 * 512
            kind = rng.randrange(4)
            f.seek(at)
            f.write(rng.randbytes(length) if kind < 2 else bytes([rng.randrange(256)]) * length if kind == 2 else bytes(length))
    return path


class Copy(Sandbox):
    def setUp(self):
        super().setUp()
        if not support.have("qemu-img"):
            support.skip(self.id(), "needs qemu-img")

    def file(self, name):
        return os.path.join(self.storage, name)

    def qemu(self, *argv):
        done = support.run(*argv)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def copy(self, source, filetype, to, target, *more, **kw):
        return self.vbd("image", "copy", "--filetype", filetype, source, "--to", "filetype=" + to, target, *more, **kw)

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def assert_absent(self, target):
        self.assertEqual([n for n in os.listdir(os.path.dirname(target)) if os.path.basename(target) in n], [])


class Pairs(Copy):
    QCOW = ("", ",version=1", ",version=2", ",compression=zlib", ",compression=zstd", ",extended_l2=true", ",cluster_size=512",
            ",version=1,compression=zlib", ",cluster_size=2M")

    def same(self, raw, path, to):
        if to.startswith("raw"):
            self.assertEqual(self.content(path), self.content(raw))
        elif to.startswith("qcow"):
            form = "qcow" if "version=1" in to else "qcow2"
            self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", form, raw, path)
            if form == "qcow2":
                self.qemu("qemu-img", "check", "-q", "-f", "qcow2", path)
        else:
            self.vbd("image", "compare", "--filetype", "raw", raw, "--filetype-b", to.split(",")[0], path)

    def test_every_pair(self):
        raw = spill(self.file("raw"), 24 * MiB + 512 * 7, seed=1)
        kinds = ["raw"] + ["qcow" + o for o in self.QCOW]
        sources = {"raw": raw}
        for kind in kinds[1:]:
            path = self.file("from" + kind.replace(",", "-"))
            self.copy(raw, "raw", kind, path, "--no-sync")
            self.same(raw, path, kind)
            sources[kind] = path
        rng = random.Random(2)
        for source in kinds[1:]:
            # All to raw, and to two others each: all pairs meet in a few runs of the suite's seeds.
            for target in ["raw"] + rng.sample(kinds[1:], 2):
                with self.subTest(source=source, target=target):
                    path = self.file("to")
                    self.copy(sources[source], source.split(",")[0], target, path, "--no-sync",
                              *(["--detect-zeroes"] if rng.random() < 0.4 else []))
                    self.same(raw, path, target)
                    os.unlink(path)

    def test_qemu_made_sources(self):
        raw = spill(self.file("raw"), 16 * MiB, seed=3)
        for form, options in (("qcow2", ["-c"]), ("qcow2", ["-o", "compat=0.10"]), ("qcow", []),
                              ("qcow2", ["-o", "extended_l2=on"]), ("qcow2", ["-c", "-o", "compression_type=zstd"])):
            source, target = self.file("source"), self.file("target")
            self.qemu("qemu-img", "convert", "-f", "raw", "-O", form, *options, raw, source)
            self.copy(source, "qcow", "raw", target, "--no-sync")
            self.assertEqual(self.content(target), self.content(raw))
            os.unlink(target)

    def test_sparse_stays_sparse(self):
        raw = self.file("raw")
        with open(raw, "wb") as f:
            f.truncate(1 << 30)
            for at in range(0, 1 << 30, 64 * MiB):
                f.seek(at + 8 * KiB)
                f.write(os.urandom(4 * KiB))
        qcow, back, dense, thin = self.file("qcow"), self.file("back"), self.file("dense"), self.file("thin")
        self.copy(raw, "raw", "qcow", qcow)
        self.assertLess(os.stat(qcow).st_blocks * 512, 512 * KiB)  # 16 blocks and the tables
        self.copy(qcow, "qcow", "raw", back)
        self.assertLessEqual(os.stat(back).st_blocks, os.stat(raw).st_blocks + 32)  # blocks of the extent tree
        with open(dense, "wb") as f:
            f.write(bytes(8 * MiB) + os.urandom(4 * KiB) + bytes(8 * MiB - 4 * KiB))
        self.copy(dense, "raw", "qcow", thin, "--detect-zeroes")
        self.assertLess(os.stat(thin).st_blocks * 512, 400 * KiB)
        self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", dense, thin)

    def test_chain_becomes_one(self):
        base, top, flat = self.file("base"), self.file("top"), self.file("flat")
        spill(self.file("raw"), 8 * MiB, seed=4)
        self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", self.file("raw"), base)
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top, "12M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 300k", "-c", "write -z 3M 1M", "-c", "write -P 8 11M 4k", top)
        self.fails(5, "image.reference", "image", "copy", "--filetype", "qcow", top, "--to", "filetype=raw", flat)
        self.write_config("references: below-allowed-dirs\n")
        for to, form in (("qcow", "qcow2"), ("raw", "raw")):
            self.copy(top, "qcow", to, flat)
            self.qemu("qemu-img", "compare", "-q", "-f", "qcow2", "-F", form, top, flat)
            self.assertNotIn("backing", support.run("qemu-img", "info", "-f", form, flat).stdout)
            os.unlink(flat)


class Refusals(Copy):
    def test_names_and_options(self):
        raw, there = spill(self.file("raw"), 1 * MiB, seed=5), self.file("there")
        self.copy(raw, "raw", "raw", there)
        before = self.content(there)
        words = ("image", "copy", "--filetype", "raw", raw, "--to")
        self.fails(4, "path.exists", *words, "filetype=raw", there)
        self.fails(4, "path.exists", *words, "filetype=raw", raw)
        self.fails(3, "path.not_found", "image", "copy", "--filetype", "raw", self.file("none"), "--to", "filetype=raw", self.file("x"))
        for to in ("", "raw", "filetype=", "filetype=raw,", "filetype=raw,filetype=raw", "preallocation=off"):
            self.assertEqual(self.vbd(*words, to, self.file("x"), rc=None).returncode, 2, to)
        self.fails(3, "plugin.not_found", *words, "filetype=nosuch", self.file("x"))
        self.vbd(*words, "filetype=qcow,cluster_size=77", self.file("x"), rc=2)
        self.assertIn("copy FT_RAW image", self.vbd(*words, "filetype=qcow", self.file("x"), "--dry-run").stdout)
        self.fails(4, "path.exists", *words, "filetype=qcow", there, "--dry-run")
        self.assert_absent(self.file("x"))
        self.assertEqual(self.content(there), before)

    def test_full_disk(self):
        if os.geteuid() != 0:
            support.skip(self.id(), "needs root to mount")
        small = self.file("small")
        os.mkdir(small)
        raw = spill(self.file("raw"), 24 * MiB, seed=6, extents=60)
        before = self.content(raw)
        self.assertEqual(support.run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small).returncode, 0)
        try:
            for to in ("raw", "qcow", "qcow,compression=zlib", "qcow,version=1"):
                self.fails(1, "io.no_space", "image", "copy", "--filetype", "raw", raw, "--to", "filetype=" + to, small + "/x")
                self.assertEqual(os.listdir(small), [])
        finally:
            support.run("umount", small)
        self.assertEqual(self.content(raw), before)


    def test_any_full_disk(self):
        """A disk that becomes full anywhere: the target is whole or absent."""
        if os.geteuid() != 0:
            support.skip(self.id(), "needs root to mount")
        small = self.file("small")
        os.mkdir(small)
        raw = spill(self.file("raw"), 24 * MiB, seed=11, extents=60)
        rng = random.Random(12)
        whole = set()
        for turn in range(16):
            size = rng.randrange(256, 30 * 1024)
            to = ("raw", "qcow", "qcow,compression=zlib", "qcow,version=1")[turn % 4]
            with self.subTest(to=to, KiB=size):
                self.qemu("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", small)
                try:
                    done = self.vbd("image", "copy", "--filetype", "raw", raw, "--to", "filetype=" + to, small + "/x", rc=None)
                    whole.add(done.returncode)
                    if done.returncode == 0:
                        form = "raw" if to == "raw" else "qcow" if "version=1" in to else "qcow2"
                        self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", form, raw, small + "/x")
                    else:
                        self.assertEqual((done.returncode, done.stderr.count("error[io.no_space]")), (1, 1), done.stderr)
                        self.assertEqual(os.listdir(small), [])
                finally:
                    support.run("umount", small)
        self.assertEqual(whole, {0, 1}, "all or none of them fitted")


class Interrupted(Copy):
    def unfinished(self):
        return {n for n in os.listdir(self.storage) if n.startswith(".vbd-target.")}

    def until_it_works(self, run, old):
        """Until it has a file; `old` ones are what a killed one left."""
        while run.poll() is None and not self.unfinished() - old:
            time.sleep(0.0005)

    def test_an_interrupt_ends_a_shells_loop(self):
        raw, target = spill(self.file("raw"), 200 * MiB, seed=7, extents=250), self.file("target")
        words = ("image", "copy", "--filetype", "raw", raw, "--to", "filetype=qcow,compression=zlib")
        copy = " ".join(shlex.quote(word) for word in self.argv(*words))
        old = self.unfinished()
        loop = subprocess.Popen(["bash", "-c", f"for n in 1 2 3; do {copy} {target}; rm -f {target}; echo next; done"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(), start_new_session=True)
        self.until_it_works(loop, old)
        os.killpg(loop.pid, signal.SIGINT)
        out, err = loop.communicate(timeout=60)
        self.assertEqual((loop.returncode, out), (-signal.SIGINT, ""), err)
        self.assertIn("error[operation.cancelled]: copy ", err)
        self.assert_absent(target)

    def test_the_limit_of_file_sizes_is_an_error_of_its_own(self):
        raw, target = spill(self.file("raw"), 16 * MiB, seed=3, extents=20), self.file("target")
        for to in ("raw", "qcow"):
            def limit():
                resource.setrlimit(resource.RLIMIT_FSIZE, (MiB, MiB))
            words = ("image", "copy", "--filetype", "raw", raw, "--to", "filetype=" + to, target)
            done = self.vbd(*words, rc=1, preexec_fn=limit)
            self.assertIn("vbd: error[io.file_size_limit]: ", done.stderr)
            self.assertIn("File too large", done.stderr)
            self.assert_absent(target)

    def test_signals_at_random_moments(self):
        raw = spill(self.file("raw"), 200 * MiB, seed=7, extents=250)
        before, target = self.content(raw), self.file("target")
        rng = random.Random(8)
        seen = set()
        for turn in range(24):
            to = ("raw", "qcow", "qcow,compression=zlib", "qcow,version=1")[turn % 4]
            sent = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL)[(turn + turn // 4) % 4]
            old = self.unfinished()
            run = subprocess.Popen(self.argv("image", "copy", "--filetype", "raw", raw, "--to", "filetype=" + to, target),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment())
            # From when it works with its file on: what comes before is the killing of any verb.
            self.until_it_works(run, old)
            time.sleep(rng.random() * (0.3 if "compression" in to else 0.05))
            run.send_signal(sent)
            _out, err = run.communicate()
            if os.path.exists(target):  # it was faster
                self.assertIn(run.returncode, (0, -sent))
                form = "raw" if to == "raw" else "qcow" if "version=1" in to else "qcow2"
                self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", form, raw, target)
                os.unlink(target)
                continue
            seen.add(sent)
            if sent != signal.SIGKILL:
                self.assertEqual(run.returncode, -sent, err)
                self.assertIn("error[operation.cancelled]: copy ", err)
                self.assert_absent(target)
        self.assertEqual(len(seen), 4, "nothing was interrupted")
        self.copy(raw, "raw", "raw", target)
        os.unlink(target)
        self.assert_absent(target)  # what the killed ones left went too
        self.assertEqual(self.content(raw), before)

    def test_source_becomes_shorter(self):
        raw, target = spill(self.file("raw"), 64 * MiB, seed=9, extents=200), self.file("target")
        for to in ("raw", "qcow", "qcow,compression=zstd"):
            old = self.unfinished()
            run = subprocess.Popen(self.argv("image", "copy", "--filetype", "raw", raw, "--to", "filetype=" + to, target),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment())
            self.until_it_works(run, old)
            os.truncate(raw, 1 * MiB)
            _out, err = run.communicate()
            if os.path.exists(target):
                os.unlink(target)
            else:
                self.assertEqual(run.returncode, 1, err)
                self.assertEqual(err.count("error["), 1, err)
            self.assert_absent(target)
            spill(raw, 64 * MiB, seed=9, extents=200)


class Large(Copy):
    def test_memory_and_time_follow_the_data(self):
        if support.SANITIZED:
            support.skip(self.id(), "a sanitizer takes memory of its own")
        source, target = self.file("source"), self.file("target")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", source, "16T")
        for at in ("0", "5T", "15T"):
            self.qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 5 {at} 8M", source)
        for to in ("qcow", "qcow,compression=zstd"):
            run = subprocess.Popen(self.argv("image", "copy", "--filetype", "qcow", source, "--to", "filetype=" + to, target),
                                   stdin=subprocess.DEVNULL, env=self.environment())
            most = 0  # ru_maxrss would begin with what this process has
            while run.poll() is None:
                with open(f"/proc/{run.pid}/status") as f:
                    most = max([most] + [int(line.split()[1]) for line in f if line.startswith("VmHWM")])
                time.sleep(0.002)
            self.assertEqual(run.returncode, 0)
            self.assertGreater(most, 0)
            self.assertLess(most, 96 * KiB)  # in KiB: 96 MiB
            self.qemu("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", source, target)
            os.unlink(target)

    def test_progress(self):
        raw, target = spill(self.file("raw"), 64 * MiB, seed=10, extents=100), self.file("target")
        words = ("image", "copy", "--filetype", "raw", raw, "--to", "filetype=qcow,compression=zlib", target)
        # A slow disk: each write waits.
        if not support.have("strace") or support.run("strace", "-o", "/dev/null", "true").returncode != 0:
            support.skip(self.id(), "needs a working strace")
        done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pread64:delay_enter=60000",
                               *self.argv(*words, "--progress", "json")], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env={**self.environment(), "ASAN_OPTIONS": "detect_leaks=0"}, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertGreater(len(lines), 0)
        for line in lines:
            self.assertEqual((line["schema"], line["operation"], line["total"]), ("vbdkit.progress/1", "copy", 64 * MiB))
            self.assertLessEqual(line["done"], line["total"])
        self.assertEqual([x["done"] for x in lines], sorted(x["done"] for x in lines))
        os.unlink(target)
        self.assertEqual(self.vbd(*words).stderr, "")


class Reflink(Copy):
    def setUp(self):
        super().setUp()
        if not support.can_make_loops() or not support.have("mkfs.xfs"):
            support.skip(self.id(), "needs root, loop devices and mkfs.xfs")
        self.backing = tempfile.NamedTemporaryFile(dir=self.storage, prefix="xfs")
        os.truncate(self.backing.name, 512 * MiB)
        self.folder = self.file("xfs-mounted")
        os.mkdir(self.folder)
        self.qemu("mkfs.xfs", "-q", "-m", "reflink=1", self.backing.name)
        self.qemu("mount", "-o", "loop,nouuid", self.backing.name, self.folder)
        self.addCleanup(self.unmount)

    def unmount(self):
        support.run("umount", self.folder)
        self.backing.close()

    def test_content_is_shared(self):
        raw = os.path.join(self.folder, "raw")
        with open(raw, "wb") as f:
            f.truncate(400 * MiB)
            for at in range(0, 400 * MiB, 40 * MiB):
                f.seek(at)
                f.write(os.urandom(16 * MiB))
        os.sync()
        used = lambda: (lambda s: (s.f_blocks - s.f_bfree) * s.f_frsize)(os.statvfs(self.folder))
        begin = used()
        previous, filetype = raw, "raw"
        for name, to, form in (("a", "raw", "raw"), ("b", "qcow", "qcow2"), ("c", "qcow,cluster_size=2M", "qcow2"), ("d", "raw", "raw")):
            path = os.path.join(self.folder, name)
            self.copy(previous, filetype, to, path)
            self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", form, raw, path)
            previous, filetype = path, to.split(",")[0]
        # Four copies of 160 MiB would not even fit.
        self.assertLess(used() - begin, 32 * MiB)


if __name__ == "__main__":
    support.main()
