# SPDX-License-Identifier: MIT
"""The layout of the ABI is fixed by golden files: what is there never moves, and what is new needs a raised minor."""

import os
import re
import unittest

import layout
import support

HEADER = os.path.join(support.INCLUDE, "vbdkit", "plugin.h")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def golden(minor):
    return read(os.path.join(support.HERE, f"layout-1.{minor}.txt")).splitlines()


class Layout(unittest.TestCase):
    def setUp(self):
        self.header = read(HEADER)
        self.minor = layout.minor_of(self.header)

    def differences(self, header, minor_of_golden=0):
        return layout.differences(golden(minor_of_golden), minor_of_golden, layout.layout_of(header), layout.minor_of(header))

    def test_golden(self):
        """The header is what the golden file of its minor says, and keeps what those of all earlier minors say."""
        for minor in range(self.minor + 1):
            with self.subTest(minor=minor):
                self.assertEqual(self.differences(self.header, minor), [])

    def test_every_compiler_agrees(self):
        for compiler in ("gcc", "clang"):
            if support.shutil.which(compiler) is None:
                support.skip(self.id(), f"{compiler} is not installed")
            self.assertEqual(layout.layout_of(self.header, [compiler]), golden(self.minor))

    def test_frozen(self):
        """The frozen copy of 1.0 is the golden 1.0, so that "old plugins" really are."""
        self.assertEqual(layout.layout_of(read(os.path.join(support.HERE, "v1.0", "plugin.h"))), golden(0))

    def test_nothing_is_overlooked(self):
        """Every struct and every enumerator of the header is in the golden file."""
        names = {line.split()[1] for line in golden(self.minor)}
        text = layout.without_comments(self.header)
        for name in re.findall(r"\bstruct (vbd_\w+) \{", text):
            self.assertIn(name, names)
        for name in re.findall(r"\b(VBD_\w+) = ", text):
            self.assertIn(name, names)
        self.assertGreater(len(names), 200)

    def change(self, old, new, minor=None):
        header = read(os.path.join(support.HERE, "v1.0", "plugin.h"))
        self.assertIn(old, header)
        header = header.replace(old, new, 1)
        if minor is not None:
            header = header.replace("#define VBD_ABI_MINOR 0", f"#define VBD_ABI_MINOR {minor}")
        return self.differences(header)

    def test_violations_are_caught(self):
        """Each seeded violation of the rules fails; what the rules allow does not."""
        last = "  vbd_op deactivate;"
        self.assertEqual(self.change(last, last), [])
        self.assertEqual(self.change(last, last + " vbd_op future;"),
                         ["changed or gone: struct vbd_driver_ops - 64",
                          "new without a raised minor: struct vbd_driver_ops - 72",
                          "new without a raised minor: field vbd_driver_ops.future 64 8"])
        self.assertEqual(self.change(last, last + " vbd_op future;", minor=1), [])
        first = "  vbd_op attach;"
        self.assertIn("not appended: field vbd_driver_ops.future 8 8",
                      self.change(first, "  vbd_op future;" + first, minor=1))
        self.assertIn("changed or gone: field vbd_request.bytes 80 8",
                      self.change("  uint64_t bytes;  ", "  uint32_t bytes;  ", minor=1))
        self.assertIn("changed or gone: struct vbd_kv - 16",
                      self.change("  const char *value;\n};", "  const char *value; uint64_t more;\n};", minor=1))
        self.assertIn("changed or gone: const VBD_E_BUSY -6", self.change("VBD_E_BUSY = -6", "VBD_E_BUSY = -60", minor=1))
        added = "VBD_T_ENUM = 6, VBD_T_NEW = 7"
        self.assertIn("new without a raised minor: const VBD_T_NEW 7", self.change("VBD_T_ENUM = 6", added))
        self.assertEqual(self.change("VBD_T_ENUM = 6", added, minor=1), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
