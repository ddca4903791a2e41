#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cold start of short commands against qemu-img, paired in one run: the order alternates in each round, medians and
the median of the per-round ratios are printed. usage: start.py [ROUNDS]"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PREFIX = os.environ["VBD_PREFIX"]
VBD = os.path.join(PREFIX, "bin", "vbd")
ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def once(argv):
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, ENV, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{argv} failed: {status}")
    return took * 1000


def paired(name, ours, peer, rounds, target):
    once(ours), once(peer)
    mine, theirs, ratios = [], [], []
    for number in range(rounds):
        order = (ours, peer) if number % 2 == 0 else (peer, ours)
        took = {id(argv): once(argv) for argv in order}
        mine.append(took[id(ours)])
        theirs.append(took[id(peer)])
        ratios.append(mine[-1] / theirs[-1])
    ratio = statistics.median(ratios)
    wanted = f" (target: at most {target:.2f})" if target else ""
    print(f"{name:44} {statistics.median(mine):7.2f} ms  peer {statistics.median(theirs):7.2f} ms  ratio {ratio:.2f}{wanted}")
    return ratio


def build_floor(folder):
    """A program that loads one plugin and nothing else: what is left when all of vbd is gone."""
    source = os.path.join(folder, "floor.c")
    with open(source, "w") as f:
        f.write('#include <dlfcn.h>\nint main(int c, char **v) { (void)c; return dlopen(v[1], RTLD_NOW) ? 0 : 1; }\n')
    subprocess.run(["cc", "-O2", "-o", os.path.join(folder, "floor"), source, "-ldl"], check=True)
    return [os.path.join(folder, "floor"), os.path.join(PREFIX, "lib/vbdkit/plugins-1/fd-loop.so")]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    base = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~")
    folder = tempfile.mkdtemp(prefix="vbdkit-bench.", dir=base)
    os.chmod(folder, 0o755)
    try:
        peer = [shutil.which("qemu-img") or "/usr/bin/qemu-img", "--version"]
        config = os.path.join(folder, "vbdkit.yaml")
        with open(config, "w") as f:
            f.write(f"file_storage_dir: {folder}\nstate_dir: {folder}/state\nrun_dir: {folder}/run\nnode: node1\n")
        image = os.path.join(folder, "sda")
        subprocess.run([VBD, "--config", config, "image", "create", "--filetype", "raw", image, "1G"], check=True, env=ENV)
        render = [VBD, "--config", config, "disk", "render", f'[FD_LOOP, FT_RAW, "{image}"]', "--dialect", "xm", "--vdev",
                  "sda1", "--access", "w"]
        print(f"wall time of a whole process, {rounds} rounds; peer: qemu-img --version")
        paired("floor: a C program that loads one plugin", build_floor(folder), peer, rounds, None)
        paired("vbd --version", [VBD, "--version"], peer, rounds, 0.5)
        paired("vbd disk render", render, peer, rounds, 2 / 3)

        plugins = os.path.join(folder, "plugins")
        os.mkdir(plugins, 0o755)
        for number in range(500):
            shutil.copy(os.path.join(PREFIX, "lib/vbdkit/plugins-1/fd-loop.so"), f"{plugins}/fd-copy{number}.so")
        with_500 = [VBD, "--plugin-dir", plugins, *render[1:]]
        empty = os.path.join(folder, "empty")
        os.mkdir(empty, 0o755)
        with_1 = [VBD, "--plugin-dir", empty, *render[1:]]
        paired("disk render, 500 more plugins; peer: none more", with_500, with_1, rounds, None)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
