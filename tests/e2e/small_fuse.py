#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A FUSE filesystem that shows another directory, for tests of storage that breaks. usage: small_fuse.py SOURCE TARGET
[NAME]; NAME is what the table of mounts shows as its device.

SIGUSR1: every request fails with EIO, SIGUSR2: all is well again. SIGSTOP makes it hang, SIGKILL makes it dead
(ENOTCONN). Speaks the kernel's protocol itself (linux/fuse.h); nothing is cached, so that each call asks it. Locks
stay in the kernel."""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE = (
    1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, RENAME2 = (
    20, 25, 26, 27, 28, 29, 30, 35, 36, 38, 42, 45)
SILENT = {FORGET, BATCH_FORGET, INTERRUPT}
MOST = 128 << 10
libc = ctypes.CDLL(None, use_errno=True)


def names(data, count):
    return data.split(b"\0")[:count]


class Server:
    def __init__(self, source, target, name="small"):
        self.source, self.fails = os.fsencode(source), False
        self.paths, self.numbers = {1: b""}, {b"": 1}
        self.device = os.open("/dev/fuse", os.O_RDWR)
        words = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(os.fsencode(name), os.fsencode(target), b"fuse", 6, words) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "fails", True))
        signal.signal(signal.SIGUSR2, lambda *_: setattr(self, "fails", False))

    def path(self, node, name=None):
        path = self.paths[node]
        if name is not None:
            path = path + b"/" + name
        return path, self.source + path

    def attr(self, st):
        return struct.pack("=6Q3I7I", st.st_ino, st.st_size, st.st_blocks, int(st.st_atime), int(st.st_mtime),
                           int(st.st_ctime), 0, 0, 0, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, 0, 4096, 0)

    def entry(self, path, full):
        st = os.lstat(full)
        if path not in self.numbers:
            self.numbers[path] = len(self.paths) + 1
            self.paths[self.numbers[path]] = path
        return struct.pack("=4Q2I", self.numbers[path], 0, 0, 0, 0, 0) + self.attr(st)

    def attributes(self, full):
        return struct.pack("=Q2I", 0, 0, 0) + self.attr(os.lstat(full))

    def setattr(self, node, data):
        valid, _, _, size = struct.unpack_from("=2I2Q", data)
        mode, _, uid, gid = struct.unpack_from("=4I", data, 68)
        full = self.path(node)[1]
        if valid & 1:
            os.chmod(full, stat.S_IMODE(mode))
        if valid & 6:
            os.chown(full, uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 8:
            os.truncate(full, size)
        return self.attributes(full)

    def rename(self, node, target, data, flags):
        old, new = names(data, 2)
        (old_path, old_full), (new_path, new_full) = self.path(node, old), self.path(target, new)
        if libc.renameat2(-100, old_full, -100, new_full, flags) != 0:
            raise OSError(ctypes.get_errno(), "rename")
        moved = {p: n for p, n in self.numbers.items() if p == old_path or p.startswith(old_path + b"/")}
        self.numbers.pop(new_path, None)
        for path, number in moved.items():
            del self.numbers[path]
            self.paths[number] = new_path + path[len(old_path):]
            self.numbers[self.paths[number]] = number
        return b""

    def readdir(self, node, data):
        _, offset, size = struct.unpack_from("=2QI", data)
        entries = [b".", b".."] + sorted(os.listdir(self.path(node)[1]))
        out = b""
        for i, name in enumerate(entries[offset:], offset + 1):
            one = struct.pack("=2Q2I", i, i, len(name), 0) + name
            one += b"\0" * (-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def statfs(self):
        vfs = os.statvfs(self.source)
        return struct.pack("=5Q4I6I", vfs.f_blocks, vfs.f_bfree, vfs.f_bavail, vfs.f_files, vfs.f_ffree, vfs.f_bsize,
                           255, vfs.f_frsize, 0, *[0] * 6)

    def answer(self, opcode, node, data):
        if opcode == INIT:
            return struct.pack("=4I2H2I2H8I", 7, 31, MOST, 1 << 5, 16, 12, MOST, 1, 32, 0, *[0] * 8)
        if opcode in (FLUSH, RELEASEDIR, FSYNCDIR, DESTROY):
            return b""
        if opcode == RELEASE:
            os.close(struct.unpack_from("=Q", data)[0])
            return b""
        if self.fails:
            raise OSError(errno.EIO, "broken")
        if opcode == LOOKUP:
            return self.entry(*self.path(node, names(data, 1)[0]))
        if opcode == GETATTR:
            return self.attributes(self.path(node)[1])
        if opcode == SETATTR:
            return self.setattr(node, data)
        if opcode == OPEN:
            flags = struct.unpack_from("=I", data)[0] & (os.O_ACCMODE | os.O_TRUNC)
            return struct.pack("=QII", os.open(self.path(node)[1], flags), 0, 0)
        if opcode == CREATE:
            flags, mode = struct.unpack_from("=2I", data)
            path, full = self.path(node, names(data[16:], 1)[0])
            fd = os.open(full, flags & ~os.O_DIRECT, mode & 0o7777)
            return self.entry(path, full) + struct.pack("=QII", fd, 0, 0)
        if opcode == READ:
            fd, offset, size = struct.unpack_from("=2QI", data)
            return os.pread(fd, size, offset)
        if opcode == WRITE:
            fd, offset, size = struct.unpack_from("=2QI", data)
            return struct.pack("=2I", os.pwrite(fd, data[40:40 + size], offset), 0)
        if opcode == FSYNC:
            os.fsync(struct.unpack_from("=Q", data)[0])
            return b""
        if opcode == OPENDIR:
            return struct.pack("=QII", 0, 0, 0)
        if opcode == READDIR:
            return self.readdir(node, data)
        if opcode == STATFS:
            return self.statfs()
        return self.change(opcode, node, data)

    def change(self, opcode, node, data):
        if opcode == MKDIR:
            path, full = self.path(node, names(data[8:], 1)[0])
            os.mkdir(full, struct.unpack_from("=I", data)[0] & 0o7777)
            return self.entry(path, full)
        if opcode in (UNLINK, RMDIR):
            path, full = self.path(node, names(data, 1)[0])
            (os.unlink if opcode == UNLINK else os.rmdir)(full)
            self.numbers.pop(path, None)
            return b""
        if opcode == RENAME:
            return self.rename(node, struct.unpack_from("=Q", data)[0], data[8:], 0)
        if opcode == RENAME2:
            target, flags = struct.unpack_from("=QI", data)
            return self.rename(node, target, data[16:], flags)
        if opcode == LINK:
            path, full = self.path(node, names(data[8:], 1)[0])
            os.link(self.path(struct.unpack_from("=Q", data)[0])[1], full)
            return self.entry(path, full)
        raise OSError(errno.ENOSYS, "unknown")

    def serve(self):
        while True:
            try:
                request = os.read(self.device, MOST + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                raise
            _, opcode, unique, node = struct.unpack_from("=2I2Q", request)
            if opcode in SILENT:
                continue
            try:
                error, body = 0, self.answer(opcode, node, request[40:])
            except OSError as failed:
                error, body = -failed.errno, b""
            except KeyError:
                error, body = -errno.ESTALE, b""
            try:
                os.write(self.device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)
            except OSError as failed:
                if failed.errno != errno.ENOENT:  # who asked has gone
                    raise


if __name__ == "__main__":
    server = Server(*sys.argv[1:])
    print("mounted", flush=True)
    server.serve()
