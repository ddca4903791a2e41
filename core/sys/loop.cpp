// SPDX-License-Identifier: MIT
// Loop devices by the device and inode of what is behind them (LOOP_GET_STATUS64, linux/loop.h): the name in
// sysfs goes stale with hard links, renames and mount namespaces.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/base/text.hpp"
#include "core/sys/block.hpp"

namespace vbd::sys {
namespace {

constexpr unsigned kLoopMajor = 7;  // LOOP_MAJOR in linux/major.h

/// A small file's first line, "" when there is none.
std::string attribute(const std::string &directory, const char *name) {
  const auto content = read_file(text::cat(directory, "/", name), 4096);
  return content ? content->substr(0, content->find('\n')) : std::string{};
}

std::uint64_t number(const std::string &digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

/// Errno of LOOP_GET_STATUS64, or 0 with `loop` filled in. ENXIO: not bound.
int read_status(LoopDevice &loop) {
  const Fd fd(::open(loop.node.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return errno;
  if (!S_ISBLK(st.st_mode) || major(st.st_rdev) != kLoopMajor) return ENOTBLK;
  loop_info64 info{};
  if (::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) return errno;
  loop.backing = {info.lo_device, info.lo_inode};
  loop.offset = info.lo_offset;
  loop.size_limit = info.lo_sizelimit;
  loop.read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
  loop.direct_io = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
  loop.autoclear = (info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0;
  const auto *name = reinterpret_cast<const char *>(info.lo_file_name);
  loop.tag.assign(name, ::strnlen(name, sizeof info.lo_file_name));
  return 0;
}

/// The kernel asks the backing file for its attributes (loop_get_status), which lies on a filesystem whose
/// server has gone: whoever looks for the users of a file has that file open on a living one.
bool is_dead(int error) {
  return error == ENOTCONN || error == ESTALE;
}

/// As far as sysfs goes: the backing file by its name, which may be another file by now.
void read_sysfs(const std::string &directory, LoopDevice &loop) {
  const std::string loop_dir = directory + "/loop";
  loop.tag = attribute(loop_dir, "backing_file");
  struct stat st {};
  if (::stat(loop.tag.c_str(), &st) == 0) loop.backing = {st.st_dev, st.st_ino};
  loop.offset = number(attribute(loop_dir, "offset"));
  loop.size_limit = number(attribute(loop_dir, "sizelimit"));
  loop.direct_io = attribute(loop_dir, "dio") == "1";
  loop.autoclear = attribute(loop_dir, "autoclear") == "1";
  loop.read_only = attribute(directory, "ro") == "1";
}

}  // namespace

Result<std::vector<LoopDevice>> scan_loops(std::string &unseen) {
  std::vector<LoopDevice> loops;
  const Fd block(::open("/sys/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!block) return errno_error("open /sys/block", errno);
  const auto names = list_dir(block.get());
  if (!names) return names.error();
  for (const std::string &name : *names) {
    const std::string directory = "/sys/block/" + name;
    // The directory "loop" exists while a file is bound.
    if (!name.starts_with("loop") || ::access((directory + "/loop").c_str(), F_OK) != 0) continue;
    LoopDevice loop;
    loop.node = "/dev/" + name;
    const int failed = read_status(loop);
    if (failed == ENXIO) continue;
    if (failed != 0) read_sysfs(directory, loop);
    if (failed != 0 && !is_dead(failed)) unseen = loop.node;
    const std::uint64_t block_size = number(attribute(directory, "queue/logical_block_size"));
    if (block_size != 0) loop.block_size = static_cast<std::uint32_t>(block_size);
    loops.push_back(std::move(loop));
  }
  return loops;
}

Result<std::vector<LoopDevice>> loop_devices() {
  std::string unseen;
  return scan_loops(unseen);
}

Result<std::vector<LoopDevice>> loops_of(const FileId &file) {
  Result<std::vector<LoopDevice>> loops = loop_devices();
  if (loops) std::erase_if(*loops, [&](const LoopDevice &loop) { return loop.backing != file; });
  return loops;
}

}  // namespace vbd::sys
