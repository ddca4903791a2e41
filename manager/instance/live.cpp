// SPDX-License-Identifier: MIT
// What start, stop and settling share, and what other verbs ask about running.
#include "manager/instance/live.hpp"

#include <algorithm>
#include <thread>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/guard.hpp"
#include "core/sys/trusted.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/live_parts.hpp"
#include "manager/instance/world.hpp"

namespace vbd::instance {
namespace {

using hypervisor::GuestStatus;
using hypervisor::Profile;
using std::chrono::milliseconds;
using text::cat;

constexpr milliseconds kAnswer{2000};
constexpr int kDetachTries = 50;  // of a tenth of a second: a device that was just closed
constexpr milliseconds kDetachPause{100};

Result<void> detach_one(const Manager &manager, const InstanceRecord &record, const DiskRecord &disk) {
  const LogicalId id = logical_id(record, disk);
  auto status = device::query({manager.settings, manager.registry}, id, true);
  if (!status) return status.error().is(sys::kNotFound) ? Result<void>() : status.error();
  const auto &holders = status->attachment.holders;
  const bool ours = std::find(holders.begin(), holders.end(), disk_holder(record)) != holders.end();
  // Detached as well: a killed attach may have left its record, which would keep the lease.
  if (!ours && !holders.empty()) return {};
  const bool detached = status->state == device::Status::State::detached && !status->unrecorded;
  for (int attempt = 1;; ++attempt) {
    auto gone = device::detach({manager.settings, manager.registry}, id, disk_holder(record), false, true);
    if (!gone && detached && gone.error().is(device::kHeldByOther)) return {};  // through another driver
    if (gone || !gone.error().is(device::kDeviceBusy) || attempt == kDetachTries) return gone;
    std::this_thread::sleep_for(kDetachPause);
  }
}

/// Processes of a start whose process id nobody wrote down.
Result<void> end_unnoted(const Manager &manager, const std::string &uuid) {
  auto directory = sys::open_trusted_directory(guest_directory(manager.settings, uuid), sys::kRunDirectory);
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<void>() : directory.error();
  VBD_TRY_ASSIGN(auto processes, sys::guarded_processes(directory->get(), hypervisor::kGuardFile));
  for (const auto &process : processes) {
    if (auto gone = manager.runner.stop(process, std::chrono::seconds(10)); !gone) return gone;
  }
  return {};
}

}  // namespace

hypervisor::Guest guest_of(const Manager &manager, const Profile &profile, const GuestRecord &record) {
  return {profile,        manager.runner,
          record.name,    directory_of(manager.settings, record),
          record.process, record.has_uuid ? record.uuid : ""};
}

Result<Profile> profile_of(const Manager &manager, const GuestRecord &record) {
  return hypervisor::load_profile(record.hypervisor, manager.profile_dirs);
}

Result<GuestStatus> status_of(const Manager &manager, const GuestRecord &record) {
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, record));
  return hypervisor::guest_status(guest_of(manager, profile, record), kAnswer);
}

Result<GuestStatus> look(const Manager &manager, const InstanceRecord &record,
                         std::optional<GuestRecord> &guest) {
  VBD_TRY_ASSIGN(auto read, read_guest(manager.settings, record.uuid));
  guest = read;
  if (!guest) {
    VBD_TRY_ASSIGN(auto found, find_unnoted(manager, record));
    guest = found;
  }
  return guest ? status_of(manager, *guest) : Result<GuestStatus>(GuestStatus{});
}

bool is_up(const GuestStatus &status) {
  return status.there() && status.state != GuestStatus::State::stopped;
}

Result<void> check_here(const Manager &manager, const InstanceRecord &record) {
  if (record.node != manager.settings.node) {
    return Error(
        kOtherNode,
        cat("instance ", record.name, ": its node is ", record.node, ", this is ", manager.settings.node),
        cat("run the same command on ", record.node));
  }
  return check_unleased(manager, record);
}

Result<void> destroy(const Manager &manager, const std::optional<GuestRecord> &record,
                     const std::string &uuid) {
  if (record) {
    VBD_TRY_ASSIGN(auto profile, profile_of(manager, *record));
    // A toolstack's start that goes on without us would make a guest after we have looked.
    if (!record->up) {
      if (auto ended = end_unnoted(manager, uuid); !ended) return ended;
    }
    VBD_TRY(hypervisor::destroy_guest(guest_of(manager, profile, *record)));
  }
  return end_unnoted(manager, uuid);
}

Result<void> clear(const Manager &manager, Work &work, bool wanted_up) {
  Result<void> lost;
  for (auto disk = work.record.disks.rbegin(); disk != work.record.disks.rend(); ++disk) {
    auto gone = detach_one(manager, work.record, *disk);
    if (!gone && !gone.error().is(device::kLostWrites)) return gone;
    if (!gone && !lost) log::error(lost.error().message());
    if (!gone) lost = gone;  // the device is gone all the same, and so is the guest
  }
  VBD_TRY(drop_guest(manager.settings, work.record.uuid));
  VBD_TRY_ASSIGN(auto kept, device::keep_lease({manager.settings, manager.registry}, work.record));
  if (!kept && work.record.lease.node == manager.settings.node) work.record.lease.free();
  work.record.wanted_up = wanted_up;
  auto ended = end_operation(manager, work);
  if (!ended || lost) return ended;
  return Error(device::kLostWrites,
               cat("instance ", work.record.name, ": stopped, but ", lost.error().message()),
               device::kLostHint);
}

Result<void> settle_live(const Manager &manager, Work &work) {
  std::optional<GuestRecord> guest;
  VBD_TRY_ASSIGN(auto status, look(manager, work.record, guest));
  const bool stopping = work.record.operation->verb == "stop";
  if (guest && guest->up && is_up(status)) {
    work.record.wanted_up = true;
    return end_operation(manager, work);
  }
  VBD_TRY(destroy(manager, guest, work.record.uuid));
  const bool forgets = stopping && !work.record.operation->details.contains(kRemembered);
  return clear(manager, work, !forgets && work.record.wanted_up);
}

Result<void> check_down(const Manager &manager, const InstanceRecord &record) {
  std::optional<GuestRecord> guest;
  VBD_TRY_ASSIGN(auto status, look(manager, record, guest));
  if (!guest) return {};
  return Error(
      kRunning,
      cat("instance ", record.name, status.there() ? ": it runs" : ": it ran, and its end is not cleared up"),
      cat("vbd instance stop ", record.name));
}

Result<void> check_addressable(const Manager &manager, const std::string &name) {
  if (!hypervisor::is_ambiguous_name(name)) return {};
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  return hypervisor::check_guest_name(profile, name);
}

Result<void> check_can_start(const Manager &manager) {
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  return hypervisor::check_present(profile);
}

}  // namespace vbd::instance
