# SPDX-License-Identifier: MIT
"""A zoo of bad plugins: each is refused with an error of its own, and none of them harms the host. The sources are
tests/plugins/zoo.c with one part replaced."""

import os
import stat
import unittest
from concurrent.futures import ThreadPoolExecutor

import support

ZOO = os.path.join(support.PLUGINS, "zoo.c")


def note(constant="FD_ZOO", **changes):
    """A -D with another note."""
    keys = {"abi": "1.0", "min_host_minor": "0", "kind": "driver", "constant": constant, "name": "zoo", "version": "1.0",
            "ops": "attach,query"}
    keys.update(changes)
    text = "\\0".join(f"{key}={value}" for key, value in keys.items() if value is not None)
    return f'-DZ_NOTE="{text}\\0"'


def option(name='"a"', text='"Help."', dflt="NULL", choices="NULL", low="0", high="0", kind="VBD_T_U64", flags="0"):
    return f"-DZ_OPTION={{{name}, {text}, {dflt}, {choices}, {low}, {high}, {kind}, {flags}}}"


FILETYPE = "-DZ_FILETYPE"
# name: (flags, error id, words of the message)
ANIMALS = {
    "abi 2 in the note, crashing constructor": ([note(abi="2.0"), "-DZ_CONSTRUCTOR"], "plugin.abi_major", "for ABI 2, this vbd has ABI 1"),
    "needs a newer host, crashing constructor": ([note(min_host_minor="1"), "-DZ_CONSTRUCTOR"], "plugin.needs_newer_host", "1.1 or later, this vbd has 1.0"),
    "no note, crashing constructor": (["-DZ_NO_NOTE", "-DZ_CONSTRUCTOR"], "plugin.no_note", "no identity note"),
    "another constant, crashing constructor": ([note("FD_OTHER"), "-DZ_CONSTRUCTOR"], "plugin.wrong_constant", "belongs in fd-other.so"),
    "two notes": (["-DZ_SECOND_NOTE"], "plugin.bad_note", "two vbdkit notes"),
    "note without a name": ([note(name=None)], "plugin.bad_note", "name= is missing"),
    "note of no kind": ([note(kind="thing")], "plugin.bad_note", "neither driver nor filetype"),
    "note with garbage": (['-DZ_NOTE="garbage"'], "plugin.bad_note", "no key=value: garbage"),
    "note with a control character": ([note(summary="\\033[31m")], "plugin.bad_note", "not text"),
    "only the next major's symbol": (["-DZ_SYMBOL=vbd_plugin_v2"], "plugin.no_symbol", "vbd_plugin_v1"),
    "a symbol of the host": (["-DZ_UNDEFINED"], "plugin.load_failed", "vbd_host_private_function"),
    "NULL": (["-DZ_RETURN=NULL"], "plugin.null_struct", "returned NULL"),
    "size 0": (["-DZ_SIZE=0"], "plugin.bad_struct_size", "vbd_plugin says size 0"),
    "one field short": (["-DZ_SIZE=sizeof(struct vbd_plugin)-8"], "plugin.bad_struct_size", "ABI 1.0 has"),
    "huge size": (["-DZ_SIZE=0x7fffffff"], "plugin.bad_struct_size", "2147483647"),
    "struct of another major": (["-DZ_MAJOR=2"], "plugin.abi_major", "its struct is of ABI 2"),
    "struct needs a newer host": (["-DZ_MIN_HOST_MINOR=1"], "plugin.needs_newer_host", "1.1 or later, this vbd has 1.0"),
    "flags": (["-DZ_FLAGS=4"], "plugin.bad_struct", "flags is 4"),
    "unknown kind": (["-DZ_KIND=3"], "plugin.bad_struct", "kind is 3"),
    "no licence": (["-DZ_LICENSE=NULL"], "plugin.bad_struct", "license is NULL"),
    "name of two lines": (['-DZ_NAME="a\\nb"'], "plugin.bad_struct", "name is not one line"),
    "no init": (["-DZ_INIT=NULL"], "plugin.bad_struct", "init or .fini is NULL"),
    "no operations": (["-DZ_DRIVER=NULL"], "plugin.bad_struct", "a driver without vbd_plugin.driver"),
    "both tables": (["-DZ_FILETYPE_OPS=&filetype_ops"], "plugin.bad_struct", "both driver and filetype"),
    "driver table of size 4": (["-DZ_DRIVER_SIZE=4"], "plugin.bad_struct_size", "vbd_driver_ops says size 4"),
    "reserved in use": (["-DZ_DRIVER_RESERVED=1"], "plugin.bad_struct", "vbd_driver_ops.reserved"),
    "another constant in the struct": (['-DZ_CONSTANT="FD_OTHER"'], "plugin.note_mismatch", "constant is FD_OTHER in its struct, FD_ZOO in its note"),
    "another version in the struct": (['-DZ_VERSION="1.1"'], "plugin.note_mismatch", "version is 1.1"),
    "another name in the struct": (['-DZ_NAME="lion"'], "plugin.note_mismatch", "name is lion"),
    "operation only in the note": (["-DZ_NO_QUERY"], "plugin.note_mismatch", "query is in its note, but NULL"),
    "operation only in the struct": (["-DZ_EXTRA_OP"], "plugin.note_mismatch", "detach is in its struct, but not"),
    "filetype table of size 0": ([FILETYPE, "-DZ_FILETYPE_SIZE=0"], "plugin.bad_struct_size", "vbd_filetype_ops says size 0"),
    "image table too long": ([FILETYPE, "-DZ_IMAGE_SIZE=100000"], "plugin.bad_struct_size", "vbd_image_ops says size 100000"),
    "image that can't be read": ([FILETYPE, "-DZ_NO_READ"], "plugin.bad_struct", "open, close, geometry, map, read"),
    "commit without reserve": ([FILETYPE, "-DZ_NO_RESERVE"], "plugin.bad_struct", "reserve and commit"),
    "options without a table": (["-DZ_OPTIONS=NULL"], "plugin.bad_option_table", "table is NULL"),
    "stride 0": (["-DZ_STRIDE=0"], "plugin.bad_option_table", "stride of 0"),
    "a million options": (["-DZ_N_OPTIONS=1000000"], "plugin.bad_option_table", "1000000 options"),
    "option without a name": ([option(name="NULL")], "plugin.bad_option_table", "entry 0 has no name"),
    "option with a bad name": ([option(name='"Big"')], "plugin.bad_option_table", "entry 0 has no name"),
    "option without help": ([option(text="NULL")], "plugin.bad_option_table", "a: its help"),
    "option of no type": ([option(kind="7")], "plugin.bad_option_table", "a: type 7"),
    "enum without choices": ([option(kind="VBD_T_ENUM")], "plugin.bad_option_table", "a: an enum needs"),
    "choices for a number": ([option(choices='"1|2"')], "plugin.bad_option_table", "a: choices are for enums"),
    "min above max": ([option(low="5", high="4")], "plugin.bad_option_table", "a: min 5 is above max 4"),
    "default out of range": ([option(dflt='"9"', low="1", high="5")], "plugin.bad_option_table", "expected number 1..5, found '9'"),
    "required with a default": ([option(dflt='"9"', flags="VBD_OPT_REQUIRED")], "plugin.bad_option_table", "a: required, and has a default"),
    "init fails": (["-DZ_INIT_RESULT=VBD_E_MISSING"], "plugin.init_failed", "FD_ZOO: init: the zoo is closed"),
    "required option not configured": ([option(flags="VBD_OPT_REQUIRED")], "option.missing", "option a (Help.) is not configured"),
}


