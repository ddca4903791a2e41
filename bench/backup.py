#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Export and import of an instance of 20 GiB with 1 GiB of data, beside its peers, paired in one run: in each round
everybody works once, the order turns round, and the medians of the per-round ratios peer/vbd are printed. All make
a file of the same content that is on disk when they are done (vbd syncs by itself, the others' output is synced within
their time). "data alone" copies the 1 GiB from a file without holes: what export and import are measured against.
vbd also computes a SHA-256 digest of the dump; no peer does.

usage: backup.py [--scale N] [--rounds N] [--dir DIR] [--dense]
  --scale N   1 is 20 GiB with 1 GiB of data (default: 1)
  --rounds N  rounds (default: 5)
  --dir DIR   a directory on ext4 with 8 GiB of space for each unit of scale (default: /var/lib, for root)
  --dense     also dd as scripts of Ganeti's guest OS definitions use it, which writes all 20 GiB"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

import data

VBD = os.path.join(os.environ["VBD_PREFIX"], "bin", "vbd")


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Bench:
    def __init__(self, folder, scale):
        self.folder = folder
        self.sets = data.Sets(folder, scale, os.environ["VBD_PREFIX"], None)
        self.size = int(20 * scale * 1024) * data.MiB
        self.config = os.path.join(folder, "backup.yaml")
        with open(self.config, "w") as f:
            f.write(f"file_storage_dir: {folder}\nstate_dir: {folder}/state\nrun_dir: {folder}/run\n"
                    f"export_dir: {folder}/export\nnode: node1\n")
        self.image = os.path.join(folder, "web1", "sda")
        self.out = os.path.join(folder, "out")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", f"0:size={self.size >> 20}m", "--no-start", "web1")
        self.sets.spread(self.image, self.size, data.plan(self.size, self.sets.amount, random.Random(1)))
        sync(self.image)

    def vbd(self, *words):
        data.run(VBD, "--config", self.config, *words)

    def peer(self, *argv):
        with open(os.devnull, "w") as null:
            subprocess.run(argv, check=True, stdout=null, stderr=null)
        sync(self.out)

    def contestants(self, dense):
        export = {
            "vbd backup export": lambda: self.vbd("backup", "export", "web1"),
            "data alone (cp)": lambda: self.peer("cp", "--reflink=never", self.sets.dense, self.out),
            "cp --sparse=auto": lambda: self.peer("cp", "--reflink=never", "--sparse=auto", self.image, self.out),
            "tar -S": lambda: self.peer("tar", "-S", "-C", os.path.dirname(self.image), "-cf", self.out, "sda"),
            "qemu-img convert": lambda: self.peer("qemu-img", "convert", "-f", "raw", "-O", "raw", self.image, self.out),
        }
        if dense:
            export["dd bs=1M"] = lambda: self.peer("dd", f"if={self.image}", f"of={self.out}", "bs=1048576")
        imports = {
            "vbd backup import": lambda: self.vbd("backup", "import", "--src-dir", "web1", "web2"),
            "data alone (cp)": export["data alone (cp)"],
            "cp --sparse=auto": export["cp --sparse=auto"],
            "qemu-img convert": export["qemu-img convert"],
        }
        return export, imports

    def clear(self, name):
        if os.path.exists(self.out):
            os.unlink(self.out)
        if name.endswith("import") and os.path.exists(os.path.join(self.folder, "web2")):
            self.vbd("instance", "remove", "--yes", "web2")
        if name.endswith("export") and os.path.exists(os.path.join(self.folder, "export", "web1")):
            self.vbd("backup", "remove", "--yes", "web1")
        os.sync()

    def measure(self, title, contestants, rounds):
        took = {name: [] for name in contestants}
        for number in range(-1, rounds):  # the first one warms up
            order = list(contestants)
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                self.clear(name)
                begin = time.perf_counter()
                contestants[name]()
                if number >= 0:
                    took[name].append(time.perf_counter() - begin)
        ours = took[next(iter(contestants))]
        print(title)
        for name, seconds in took.items():
            ratio = statistics.median(theirs / mine for theirs, mine in zip(seconds, ours))
            print(f"  {name:20}  {statistics.median(seconds):8.3f} s   {ratio:6.2f}x")

    def sizes(self):
        # As the kernel counts blocks: the dump must not be larger than the data.
        dump = os.path.join(self.folder, "export", "web1", "sda.raw")
        print(f"  on disk: image {os.stat(self.image).st_blocks * 512 / data.MiB:.1f} MiB, "
              f"dump {os.stat(dump).st_blocks * 512 / data.MiB:.1f} MiB")
        data.run(VBD, "--config", self.config, "image", "compare", "--filetype", "raw", self.image, dump)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/lib" if os.geteuid() == 0 else "/var/tmp")
    parser.add_argument("--dense", action="store_true")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="vbdkit-bench.", dir=args.dir)
    os.chmod(folder, 0o755)
    try:
        bench = Bench(folder, args.scale)
        export, imports = bench.contestants(args.dense)
        bench.measure(f"export of {bench.size / data.GiB:g} GiB with {bench.sets.amount / data.GiB:g} GiB of data, peer/vbd",
                      export, args.rounds)
        bench.clear("export")
        bench.vbd("backup", "export", "web1")
        bench.sizes()
        bench.measure("import, peer/vbd", imports, args.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
