#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that the tree is the architecture: who may include what, where a library may be seen, which words do not
belong. usage: layers.py TREE; prints one line a violation, exit 1 when there are any."""

import os
import re
import sys

# A room may include rooms of a lower rank, and itself.
RANKS = {
    "core/base": 0,
    "core/sys": 1, "core/model": 1, "core/json": 1,
    "core/config": 2,
    "core/plugin": 3,
    "core/image": 4,
    "core/device": 5,
    "manager/hypervisor": 6, "manager/os": 6, "manager/node": 6,
    "manager/instance": 7,
    "manager/backup": 8,
    "cli": 9, "bridges/ganeti": 9,
}

# library header -> where it may be included
LIBRARIES = {
    r"yaml-cpp/": r"core/config/[^/]+\.cpp",
    r"nlohmann/": r"core/json/[^/]+\.cpp",
    r"spdlog/": r"core/base/log\.cpp",
    r"boost/dll": r"core/plugin/[^/]+\.cpp",
    r"boost/(?!dll)": r"nowhere",
    r"CLI/": r"cli/parser\.cpp",
    r"openssl/": r"core/base/sha256\.cpp",
    r"libdeflate\.h": r"plugins/qcow/.*",
    r"zstd\.h": r"plugins/qcow/.*|manager/backup/zstd\.cpp",
}

# The door to the system: these headers are for core/sys, plugins and what stands on plugin.h alone.
SYSTEM_HEADERS = r"(unistd|fcntl|dirent|spawn|dlfcn|syslog|pwd|grp|sys/\w+|linux/[\w/]+)\.h"
SYSTEM_ROOMS = r"(core/sys/|core/base/log\.cpp|core/plugin/library\.cpp|cli/terminal\.cpp|plugins/|include/|sdk/).*"

SOURCE = re.compile(r"\.(c|cpp|h|hpp)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
FOREIGN_WORD = re.compile(r"(?<![A-Za-z_])(xen|qcow2?|ganeti)(?![a-z])", re.I)
SHELL_CALL = re.compile(r"\b(std::system|popen|system)\s*\(")
MAX_LINES = 500


def room_of(path):
    best = None
    for room in RANKS:
        if path.startswith(room + "/") and (best is None or len(room) > len(best)):
            best = room
    return best


def is_test(path):
    return "/tests/" in path or path.startswith(("tests/", "bench/")) or "/fuzz/" in path


def check_room(path, include):
    room = room_of(path)
    target = room_of(include)
    if room is None or target is None or room == target or is_test(path):
        return None
    if RANKS[target] >= RANKS[room]:
        return f"{path}: {room} must not include {include}: {target} does not stand before it"
    return None


def check_plugin(path, include):
    if not path.startswith("plugins/"):
        return None
    ours = include.startswith(("core/", "manager/", "cli/", "bridges/", "sdk/", "tests/"))
    if is_test(path):
        allowed = include.startswith(("sdk/testkit/", "tests/support/", "plugins/" + path.split("/")[1] + "/"))
        return f"{path}: a plugin's test may use sdk/testkit, not {include}" if ours and not allowed else None
    if ours or (include.startswith("vbdkit/") and include not in ("vbdkit/plugin.h", "vbdkit/plugin.hpp")):
        return f"{path}: a plugin includes vbdkit/plugin.h and plugin.hpp, not {include}"
    return None


def check_sdk(path, include):
    if path.startswith("sdk/") and include.startswith(("core/", "manager/", "cli/", "plugins/", "bridges/")):
        return f"{path}: the sdk stands on vbdkit/plugin.h alone, not on {include}"
    return None


def check_library(path, include):
    if is_test(path):
        return None
    for pattern, where in LIBRARIES.items():
        if re.match(pattern, include) and not re.fullmatch(where, path):
            return f"{path}: {include} is only for {where}"
    return None


def check_system(path, include):
    if is_test(path) or not re.fullmatch(SYSTEM_HEADERS, include) or re.fullmatch(SYSTEM_ROOMS, path):
        return None
    return f"{path}: system access ({include}) belongs into core/sys"


def check_text(path, text):
    found = []
    if path.startswith("core/") and not is_test(path):
        word = FOREIGN_WORD.search(text)
        if word:
            line = text.count("\n", 0, word.start()) + 1
            found.append(f"{path}:{line}: core knows no hypervisor, format or cluster: {word.group(0)}")
    if not is_test(path) and SHELL_CALL.search(text):
        found.append(f"{path}: no shell: programs run through the one runner")
    if text.count("\n") > MAX_LINES:
        found.append(f"{path}: {text.count(chr(10))} lines: more than {MAX_LINES}, a room with too many things in it")
    if not text.startswith(("// SPDX-License-Identifier: MIT", "/* SPDX-License-Identifier: MIT")):
        found.append(f"{path}: first line must be the licence")
    return found


def check_tree(files):
    """files: {path: text}. Returns the violations, sorted."""
    found = []
    for path, text in files.items():
        if not SOURCE.search(path) or path.startswith(("subprojects/", "tests/abi/v")):
            continue
        found += check_text(path, text)
        for include in INCLUDE.findall(text):
            for rule in (check_room, check_plugin, check_sdk, check_library, check_system):
                violation = rule(path, include)
                if violation:
                    found.append(violation)
    return sorted(found)


def read_tree(top):
    files = {}
    for folder, names, leaves in os.walk(top):
        names[:] = [n for n in names if not n.startswith((".", "build"))]
        for leaf in leaves:
            path = os.path.relpath(os.path.join(folder, leaf), top)
            if SOURCE.search(path):
                with open(os.path.join(top, path), encoding="utf-8") as f:
                    files[path] = f.read()
    return files


def main():
    found = check_tree(read_tree(sys.argv[1]))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
