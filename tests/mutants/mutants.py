#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: mutants.py WORK [--list | NAME...]

Puts seeded faults into the program, one after the other, and wants the tests that they name to fail: a test that stays
green with the fault in finds nothing. All is done in a copy of the tree, in WORK, so that whatever ends this leaves the
tree itself as it is; the next run mends the copy. Each fault builds what it touches. Exit 1 when a fault survives that
does not say why it does, or when a test is not green without a fault."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from faults import Broken, all_faults

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPTIONS = ["--prefix=/usr", "--libdir=lib", "-Doptimization=0", "-Ddebug=false", "--unity=on", "--unity-size=6"]
PATIENCE = 300


def quiet(argv, **kw):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **kw)


def write(path, data):
    """Only when it differs: a new time stamp builds again."""
    try:
        with open(path, "rb") as f:
            if f.read() == data:
                return
    except OSError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


class Copy:
    """The tree's tracked files, as they are now, and a build of them."""

    def __init__(self, work):
        # As deep as ./dev's own builds are: the compiler's cache knows what they compiled.
        self.tree = os.path.join(work, "tree")
        self.build = os.path.join(self.tree, ".vbd-dev", "plain")
        self.stage, self.targets, self.tests = None, [], {}

    def sync(self):
        names = subprocess.run(["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                               check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
        names = {name for name in names if name and os.path.lexists(os.path.join(TOP, name))}
        for name in names:
            source, target = os.path.join(TOP, name), os.path.join(self.tree, name)
            if os.path.islink(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if not os.path.lexists(target):
                    os.symlink(os.readlink(source), target)
                continue
            with open(source, "rb") as f:
                write(target, f.read())
            shutil.copymode(source, target)
        for directory, below, files in os.walk(self.tree):
            below[:] = [name for name in below if name != ".vbd-dev"]
            for file in files:
                path = os.path.join(directory, file)
                if os.path.relpath(path, self.tree) not in names:
                    os.unlink(path)

    def configure(self):
        if not os.path.exists(os.path.join(self.build, "build.ninja")):
            done = quiet(["meson", "setup", self.build, self.tree, *OPTIONS])
            if done.returncode != 0:
                sys.exit(done.stdout + "\nmutants: meson setup failed")
        self.make(["build.ninja"])
        said = json.loads(subprocess.run(["meson", "introspect", "--tests", "--targets", self.build], check=True,
                                         stdout=subprocess.PIPE).stdout)
        relative = lambda path: os.path.relpath(path, self.build)
        for target in said["targets"]:
            files = [relative(name) for name in target["filename"]]
            self.targets.append((files, target["type"], target["installed"]))
        for test in said["tests"]:
            if relative(test["cmd"][0]) in {file for files, _, _ in self.targets for file in files}:
                self.tests.setdefault(test["name"], (test["cmd"], test["env"]))

    def files_of(self, wanted):
        return [file for files, kind, installed in self.targets if wanted(kind, installed) for file in files]

    def make(self, targets):
        return quiet(["ninja", "-C", self.build, *targets])

    def wanted(self, tests, sources=None):
        """What must be built for these tests, after a change of `sources` only what can differ."""
        targets = set()
        for program, _ in tests:
            if program.startswith("e2e/"):
                targets.update(self.files_of(lambda kind, installed: installed))
            elif program not in self.tests:
                raise Broken(f"there is no test program {program}")
            else:
                command, env = self.tests[program]
                targets.add(os.path.relpath(command[0], self.build))
                loads = sources is None or any(s.startswith(("plugins/", "sdk/", "include/")) for s in sources)
                if loads and "VBD_TEST_PLUGINS" in env:
                    targets.update(self.files_of(lambda kind, _: kind == "shared module"))
        return sorted(targets)

    def install(self):
        """Where the rule of trust holds: owned by us, writable by nobody else, and so are all folders above."""
        if self.stage is None:
            base = "/var/lib" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", os.environ["HOME"])
            self.stage = tempfile.mkdtemp(prefix="vbdkit-mutants.", dir=base)
            os.chmod(self.stage, 0o755)
        return quiet(["meson", "install", "-C", self.build, "--no-rebuild", "--quiet"],
                     env={**os.environ, "DESTDIR": self.stage}, umask=0o022)

    def run(self, test):
        """None, or why it is red."""
        program, case = test
        if program.startswith("e2e/"):
            command = [sys.executable, os.path.join(self.tree, "tests", program), case]
            env = {"VBD_PREFIX": os.path.join(self.stage, "usr")}
        else:
            command, env = self.tests[program]
            # A comma parts two filters.
            command = [*command, "--no-colors", "--test-case=" + case.replace(",", "?")]
        try:
            done = quiet(command, env={**os.environ, **env}, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"no end in {PATIENCE} s"
        if done.returncode != 0:
            return failure_in(done.stdout) or f"exit {done.returncode}"
        ran = re.search(r"test cases: +([0-9]+)", done.stdout) or re.search(r"^Ran ([0-9]+) test", done.stdout, re.M)
        if "SKIP " in done.stdout or ran is None or ran[1] == "0":
            raise Broken(f"{program}: {case}: did not run: {done.stdout.strip()[-300:]}")
        return None

    def close(self):
        if self.stage:
            shutil.rmtree(self.stage, ignore_errors=True)


def failure_in(output):
    for line in output.splitlines():
        if re.search(r"ERROR: |^[A-Za-z]*(Error|Exception): |Segmentation|Sanitizer", line):
            return line.strip()[-140:]
    return None


class Run:
    def __init__(self, copy):
        self.copy, self.green = copy, set()

    def build(self, tests, sources=None):
        done = self.copy.make(self.copy.wanted(tests, sources))
        if done.returncode == 0 and any(program.startswith("e2e/") for program, _ in tests):
            done = self.copy.install()
        return done

    def check_green(self, faults):
        """Without a fault each test passes; else its failing says nothing."""
        tests = sorted({test for fault in faults for test in fault.tests})
        done = self.build(tests)
        if done.returncode != 0:
            raise Broken("the tree does not build:\n" + done.stdout[-3000:])
        red = [f"{': '.join(test)}: {why}" for test in tests if (why := self.copy.run(test))]
        if red:
            raise Broken("red without a fault:\n" + "\n".join(red))

    def try_one(self, fault):
        """Why it was found, or None."""
        path = os.path.join(self.copy.tree, fault.file)
        with open(path, "rb") as f:
            before = f.read()
        write(path, fault.applied(self.copy.tree).encode())
        try:
            done = self.build(fault.tests, [fault.file])
            if done.returncode != 0:
                raise Broken(f"{fault.name}: does not build:\n" + done.stdout[-2000:])
            for test in fault.tests:
                if why := self.copy.run(test):
                    return f"{': '.join(test)}: {why}"
            return None
        finally:
            write(path, before)


def chosen(words):
    faults = all_faults()
    known = {fault.name for fault in faults}
    for word in words:
        if word not in known:
            raise Broken(f"there is no fault {word}; --list shows all")
    return [fault for fault in faults if not words or fault.name in words]


def main(work, words):
    if words == ["--list"]:
        for fault in all_faults():
            print(f"{fault.name:32} {fault.file}: {fault.why}")
        return 0
    faults = chosen(words)
    copy = Copy(work)
    found = bad = excused = 0
    try:
        copy.sync()
        copy.configure()
        run = Run(copy)
        run.check_green(faults)
        for fault in faults:
            begin = time.monotonic()
            try:
                why, word = run.try_one(fault), "SURVIVED"
            except Broken as error:
                why, word = None, f"BROKEN {error}"
            if why:
                found += 1
            elif word == "SURVIVED" and fault.survives:
                excused += 1
                word = f"survived, as it says: {fault.survives}"
            else:
                bad += 1
            print(f"{fault.name:32} {'found' if why else word} ({time.monotonic() - begin:.0f} s)"
                  + (f"  {why}" if why else ""), flush=True)
    finally:
        copy.close()
    print(f"{len(faults)} faults: {found} found, {bad} survived or broken, {excused} survive with a reason")
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
    except Broken as error:
        sys.exit(f"mutants: {error}")
