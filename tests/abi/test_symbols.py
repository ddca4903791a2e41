# SPDX-License-Identifier: MIT
"""What our shipped plugins export and need: one symbol, nothing that is shared between plugins behind the linker's back,
nothing of the host. Arguments: the plugins' files."""

import os
import sys
import unittest

import support

FILES = [argument for argument in sys.argv[1:] if argument.endswith(".so")]
LOAD = "import ctypes, os, sys; ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_LOCAL)"


class Symbols(unittest.TestCase):
    def symbols(self, file, *flags):
        done = support.run(["nm", "-D", *flags, file])
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.split()[-2:] for line in done.stdout.splitlines()]

    def test_shipped_plugins(self):
        self.assertGreaterEqual(len(FILES), 4, "fd-loop, fd-blktap, ft-raw, ft-qcow")
        for file in FILES:
            with self.subTest(file=os.path.basename(file)):
                self.assertEqual(self.symbols(file, "--defined-only"), [["T", "vbd_plugin_v1"]])
                wrong = [name for kind, name in self.symbols(file) if kind == "u" or "N3vbd" in name]
                self.assertEqual(wrong, [])
                # This host has no symbol of ours: what is undefined must come from the libraries that the file names.
                done = support.run([sys.executable, "-c", LOAD, file])
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_built_for_safety(self):
        """now, relro and nodelete, as docs/plugin-authors.md asks of everybody."""
        for file in FILES:
            with self.subTest(file=os.path.basename(file)):
                dynamic = support.run(["readelf", "-dlW", file]).stdout
                for word in ("NOW", "NODELETE", "GNU_RELRO"):
                    self.assertIn(word, dynamic)
                self.assertNotIn("RUNPATH", dynamic)

    def test_violations_are_caught(self):
        """A second exported symbol and a unique one would be seen."""
        with support.tempfile.TemporaryDirectory() as directory:
            source, file = os.path.join(directory, "a.cpp"), os.path.join(directory, "a.so")
            with open(source, "w", encoding="utf-8") as f:
                f.write("inline int &one() { static int i; return i; }\nint two() { return one(); }\n")
            done = support.run(["g++", "-shared", "-fPIC", "-o", file, source])
            if done.returncode != 0:
                support.skip(self.id(), "g++ is not installed")
            kinds = {kind for kind, _ in self.symbols(file, "--defined-only")}
            self.assertIn("u", kinds)
            self.assertIn("T", kinds)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
