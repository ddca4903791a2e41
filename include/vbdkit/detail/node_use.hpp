// SPDX-License-Identifier: MIT
// Who uses a block device node: for drivers, which must refuse to detach a node in use and name the user.
// Part of plugin.hpp: header only, compiled into the plugin. A snapshot; without root the view is partial.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vbdkit {

/// Closes its descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd &operator=(UniqueFd &&other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

namespace detail {

/// The content of a small file of proc or sysfs; empty when it can't be read.
inline std::string read_text(const std::string &path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buf[4096];
  while (fd) {
    const ssize_t n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buf, static_cast<std::size_t>(n));
  }
  return text;
}

/// The same without the newline at the end.
inline std::string read_line(const std::string &path) {
  std::string text = read_text(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// Names in a directory without "." and ".."; empty when it can't be read.
inline std::vector<std::string> names_in(const std::string &path) {
  std::vector<std::string> names;
  DIR *dir = ::opendir(path.c_str());
  if (dir == nullptr) return names;
  while (const dirent *entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(dir);
  return names;
}

/// Calls `use` with each line of `text`.
template <class Use>
void each_line(std::string_view text, Use &&use) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    use(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
}

/// The n-th word (from 0) of a line.
inline std::string_view word(std::string_view line, unsigned n) {
  for (;;) {
    const std::size_t begin = line.find_first_not_of(' ');
    if (begin == std::string_view::npos) return {};
    line.remove_prefix(begin);
    const std::size_t end = line.find(' ');
    if (n-- == 0) return line.substr(0, end);
    if (end == std::string_view::npos) return {};
    line.remove_prefix(end);
  }
}

/// Undoes the octal escapes of /proc/self/mountinfo (fs/proc_namespace.c: space, tab, newline, backslash).
inline std::string unescape_mount(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

inline std::string join(const std::vector<std::string> &parts) {
  std::string out;
  for (const std::string &part : parts) {
    if (!out.empty()) out += ", ";
    out += part;
  }
  return out;
}

}  // namespace detail

namespace node_use {

/// The node's whole-disk name in /sys/block and "MAJOR:MINOR" of it and its partitions.
struct Identity {
  std::string name;
  std::vector<std::string> numbers;
  dev_t device = 0;
};

inline Identity identify(const std::string &node) {
  Identity identity;
  struct stat st = {};
  if (::stat(node.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) return identity;
  identity.device = st.st_rdev;
  identity.name = node.substr(node.rfind('/') + 1);
  const std::string directory = "/sys/block/" + identity.name;
  identity.numbers.push_back(std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev)));
  for (const std::string &entry : detail::names_in(directory)) {
    if (!entry.starts_with(identity.name)) continue;
    std::string number = detail::read_line(directory + "/" + entry + "/dev");
    if (!number.empty()) identity.numbers.push_back(std::move(number));
  }
  return identity;
}

/// "mounted at /mnt" for each mount of the node or its partitions in this mount namespace (proc(5),
/// mountinfo: field 3 is the device, field 5 the mount point).
inline void add_mounts(const Identity &identity, std::vector<std::string> &who) {
  const std::string text = detail::read_text("/proc/self/mountinfo");
  detail::each_line(text, [&](std::string_view line) {
    for (const std::string &number : identity.numbers) {
      if (detail::word(line, 2) == number)
        who.push_back("mounted at " + detail::unescape_mount(detail::word(line, 4)));
    }
  });
}

/// "held by dm-0", "in use as swap", and another loop device that sits on the node.
inline void add_holders(const Identity &identity, const std::string &node, std::vector<std::string> &who) {
  const std::string directory = "/sys/block/" + identity.name;
  for (const std::string &holder : detail::names_in(directory + "/holders"))
    who.push_back("held by " + holder);
  for (const std::string &part : detail::names_in(directory)) {
    if (!part.starts_with(identity.name)) continue;
    for (const std::string &holder : detail::names_in(directory + "/" + part + "/holders")) {
      who.push_back(part + " held by " + holder);
    }
  }
  const std::string swaps = detail::read_text("/proc/swaps");
  detail::each_line(swaps, [&](std::string_view line) {
    if (detail::word(line, 0).starts_with(node)) who.push_back("in use as swap");
  });
  for (const std::string &other : detail::names_in("/sys/block")) {
    if (!other.starts_with("loop") || other == identity.name) continue;
    if (detail::read_line("/sys/block/" + other + "/loop/backing_file") == node)
      who.push_back("used by /dev/" + other);
  }
}

/// A virtual machine that has the node through Xen's block backend, which opens it without claiming it and
/// without a descriptor in /proc (drivers/block/xen-blkback/xenbus.c; attribute physical_device is
/// "MAJOR:MINOR" in hex).
inline void add_xen_guests(const Identity &identity, std::vector<std::string> &who) {
  char wanted[32];
  std::snprintf(wanted, sizeof wanted, "%x:%x", major(identity.device), minor(identity.device));
  for (const std::string &entry : detail::names_in("/sys/bus/xen-backend/devices")) {
    if (detail::read_line("/sys/bus/xen-backend/devices/" + entry + "/physical_device") == wanted) {
      who.push_back("used by a guest (" + entry + ")");
    }
  }
}

/// "process 12 (dd)" for each process with the node open, this one included but for descriptor `own_fd`. A
/// plain opener: nothing else shows it. statx with DONT_SYNC: a descriptor on a dead network filesystem must
/// not hang us.
inline void add_openers(const Identity &identity, int own_fd, std::vector<std::string> &who) {
  const std::string own = std::to_string(::getpid());
  for (const std::string &pid : detail::names_in("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string directory = "/proc/" + pid + "/fd/";
    for (const std::string &fd : detail::names_in(directory)) {
      if (pid == own && fd == std::to_string(own_fd)) continue;
      struct statx st = {};
      if (::statx(AT_FDCWD, (directory + fd).c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0) continue;
      if (!S_ISBLK(st.stx_mode) || makedev(st.stx_rdev_major, st.stx_rdev_minor) != identity.device) continue;
      who.push_back("process " + pid + " (" + detail::read_line("/proc/" + pid + "/comm") + ")");
      break;
    }
  }
}

/// Whoever claims the node for itself: mounts, holders, swap, guests.
inline std::vector<std::string> claims(const std::string &node) {
  std::vector<std::string> who;
  const Identity identity = identify(node);
  if (identity.name.empty()) return who;
  add_mounts(identity, who);
  add_holders(identity, node, who);
  add_xen_guests(identity, who);
  return who;
}

/// Processes that have it open, but for descriptor `own_fd` of this one.
inline std::vector<std::string> openers(const std::string &node, int own_fd) {
  std::vector<std::string> who;
  const Identity identity = identify(node);
  if (!identity.name.empty()) add_openers(identity, own_fd, who);
  return who;
}

}  // namespace node_use
}  // namespace vbdkit
