# SPDX-License-Identifier: MIT
"""The templates build and pass their tests as an author would build them: copied out of the tree, against nothing but
an installation (VBD_PREFIX), with meson and pkg-config; and one of them with CMake."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PREFIX = os.environ.get("VBD_PREFIX", "")
CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(example C CXX)
find_package(vbdkit-plugin 1.0 REQUIRED)
vbdkit_add_plugin(ft-example ft-example.cpp)
set_target_properties(ft-example PROPERTIES CXX_STANDARD 20)
add_executable(example-test ft-example.cpp test.cpp)
target_link_libraries(example-test vbdkit::plugin vbdkit::testkit)
"""


def skip(name, reason):
    print(f"SKIP {name}: {reason}", file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason)


class Templates(unittest.TestCase):
    def setUp(self):
        found = glob.glob(os.path.join(PREFIX, "lib*", "**", "vbdkit-plugin.pc"), recursive=True) if PREFIX else []
        if not found:
            skip(self.id(), "VBD_PREFIX does not name an installation with vbdkit-plugin.pc")
        self.libdir = os.path.dirname(os.path.dirname(found[0]))
        self.dir = tempfile.mkdtemp(prefix="vbdkit-templates.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(found[0])}

    def run_in(self, directory, *argv):
        done = subprocess.run(argv, cwd=directory, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def need(self, *tools):
        for tool in tools:
            if shutil.which(tool) is None:
                skip(self.id(), f"{tool} is not installed")

    def copy(self, template):
        to = os.path.join(self.dir, template)
        shutil.copytree(os.path.join(PREFIX, "share", "vbdkit", "templates", template), to)
        return to

    def exports(self, path):
        listed = self.run_in(self.dir, "nm", "-D", "--defined-only", path).split("\n")
        return [line.split()[-1] for line in listed if line.strip()]

    def with_meson(self, template, plugin):
        self.need("meson", "ninja", "pkg-config", "nm")
        project = self.copy(template)
        self.run_in(project, "meson", "setup", "build", "--werror")
        self.run_in(project, "meson", "compile", "-C", "build")
        self.run_in(project, "meson", "test", "-C", "build")
        self.assertEqual(self.exports(os.path.join(project, "build", plugin)), ["vbd_plugin_v1"])

    def test_driver_c(self):
        self.with_meson("driver-c", "fd-example.so")

    def test_driver_cpp(self):
        self.with_meson("driver-cpp", "fd-example.so")

    def test_filetype_c(self):
        self.with_meson("filetype-c", "ft-example.so")

    def test_filetype_cpp(self):
        self.with_meson("filetype-cpp", "ft-example.so")

    def test_cmake(self):
        self.need("cmake", "nm")
        project = self.copy("filetype-cpp")
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as f:
            f.write(CMAKE_PROJECT)
        self.run_in(project, "cmake", "-S", ".", "-B", "build",
                    "-Dvbdkit-plugin_DIR=" + os.path.join(self.libdir, "cmake", "vbdkit-plugin"))
        self.run_in(project, "cmake", "--build", "build")
        self.run_in(project, "build/example-test")
        self.assertEqual(self.exports(os.path.join(project, "build", "ft-example.so")), ["vbd_plugin_v1"])


if __name__ == "__main__":
    unittest.main()
