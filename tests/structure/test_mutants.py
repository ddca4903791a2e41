#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each seeded fault still has its place in the tree, names tests that are there, and says all that it must. Whether the
tests find it, `./dev mutants` tells."""

import os
import re
import sys
import tempfile
import unittest

TREE = os.environ.get("VBD_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(TREE, "tests", "mutants"))

from faults import Broken, Fault, all_faults  # noqa: E402


def test_cases():
    """Names of all cases of the test programs, with their literals joined."""
    found = set()
    for directory, below, files in os.walk(TREE):
        below[:] = [name for name in below if not name.startswith(".")]
        if os.path.basename(directory) != "tests":
            continue
        for file in files:
            if not file.endswith(".cpp"):
                continue
            with open(os.path.join(directory, file), encoding="utf-8") as f:
                for case in re.findall(r'TEST_CASE\(\s*((?:"(?:\\.|[^"\\])*"\s*)+)\)', f.read()):
                    found.add("".join(re.findall(r'"((?:\\.|[^"\\])*)"', case)).replace('\\"', '"'))
    return found


class Faults(unittest.TestCase):
    def test_each_stands_once_in_its_file_and_changes_it(self):
        for fault in all_faults():
            with self.subTest(fault.name):
                text, begin, end = fault.place(TREE)
                self.assertNotEqual(re.sub(r"\s", "", text[begin:end]), re.sub(r"\s", "", fault.replace))

    def test_each_names_tests_that_are_there(self):
        cases = test_cases()
        for fault in all_faults():
            for program, case in fault.tests:
                with self.subTest(fault.name, case=case):
                    if not program.startswith("e2e/"):
                        self.assertTrue(case in cases, "no test has that name")
                        continue
                    with open(os.path.join(TREE, "tests", program), encoding="utf-8") as f:
                        text = f.read()
                    name, method = case.split(".")
                    self.assertRegex(text, rf"(?m)^class {name}\(")
                    self.assertIn(f"def {method}(self", text)

    def test_at_least_forty_at_most_two_survive(self):
        faults = all_faults()
        self.assertGreaterEqual(len(faults), 40)
        self.assertLessEqual(sum(fault.survives is not None for fault in faults), 2)


class Descriptions(unittest.TestCase):
    def fault(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as f:
            f.write(text)
            f.flush()
            return Fault(f.name)

    def test_the_formatter_may_break_lines_anywhere(self):
        with tempfile.TemporaryDirectory() as tree:
            with open(os.path.join(tree, "f.cpp"), "w") as f:
                f.write("int f() {\n  return call(\n      first,\n      second);\n}\n")
            fault = self.fault('why="w"\nfile="f.cpp"\nsearch="return call(first, second);"\nreplace="return 0;"\n'
                               'tests=["a: b"]\n')
            self.assertEqual(fault.applied(tree), "int f() {\n  return 0;\n}\n")
            with open(os.path.join(tree, "f.cpp"), "a") as f:
                f.write("return call(first,second);")
            with self.assertRaisesRegex(Broken, "stands 2 times"):
                fault.place(tree)

    def test_what_is_missing_or_unknown_is_refused(self):
        with self.assertRaisesRegex(Broken, "no why"):
            self.fault('file="f"\nsearch="a"\nreplace="b"\ntests=["a: b"]\n')
        with self.assertRaisesRegex(Broken, "unknown key wyh"):
            self.fault('wyh=""\nwhy=""\nfile="f"\nsearch="a"\nreplace="b"\ntests=["a: b"]\n')
        with self.assertRaisesRegex(Broken, "PROGRAM: CASE"):
            self.fault('why=""\nfile="f"\nsearch="a"\nreplace="b"\ntests=["a"]\n')


if __name__ == "__main__":
    unittest.main()
