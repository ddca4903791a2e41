// SPDX-License-Identifier: MIT
// What cluster verify asks the world.
#include <algorithm>

#include "core/base/text.hpp"
#include "core/device/device.hpp"
#include "core/device/record.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "manager/instance/storage.hpp"
#include "manager/instance/world.hpp"

namespace vbd::instance {
namespace {

using text::cat;

std::string shown(const sys::LockedFile &process) {
  return cat("process ", process.process.pid, " (", process.command, ")");
}

void add_guests(const Manager &manager, const std::set<std::string> &known_uuids,
                std::vector<Problem> &found) {
  const std::string &run_dir = manager.settings.run_dir;
  const auto noted = noted_guests(manager.settings);
  for (const sys::LockedFile &process : guest_processes()) {
    const std::string uuid = uuid_of_guard(process.path);
    const bool known = known_uuids.contains(uuid);
    const bool has_note = noted && std::any_of(noted->begin(), noted->end(),
                                               [&](const GuestRecord &guest) { return guest.uuid == uuid; });
    // Guests of another configuration are none of ours.
    if (has_note || (!known && !process.path.starts_with(run_dir + "/"))) continue;
    found.push_back({shown(process),
                     known
                         ? cat("runs a guest that ", run_dir,
                               " does not know: 'vbd instance info' shows it, 'vbd instance stop' ends it")
                         : cat("runs a guest of an instance that is not known, UUID ", text::printable(uuid)),
                     false});
  }
}

void add_servers(const Manager &manager, std::vector<Problem> &found) {
  const std::string state = manager.settings.run_dir + "/state/";
  const auto records = device::Records(manager.settings.run_dir).all();
  const auto below = [&](const std::string &path) { return path.starts_with(state); };
  for (const sys::LockedFile &process : sys::locked_files(below)) {
    const std::size_t end = process.path.find('/', state.size());
    const std::string key = process.path.substr(state.size(), end - state.size());
    const bool known = records && std::any_of(records->begin(), records->end(), [&](const auto &record) {
                         return cat(record.file.device, "-", record.file.inode) == key;
                       });
    if (!known)
      found.push_back({shown(process), "serves an image of which no record says that it is attached", false});
  }
}

}  // namespace

std::string unrecorded_writers(const Manager &manager, const LogicalId &id) {
  auto file = sys::open_image_below(id.path, allowed_for(manager.settings, id.path), sys::Access::read);
  if (!file) return {};
  const auto taken = sys::image_lock_conflicts(file->get(), sys::ImageLockMode::stable);
  if (!taken || !*taken) return {};
  auto users = device::unrecorded_users({manager.settings, manager.registry}, id);
  return users ? *std::move(users) : std::string();
}

std::vector<Problem> unrecorded_processes(const Manager &manager, const std::set<std::string> &known_uuids) {
  std::vector<Problem> found;
  add_guests(manager, known_uuids, found);
  add_servers(manager, found);
  return found;
}

}  // namespace vbd::instance
