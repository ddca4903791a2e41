// SPDX-License-Identifier: MIT
#include "core/sys/proc.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <sstream>

#include <vbdkit/detail/node_use.hpp>

#include "core/base/text.hpp"

namespace vbd::sys {
namespace {

constexpr std::size_t kProcLimit = 16u << 20;

template <class N>
bool parse_number(std::string_view text, N &out, int base = 10) {
  const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return why == std::errc{} && end == text.data() + text.size();
}

/// "36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw": any number of optional fields before "-".
std::optional<MountEntry> parse_mount(const std::string &line) {
  const std::vector<std::string> field = text::split(line, ' ');
  const auto dash = std::find(field.begin(), field.end(), "-");
  if (dash - field.begin() < 6 || field.end() - dash < 3) return std::nullopt;
  MountEntry mount;
  const std::vector<std::string> numbers = text::split(field[2], ':');
  unsigned major_number = 0, minor_number = 0;
  if (numbers.size() != 2 || !parse_number(field[0], mount.id) || !parse_number(numbers[0], major_number) ||
      !parse_number(numbers[1], minor_number))
    return std::nullopt;
  mount.device = makedev(major_number, minor_number);
  mount.target = vbdkit::detail::unescape_mount(field[4]);
  mount.options = field[5];
  mount.type = dash[1];
  mount.source = vbdkit::detail::unescape_mount(dash[2]);
  return mount;
}

bool stat_open_file(int directory, const char *name, int flags, OpenFile &out) {
  struct statx st {};
  // Without DONT_SYNC a file on a dead NFS server would hang us.
  if (::statx(directory, name, AT_STATX_DONT_SYNC | flags, STATX_TYPE | STATX_INO, &st) != 0) return false;
  out.device = makedev(st.stx_dev_major, st.stx_dev_minor);
  out.inode = st.stx_ino;
  out.block = S_ISBLK(st.stx_mode);
  out.special = out.block || S_ISCHR(st.stx_mode) ? makedev(st.stx_rdev_major, st.stx_rdev_minor) : 0;
  return true;
}

std::string fdinfo(std::int64_t pid, const std::string &fd) {
  const auto content = read_file(text::cat("/proc/", pid, "/fdinfo/", fd), kProcLimit);
  return content ? *content : std::string{};
}

/// "lock:\t1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 103" (the format of /proc/locks, proc(5)).
std::optional<HeldRange> parse_lock(const std::string &line) {
  std::istringstream words(line);
  std::string tag, number, kind, advice, type, pid, place, first, last;
  words >> tag >> number >> kind >> advice >> type >> pid >> place >> first >> last;
  HeldRange range;
  range.write = type == "WRITE";
  if (tag != "lock:" || (kind != "OFDLCK" && kind != "POSIX") || !parse_number(first, range.first))
    return std::nullopt;
  range.last = UINT64_MAX;
  if (last != "EOF" && !parse_number(last, range.last)) return std::nullopt;
  if (range.last < range.first) return std::nullopt;
  return range;
}

}  // namespace

Result<std::vector<MountEntry>> read_mountinfo() {
  VBD_TRY_ASSIGN(const auto content, read_file("/proc/self/mountinfo", kProcLimit));
  return parse_mountinfo(content);
}

std::vector<MountEntry> parse_mountinfo(std::string_view content) {
  std::vector<MountEntry> mounts;
  for (const std::string &line : text::split(content, '\n')) {
    if (auto mount = parse_mount(line)) mounts.push_back(std::move(*mount));
  }
  return mounts;
}

std::vector<std::int64_t> process_ids() {
  std::vector<std::int64_t> pids;
  const Fd proc(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return pids;
  const auto names = list_dir(proc.get());
  if (!names) return pids;
  for (const std::string &name : *names) {
    std::int64_t pid = 0;
    if (parse_number(name, pid)) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::string process_command(std::int64_t pid) {
  const auto content = read_file(text::cat("/proc/", pid, "/comm"), 4096);
  if (!content) return "?";
  return text::printable(content->substr(0, content->find_last_not_of('\n') + 1));
}

std::string describe_processes(const std::vector<std::int64_t> &pids) {
  std::string out;
  for (const std::int64_t pid : pids)
    out += text::cat(out.empty() ? "" : ", ", "process ", pid, " (", process_command(pid), ")");
  return out;
}

std::optional<ProcessState> process_state(std::int64_t pid) {
  const auto content = read_file(text::cat("/proc/", pid, "/stat"), 4096);
  return content ? parse_process_state(*content) : std::nullopt;
}

std::optional<ProcessState> parse_process_state(std::string_view content) {
  // Field 2 is the command in parentheses and may hold anything: count from the last ")".
  const std::size_t paren = content.rfind(") ");
  if (paren == std::string_view::npos) return std::nullopt;
  const std::vector<std::string> field = text::split(content.substr(paren + 2), ' ');
  ProcessState state;
  if (field.size() < 20 || field[0].empty() || !parse_number(field[19], state.start_time))
    return std::nullopt;
  state.state = field[0][0];
  return state;
}

namespace {

/// Ended at any moment while it was looked at: then it has nothing open. Z and X: proc(5), "stat".
bool has_ended(std::int64_t pid) {
  const auto state = process_state(pid);
  if (!state) return ::access(text::cat("/proc/", pid).c_str(), F_OK) != 0;
  return state->state == 'Z' || state->state == 'X';
}

}  // namespace

bool visit_open_files(std::int64_t pid, const std::function<void(const OpenFile &)> &visit) {
  const Fd process(::open(text::cat("/proc/", pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!process) return has_ended(pid);
  const Fd fds(::openat(process.get(), "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fds) return has_ended(pid);
  const auto names = list_dir(fds.get());
  if (!names) return has_ended(pid);
  OpenFile file;
  for (const std::string &name : *names) {
    file.fd = name;
    if (stat_open_file(fds.get(), name.c_str(), 0, file)) visit(file);
  }
  file.fd.clear();
  for (const char *name : {"cwd", "root"}) {
    if (stat_open_file(process.get(), name, 0, file)) visit(file);
  }
  return true;
}

std::vector<HeldRange> held_ranges(std::int64_t pid, const std::string &fd) {
  return parse_held_ranges(fdinfo(pid, fd));
}

std::vector<HeldRange> parse_held_ranges(std::string_view fdinfo) {
  std::vector<HeldRange> ranges;
  for (const std::string &line : text::split(fdinfo, '\n')) {
    if (!line.starts_with("lock:")) continue;
    if (const auto range = parse_lock(line)) ranges.push_back(*range);
  }
  return ranges;
}

bool opened_for_writing(std::int64_t pid, const std::string &fd) {
  for (const std::string &line : text::split(fdinfo(pid, fd), '\n')) {
    unsigned flags = 0;  // octal, the bits of open(2)
    if (!line.starts_with("flags:") || !parse_number(line.substr(line.find_last_of(" \t") + 1), flags, 8))
      continue;
    return (flags & O_ACCMODE) != O_RDONLY;
  }
  return false;
}

std::vector<std::int64_t> lock_holders(const FileId &file, std::uint64_t first, std::uint64_t last) {
  std::vector<std::int64_t> holders;
  for (const std::int64_t pid : process_ids()) {
    bool holds = false;
    visit_open_files(pid, [&](const OpenFile &open) {
      if (holds || open.fd.empty() || FileId{open.device, open.inode} != file) return;
      for (const HeldRange &range : held_ranges(pid, open.fd)) {
        holds = holds || (range.first <= last && range.last >= first);
      }
    });
    if (holds) holders.push_back(pid);
  }
  return holders;
}

std::vector<std::int64_t> processes_on_filesystem(dev_t device) {
  std::vector<std::int64_t> found;
  for (const std::int64_t pid : process_ids()) {
    bool uses = false;
    if (pid == ::getpid()) continue;
    visit_open_files(pid, [&](const OpenFile &open) { uses = uses || open.device == device; });
    if (uses) found.push_back(pid);
  }
  return found;
}

}  // namespace vbd::sys
