# SPDX-License-Identifier: MIT
"""Compilers, a trusted directory and abi-probe for the tests of the ABI."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
INCLUDE = os.path.join(SOURCE, "include")
PLUGINS = os.path.join(SOURCE, "tests", "plugins")
CC = shlex.split(os.environ.get("VBD_CC", "cc"))
CXX = shlex.split(os.environ.get("VBD_CXX", "c++"))
PROBE = os.environ.get("VBD_PROBE", "")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SHARED = ["-shared", "-fPIC", "-fvisibility=hidden"]


def skip(name, reason):
    """Skips with its reason where the runner of the suite collects it."""
    print(f"SKIP {name}: {reason}", file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason)


def run(argv, **kw):
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", **kw)


def compile_plugin(output, source, *flags, include=INCLUDE, compiler=None, std=None):
    """A shared object of one source; its compiler follows from its suffix."""
    c = source.endswith(".c")
    compiler = compiler or (CC if c else CXX)
    std = std or ("c99" if c else "c++20")
    done = run([*compiler, f"-std={std}", *SHARED, "-I", include, *flags, "-o", output, source])
    if done.returncode != 0:
        raise AssertionError(f"{source} does not compile: {done.stderr}")
    os.chmod(output, 0o755)
    return output


def clean_chain(path):
    """What the trust rule wants of path and all above it."""
    while True:
        st = os.stat(path)
        if st.st_uid not in (0, os.geteuid()) or st.st_mode & 0o002 or (st.st_mode & 0o020 and st.st_gid != 0):
            return False
        if path == os.path.dirname(path):
            return True
        path = os.path.dirname(path)


class Case(unittest.TestCase):
    """self.dir is a directory of its own with a trusted chain."""

    @classmethod
    def setUpClass(cls):
        if not PROBE:
            skip(cls.__name__, "VBD_PROBE does not name abi-probe: run by meson test")

    def setUp(self):
        base = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~")
        if not os.access(base, os.W_OK) or not clean_chain(os.path.realpath(base)):
            skip(self.id(), f"{base} is not writable or not trusted, nor would be plugins below it")
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="vbdkit-test.", dir=base))
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def probe(self, *args, crash=False):
        """(id, message, hint) or ("ok", output...); what a sanitizer or a signal says is a failure."""
        done = run([PROBE, *args])
        self.assertGreaterEqual(done.returncode, 0, f"probe {args} died: {done.stderr}")
        self.assertLess(done.returncode, 7, f"probe {args}: {done.stderr}")
        return done.stdout.split("\n")

    def refused(self, error_id, words, *args):
        """The plugin is refused with this id, words in its one-line message."""
        lines = self.probe(*args)
        self.assertEqual(lines[0], error_id, lines)
        self.assertIn(words, lines[1])
        self.assertEqual(len(lines), 4, "an error is one line and a hint")

    def accepted(self, *args):
        lines = self.probe(*args)
        self.assertEqual(lines[0], "ok", lines)
        return [line for line in lines[1:] if line]
