#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What scripts do to a command line: output that nobody takes, variables that are not set, odd words and numbers."""

import json
import os
import subprocess

import support
from support import MiB, Sandbox


class Output(Sandbox):
    def setUp(self):
        super().setUp()
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "web1")

    def into(self, stdout, *words, argv=None, **kw):
        done = subprocess.run(argv or self.argv(*words), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                              text=True, env=self.environment(), timeout=60, **kw)
        return done.returncode, done.stderr

    OUTPUTS = (("instance", "list"), ("instance", "list", "--output", "json"), ("instance", "info", "web1"),
               ("instance", "list", "--help"), ("instance", "info", "nosuch", "--output", "json"), ("plugin", "matrix"))

    def test_reader_that_has_gone(self):
        """As of `| head -1`: no crash, no noise, no success."""
        for words in self.OUTPUTS:
            with self.subTest(words):
                reader, writer = os.pipe()
                os.close(reader)
                try:
                    self.assertEqual(self.into(writer, *words), (1, ""))
                finally:
                    os.close(writer)

    def test_full_disk(self):
        for words in self.OUTPUTS:
            with self.subTest(words), open("/dev/full", "w") as full:
                self.assertEqual(self.into(full, *words), (
                    1, "vbd: error[output.failed]: write to stdout: No space left on device\n"))
        for words in (["--version"], ["__complete", ""], ["help"]):
            with self.subTest(words), open("/dev/full", "w") as full:
                self.assertEqual(self.into(full, argv=[support.VBD, *words])[0], 1)

    def test_closed_stdout(self):
        done = support.run("sh", "-c", 'exec "$@" >&-', "sh", *self.argv("instance", "list"), env=self.environment())
        self.assertEqual((done.returncode, done.stderr), (
            1, "vbd: error[output.failed]: write to stdout: Bad file descriptor\n"))


class Words(Sandbox):
    def setUp(self):
        super().setUp()
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "web1")
        self.image = os.path.join(self.storage, "a b,c ü")
        self.vbd("image", "create", "--filetype", "raw", self.image, "1M")

    def refused(self, rc, error_id, *words, **kw):
        before = self.snapshot()
        line = self.fails(rc, error_id, *words, **kw)
        self.assertEqual(self.snapshot(), before)
        return line

    def test_path_that_is_not_set(self):
        """An empty path is not the working directory, and an empty --config not the usual one."""
        inside = os.path.join(self.storage, "web1")
        disk, raw = self.logical_id(self.image), ("--filetype", "raw")
        for words in (("instance", "register", ""), ("instance", "list", "--plugin-dir", ""), ("disk", "mount", disk, ""),
                      ("disk", "umount", disk, ""), ("image", "info", *raw, ""), ("image", "create", *raw, "", "1M"),
                      ("image", "remove", *raw, ""), ("image", "copy", *raw, self.image, "--to", "filetype=raw", ""),
                      ("image", "copy", *raw, "", "--to", "filetype=raw", self.image + "2"), ("image", "digest", *raw, ""),
                      ("image", "compare", *raw, self.image, ""), ("image", "resize", *raw, "", "2M"),
                      ("image", "map", *raw, self.image, "--svg="), ("plugin", "new", "FT_X", ""), ("plugin", "check", ""),
                      ("backup", "import", "--src-dir", "", "web2"), ("cluster", "init", "--file-storage-dir=")):
            with self.subTest(words):
                self.assertIn("'': no name of a file or directory", self.refused(2, "usage.value", *words, cwd=inside))
        done = support.run(support.VBD, "instance", "list", "--config", "", env=self.environment())
        self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (
            2, "vbd: error[usage.value]: --config '': no name of a file or directory"))

    def test_values(self):
        disk = self.logical_id(self.image)
        for rc, error_id, message, words in (
            (2, "usage.argument", "--output: its value is missing", ("instance", "list", "--output")),
            (2, "usage.argument", "-o: its value is missing", ("instance", "list", "-o")),
            (2, "usage.value", "--output '': not one of text, json", ("instance", "list", "--output=")),
            (2, "usage.value", "--units '': not one of h, b, m, g, t", ("instance", "list", "--units", "")),
            (2, "usage.value", "--state '': no such state", ("instance", "list", "--state", "")),
            (2, "usage.value", "--separator '': fields could not be told apart", ("instance", "list", "--separator=")),
            (2, "usage.value", "--no-headers takes no value", ("instance", "list", "--no-headers=yes")),
            (2, "usage.option", "unknown option '--no-header'; did you mean '--no-headers'?", ("instance", "list", "--no-header")),
            (2, "usage.argument", "unexpected argument 'more'", ("instance", "info", "web1", "more")),
            (2, "usage.value", "--block-size '': not a number", ("disk", "attach", disk, "--block-size", "")),
            (2, "usage.value", "--block-size 4294967808: not a number, or too large", ("disk", "attach", disk, "--block-size=4294967808")),
            (2, "usage.value", "--timeout -1: not a number, 0..86400", ("instance", "stop", "web1", "--timeout=-1")),
            (2, "usage.size", "is too large", ("image", "create", "--filetype", "raw", self.image + "2", "9" * 30)),
            (2, "usage.size", "is not a number", ("image", "create", "--filetype", "raw", self.image + "2", "-1")),
            (2, "usage.size", "is empty", ("instance", "grow-disk", "web1", "0", "")),
            (3, "instance.no_disk", "no disk 99999999999999999999", ("instance", "grow-disk", "web1", "9" * 20, "1M")),
            (2, "usage.name", "instance name ''", ("instance", "activate-disks", "")),
            (2, "usage.name", "a character that is not allowed", ("instance", "rename", "web1", "a,b")),
            (2, "usage.name", "instance name 'ü'", ("instance", "info", "ü")),
        ):
            with self.subTest(words):
                self.assertIn(message, self.refused(rc, error_id, *words))

    def test_words_that_look_like_options(self):
        raw = ("--filetype", "raw")
        self.vbd("image", "create", *raw, "--", "-x", "1M", cwd=self.storage)
        self.assertEqual(os.stat(os.path.join(self.storage, "-x")).st_size, MiB)
        self.assertEqual(self.vbd("image", "digest", *raw, "--", "-x", cwd=self.storage).stdout.split()[1], "-x")
        self.fails(2, "usage.option", "image", "digest", *raw, "-x", cwd=self.storage)
        self.assertEqual(self.vbd("image", "info", "--output", "json", *raw, "--", self.image).stdout.count(self.image), 1)
        self.fails(3, "path.not_found", "image", "info", *raw, "--", "--help", cwd=self.storage)
        self.vbd("image", "remove", *raw, "--", "-x", cwd=self.storage)

    def test_not_utf8(self):
        path = os.fsencode(self.storage) + b"/\xff\xfe"

        def raw(verb, *words):
            argv = [*map(os.fsencode, self.argv("image", verb, "--output", "json", "--filetype", "raw")), *words]
            done = subprocess.run(argv, capture_output=True, env=self.environment(), timeout=60)
            return done.returncode, json.loads(done.stdout.decode("utf-8"))
        self.assertEqual(raw("create", path, b"1M")[0], 0)
        code, info = raw("info", path)
        self.assertEqual((code, info["path"]), (0, self.storage + "/\ufffd\ufffd"))
        code, error = raw("info", path + b"2")
        self.assertEqual((code, error["error"]["id"]), (3, "path.not_found"))


if __name__ == "__main__":
    support.main()
