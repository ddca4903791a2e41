#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs QEMU's own tests of its qcow formats with the real qemu-img, and after each of its runs compares what the
plugin says of every image named: info, check, map and content.

  shadow.py run --shadow PROGRAM [--source DIR] [--keep]   exit 0: all agree, 1: not, 77: can't run here (says why)

Without --source the tests come from Debian's source package, through apt. As a link named qemu-img it is the shim.
"""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

QCOW2_TESTS = ["060", "080", "108", "112", "122", "214", "244", "261", "271", "287"]
NEED_EMULATOR = ["060", "108", "244"]
QCOW_TESTS = ["092"]
FLOOR = 150  # images compared, over all tests

# What QEMU takes and the plugin refuses, and why that is meant.
STRICTER = {
    "qcow.encrypted": "encryption is refused by policy",
    "qcow.feature_unknown": "an unknown incompatible feature",
    "qcow.refcount_table_offset": "QEMU opens images whose refcount table is in the header",
    "qcow.refcount_table_size": "likewise with a size that only its check sees",
    "qcow.refcount_table_beyond_eof": "QEMU reads zeros after the end of the file",
    "qcow.l1_beyond_eof": "QEMU reads zeros after the end of the file",
    "qcow.l1_offset": "QEMU's check alone sees an L1 table over the header",
    "qcow.l2_beyond_eof": "QEMU reads zeros after the end of the file",
    "qcow.l2_unaligned": "QEMU fails at the first read",
    "qcow.l2_in_header": "QEMU's check alone sees it",
    "qcow.tables_overlap": "QEMU's check alone sees it",
    "qcow.snapshot_extra": "the specification's minimum; QEMU repairs it",
    "qcow.snapshots_beyond_eof": "QEMU reads zeros after the end of the file",
    "qcow.snapshot_l1_offset": "QEMU fails when the snapshot is used",
    "qcow.snapshot_l1_size": "QEMU fails when the snapshot is used",
    "qcow.snapshot_l1_beyond_eof": "QEMU fails when the snapshot is used",
    "qcow.data_file_hidden": "a data file's name without the feature bit",
    "qcow.header_length": "a length that is no multiple of 8",
}
# Likewise in check.
STRICTER_CHECK = {"qcow.overlap": "a cluster that is a table and data at once, counted twice"}

# Debian's emulator has no qtest accelerator, which executes nothing; a stopped processor executes nothing either.
EMULATOR = """#!/bin/bash
words=()
for word; do
  if [ "$word" = qtest ]; then words+=(tcg -S); else words+=("$word"); fi
