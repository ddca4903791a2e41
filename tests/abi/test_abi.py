# SPDX-License-Identifier: MIT
"""Plugins of other times on today's host: compiled with the frozen header of 1.0, with a header of the future, in every
language standard; and the identity note after everything that a build may do to a file."""

import os
import re
import shutil
import unittest

import support
from support import PLUGINS, SHARED, STRICT

HEADER = os.path.join(support.INCLUDE, "vbdkit", "plugin.h")
FROZEN = os.path.join(support.HERE, "v1.0", "plugin.h")
NULL_DRIVER = os.path.join(PLUGINS, "null-driver.c")
ZOO = os.path.join(PLUGINS, "zoo.c")
FLAT = os.path.join(support.SOURCE, "tests", "thirdparty", "project", "flat.c")
C_STANDARDS = ("c99", "c11", "c17", "c2x")
CXX_STANDARDS = ("c++11", "c++14", "c++17", "c++20", "c++2b")
COMPILERS = (("gcc", "c", C_STANDARDS), ("clang", "c", C_STANDARDS), ("g++", "c++", CXX_STANDARDS), ("clang++", "c++", CXX_STANDARDS))
# Structs of which a later minor may have more; each gets a field more in the future header.
GROWING = ("vbd_plugin", "vbd_driver_ops", "vbd_filetype_ops", "vbd_image_ops", "vbd_request", "vbd_error", "vbd_sink",
           "vbd_host", "vbd_file", "vbd_reference", "vbd_run_args", "vbd_spawn_args", "vbd_option")

# The header alone, then all that a plugin says with it.
ALONE = r"""
#include <vbdkit/plugin.h>
#include <vbdkit/plugin.h>
VBD_PLUGIN_NOTE("abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_A\0name=a\0version=1\0ops=\0");
static int32_t init(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n, void **self,
                    struct vbd_error *err) VBD_NOEXCEPT {
  (void)host, (void)config, (void)n, (void)err;
  *self = 0;
  return VBD_OK;
}
static void fini(void *self) VBD_NOEXCEPT { (void)self; }
static const struct vbd_driver_ops ops = {sizeof ops, 0, 0, 0, 0, 0, 0, 0, 0};
static const struct vbd_plugin plugin = {sizeof plugin, VBD_ABI_MAJOR, VBD_ABI_MINOR, VBD_KIND_DRIVER, 0, 0, "FD_A", "a", "1",
                                         "MIT", "", "", 0, 0, 0, init, fini, &ops, 0, 0};
const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT { return &plugin; }
"""


def future_header():
    """The header of minor 1: a field more at the end of every struct that may grow."""
    with open(HEADER, encoding="utf-8") as f:
        text = f.read()
    for struct in GROWING:
        begin = text.index(f"struct {struct} {{")
        end = text.index("\n};", begin)
        field = {"vbd_driver_ops": "vbd_op future;"}.get(struct, "uint64_t future;")
        text = text[:end] + "\n  " + field + text[end:]
    return re.sub(r"#define VBD_ABI_MINOR \d+", "#define VBD_ABI_MINOR 1", text)


