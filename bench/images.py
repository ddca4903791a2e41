#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `vbd image` does with images against its peers, paired in one run: in each round everybody works once, the order
turns round from one to the next, and the medians of the per-round ratios peer/vbd are printed: of wall time, of wall
time with an fsync of the output, and of the processor time of the program. Nobody syncs by itself. A target is met by
wall time, or else by processor time where that is named; what was made is compared before anything is timed.

usage: images.py [--list] [--scale N] [--rounds N] [--dir DIR] [ROW...]
  --scale N   size of the data sets: 1 is 8 GiB with 1 GiB of data in pieces (default: 1)
  --rounds N  rounds of each row (default: what the row is worth)
  --dir DIR   a directory on ext4 with 12 GiB of space for each unit of scale (default: /var/tmp)
  ROW         only rows whose names begin with it"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import data

PREFIX = os.environ["VBD_PREFIX"]
VBD = os.path.join(PREFIX, "bin", "vbd")
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def sync(path):
    for name in (path, os.path.dirname(path)):
        fd = os.open(name, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def drop(path):
    """Out of the page cache. What is dirty would stay, so that is written first."""
    sync(path)
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def warm(path):
    """Into the page cache: a host that takes back idle memory may have taken what was made hot before."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as f:
        end = 0
        while True:
            try:
                begin = os.lseek(f.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
            os.lseek(f.fileno(), begin, os.SEEK_SET)
            while begin < end:
                begin += f.readinto(memoryview(buffer)[:min(len(buffer), end - begin)])


def once(argv, fine=(0,)):
    """Seconds of wall and of processor time."""
    argv = [shutil.which(argv[0], path=ENV["PATH"]) or argv[0], *argv[1:]]
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, ENV, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) not in fine:
        raise SystemExit(f"{' '.join(argv)}: exit code {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


class Row:
    """Commands that do the same. vbd: argv; peers: {name: (argv, target or None)}; out: what each of them makes, removed
    before it; cold: files that are dropped from the page cache before it; hot: files that are read into it; fine: good
    exit codes; makes: the filetype of `out`, where all of them make the same content."""

    def __init__(self, name, what, vbd, peers, out=None, cold=(), rounds=7, fine=(0,), smaller=None, cpu=None,
                 makes=None, hot=()):
        self.name, self.what, self.vbd, self.peers = name, what, vbd, peers
        self.out, self.cold, self.rounds, self.fine, self.smaller, self.cpu = out, cold, rounds, fine, smaller, cpu
        self.makes, self.hot = makes, hot

    def clear(self):
        if self.out and os.path.exists(self.out):
            os.unlink(self.out)
            sync(os.path.dirname(self.out))

    def work(self, argv):
        self.clear()
        for path in self.cold:
            drop(path)
        for path in self.hot:
            warm(path)
        wall, cpu = once(argv, self.fine)
        begin = time.perf_counter()
        if self.out and os.path.exists(self.out):  # the floor makes none
            sync(self.out)
        return wall, wall + time.perf_counter() - begin, cpu

    def size_of(self, argv):
        self.work(argv)
        return os.stat(self.out).st_blocks * 512

    def run(self, rounds, show):
        contestants = {"vbd": self.vbd, **{name: argv for name, (argv, _) in self.peers.items()}}
        took = {name: [] for name in contestants}
        for number in range(-1, rounds):  # the first one warms up
            order = list(contestants)
            turn = number % len(order)
            order = order[turn:] + order[:turn]
            for name in order if number // len(order) % 2 == 0 else reversed(order):
                if self.makes:  # after one of its own: how the last one freed its memory counts for the next one
                    self.work(contestants[name])
                measured = self.work(contestants[name])
                if number >= 0:
                    took[name].append(measured)
        show.title(self, took["vbd"])
        for name, (argv, target) in self.peers.items():
            ratios = [statistics.median(peer[i] / max(ours[i], 1e-6) for peer, ours in zip(took[name], took["vbd"]))
                      for i in range(3)]
            show.peer(name, took[name], ratios, target, bool(self.out), self.cpu)
        if self.smaller:
            peer, most = self.smaller
            show.sizes(self.size_of(self.vbd), self.size_of(self.peers[peer][0]), peer, most)
        self.clear()


class Show:
    def __init__(self):
        self.missed = []

    @staticmethod
    def amount(seconds):
        return f"{seconds * 1000:8.2f} ms" if seconds < 1 else f"{seconds:8.3f} s "

    def verdict(self, row, good, by=""):
        if not good:
            self.missed.append(row)
        return "MISSED" if not good else "MET" + by

    def title(self, row, took):
        wall, synced, cpu = (statistics.median(one[i] for one in took) for i in range(3))
        self.row = row.name
        print(f"\n{row.name}: {row.what}")
        tail = f" +fsync {self.amount(synced)}" if row.out else ""
        print(f"  {'vbd':28} wall {self.amount(wall)}{tail}  cpu {self.amount(cpu)}", flush=True)

    def peer(self, name, took, ratios, target, has_output, cpu_target):
        wall, synced, cpu = (statistics.median(one[i] for one in took) for i in range(3))
        line = f"  {name:28} wall {self.amount(wall)}"
        line += f" +fsync {self.amount(synced)}" if has_output else ""
        line += f"  cpu {self.amount(cpu)}  ratio wall {ratios[0]:6.2f}"
        line += f" +fsync {ratios[1]:6.2f}" if has_output else ""
        line += f" cpu {ratios[2]:6.2f}"
        if target:
            by_wall, by_cpu = ratios[0] >= target, ratios[2] >= target
            line += f"  target {target:g}: {self.verdict(f'{self.row} / {name}', by_wall or by_cpu, '' if by_wall else ' by cpu')}"
        if target and cpu_target:
            line += f", cpu {cpu_target:g}: {self.verdict(f'{self.row} / {name}, cpu', ratios[2] >= cpu_target)}"
        print(line, flush=True)

    def sizes(self, ours, theirs, peer, most):
        good = self.verdict(f"{self.row} / size", ours <= theirs * most)
        print(f"  on disk: {ours} bytes, {peer} {theirs}: {ours / theirs:.3f}  target at most {most:g}: {good}", flush=True)


def image(*words):
    return [VBD, "image", *words]


def copy_to(out, source, options, filetype="raw"):
    return image("copy", "--no-sync", "--filetype", filetype, source, "--to", options, out)


def short_rows(d):
    out = d.at("out")
    config = ["--config", d.config]
    create = {"raw": ("raw", 2), "qcow": ("qcow2", 3)}
    for filetype, (fmt, target) in create.items():
        yield Row(f"create-{filetype}", f"create {fmt} 10G",
                  image("create", "--no-sync", *config, "--filetype", filetype, out, "10G"),
                  {"qemu-img create": (["qemu-img", "create", "-q", "-f", fmt, out, "10G"], target),
                   "floor: loads one plugin": ([d.floor, d.plugin(filetype)], None)}, out=out, rounds=60)
    for filetype, fmt, path in (("raw", "raw", d.raw), ("qcow", "qcow2", d.qcow)):
        yield Row(f"info-{filetype}", f"info of {fmt}, 8 GiB", image("info", *config, "--filetype", filetype, path),
                  {"qemu-img info": (["qemu-img", "info", "-f", fmt, path], 2),
                   "floor: loads one plugin": ([d.floor, d.plugin(filetype)], None)}, rounds=60)
        yield Row(f"map-{filetype}", f"map of {fmt}, 8 GiB, as JSON",
                  image("map", *config, "--output", "json", "--filetype", filetype, path),
                  {"qemu-img map": (["qemu-img", "map", "--output=json", "-f", fmt, path], 3)}, rounds=30)
    for name, path in (("", d.qcow), ("-fragmented", d.fragmented)):
        yield Row(f"check{name}", f"check of qcow2, 8 GiB{name}", image("check", *config, "--filetype", "qcow", path),
                  {"qemu-img check": (["qemu-img", "check", "-q", "-f", "qcow2", path], 3)}, rounds=40)


def content_rows(d):
    for name, cold in (("", ()), ("-cold", (d.raw, d.twin))):
        yield Row(f"compare{name}", f"compare two raw images{name}", image("compare", "--filetype", "raw", d.raw, d.twin),
                  {"qemu-img compare": (["qemu-img", "compare", "-f", "raw", "-F", "raw", d.raw, d.twin], 1.5)}, cold=cold,
                  hot=() if cold else (d.raw, d.twin))
    yield Row("compare-qcow", "compare raw with qcow2",
              image("compare", "--filetype", "raw", d.raw, "--filetype-b", "qcow", d.qcow),
              {"qemu-img compare": (["qemu-img", "compare", "-f", "raw", "-F", "qcow2", d.raw, d.qcow], 1.5)}, hot=(d.raw, d.qcow))
    yield Row("compare-cmp", "compare two raw images, as cmp does", image("compare", "--filetype", "raw", d.raw, d.twin),
              {"cmp": (["cmp", d.raw, d.twin], 20)}, rounds=2)
    digest = image("digest", "--filetype", "raw", d.raw)
    yield Row("digest", "digest of raw; peer: the same data without the holes", digest,
              {"openssl dgst -sha256": (["openssl", "dgst", "-sha256", d.dense], 1.5)}, hot=(d.raw, d.dense))
    yield Row("digest-sha256sum", "digest of raw; peers: the image with its holes", digest,
              {"sha256sum": (["sha256sum", d.raw], 20), "openssl dgst -sha256": (["openssl", "dgst", "-sha256", d.raw], None)},
              rounds=2)
    yield Row("digest-size", "digest of raw; peer: vbd, the same data in 15 TiB", digest,
              {"vbd, 15 TiB": (image("digest", "--filetype", "raw", d.huge), None)})


def copy_rows(d):
    raw, qcow, out = d.raw, d.qcow, d.at("out")
    convert = ["qemu-img", "convert"]
    for cold in (False, True):
        temper = "cold" if cold else "hot"
        yield Row(f"copy-raw-{temper}", f"raw to raw, ext4, {temper}", copy_to(out, raw, "filetype=raw"),
                  {"cp": (["cp", raw, out], 2.5 if cold else 1.0),
                   "qemu-img convert": ([*convert, "-f", "raw", "-O", "raw", raw, out], 1.5)},
                  out=out, cold=(raw,) if cold else (), hot=() if cold else (raw,), makes="raw")
        for name, source, target in (("qcow-raw", qcow, 2 if cold else 1.5), ("fragmented-raw", d.fragmented, 2)):
            yield Row(f"copy-{name}-{temper}", f"{name.replace('-raw', '2' if name[0] == 'q' else ' qcow2')} to raw, ext4, {temper}",
                      copy_to(out, source, "filetype=raw", "qcow"),
                      {"qemu-img convert": ([*convert, "-f", "qcow2", "-O", "raw", source, out], target)},
                      out=out, cold=(source,) if cold else (), hot=() if cold else (source,), cpu=2, makes="raw")
    yield Row("copy-raw-qcow", "raw to qcow2, ext4, hot", copy_to(out, raw, "filetype=qcow"),
              {"qemu-img convert": ([*convert, "-f", "raw", "-O", "qcow2", raw, out], 1.6)}, out=out,
              makes="qcow", hot=(raw,), smaller=("qemu-img convert", 1.0))


def packed_rows(d):
    out = d.at("out")
    convert = ["qemu-img", "convert"]
    for kind, source, target in (("zlib", d.zlib, 2), ("zstd", d.zstd, 3)):
        yield Row(f"unpack-{kind}", f"{kind} qcow2 to raw", copy_to(out, source, "filetype=raw", "qcow"),
                  {"qemu-img convert": ([*convert, "-f", "qcow2", "-O", "raw", source, out], target),
                   "qemu-img convert -m 8 -W": ([*convert, "-m", "8", "-W", "-f", "qcow2", "-O", "raw", source, out], None)},
                  out=out, rounds=3, makes="raw", hot=(source,))
    for kind, target, most in (("zlib", 3.5, 1.02), ("zstd", 2, None)):
        to = ["-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}"]
        yield Row(f"pack-{kind}", f"raw to {kind} qcow2", copy_to(out, d.small, f"filetype=qcow,compression={kind}"),
                  {"qemu-img convert -c": ([*convert, "-c", *to, d.small, out], None),
                   "qemu-img convert -c -m 8 -W": ([*convert, "-c", "-m", "8", "-W", *to, d.small, out], target)},
                  out=out, rounds=3, makes="qcow", smaller=("qemu-img convert -c", most) if most else None)


def reflink_rows(d):
    if not d.xfs:
        print("SKIP reflink rows: need root, loop devices and mkfs.xfs")
        return
    raw, qcow, out = d.xfs_raw, d.xfs_qcow, os.path.join(d.xfs, "out")
    convert = ["qemu-img", "convert"]
    yield Row("reflink-raw-raw", "raw to raw, xfs with reflink", copy_to(out, raw, "filetype=raw"),
              {"cp --reflink=auto": (["cp", "--reflink=auto", raw, out], 1.0),
               "qemu-img convert": ([*convert, "-f", "raw", "-O", "raw", raw, out], 10)}, out=out, makes="raw")
    for name, to, source, fmt, target in (("qcow-raw", "raw", qcow, ("qcow2", "raw"), 15),
                                          ("raw-qcow", "qcow", raw, ("raw", "qcow2"), 7)):
        words = ["-f", fmt[0], "-O", fmt[1], source, out]
        yield Row(f"reflink-{name}", f"{fmt[0]} to {fmt[1]}, xfs with reflink",
                  copy_to(out, source, f"filetype={to}", "raw" if to == "qcow" else "qcow"),
                  {"qemu-img convert": ([*convert, *words], target), "qemu-img convert -C": ([*convert, "-C", *words], 3)}, out=out, makes=to)


ROWS = (short_rows, content_rows, copy_rows, packed_rows, reflink_rows)


def verify(row):
    """What both make must be the same to the guest."""
    if not row.makes:
        return
    made = []
    for argv in (row.vbd, next(iter(row.peers.values()))[0]):
        row.work(argv)
        done = subprocess.run(image("digest", "--filetype", row.makes, row.out), capture_output=True, text=True, env=ENV)
        made.append(done.stdout[:64] or done.stderr)
    if made[0] != made[1]:
        raise SystemExit(f"{row.name}: not the same content: {made}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__[__doc__.index("usage: ") + 7:])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--dir", default="/var/tmp")
    parser.add_argument("rows", nargs="*")
    args = parser.parse_args()
    if args.list:
        names = [row.name for make in ROWS for row in make(data.Names())]
        print("\n".join(names))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="vbdkit-bench.", dir=args.dir)
    os.chmod(folder, 0o755)
    show = Show()
    try:
        d = data.Sets(folder, args.scale, PREFIX, ENV)
        for make in ROWS:
            for row in make(d):
                if args.rows and not any(row.name.startswith(wanted) for wanted in args.rows):
                    continue
                verify(row)
                row.run(args.rounds or row.rounds, show)
    finally:
        data.clean(folder)
    print(f"\n{len(show.missed)} missed" + "".join(f"\n  {one}" for one in show.missed))


if __name__ == "__main__":
    main()