done
exec {} "${{words[@]}}"
"""
# Most tests ask the emulator for its version and machines only.
VERSION_ONLY = """#!/bin/sh
case "$*" in *-machine*) echo 'none empty (default)';; *) echo 'QEMU emulator version 7.2';; esac
"""


def run(argv, timeout=60):
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, b"", b"time-out")


class Comparison:
    """One image, by qemu-img and by the plugin. verdict: agree, stricter, skip, differ."""

    def __init__(self, qemu_img, shadow, path, scratch):
        self.qemu, self.shadow, self.path, self.scratch = qemu_img, shadow, path, scratch

    def judge(self):
        with open(self.path, "rb") as f:
            version = f.read(8)[7]
        self.format = "qcow" if version == 1 else "qcow2"
        info = run([self.qemu, "info", "-U", "-f", self.format, "--output=json", self.path], 10)
        raw = os.path.join(self.scratch, "ours.raw")
        ours = run([self.shadow, self.path, raw], 60)
        if ours.returncode != 0:
            return "differ", f"the plugin died: {ours.returncode} {ours.stderr[-200:]}"
        ours = json.loads(ours.stdout)
        if ours["info"] != 0:
            if info.returncode != 0:
                return "agree", "both refuse: " + ours["reason"]
            if ours["reason"] in STRICTER:
                return "stricter", ours["reason"]
            return "differ", f"only the plugin refuses: {ours['reason']}"
        if info.returncode == 124:
            return "skip", "qemu-img info takes longer than 10 s"
        if info.returncode != 0:
            if ours["reference"]:
                return "skip", "its reference is not there for qemu-img"
            if ours["check"] != 0 or ours.get("read", 0) != 0:
                return "agree", "qemu-img refuses, the plugin's check or read does"
            return "differ", "only qemu-img refuses: " + info.stderr.decode(errors="replace")[-200:]
        theirs = json.loads(info.stdout)
        if theirs["virtual-size"] != ours["virtual_size"]:
            return "differ", f"size {theirs['virtual-size']} or {ours['virtual_size']}"
        if theirs.get("cluster-size") != ours["cluster_size"]:
            return "differ", f"cluster size {theirs.get('cluster-size')} or {ours['cluster_size']}"
        if len(theirs.get("snapshots", [])) != ours["snapshots"]:
            return "differ", "number of snapshots"
        return self.judge_tables(ours, raw)

    def judge_tables(self, ours, raw):
        if ours["reference"]:
            return "skip", "reference: " + ours["reference"]
        damaged = ours["check"] != 0
        if self.format == "qcow2":
            check = run([self.qemu, "check", "-U", "-f", "qcow2", "--output=json", self.path], 20)
            wanted = {0: "clean", 3: "leaks", 2: "errors"}.get(check.returncode, "refused")
            got = "errors" if damaged else "leaks" if ours["leaks"] else "clean"
            if check.returncode == 124:
                return "skip", "qemu-img check takes longer than 20 s"
            if wanted == "clean" and ours["check_reason"] in STRICTER_CHECK:
                return "stricter", "check: " + ours["check_reason"]
            if wanted == "refused" and not damaged:
                return "differ", "only qemu-img check fails: " + check.stderr.decode(errors="replace")[-200:]
            if wanted != "refused" and wanted != got:
                return "differ", f"check: {wanted} or {got} ({ours['check_reason']})"
            if wanted == "leaks" and json.loads(check.stdout).get("leaks") != ours["leaks"]:
                return "differ", f"leaks: {json.loads(check.stdout).get('leaks')} or {ours['leaks']}"
        if damaged:
            return "agree", "both find errors"
        return self.judge_content(ours, raw)

    def judge_content(self, ours, raw):
        if not os.path.exists(raw):
            return "skip", "too large to compare its content" if ours["read"] == 0 else "not read"
        theirs = os.path.join(self.scratch, "theirs.raw")
        converted = run([self.qemu, "convert", "-U", "-f", self.format, "-O", "raw", self.path, theirs])
        if converted.returncode != 0:
            if ours["read"] != 0:
                return "agree", "neither can read it: " + ours["read_reason"]
            return "differ", "only qemu-img can't read it: " + converted.stderr.decode(errors="replace")[-200:]
        if ours["read"] != 0:
            return "differ", "only the plugin can't read it: " + ours["read_reason"]
        same = run([self.qemu, "compare", "-f", "raw", "-F", "raw", raw, theirs])
        if same.returncode != 0:
            return "differ", "content: " + same.stdout.decode(errors="replace")[-200:]
        return self.judge_map(ours)

    def judge_map(self, ours):
        listed = run([self.qemu, "map", "-U", "-f", self.format, "--output=json", self.path])
        if listed.returncode != 0:
            return "agree", "all but the map, which qemu-img can't give"
        places = [(o, n, host) for o, n, kind, host in ours["map"] if kind == 3]
        for entry in json.loads(listed.stdout):
            if not entry["data"] or "offset" not in entry:
                continue
            start, length, host = entry["start"], entry["length"], entry["offset"]
            for o, n, h in places:
                low, high = max(o, start), min(o + n, start + length)
                if low < high and h + (low - o) != host + (low - start):
                    return "differ", f"map: guest offset {low} is at {host + (low - start)} or {h + (low - o)}"
        return "agree", "info, check, content and map"


def images_of(argv):
    for word in argv:
        for part in re.split(r"[,=]", word):
            try:
                if os.path.isfile(part) and open(part, "rb").read(4) == b"QFI\xfb":
                    yield os.path.abspath(part)
            except OSError:
                pass


def shim():
    env = json.loads(os.environ["QCOW_SHADOW"])
    done = subprocess.run([env["qemu_img"]] + sys.argv[1:])
    with open(env["log"], "a", encoding="utf-8") as log, tempfile.TemporaryDirectory(dir=env["scratch"]) as scratch:
        for path in sorted(set(images_of(sys.argv[1:]))):
            try:
                verdict, why = Comparison(env["qemu_img"], env["shadow"], path, scratch).judge()
            except (OSError, ValueError, KeyError) as error:
                verdict, why = "skip", f"went away or not understood: {type(error).__name__}"
            if verdict == "differ":
                kept = tempfile.mktemp(prefix="differ-", dir=env["scratch"])
                run(["cp", "--sparse=always", path, kept])
                why += " kept as " + os.path.basename(kept)
            log.write(json.dumps({"test": os.environ.get("TEST_IMG", ""), "args": sys.argv[1:3], "verdict": verdict,
                                  "why": why}) + "\n")
    code = done.returncode
    sys.exit(code if code >= 0 else 128 - code)


def skip(reason):
    print("SKIP qcow.iotests:", reason)
    sys.exit(77)


def fetch(work):
    """Debian's source package of the installed qemu-img, unpacked and patched."""
    if not shutil.which("dpkg-source") or not shutil.which("apt-get"):
        skip("no dpkg-source or apt-get")
    version = run(["dpkg-query", "-W", "-f", "${source:Version}", "qemu-utils"]).stdout.decode()
    # Where binary packages come from, sources do too: apt's own list of what it uses.
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
                  "Origin: Debian"]).stdout.decode()
    if not version or not listed:
        skip("qemu-utils is not from a Debian package")
    apt = os.path.join(work, "apt")
    os.makedirs(os.path.join(apt, "lists/partial"))
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    signed = f"[signed-by={keyring}] " if os.path.exists(keyring) else ""
    with open(os.path.join(apt, "sources.list"), "w", encoding="utf-8") as f:
        f.writelines(sorted({f"deb-src {signed}{line}\n" for line in listed.splitlines()}))
    options = ["-o", f"Dir::Etc::sourcelist={apt}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o",
               f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}"]
    if run(["apt-get"] + options + ["update"], 300).returncode != 0:
        skip("Debian's archive does not answer")
    got = subprocess.run(["apt-get"] + options + ["source", "--download-only", "qemu=" + version], cwd=work,
                         capture_output=True, timeout=600)
    packages = [name for name in os.listdir(work) if name.endswith(".dsc")]
    if got.returncode != 0 or not packages:
        skip("no source package of qemu " + version)
    subprocess.run(["dpkg-source", "--no-check", "-x", packages[0], "qemu"], cwd=work, check=True, capture_output=True)
    return os.path.join(work, "qemu")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--shadow", required=True)
    parser.add_argument("--source")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--tests", help="qcow2 tests, with commas")
    given = parser.parse_args()
    for program in ("qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"):
        if not shutil.which(program):
            skip(program + " is not installed")
    work = tempfile.mkdtemp(prefix="qcow-iotests-")
    try:
        sys.exit(shadow_run(given, work))
    finally:
        if not given.keep:
            shutil.rmtree(work, ignore_errors=True)