class Abi(support.Case):
    def include_of(self, name, text):
        directory = self.path(name)
        os.makedirs(os.path.join(directory, "vbdkit"))
        with open(os.path.join(directory, "vbdkit", "plugin.h"), "w", encoding="utf-8") as f:
            f.write(text)
        return directory

    def test_header_alone(self):
        """C99 to C23, C++11 to C++23, gcc and clang, no warning."""
        sources = {}
        for language in ("c", "c++"):
            sources[language] = self.path("alone." + language.replace("+", "p"))
            with open(sources[language], "w", encoding="utf-8") as f:
                f.write(ALONE)
        tried = 0
        for compiler, language, standards in COMPILERS:
            if shutil.which(compiler) is None:
                support.skip(self.id(), f"{compiler} is not installed")
            for standard in standards:
                with self.subTest(compiler=compiler, standard=standard):
                    done = support.run([compiler, "-x", language, f"-std={standard}", *STRICT, "-Wconversion", "-Wshadow", "-Wundef",
                                        "-fsyntax-only", "-I", support.INCLUDE, sources[language]])
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    tried += 1
        self.assertEqual(tried, 18)

    def test_header_refuses_throwing_callbacks(self):
        """From C++17 on a callback that may throw does not compile."""
        source = self.path("throws.cpp")
        with open(source, "w", encoding="utf-8") as f:
            f.write(ALONE.replace("static void fini(void *self) VBD_NOEXCEPT", "static void fini(void *self)"))
        for standard, result in (("c++14", 0), ("c++17", 1)):
            done = support.run([*support.CXX, f"-std={standard}", "-fsyntax-only", "-I", support.INCLUDE, source])
            self.assertEqual(done.returncode, result, done.stderr)

    def test_old_plugin(self):
        """Compiled with the frozen header of 1.0, a plugin works on this host."""
        with open(FROZEN, encoding="utf-8") as f:
            old = self.include_of("v1.0", f.read())
        support.compile_plugin(self.path("fd-null.so"), NULL_DRIVER, *STRICT, include=old)
        self.assertEqual(self.accepted("call", self.dir, "FD_NULL", "attach"), ["node=/dev/null"])
        support.compile_plugin(self.path("fd-zoo.so"), ZOO, *STRICT, include=old)
        self.accepted("load", self.dir, "FD_ZOO", "count=7")
        support.compile_plugin(self.path("ft-zoo.so"), ZOO, "-DZ_FILETYPE", *STRICT, include=old)
        self.accepted("load", self.dir, "FT_ZOO")
        support.compile_plugin(self.path("ft-flat.so"), FLAT, '-DCONSTANT="FT_FLAT"', *STRICT, include=old)
        self.accepted("load", self.dir, "FT_FLAT")

    def test_old_source(self):
        """A source for 1.0 compiles unchanged with a later header, and is accepted by this host, its note saying 1.0."""
        future = self.include_of("future", future_header())
        support.compile_plugin(self.path("fd-null.so"), NULL_DRIVER, include=future)
        self.assertEqual(self.accepted("call", self.dir, "FD_NULL", "attach"), ["node=/dev/null"])

    def test_future_plugin(self):
        """Compiled with a later header, longer structs and all, a plugin that needs nothing new is accepted and sees that
        this host is older; its longer options are read right."""
        future = self.include_of("future", future_header())
        options = ('-DZ_OPTION={"one", "First.", "1", NULL, 1, 9, VBD_T_U64, 0, 77}, {"two", "Second.", "2", NULL, 1, 9, VBD_T_U64, 0, 78}')
        note = (r'-DZ_NOTE="abi=1.1\0min_host_minor=0\0kind=driver\0constant=FD_ZOO\0name=zoo\0version=1.0\0"'
                r'"ops=attach,query,future\0new.key=1\0"')
        support.compile_plugin(self.path("fd-zoo.so"), ZOO, "-DZ_NEW_FIELD", options, note, include=future)
        self.assertEqual(self.accepted("call", self.dir, "FD_ZOO", "attach"), ["future=false"])
        self.accepted("load", self.dir, "FD_ZOO", "two=9")
        self.refused("option.value", "option two: expected number 1..9, found '10'", "load", self.dir, "FD_ZOO", "two=10")
        support.compile_plugin(self.path("ft-zoo.so"), ZOO, "-DZ_FILETYPE", include=future)
        self.accepted("load", self.dir, "FT_ZOO")

    def test_future_plugin_that_needs_more(self):
        """min_host_minor above the host's: refused from the note alone, with both numbers, and no constructor runs."""
        future = self.include_of("future", future_header())
        note = r'-DZ_NOTE="abi=1.1\0min_host_minor=1\0kind=driver\0constant=FD_ZOO\0name=zoo\0version=1.0\0ops=attach,query\0"'
        support.compile_plugin(self.path("fd-zoo.so"), ZOO, "-DZ_CONSTRUCTOR", "-DZ_MIN_HOST_MINOR=1", note, include=future)
        self.refused("plugin.needs_newer_host", "needs a host of ABI 1.1 or later, this vbd has 1.0", "find", self.dir, "FD_ZOO")

    def test_note_survives(self):
        """strip, section garbage collection, LTO: the note is still there."""
        sections = ["-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
        for compiler, name, flags in (("gcc", "gc-sections", sections), ("clang", "gc-sections", sections),
                                      ("gcc", "lto", ["-O2", "-flto", "-Wl,--gc-sections"]), ("clang", "lto", ["-O2", "-flto", "-Wl,--gc-sections"])):
            with self.subTest(compiler=compiler, build=name):
                if shutil.which(compiler) is None:
                    support.skip(self.id(), f"{compiler} is not installed")
                file = self.path("fd-null.so")
                done = support.run([compiler, "-std=c99", *SHARED, *flags, "-I", support.INCLUDE, "-o", file, NULL_DRIVER])
                if done.returncode != 0 and name == "lto":
                    support.skip(self.id(), f"{compiler} has no working -flto here")
                self.assertEqual(done.returncode, 0, done.stderr)
                for argv in ([], ["strip", "-s"], ["strip", "--strip-unneeded", "-R", ".comment"]):
                    if argv:
                        self.assertEqual(support.run([*argv, file]).returncode, 0)
                    self.assertEqual(self.accepted("note", file), ["FD_NULL"])
                os.chmod(file, 0o755)
                self.assertEqual(self.accepted("call", self.dir, "FD_NULL", "attach"), ["node=/dev/null"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
