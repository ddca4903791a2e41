#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vbd instance list` with many instances of two disks each: wall time (median of the rounds) and peak memory of the
largest process, for growing numbers of instances; what the same files cost cat(1) is printed as the floor. Then what one
more `instance add` and `cluster verify` cost beside them. usage: list.py [NUMBER...]"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

PREFIX = os.environ["VBD_PREFIX"]
VBD = os.path.join(PREFIX, "bin", "vbd")
ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
TARGET_MS, TARGET_AT = 150, 1000
# A program of its own measures, for a child's peak would begin with this interpreter's.
MEASURE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int c, char **v) {
  struct timespec a, b;
  struct rusage used;
  int status;
  (void)c;
  clock_gettime(CLOCK_MONOTONIC, &a);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(open("/dev/null", O_WRONLY), 1);
    execv(v[1], v + 1);
    _exit(127);
  }
  wait4(pid, &status, 0, &used);
  clock_gettime(CLOCK_MONOTONIC, &b);
  printf("%d %.3f %ld\n", status, (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6, used.ru_maxrss);
  return 0;
}
"""


class Catalog:
    """One instance made by vbd; the others are copies of its files under their own name and UUID, as vbd writes them."""

    def __init__(self, folder):
        self.folder = folder
        self.storage, self.names = os.path.join(folder, "storage"), os.path.join(folder, "state", "instances")
        os.mkdir(self.storage, 0o755)
        self.config = os.path.join(folder, "vbdkit.yaml")
        with open(self.config, "w") as f:
            f.write(f"file_storage_dir: {self.storage}\nstate_dir: {folder}/state\nrun_dir: {folder}/run\nnode: node1\n")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=10G", "--disk", "1:size=20G,filetype=raw",
                 "--no-start", "vm00000")
        self.size = 1
        with open(os.path.join(self.storage, "vm00000", "instance.yaml")) as f:
            self.record = f.read()
        with open(os.path.join(self.names, "vm00000.yaml")) as f:
            self.pointer = f.read()
        self.uuid = re.search(r"uuid: (\S+)", self.record)[1]

    def argv(self, *words):
        return [VBD, "--config", self.config, *words]

    def vbd(self, *words):
        return subprocess.run(self.argv(*words), check=True, env=ENV, stdout=subprocess.PIPE, text=True).stdout

    def grow(self, size):
        for number in range(self.size, size):
            name, own = f"vm{number:05}", str(uuid.uuid4())
            folder = os.path.join(self.storage, name)
            os.mkdir(folder, 0o755)
            for path, text in ((os.path.join(folder, "instance.yaml"), self.record),
                               (os.path.join(self.names, name + ".yaml"), self.pointer)):
                with open(path, "w") as f:
                    f.write(text.replace("vm00000", name).replace(self.uuid, own))
            for disk, bytes_ in (("sda", 10 << 30), ("sdb", 20 << 30)):
                with open(os.path.join(folder, disk), "w") as f:
                    f.truncate(bytes_)
                os.chmod(os.path.join(folder, disk), 0o600)
        self.size = size
        listed = json.loads(self.vbd("instance", "list", "--output", "json"))["instances"]
        assert len(listed) == size and {i["state"] for i in listed} == {"stopped"}, "the catalog is not good"

    def files(self):
        for number in range(self.size):
            yield os.path.join(self.names, f"vm{number:05}.yaml")
            yield os.path.join(self.storage, f"vm{number:05}", "instance.yaml")


def measure(tool, argv, rounds):
    """(median of the wall time in ms, peak in KiB)"""
    took, peaks = [], []
    for _ in range(rounds):
        done = subprocess.run([tool, *argv], check=True, env=ENV, stdout=subprocess.PIPE, text=True).stdout.split()
        if done[0] != "0":
            raise SystemExit(f"{argv[:6]} failed: {done[0]}")
        took.append(float(done[1]))
        peaks.append(int(done[2]))
    return statistics.median(took), max(peaks)


def main():
    sizes = [int(word) for word in sys.argv[1:]] or [10, 100, 1000, 10000]
    base = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~")
    folder = tempfile.mkdtemp(prefix="vbdkit-bench.", dir=base)
    os.chmod(folder, 0o755)
    try:
        tool = os.path.join(folder, "measure")
        with open(tool + ".c", "w") as f:
            f.write(MEASURE)
        subprocess.run(["cc", "-O2", "-o", tool, tool + ".c"], check=True)
        catalog = Catalog(folder)
        verbs = (("list", ("instance", "list")), ("list --output json", ("instance", "list", "--output", "json")),
                 ("list NAME", ("instance", "list", "vm00001")), ("cluster verify", ("cluster", "verify")))
        print("wall time of a whole process, median, and its peak memory; caches are warm")
        for size in sizes:
            catalog.grow(size)
            rounds = 21 if size <= 1000 else 5
            names = os.path.join(folder, "files")
            with open(names, "w") as f:
                f.write("\n".join(catalog.files()))
            floor, _ = measure(tool, ["/usr/bin/xargs", "-a", names, "cat"], rounds)
            print(f"{size:6} instances   floor: cat of their files  {floor:8.1f} ms")
            for title, words in verbs:
                ms, peak = measure(tool, catalog.argv(*words), rounds)
                target = f" (target: at most {TARGET_MS} ms)" if size == TARGET_AT and title.startswith("list") else ""
                print(f"{'':6} {title:34} {ms:12.1f} ms {peak / 1024:8.1f} MiB{target}")
            begin = time.perf_counter()
            catalog.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1G", "--net", "0", "--no-start", "one-more")
            print(f"{'':6} {'instance add':34} {(time.perf_counter() - begin) * 1000:12.1f} ms")
            catalog.vbd("instance", "remove", "--yes", "one-more")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