def shadow_run(given, work):
    tests = os.path.join(given.source or fetch(work), "tests/qemu-iotests")
    for name in ("test", "sock", "scratch"):
        os.mkdir(os.path.join(work, name))
    shim_path = os.path.join(work, "qemu-img")
    os.symlink(os.path.abspath(__file__), shim_path)
    emulator = shutil.which("qemu-system-" + os.uname().machine)
    stand_in = os.path.join(work, "emulator")
    with open(stand_in, "w", encoding="utf-8") as f:
        f.write(EMULATOR.format(emulator) if emulator else VERSION_ONLY)
    os.chmod(stand_in, 0o755)
    log = os.path.join(work, "log")
    env = dict(os.environ, PYTHON=sys.executable, TEST_DIR=os.path.join(work, "test"), SOCK_DIR=os.path.join(work, "sock"),
               QEMU_PROG=stand_in, QEMU_IMG_PROG=shim_path, QEMU_IO_PROG=shutil.which("qemu-io"),
               QEMU_NBD_PROG=shutil.which("qemu-nbd"), QSD_PROG=shutil.which("qemu-storage-daemon"),
               QCOW_SHADOW=json.dumps({"qemu_img": shutil.which("qemu-img"), "shadow": os.path.abspath(given.shadow),
                                       "log": log, "scratch": os.path.join(work, "scratch")}))
    open(log, "w", encoding="utf-8").close()
    failed = False
    runs = [("-qcow2", name) for name in (given.tests.split(",") if given.tests else QCOW2_TESTS)]
    if not emulator:
        print("not run without a qemu-system:", ", ".join(NEED_EMULATOR))
        runs = [one for one in runs if one[1] not in NEED_EMULATOR]
    runs += [] if given.tests else [("-qcow", name) for name in QCOW_TESTS]
    for kind, name in runs:
        before = sum(1 for _ in open(log, encoding="utf-8"))
        done = subprocess.run(["./check", kind, name], cwd=tests, env=env, capture_output=True, timeout=1500)
        text = done.stdout.decode(errors="replace")
        state = re.search(rf"\b{name}\s+(pass|fail|not run)", text)
        state = state[1] if state else "no result: " + text[-300:].replace("\n", " | ")
        after = sum(1 for _ in open(log, encoding="utf-8"))
        print(f"iotest {kind[1:]} {name}: {state}, {after - before} images")
        if state == "fail":
            print("\n".join("  " + line for line in text.splitlines()[-40:]))
        failed |= state not in ("pass", "not run")
    return summary(log, failed, bool(given.tests))


def summary(log, failed, partial):
    counts, reasons = collections.Counter(), collections.Counter()
    for line in open(log, encoding="utf-8"):
        entry = json.loads(line)
        counts[entry["verdict"]] += 1
        if entry["verdict"] != "agree":
            reasons[entry["verdict"] + ": " + entry["why"]] += 1
    for why, n in reasons.most_common(60):
        print(f"  {n} {why} {(STRICTER | STRICTER_CHECK).get(why.split(': ')[-1], '')}")
    print("images:", ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
    if counts["agree"] < FLOOR and not partial:
        print(f"fewer than {FLOOR} images compared")
        failed = True
    return 1 if failed or counts["differ"] else 0


if __name__ == "__main__":
    if os.path.basename(sys.argv[0]) == "qemu-img":
        shim()
    else:
        main()