class Zoo(support.Case):
    def test_animals(self):
        """All are compiled side by side, then tried one by one."""
        homes = {name: self.path(str(i)) for i, name in enumerate(ANIMALS)}

        def build(name):
            os.mkdir(homes[name], 0o755)
            flags = ANIMALS[name][0]
            file = "ft-zoo.so" if FILETYPE in flags else "fd-zoo.so"
            support.compile_plugin(os.path.join(homes[name], file), ZOO, *flags)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(build, ANIMALS))
        for name, (flags, error_id, words) in ANIMALS.items():
            with self.subTest(name):
                constant = "FT_ZOO" if FILETYPE in flags else "FD_ZOO"
                self.refused(error_id, words, "load", homes[name], constant)

    def test_healthy(self):
        """The same source with nothing replaced is accepted: the diseases are what is refused."""
        for compiler in (["gcc"], ["clang"]):
            if support.shutil.which(compiler[0]) is None:
                continue
            support.compile_plugin(self.path("fd-zoo.so"), ZOO, *support.STRICT, compiler=compiler)
            support.compile_plugin(self.path("ft-zoo.so"), ZOO, FILETYPE, *support.STRICT, compiler=compiler)
            self.accepted("load", self.dir, "FD_ZOO")
            self.accepted("load", self.dir, "FT_ZOO", "count=9")
            self.assertEqual(self.accepted("call", self.dir, "FD_ZOO", "attach"), ["node=/dev/zoo"])
        self.refused("option.value", "vbdkit.yaml:3:14: plugins.FD_ZOO: option count: expected number 1..9, found '10'",
                     "load", self.dir, "FD_ZOO", "count=10")
        self.refused("option.unknown", "vbdkit.yaml:3:14: plugins.FD_ZOO: unknown option cuont; there are count",
                     "load", self.dir, "FD_ZOO", "cuont=1")

    def test_throwing(self):
        """C++11 has no noexcept in the callbacks' types: what leaves the plugin is caught at the call."""
        source = self.path("thrower.cpp")
        for name, init, attach in (("init", "throw 1;", "return 0;"), ("attach", "*self = nullptr; return 0;", "throw 1;")):
            with open(source, "w", encoding="utf-8") as f:
                f.write(THROWER % (attach, init))
            support.compile_plugin(self.path("fd-zoo.so"), source, std="c++11")
            if name == "init":
                self.refused("plugin.init_failed", "init threw an exception", "load", self.dir, "FD_ZOO")
            else:
                self.refused("plugin.internal", "FD_ZOO: attach: threw an exception", "call", self.dir, "FD_ZOO", "attach")

    def test_files(self):
        """What is no plugin at all, or no longer."""
        good = support.compile_plugin(self.path("good.so"), ZOO)
        with open(good, "rb") as f:
            whole = f.read()

        def edited(at, value):
            return whole[:at] + bytes([value]) + whole[at + 1:]

        for name, content, error_id, words in (
                ("empty", b"", "plugin.not_elf", "an empty file"),
                ("text", b"#!/bin/sh\n", "plugin.not_elf", "no ELF file"),
                ("cut in its header", whole[:50], "plugin.truncated", "inside its ELF header"),
                ("cut in half", whole[:len(whole) // 2], "plugin.truncated", "the file ends at"),
                ("32-bit", edited(4, 1), "plugin.wrong_machine", "32-bit"),
                ("other byte order", edited(5, 3 - whole[5]), "plugin.wrong_machine", "byte order"),
                ("other processor", edited(18, 8), "plugin.wrong_machine", "built for processor 8"),
                ("a program", edited(16, 2), "plugin.not_elf", "no shared object")):
            with self.subTest(name):
                with open(self.path("fd-zoo.so"), "wb") as f:
                    f.write(content)
                self.refused(error_id, words, "load", self.dir, "FD_ZOO")

    def test_places(self):
        """Who could have put it there, or could change it."""
        home = self.path("home")
        os.mkdir(home, 0o755)
        plugin = support.compile_plugin(os.path.join(home, "fd-zoo.so"), ZOO)
        self.accepted("load", home, "FD_ZOO")

        def refused(words, directory=home):
            self.refused("plugin.untrusted", words, "load", directory, "FD_ZOO")

        os.chmod(plugin, 0o757)
        refused("fd-zoo.so: not loaded: is writable by others")
        os.chmod(plugin, 0o4755)
        refused("has a set-id bit")
        os.chmod(plugin, 0o755)
        os.chmod(home, 0o777)
        refused("home is writable by others")
        os.chmod(home, 0o1777)
        refused("home is writable by others")
        if os.geteuid() == 0:
            os.chmod(home, 0o775)
            os.chown(home, 0, 12)
            refused("home is writable by its group 12")
            os.chown(home, 1234, 0)
            refused("home belongs to user 1234")
            os.chown(home, 0, 0)
        os.chmod(home, 0o755)
        other = self.path("other")
        os.mkdir(other, 0o755)
        os.symlink(plugin, os.path.join(other, "fd-zoo.so"))
        refused("is a symbolic link", other)
        os.unlink(os.path.join(other, "fd-zoo.so"))
        os.mkfifo(os.path.join(other, "fd-zoo.so"))
        refused("is not a regular file", other)
        self.refused("plugin.bad_directory", "'home' is not an absolute path", "load", "home", "FD_ZOO")
        self.refused("plugin.not_found", "looked for fd-zoo.so in " + self.path("none"), "load", self.path("none"), "FD_ZOO")
        self.assertTrue(stat.S_ISREG(os.stat(plugin).st_mode))
        self.accepted("load", home, "FD_ZOO")


THROWER = r"""
#include <vbdkit/plugin.h>
VBD_PLUGIN_NOTE("abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_ZOO\0name=zoo\0version=1\0ops=attach\0");
static int32_t attach(void *, const vbd_request *, vbd_sink *, vbd_error *) { %s }
static int32_t init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) { (void)self; %s }
static void fini(void *) {}
static const vbd_driver_ops ops = {sizeof ops, 0, attach, 0, 0, 0, 0, 0, 0};
static const vbd_plugin plugin = {sizeof plugin, 1, 0, VBD_KIND_DRIVER, 0, 0, "FD_ZOO", "zoo", "1", "", "", "",
                                  0, 0, 0, init, fini, &ops, 0, 0};
extern "C" VBD_EXPORT const vbd_plugin *vbd_plugin_v1(void) { return &plugin; }
"""

if __name__ == "__main__":
    unittest.main(verbosity=2)
