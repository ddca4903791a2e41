# SPDX-License-Identifier: MIT
"""What the faults beside this file say, and where in the tree they go. One fault is one TOML file:

    why = "what breaks when this is wrong"
    file = "core/sys/files.cpp"
    search = '''the text that is replaced; spaces and line ends don't count'''
    replace = '''what stands there instead'''
    tests = ["sys: a case of the test program", "e2e/test_live.py: Class.test_name"]
    survives = "why no test can find it"        # only where that is so
"""

import os
import re
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = {"why", "file", "search", "replace", "tests", "survives"}
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\w+|\S')


class Broken(Exception):
    """A fault that is not as it must be; its text says why."""


def pattern(text):
    """Finds `text` however the formatter breaks its lines."""
    out, before = [], ""
    for token in TOKEN.findall(text):
        if before:
            out.append(r"\s+" if re.match(r"\w", token) and re.search(r"\w$", before) else r"\s*")
        out.append(re.escape(token))
        before = token
    return re.compile("".join(out))


class Fault:
    def __init__(self, path):
        self.name = os.path.basename(path).removesuffix(".toml")
        try:
            with open(path, "rb") as f:
                said = tomllib.load(f)
        except tomllib.TOMLDecodeError as error:
            raise Broken(f"{self.name}: {error}")
        unknown = set(said) - KEYS
        missing = KEYS - {"survives"} - set(said)
        if unknown or missing:
            raise Broken(f"{self.name}: " + ", ".join([f"unknown key {k}" for k in sorted(unknown)] +
                                                      [f"no {k}" for k in sorted(missing)]))
        self.why, self.file = said["why"], said["file"]
        self.search, self.replace = said["search"], said["replace"]
        self.survives = said.get("survives")
        self.tests = [tuple(part.strip() for part in test.split(":", 1)) for test in said["tests"]]
        if not self.tests or any(len(test) != 2 for test in self.tests):
            raise Broken(f"{self.name}: tests are a list of 'PROGRAM: CASE'")

    def place(self, tree):
        """(text of the file, begin, end)."""
        try:
            with open(os.path.join(tree, self.file), encoding="utf-8") as f:
                text = f.read()
        except OSError as error:
            raise Broken(f"{self.name}: {error}")
        found = list(pattern(self.search).finditer(text))
        if len(found) != 1:
            raise Broken(f"{self.name}: its text stands {len(found)} times in {self.file}, not once")
        return text, found[0].start(), found[0].end()

    def applied(self, tree):
        text, begin, end = self.place(tree)
        return text[:begin] + self.replace.strip() + text[end:]


def all_faults(directory=os.path.join(HERE, "faults")):
    return [Fault(os.path.join(directory, name)) for name in sorted(os.listdir(directory)) if name.endswith(".toml")]
