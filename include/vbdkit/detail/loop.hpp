// SPDX-License-Identifier: MIT
// Loop devices through the kernel's ioctls, for drivers: made by one LOOP_CONFIGURE, cleared only when nobody
// uses them. Part of plugin.hpp: header only, compiled into the plugin; call inside guarded(). Safe against
// other processes.
#pragma once

#include <vbdkit/detail/loop_find.hpp>
#include <vbdkit/detail/node_use.hpp>
#include <vbdkit/plugin.hpp>

namespace vbdkit::loop {

/// Ours: our tag on that file, whole.
inline bool is_ours(const Device &device, const FileKey &file, std::string_view tag) {
  return device.error == 0 && !tag.empty() && device.tag == tag && device.backing == file &&
         device.offset == 0 && device.size_limit == 0;
}

/// Another loop device on the file, not ours, with a writer on either side: VBD_E_BUSY naming it.
inline int32_t refuse_foreign(const std::vector<Device> &devices, const FileKey &file, std::string_view tag,
                              bool read_only, vbd_error *err) {
  for (const Device &device : devices) {
    if (device.error != 0 || device.backing != file || is_ours(device, file, tag)) continue;
    if (read_only && device.read_only) continue;
    return fail(err, VBD_E_BUSY, "loop.foreign", 0,
                "%s already uses this file and is not ours (%s); detach it first: losetup -d %s",
                device.node.c_str(), device.read_only ? "read-only" : "writable", device.node.c_str());
  }
  return VBD_OK;
}

/// Writes the device's cached pages to its file, without flushing that. Errno of this or of an earlier
/// write-back that nobody was told of (the kernel tells it once); 0: all is in the file.
inline int write_back(int fd) noexcept {
  constexpr unsigned kAll = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return ::sync_file_range(fd, 0, 0, kAll) == 0 ? 0 : errno;
}

struct Wanted {
  int fd = -1;  ///< of the file, opened for writing unless read_only; the device keeps this very open
  const char *tag = "";
  std::uint32_t block_size = 512;
  bool read_only = false, direct_io = true;
};

/// The file can be a device: whole blocks (the kernel would cut off the rest in silence), writable when
/// wanted so.
inline int32_t check_file(const Wanted &wanted, vbd_error *err) {
  struct stat st = {};
  if (::fstat(wanted.fd, &st) != 0) return fail_errno(err, errno, "fstat of the image");
  if (wanted.block_size < 512 || wanted.block_size > 4096 ||
      (wanted.block_size & (wanted.block_size - 1)) != 0) {
    return fail(err, VBD_E_INVAL, "loop.block_size", 0, "block size %u is not 512, 1024, 2048 or 4096",
                wanted.block_size);
  }
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
    return fail(err, VBD_E_INVAL, "loop.file_type", 0,
                "the image is neither a regular file nor a block device");
  }
  if (S_ISREG(st.st_mode) && (st.st_size == 0 || st.st_size % static_cast<off_t>(wanted.block_size) != 0)) {
    return fail(err, VBD_E_INVAL, "loop.file_size", 0,
                "the image's size %lld is not a positive multiple of the block size %u",
                static_cast<long long>(st.st_size), wanted.block_size);
  }
  if (!wanted.read_only && (::fcntl(wanted.fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
    return fail(err, VBD_E_PERM, "loop.not_writable", 0,
                "the image was opened read-only, so it can't be attached for writing");
  }
  if (::strlen(wanted.tag) >= LO_NAME_SIZE)
    return fail(err, VBD_E_INVAL, "loop.tag", 0, "the tag is longer than 63 bytes");
  return VBD_OK;
}

inline int32_t open_failed(vbd_error *err, int error, const char *node) {
  if (error == ENOENT || error == ENODEV) {
    return fail(err, VBD_E_MISSING, "loop.module", error,
                "%s is missing: load the kernel module loop (modprobe loop)", node);
  }
  if (error == EACCES || error == EPERM) {
    return fail(err, VBD_E_PERM, "loop.permission", error, "%s: permission denied; loop devices need root",
                node);
  }
  return fail_errno(err, error, node);
}

/// Finds a free device and binds it. The two steps race with everybody else who makes loop devices, hence the
/// retry.
inline int32_t attach(const Wanted &wanted, Device &made, vbd_error *err) {
  const int32_t checked = check_file(wanted, err);
  if (checked != VBD_OK) return checked;
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return open_failed(err, errno, "/dev/loop-control");
  loop_config config = {};
  config.fd = static_cast<__u32>(wanted.fd);
  config.block_size = wanted.block_size;
  config.info.lo_flags = (wanted.read_only ? unsigned{LO_FLAGS_READ_ONLY} : 0u) |
                         (wanted.direct_io ? unsigned{LO_FLAGS_DIRECT_IO} : 0u);
  std::strncpy(reinterpret_cast<char *>(config.info.lo_file_name), wanted.tag, LO_NAME_SIZE - 1);
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return fail_errno(err, errno, "no free loop device");
    made = Device{};
    made.node = "/dev/loop" + std::to_string(number);
    const UniqueFd fd(::open(made.node.c_str(), (wanted.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!fd && errno != ENXIO && errno != EBUSY) return open_failed(err, errno, made.node.c_str());
    if (fd && ::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
      if (read_status(fd.get(), made) && made.error == 0) {
        (void)write_back(fd.get());  // an error that an earlier use of this node left is not this image's
        return VBD_OK;
      }
      const int error = made.error;
      ::ioctl(fd.get(), LOOP_CLR_FD);
      return fail_errno(err, error, "the new loop device can't be read back");
    }
    if (fd && errno != EBUSY) return fail_errno(err, errno, "LOOP_CONFIGURE");
    pause_ms(attempt < 10 ? 1 : 20);
  }
  return fail(err, VBD_E_BUSY, "loop.none_free", EBUSY,
              "no loop device could be had in 100 attempts; try again");
}

/// Switches a bound device to direct I/O and reads back whether it took.
inline bool try_direct_io(Device &device) {
  const UniqueFd fd(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) ::ioctl(fd.get(), LOOP_SET_DIRECT_IO, 1UL);
  return fd && read_status(fd.get(), device) && device.error == 0 && device.direct_io;
}

/// Takes back a clear that the kernel put off to the last close.
inline void keep_bound(int fd, const Device &device) {
  loop_info64 info = {};
  if (::ioctl(fd, LOOP_GET_STATUS64, &info) != 0) {
    std::strncpy(reinterpret_cast<char *>(info.lo_file_name), device.tag.c_str(), LO_NAME_SIZE - 1);
    info.lo_flags = device.read_only ? unsigned{LO_FLAGS_READ_ONLY} : 0u;
  }
  info.lo_flags &= ~static_cast<__u32>(LO_FLAGS_AUTOCLEAR);
  ::ioctl(fd, LOOP_SET_STATUS64, &info);
}

/// True while the node is bound to the same file with the same tag as `device`.
inline bool still_bound(const Device &device) {
  const UniqueFd fd(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  Device now;
  if (!fd)
    return errno != ENOENT && ::access(("/sys/block/" + device.node.substr(5) + "/loop").c_str(), F_OK) == 0;
  if (!read_status(fd.get(), now)) return false;
  return now.error != 0 || device.error != 0 || (now.backing == device.backing && now.tag == device.tag);
}

enum class ClearStep { done, again, busy };

/// What is cached goes to the file and from there to its disk. `lost`: why not (errno); an earlier answer
/// stays. With the file's filesystem dead (ENOTCONN) a flush fails though nothing was written: that is no
/// loss that we know of, so only cached pages count then.
inline void store(int fd, bool dead, int &lost) noexcept {
  const int unwritten = write_back(fd);
  const int unflushed = ::fsync(fd) == 0 ? 0 : errno;
  if (lost == 0) lost = unwritten;
  if (lost == 0 && !dead) lost = unflushed;
}

/// One try. Nothing is changed while somebody else has the node: this kernel would only mark it, and clear it
/// at the last close (drivers/block/loop.c, loop_clr_fd).
inline ClearStep try_clear(const Device &device, bool dead, std::string &who, int &lost) {
  const UniqueFd fd(::open(device.node.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!fd) {
    if (errno != EBUSY) return still_bound(device) ? ClearStep::again : ClearStep::done;
    std::vector<std::string> users = node_use::claims(device.node);
    const bool claimed = !users.empty();
    if (!claimed) users = node_use::openers(device.node, -1);
    who = users.empty() ? "held by somebody who can't be seen from here" : detail::join(users);
    return claimed ? ClearStep::busy : ClearStep::again;
  }
  Device now;
  if (!read_status(fd.get(), now)) return ClearStep::done;
  if (now.error == 0 && device.error == 0 && (now.backing != device.backing || now.tag != device.tag))
    return ClearStep::done;
  who = detail::join(node_use::claims(device.node));
  if (!who.empty()) return ClearStep::busy;
  who = detail::join(node_use::openers(device.node, fd.get()));
  if (!who.empty()) return ClearStep::again;
  store(fd.get(), dead || is_dead(now.error), lost);
  if (::ioctl(fd.get(), LOOP_CLR_FD) != 0 && errno != ENXIO) return ClearStep::again;
  if (!read_status(fd.get(), now)) return ClearStep::done;
  keep_bound(fd.get(), device);
  who = "open somewhere in the kernel or in a process that can't be seen from here";
  return ClearStep::again;
}

/// Clears a device whose storage does not answer, in a child that can be abandoned: the last close writes out
/// what is left, and may wait for ever. So nothing was left when it is gone.
inline int32_t clear_silent(const Device &device, vbd_error *err) {
  std::vector<std::string> who = node_use::claims(device.node);
  if (who.empty()) who = node_use::openers(device.node, -1);
  std::erase_if(who, [](const std::string &user) { return user.ends_with("(vbd)"); });  // abandoned as well
  if (!who.empty()) {
    return fail(err, VBD_E_BUSY, "loop.in_use", EBUSY, "%s is in use: %s", device.node.c_str(),
                detail::join(who).c_str());
  }
  const char *node = device.node.c_str();
  const pid_t child = ::fork();
  if (child == 0) {
    ::syscall(SYS_close_range, 0, ~0U, 0);
    const int fd = ::open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ::_exit(fd >= 0 && ::ioctl(fd, LOOP_CLR_FD) == 0 ? 0 : 1);
  }
  bool gone = false, ended = child < 0;
  for (int waited = 0; waited < finding::kPatienceMs && !(gone && ended); waited += 10) {
    if (!ended) ended = ::waitpid(child, nullptr, WNOHANG) != 0;
    gone = !finding::is_still_bound(device.node);
    if (!gone) pause_ms(10);
    if (gone && !ended) pause_ms(10);
  }
  if (!ended) ::kill(child, SIGKILL);
  if (gone) return VBD_OK;
  return fail(
      err, VBD_E_BUSY, "loop.silent", device.error,
      "%s: the storage of %s does not answer, and what was written to the device waits for it; it goes "
      "when that answers, or is unmounted by force",
      device.node.c_str(), device.backing_path.c_str());
}

/// Clears the device and confirms it. VBD_E_BUSY names the user; short openings (udev looks at every device)
/// are waited for. `lost`: not all that was written is in the file (errno says why), the device is gone all
/// the same: see lost_writes. `dead`: who serves the file has ended, which the kernel may not know yet.
inline int32_t clear(const Device &device, int &lost, vbd_error *err, bool dead = false) {
  std::string who;
  lost = 0;
  if (::access(device.node.c_str(), R_OK | W_OK) != 0 && errno == EACCES)
    return open_failed(err, errno, device.node.c_str());
  if (device.error == ETIMEDOUT) return clear_silent(device, err);
  for (int attempt = 0; attempt < 20; ++attempt) {
    const ClearStep step = try_clear(device, dead, who, lost);
    if (step == ClearStep::busy) break;
    for (int wait = 0; step == ClearStep::done && wait < 50; ++wait) {
      if (!still_bound(device)) return VBD_OK;
      pause_ms(20);
    }
    pause_ms(25);
  }
  return fail(err, VBD_E_BUSY, "loop.in_use", EBUSY, "%s is in use: %s", device.node.c_str(),
              who.empty() ? "by somebody unknown" : who.c_str());
}

/// What a detach answers in the end when the device is gone, and with it data.
inline int32_t lost_writes(vbd_error *err, int error, const char *node) {
  return fail(err, status_of_errno(error), "loop.lost_writes", error,
              "not all that was written to %s reached the image: %s", node, std::strerror(error));
}

}  // namespace vbdkit::loop
