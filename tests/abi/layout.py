# SPDX-License-Identifier: MIT
"""The layout of the ABI as text: one line for each struct ("struct NAME - SIZE"), field ("field STRUCT.NAME OFFSET SIZE")
and constant ("const NAME VALUE"), by a C program made from a header and compiled.
  layout.py HEADER     prints it: how tests/abi/layout-1.N.txt is made when VBD_ABI_MINOR becomes N."""

import os
import re
import sys
import tempfile

import support

STRUCT = re.compile(r"^struct (vbd_\w+) \{(.*?)^\};", re.S | re.M)
ENUM = re.compile(r"\benum \{(.*?)\}", re.S)
# Read as arrays of their size, so they can't grow at all (vbd_option can: option_stride).
FIXED = {"vbd_fd_map", "vbd_kv", "vbd_extent"}
POINTER_TO_FUNCTION = re.compile(r"\(\*(\w+)\)\s*\(")


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def fields_of(body):
    """Names of the fields of a struct's body."""
    names = []
    for declaration in body.split(";"):
        declaration = " ".join(declaration.split())
        if not declaration:
            continue
        function = POINTER_TO_FUNCTION.search(declaration)
        if function:
            names.append(function.group(1))
        else:
            names += [re.findall(r"\w+", part)[-1] for part in declaration.split(",")]
    return names


def program_for(header_text):
    text = without_comments(header_text)
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <vbdkit/plugin.h>", "int main(void) {"]
    for struct, body in STRUCT.findall(text):
        lines.append(f'  printf("struct {struct} - %zu\\n", sizeof(struct {struct}));')
        for field in fields_of(body):
            lines.append(f'  printf("field {struct}.{field} %zu %zu\\n", offsetof(struct {struct}, {field}), '
                         f"sizeof(((struct {struct} *)0)->{field}));")
    for body in ENUM.findall(text):
        for name in re.findall(r"\b(VBD_\w+)\s*=", body):
            lines.append(f'  printf("const {name} %lld\\n", (long long){name});')
    return "\n".join(lines + ["  return 0;", "}", ""])


def layout_of(header_text, compiler=None):
    """The lines for a header given as text."""
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "vbdkit"))
        with open(os.path.join(directory, "vbdkit", "plugin.h"), "w", encoding="utf-8") as f:
            f.write(header_text)
        source, program = os.path.join(directory, "layout.c"), os.path.join(directory, "layout")
        with open(source, "w", encoding="utf-8") as f:
            f.write(program_for(header_text))
        done = support.run([*(compiler or support.CC), "-std=c99", "-I", directory, "-o", program, source])
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return support.run([program]).stdout.splitlines()


def minor_of(header_text):
    return int(re.search(r"#define VBD_ABI_MINOR (\d+)", header_text).group(1))


def differences(golden, minor_of_golden, now, minor_now):
    """What is wrong with the layout `now` beside a golden one of the same or an earlier minor."""
    wrong = []
    have = set(now)
    for line in golden:
        if line in have:
            continue
        if line.startswith("struct ") and minor_now > minor_of_golden and line.split()[1] not in FIXED:
            continue  # it may have grown: its fields are compared below
        wrong.append("changed or gone: " + line)
    if minor_now == minor_of_golden:
        wrong += ["new without a raised minor: " + line for line in now if line not in set(golden)]
    ends = {}
    for line in golden:
        if line.startswith("field "):
            _, name, offset, size = line.split()
            ends[name.split(".")[0]] = max(ends.get(name.split(".")[0], 0), int(offset) + int(size))
    for line in now:
        if line.startswith("field ") and line not in set(golden):
            _, name, offset, _ = line.split()
            if int(offset) < ends.get(name.split(".")[0], 0):
                wrong.append("not appended: " + line)
    return wrong


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as header:
        print("\n".join(layout_of(header.read())))
