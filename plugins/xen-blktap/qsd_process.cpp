// SPDX-License-Identifier: MIT
#include "qsd_process.hpp"

#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <vbdkit/plugin.hpp>

namespace blktap {
namespace {

constexpr std::string_view kProgram = "qemu-storage-daemon";

/// A value of a key=value list: a comma in it is written twice (qemu-storage-daemon(1)). JSON is no way, for
/// a path need not be UTF-8.
std::string doubled(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',') out += ',';
    out += c;
  }
  return out;
}

std::string export_argument(const std::string &fuse, bool read_only) {
  return "type=fuse,id=e,node-name=d,mountpoint=" + doubled(fuse) +
         ",writable=" + (read_only ? "off" : "on") + ",growable=off,allow-other=off";
}

/// Formats whose driver in QEMU has the option "backing".
bool knows_backing(const std::string &format) {
  for (const char *name : {"qcow", "qcow2", "qed", "vmdk"}) {
    if (format == name) return true;
  }
  return false;
}

/// Whether the process has the file open, and holds a flock(2) through that very descriptor. Nobody else can:
/// the file lies in a directory of ours.
bool holds_lock(const std::string &pid, const struct stat &life) {
  const std::string directory = "/proc/" + pid;
  struct stat owner = {};
  if (::stat(directory.c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) return false;
  for (const std::string &fd : vbdkit::detail::names_in(directory + "/fd")) {
    struct statx st = {};  // DONT_SYNC: its other files may lie on storage that hangs
    if (::statx(AT_FDCWD, (directory + "/fd/" + fd).c_str(), AT_STATX_DONT_SYNC, STATX_INO, &st) != 0 ||
        st.stx_ino != life.st_ino || makedev(st.stx_dev_major, st.stx_dev_minor) != life.st_dev)
      continue;
    const std::string info = vbdkit::detail::read_text(directory + "/fdinfo/" + fd);
    if (info.find("FLOCK") != std::string::npos) return true;
  }
  return false;
}

/// Field 22 of /proc/PID/stat; the second field is in parentheses and may hold anything.
std::uint64_t start_time_of(const std::string &pid) {
  const std::string text = vbdkit::detail::read_text("/proc/" + pid + "/stat");
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return 0;
  const std::string word(vbdkit::detail::word(std::string_view(text).substr(end + 1), 19));
  return std::strtoull(word.c_str(), nullptr, 10);
}

}  // namespace

std::vector<std::string> qsd_argv(const QsdPlan &plan) {
  const std::string read_only = plan.read_only ? "on" : "off";
  const std::string file = "driver=file,node-name=f,filename=" + doubled(plan.image) +
                           ",locking=" + (inherits_lock(plan) ? "off" : "on") +
                           ",auto-read-only=off,read-only=" + read_only +
                           ",discard=unmap,cache.direct=" + (plan.direct ? "on" : "off");
  std::string disk = "{\"driver\":\"" + plan.format + "\",\"node-name\":\"d\",\"file\":\"f\",\"read-only\":" +
                     (plan.read_only ? "true" : "false") + ",\"discard\":\"unmap\"";
  if (knows_backing(plan.format)) disk += ",\"backing\":null";
  disk += "}";
  return {std::string(kProgram),
          "--blockdev",
          file,
          "--blockdev",
          disk,
          "--export",
          export_argument(plan.fuse, plan.read_only)};
}

std::vector<QsdProcess> find_qsd(const std::string &fuse) {
  std::vector<QsdProcess> found;
  struct stat life = {};
  if (!has_life(fuse) || ::stat(life_path(fuse).c_str(), &life) != 0) return found;
  const std::string own = std::to_string(::getpid());
  for (const std::string &pid : vbdkit::detail::names_in("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == own) continue;
    if (holds_lock(pid, life)) found.push_back({std::strtoll(pid.c_str(), nullptr, 10), start_time_of(pid)});
  }
  return found;
}

std::string life_path(const std::string &fuse) {
  return fuse + ".life";
}

int take_life(const std::string &fuse) {
  const int fd = ::open(life_path(fuse).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || ::flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

bool has_life(const std::string &fuse) {
  const vbdkit::UniqueFd fd(::open(life_path(fuse).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool is_mounted(const std::string &path) {
  bool mounted = false;
  const std::string table = vbdkit::detail::read_text("/proc/self/mountinfo");
  vbdkit::detail::each_line(table, [&](std::string_view line) {
    mounted = mounted || vbdkit::detail::unescape_mount(vbdkit::detail::word(line, 4)) == path;
  });
  return mounted;
}

bool remove_fuse_file(const std::string &fuse) {
  for (int layer = 0; layer < 8 && is_mounted(fuse); ++layer) {
    if (::umount2(fuse.c_str(), UMOUNT_NOFOLLOW) == 0) continue;
    if (::umount2(fuse.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return false;
  }
  ::unlink(life_path(fuse).c_str());
  return ::unlink(fuse.c_str()) == 0 || errno == ENOENT;
}

}  // namespace blktap
