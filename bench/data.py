# SPDX-License-Identifier: MIT
"""The data sets of images.py, each made when it is first asked for: an image of 8 GiB with 1 GiB of real data (files
of /usr) in pieces of 64 KiB to 1 MiB, and the same content in other forms."""

import functools
import os
import random
import shutil
import struct
import subprocess
import time

KiB, MiB, GiB, TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
CLUSTER = 65536


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def made(build):
    """A file of the name of the method, built once, on disk and in the page cache."""
    @functools.cached_property
    @functools.wraps(build)
    def path(self):
        name = self.at(build.__name__)
        build(self, name)
        fd = os.open(name, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return name
    return path


def plan(size, data, chance):
    """Pieces of 64 KiB to 1 MiB, aligned to 4 KiB, spread evenly: [(offset, length)]."""
    pieces, total = [], 0
    while total < data:
        length = min(chance.randrange(16, 257) * 4 * KiB, data - total)
        pieces.append(length)
        total += length
    gaps = sorted(chance.randrange((size - data) // (4 * KiB)) * 4 * KiB for _ in pieces)
    at, placed = 0, []
    for gap, length in zip(gaps, pieces):
        placed.append((gap + at, length))
        at += length
    return placed


class Sets:
    def __init__(self, folder, scale, prefix, env):
        self.folder, self.prefix, self.env = folder, prefix, env
        self.size, self.amount = int(8 * scale * 1024) * MiB, int(scale * 1024) * MiB

    def at(self, name):
        return os.path.join(self.folder, name)

    def plugin(self, filetype):
        return os.path.join(self.prefix, "lib/vbdkit/plugins-1", f"ft-{filetype}.so")

    @functools.cached_property
    def config(self):
        path = self.at("vbdkit.yaml")
        with open(path, "w") as f:
            f.write(f"file_storage_dir: {self.folder}\nstate_dir: {self.folder}/state\nrun_dir: {self.folder}/run\nnode: node1\n")
        return path

    @functools.cached_property
    def floor(self):
        """A program that loads one plugin and nothing else: what is left when all of vbd is gone."""
        source = self.at("floor.c")
        with open(source, "w") as f:
            f.write("#include <dlfcn.h>\nint main(int c, char **v) { (void)c; return dlopen(v[1], RTLD_NOW) ? 0 : 1; }\n")
        run("cc", "-O2", "-o", self.at("floor"), source, "-ldl")
        return self.at("floor")

    @made
    def dense(self, path):
        """The data alone."""
        tar = subprocess.Popen(["tar", "-C", "/usr", "-c", "."], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with open(path, "wb") as f:
            left = self.amount
            while left > 0:
                data = tar.stdout.read(min(left, MiB))
                if not data:
                    raise SystemExit("/usr holds too little for this scale")
                f.write(data)
                left -= len(data)
        tar.kill()
        tar.wait()
        tar.stdout.close()

    def spread(self, path, size, pieces):
        with open(self.dense, "rb") as source, open(path, "wb") as f:
            f.truncate(size)
            for offset, length in pieces:
                f.seek(offset)
                f.write(source.read(length))

    @made
    def raw(self, path):
        self.spread(path, self.size, plan(self.size, self.amount, random.Random(1)))

    @made
    def twin(self, path):
        run("cp", "--reflink=never", "--sparse=auto", self.raw, path)

    @made
    def huge(self, path):
        self.spread(path, 15 * TiB, plan(self.size, self.amount, random.Random(1)))

    @made
    def small(self, path):
        """For what is slow: a quarter."""
        self.spread(path, self.size // 4, plan(self.size // 4, self.amount // 4, random.Random(2)))

    @made
    def qcow(self, path):
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", self.raw, path)

    @made
    def zlib(self, path):
        run("qemu-img", "convert", "-m", "8", "-W", "-c", "-f", "raw", "-O", "qcow2", self.raw, path)

    @made
    def zstd(self, path):
        run("qemu-img", "convert", "-m", "8", "-W", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", self.raw, path)

    @made
    def fragmented(self, path):
        """qcow2 as after a long life: short runs of clusters, shuffled. Written here, for no tool makes one on purpose."""
        with open(self.raw, "rb") as source, open(path, "w+b") as f:
            write_shuffled(source, f, self.size, random.Random(3))
        run("qemu-img", "check", "-f", "qcow2", path)
        run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.raw, path)

    @functools.cached_property
    def xfs(self):
        """A mounted xfs with reflink, in a file; None where there can't be one."""
        if os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.xfs"):
            return None
        disk, mount = self.at("xfs.disk"), self.at("xfs")
        with open(disk, "wb") as f:
            f.truncate(6 * self.amount + 2 * GiB)
        run("mkfs.xfs", "-q", "-m", "reflink=1", disk)
        device = run("losetup", "--find", "--show", "--direct-io=on", disk).strip()
        os.mkdir(mount)
        run("mount", "-o", "nodev,nosuid", device, mount)
        os.chmod(mount, 0o755)
        return mount

    def on_xfs(self, source):
        path = os.path.join(self.xfs, os.path.basename(source))
        run("cp", "--sparse=auto", source, path)
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return path

    @functools.cached_property
    def xfs_raw(self):
        return self.on_xfs(self.raw)

    @functools.cached_property
    def xfs_qcow(self):
        return self.on_xfs(self.qcow)


class Names:
    """In place of Sets where only the names of rows are wanted."""

    def __getattr__(self, name):
        return "-"

    def at(self, name):
        return name

    plugin = at


def data_clusters(source, size):
    """Numbers of the clusters that are not holes."""
    numbers, at = [], 0
    while at < size:
        try:
            begin = os.lseek(source.fileno(), at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(source.fileno(), begin, os.SEEK_HOLE)
        first = begin // CLUSTER
        if numbers and numbers[-1] == first:
            first += 1
        numbers.extend(range(first, -(-at // CLUSTER)))
    return numbers


def runs_of(numbers, chance):
    """Cut into runs of 1 to 4 neighbours, shuffled."""
    runs, i = [], 0
    while i < len(numbers):
        run_length = chance.randrange(1, 5)
        runs.append(numbers[i:i + run_length])
        i += run_length
    chance.shuffle(runs)
    return [number for one in runs for number in one]


def write_shuffled(source, f, size, chance):
    """qcow2 version 3 as in QEMU's docs/interop/qcow2.txt: header, L1 table, L2 tables, data, refcounts."""
    l2_entries = CLUSTER // 8
    order = runs_of(data_clusters(source, size), chance)
    tables = -(-size // (CLUSTER * l2_entries))
    place = 2 + tables
    l2 = [bytearray(CLUSTER) for _ in range(tables)]
    for number in order:
        source.seek(number * CLUSTER)
        f.seek(place * CLUSTER)
        f.write(source.read(CLUSTER).ljust(CLUSTER, b"\0"))
        struct.pack_into(">Q", l2[number // l2_entries], number % l2_entries * 8, place * CLUSTER | 1 << 63)
        place += 1
    for i, table in enumerate(l2):
        f.seek((2 + i) * CLUSTER)
        f.write(table)
    blocks = 1
    while blocks * CLUSTER // 2 < place + 1 + blocks:
        blocks += 1
    total = place + 1 + blocks
    f.seek(place * CLUSTER)
    f.write(b"".join(struct.pack(">Q", (place + 1 + i) * CLUSTER) for i in range(blocks)).ljust(CLUSTER, b"\0"))
    f.write(struct.pack(">H", 1) * total + bytes(2 * (blocks * CLUSTER // 2 - total)))
    f.seek(CLUSTER)
    f.write(b"".join(struct.pack(">Q", (2 + i) * CLUSTER | 1 << 63) for i in range(tables)).ljust(CLUSTER, b"\0"))
    f.seek(0)
    f.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, size, 0, tables, CLUSTER, place * CLUSTER, 1, 0, 0,
                        0, 0, 0, 4, 104))


def clean(folder):
    """The mount, the loop device and the folder, whatever was made of them."""
    mount, disk = os.path.join(folder, "xfs"), os.path.join(folder, "xfs.disk")
    for _ in range(50):
        if not os.path.ismount(mount) or subprocess.run(["umount", mount], capture_output=True).returncode == 0:
            break
        time.sleep(0.2)
    if os.path.exists(disk):
        found = subprocess.run(["losetup", "--noheadings", "--output", "NAME", "-j", disk], capture_output=True, text=True)
        for device in found.stdout.split():
            subprocess.run(["losetup", "-d", device], check=False)
    shutil.rmtree(folder, ignore_errors=True)
