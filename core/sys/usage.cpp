// SPDX-License-Identifier: MIT
#include "core/sys/usage.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/block.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

std::vector<std::string> names_in(const std::string &directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return {};
  auto names = list_dir(fd.get());
  return names ? std::move(*names) : std::vector<std::string>{};
}

/// The number in a sysfs "dev" file, "7:3"; 0 when there is none.
dev_t device_in(const std::string &sysfs_dir) {
  const auto content = read_file(sysfs_dir + "/dev", 64);
  unsigned major_number = 0, minor_number = 0;
  if (!content || std::sscanf(content->c_str(), "%u:%u", &major_number, &minor_number) != 2) return 0;
  return makedev(major_number, minor_number);
}

dev_t special_number(const std::string &path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode) ? st.st_rdev : 0;
}

/// Mounts of these have a device number of their own, and their source is the device. Elsewhere it is a
/// string of whoever mounted: FUSE lets every user write /dev/loop3 there.
bool source_tells(const MountEntry &entry) {
  const bool own_numbers = entry.type == "btrfs" || entry.type == "bcachefs";
  return own_numbers && entry.source.starts_with("/dev/");
}

/// The processes but ours for which `matches` accepts an open file.
template <class Matches>
void collect_processes(Usage &usage, Matches matches) {
  for (const std::int64_t pid : process_ids()) {
    if (pid == ::getpid()) continue;
    bool uses = false, writes = false;
    const bool seen = visit_open_files(pid, [&](const OpenFile &open) {
      if (open.fd.empty() || !matches(open)) return;
      uses = true;
      writes = writes || opened_for_writing(pid, open.fd);
    });
    if (!seen) usage.unseen = text::cat("process ", pid, " (", process_command(pid), ")");
    if (uses) usage.processes.push_back({pid, process_command(pid), writes});
  }
}

/// How long a vbd that looks at an image (verify, info) is waited for; one that copies it takes longer.
constexpr std::chrono::milliseconds kLookPatience{3000};

bool only_looks(const Usage &usage) {
  return usage.loops.empty() && !usage.processes.empty() &&
         std::all_of(usage.processes.begin(), usage.processes.end(),
                     [](const ProcessUse &process) { return process.command == "vbd" && !process.writes; });
}

Usage usage_with_loops(const FileId &file) {
  Usage usage;
  usage.loops = scan_loops(file, usage.unseen);
  return usage;
}

std::string describe_loop(const LoopDevice &loop) {
  std::string out = "loop device " + loop.node;
  const auto mounts = mounts_of_node(loop.node);
  if (mounts && !mounts->empty())
    out += text::cat(" (mounted at ", text::printable(mounts->front().target), ")");
  return out;
}

}  // namespace

bool BlockNode::has(dev_t device) const {
  return std::find(devices.begin(), devices.end(), device) != devices.end();
}

Result<BlockNode> block_node(const std::string &node) {
  struct stat st {};
  if (::stat(node.c_str(), &st) != 0) return errno_error(text::cat("stat ", text::printable(node)), errno);
  if (!S_ISBLK(st.st_mode))
    return Error{kNotRegular, text::cat(text::printable(node), ": is not a block device")};
  BlockNode found;
  const std::string link = text::cat("/sys/dev/block/", ::major(st.st_rdev), ":", ::minor(st.st_rdev));
  found.devices.push_back(st.st_rdev);
  found.sysfs_dirs.push_back(link);
  for (const std::string &name : names_in(link)) {
    const std::string directory = text::cat(link, "/", name);
    if (::access((directory + "/partition").c_str(), F_OK) != 0) continue;
    found.devices.push_back(device_in(directory));
    found.sysfs_dirs.push_back(directory);
  }
  return found;
}

Result<std::uint64_t> node_size(const std::string &node) {
  const Fd fd(::open(node.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0)
    return errno_error(text::cat("open ", text::printable(node)), errno);
  if (!S_ISBLK(st.st_mode)) return errno_error(text::cat("size of ", text::printable(node)), ENOTBLK);
  const off_t end = ::lseek(fd.get(), 0, SEEK_END);
  if (end < 0) return errno_error(text::cat("size of ", text::printable(node)), errno);
  return static_cast<std::uint64_t>(end);
}

Result<std::vector<Mount>> mounts_of_node(const std::string &node) {
  VBD_TRY_ASSIGN(const auto block, block_node(node));
  VBD_TRY_ASSIGN(const auto entries, read_mountinfo());
  std::vector<Mount> mounts;
  for (const MountEntry &entry : entries) {
    const bool same =
        block.has(entry.device) || (source_tells(entry) && block.has(special_number(entry.source)));
    if (same) mounts.push_back({entry.source, entry.target, entry.type, entry.options});
  }
  return mounts;
}

Result<std::vector<std::string>> holders_of_node(const std::string &node) {
  VBD_TRY_ASSIGN(const auto block, block_node(node));
  std::vector<std::string> holders;
  for (const std::string &directory : block.sysfs_dirs) {
    for (std::string &name : names_in(directory + "/holders")) holders.push_back(std::move(name));
  }
  const auto swaps = read_file("/proc/swaps", 1u << 20);
  if (!swaps) return holders;
  for (const std::string &line : text::split(*swaps, '\n')) {
    const std::string path = line.substr(0, line.find_first_of(" \t"));
    const dev_t device = path.starts_with('/') ? special_number(path) : 0;
    if (device != 0 && block.has(device)) holders.emplace_back("swap");
  }
  return holders;
}

std::string Usage::describe() const {
  std::vector<std::string> parts;
  for (const LoopDevice &loop : loops) parts.push_back(describe_loop(loop));
  for (const ProcessUse &process : processes)
    parts.push_back(text::cat("process ", process.pid, " (", process.command, ")"));
  return text::join(parts, ", ");
}

Result<Usage> find_usage(const FileId &file) {
  const auto deadline = std::chrono::steady_clock::now() + kLookPatience;
  for (;;) {
    Usage usage = usage_with_loops(file);
    collect_processes(usage, [&](const OpenFile &open) { return FileId{open.device, open.inode} == file; });
    if (!only_looks(usage) || std::chrono::steady_clock::now() >= deadline) return usage;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Result<Usage> find_node_usage(const std::string &node) {
  VBD_TRY_ASSIGN(const auto block, block_node(node));
  struct stat st {};
  if (::stat(node.c_str(), &st) != 0) return errno_error(text::cat("stat ", text::printable(node)), errno);
  Usage usage = usage_with_loops({st.st_dev, st.st_ino});
  collect_processes(usage, [&](const OpenFile &open) { return open.block && block.has(open.special); });
  return usage;
}

}  // namespace vbd::sys
