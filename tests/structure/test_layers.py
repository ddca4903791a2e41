#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tree keeps its layers, and each rule catches a violation that is seeded on purpose."""

import os
import unittest

import layers

TOP = os.environ.get("VBD_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HEAD = "// SPDX-License-Identifier: MIT\n"

# name -> (path, what is put in, what the message must say)
SEEDED = {
    "upward include": ("core/base/bad.cpp", '#include "core/config/yaml.hpp"\n', "does not stand before it"),
    "include of a neighbour": ("core/sys/bad.cpp", '#include "core/json/json.hpp"\n', "does not stand before it"),
    "core on manager": ("core/device/bad.cpp", '#include "manager/instance/catalog.hpp"\n', "does not stand before it"),
    "manager on cli": ("manager/instance/bad.cpp", '#include "cli/report/table.hpp"\n', "does not stand before it"),
    "plugin on core": ("plugins/raw/bad.cpp", '#include "core/base/text.hpp"\n', "a plugin includes"),
    "plugin's test on core": ("plugins/raw/tests/bad_test.cpp", '#include "core/base/text.hpp"\n', "may use sdk/testkit"),
    "plugin on another public header": ("plugins/raw/bad.cpp", "#include <vbdkit/other.h>\n", "a plugin includes"),
    "sdk on core": ("sdk/testkit/bad.hpp", '#include "core/sys/fd.hpp"\n', "stands on vbdkit/plugin.h"),
    "yaml-cpp outside config": ("core/plugin/bad.cpp", "#include <yaml-cpp/yaml.h>\n", "is only for"),
    "nlohmann outside json": ("cli/bad.cpp", "#include <nlohmann/json.hpp>\n", "is only for"),
    "spdlog outside the log": ("core/sys/bad.cpp", "#include <spdlog/spdlog.h>\n", "is only for"),
    "Boost.DLL outside plugin": ("core/image/bad.cpp", "#include <boost/dll/shared_library.hpp>\n", "is only for"),
    "other Boost": ("core/plugin/bad.cpp", "#include <boost/process.hpp>\n", "is only for"),
    "CLI11 outside the parser": ("cli/disk.cpp", "#include <CLI/CLI.hpp>\n", "is only for"),
    "system call outside sys": ("core/device/bad.cpp", "#include <fcntl.h>\n", "belongs into core/sys"),
    "a hypervisor in core": ("core/device/bad.cpp", "// for Xen\n", "knows no hypervisor"),
    "a format in core": ("core/image/bad.cpp", 'const char *k = "qcow2";\n', "knows no hypervisor"),
    "a shell": ("manager/instance/bad.cpp", 'int f() { return std::system("ls"); }\n', "no shell"),
    "a long file": ("core/base/bad.cpp", "\n" * 600, "too many things"),
}


class Layers(unittest.TestCase):
    def test_tree_is_clean(self):
        files = layers.read_tree(TOP)
        self.assertGreater(len(files), 80, "the tree was not read")
        self.assertEqual(layers.check_tree(files), [])

    def test_each_rule_catches_its_violation(self):
        for name, (path, text, message) in SEEDED.items():
            with self.subTest(name):
                found = layers.check_tree({path: HEAD + text})
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])
                self.assertTrue(found[0].startswith(path))

    def test_missing_licence(self):
        self.assertEqual(len(layers.check_tree({"core/base/bad.cpp": "int x;\n"})), 1)


if __name__ == "__main__":
    unittest.main()
