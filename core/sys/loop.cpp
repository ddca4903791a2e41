// SPDX-License-Identifier: MIT
// Loop devices by the device and inode of what is behind them, as drivers find them too (loop_find.hpp).
#include <vbdkit/detail/loop_find.hpp>

#include <charconv>

#include "core/base/text.hpp"
#include "core/sys/block.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

using vbdkit::loop::Device;
using vbdkit::loop::Search;

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

/// Of one that may not be opened: the backing file by its name, which may be another file by now.
void read_sysfs(LoopDevice &loop, const Device &device) {
  const std::string directory = "/sys/block/" + base_name(loop.node), loop_dir = directory + "/loop";
  loop.tag = device.backing_path;
  loop.offset = number(attribute(loop_dir, "offset"));
  loop.size_limit = number(attribute(loop_dir, "sizelimit"));
  loop.direct_io = attribute(loop_dir, "dio") == "1";
  loop.autoclear = attribute(loop_dir, "autoclear") == "1";
  loop.read_only = attribute(directory, "ro") == "1";
}

LoopDevice from(const Device &device) {
  LoopDevice loop;
  loop.node = device.node;
  loop.backing = {device.backing.device, device.backing.inode};
  if (device.error != 0) {
    read_sysfs(loop, device);
    return loop;
  }
  loop.offset = device.offset;
  loop.size_limit = device.size_limit;
  loop.read_only = device.read_only;
  loop.direct_io = device.direct_io;
  loop.autoclear = device.autoclear;
  if (device.block_size != 0) loop.block_size = device.block_size;
  loop.tag = device.tag;
  return loop;
}

}  // namespace

std::string mount_that_may_hang(const std::string &path) {
  std::string found;
  bool hangs = false;
  const auto mounts = read_mountinfo();
  if (!mounts) return found;
  for (const MountEntry &mount : *mounts) {
    const bool covers = mount.target == "/" || path == mount.target || path.starts_with(mount.target + "/");
    if (!covers || mount.target.size() < found.size()) continue;  // of equal ones the last is on top
    found = mount.target;
    hangs = vbdkit::loop::finding::can_hang(mount.type);
  }
  return hangs ? found : std::string();
}

std::vector<LoopDevice> scan_loops(const FileId &file, std::string &unseen) {
  std::vector<LoopDevice> loops;
  for (const Device &device : vbdkit::loop::on_file({file.device, file.inode})) {
    LoopDevice loop = from(device);
    if (device.error != 0) unseen = loop.node;
    if (loop.backing == file) loops.push_back(std::move(loop));
  }
  return loops;
}

Result<std::vector<LoopDevice>> loop_devices() {
  std::vector<LoopDevice> loops;
  for (const Device &device : vbdkit::loop::list()) loops.push_back(from(device));
  return loops;
}

std::vector<NamedLoop> loops_below(const std::vector<std::string> &directories) {
  Search search;
  for (const Device &device : vbdkit::loop::finding::bound()) {
    for (const std::string &directory : directories) {
      if (device.backing_path.starts_with(directory + "/")) search.nodes.push_back(device.node);
    }
  }
  std::vector<NamedLoop> loops;
  if (search.nodes.empty()) return loops;
  for (const Device &device : vbdkit::loop::find(search))
    loops.push_back({from(device), device.backing_path});
  return loops;
}

Result<std::vector<LoopDevice>> loops_of(const FileId &file) {
  std::string unseen;
  return scan_loops(file, unseen);
}

}  // namespace vbd::sys
