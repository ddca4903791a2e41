// SPDX-License-Identifier: MIT
// What records do not know. RUN_DIR can be lost or be another one than it was; before a disk counts as
// unused, those who have its image are looked for.
#include <algorithm>

#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {

Result<std::string> unrecorded_users(const Disk &disk) {
  if (disk.record || !disk.image || !disk.info) return std::string();
  // Whoever writes by our rules, or by QEMU's, has the lock: asking for it is cheap, looking at every process
  // is not.
  VBD_TRY_ASSIGN(auto taken, sys::image_lock_conflicts(disk.image.get(), sys::ImageLockMode::stable));
  if (!taken) return std::string();
  auto usage = sys::find_usage(disk.info->id);
  if (!usage) return usage.error().at(disk.shown());
  std::erase_if(usage->loops, [](const sys::LoopDevice &loop) { return loop.read_only; });
  std::erase_if(usage->processes, [](const sys::ProcessUse &process) { return !process.writes; });
  return usage->describe();
}

Result<std::string> unrecorded_users(const Context &context, const LogicalId &id) {
  auto disk = open_for_others(context, id, false);
  if (!disk) return disk.error().is(sys::kNotFound) ? Result<std::string>(std::string()) : disk.error();
  VBD_TRY_ASSIGN(auto status, status_of(*disk));
  if (status.state != Status::State::detached) return std::string();
  return unrecorded_users(*disk);
}

std::vector<Leftover> unrecorded_devices(const Context &context, const std::vector<Record> &records) {
  std::vector<std::string> directories = context.settings.allowed_dirs;
  directories.push_back(context.settings.run_dir);
  std::vector<Leftover> found;
  for (const sys::NamedLoop &named : sys::loops_below(directories)) {
    const std::string &node = named.loop.node;
    const bool known = std::any_of(records.begin(), records.end(),
                                   [&](const Record &record) { return record.node == node; });
    if (known) continue;
    const bool ours = named.loop.tag.starts_with("vbdkit:");
    found.push_back({named.path,
                     ours ? text::cat(node,
                                      " is a device of vbd's on it that no record knows: "
                                      "'vbd disk detach' takes it back")
                          : text::cat(node, " is on it, which vbd did not make"),
                     false});
  }
  return found;
}

}  // namespace vbd::device
