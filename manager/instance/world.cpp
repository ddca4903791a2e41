// SPDX-License-Identifier: MIT
#include "manager/instance/world.hpp"

#include "core/base/text.hpp"
#include "core/device/device.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "manager/hypervisor/guest.hpp"
#include "manager/instance/live_parts.hpp"

namespace vbd::instance {

using text::cat;

bool may_run_here(const config::Settings &settings, const InstanceRecord &record) {
  const auto ours = device::is_ours(record.lease, settings);
  return ours && *ours;
}

std::string uuid_of_guard(const std::string &path) {
  const std::string directory = sys::dir_name(path);
  const bool fits = sys::base_name(path) == hypervisor::kGuardFile &&
                    sys::base_name(sys::dir_name(directory)) == "instances";
  return fits ? sys::base_name(directory) : std::string();
}

std::vector<sys::LockedFile> guest_processes() {
  return sys::locked_files([](const std::string &path) { return !uuid_of_guard(path).empty(); });
}

std::optional<GuestRecord> guest_among(const std::vector<sys::LockedFile> &processes, const Manager &manager,
                                       const InstanceRecord &record) {
  const sys::LockedFile *first = nullptr;  // the others are its children
  for (const sys::LockedFile &process : processes) {
    if (uuid_of_guard(process.path) != record.uuid) continue;
    if (first == nullptr || process.process.start_time < first->process.start_time) first = &process;
  }
  if (first == nullptr) return {};
  GuestRecord guest;
  guest.uuid = record.uuid;
  guest.name = record.name;
  guest.hypervisor = manager.settings.hypervisor;
  guest.started = record.lease.time;
  guest.up = true;
  guest.process = first->process;
  guest.directory = sys::dir_name(first->path);
  guest.command = first->command;
  return guest;
}

std::optional<GuestRecord> toolstack_guest(const Manager &manager, const InstanceRecord &record) {
  const auto profile = hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs);
  if (!profile || profile->commands.kind != hypervisor::Commands::Kind::toolstack) return {};
  if (!hypervisor::check_present(*profile)) return {};
  GuestRecord guest;
  guest.uuid = record.uuid;
  guest.name = record.name;
  guest.hypervisor = manager.settings.hypervisor;
  guest.started = record.lease.time;
  guest.up = true;
  guest.has_uuid = profile->commands.status_uuid != 0;
  return guest;
}

Result<std::optional<GuestRecord>> find_unnoted(const Manager &manager, const InstanceRecord &record) {
  using Found = std::optional<GuestRecord>;
  if (!may_run_here(manager.settings, record)) return Found();
  if (auto guest = guest_among(guest_processes(), manager, record)) return guest;
  auto guest = toolstack_guest(manager, record);
  if (!guest) return Found();
  VBD_TRY_ASSIGN(auto status, status_of(manager, *guest));
  return status.there() ? guest : Found();
}

Result<void> refuse_unrecorded(const Manager &manager, const InstanceRecord &record) {
  for (const DiskRecord &disk : record.disks) {
    const LogicalId id = logical_id(record, disk);
    VBD_TRY_ASSIGN(auto users, device::unrecorded_users({manager.settings, manager.registry}, id));
    if (users.empty()) continue;
    return Error(device::kUnrecorded,
                 cat("instance ", record.name, ": no guest of it is known here, but ",
                     text::printable(id.path), " is in use by ", users),
                 "stop that process or detach that device, then try again");
  }
  return {};
}

}  // namespace vbd::instance
