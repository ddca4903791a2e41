// SPDX-License-Identifier: MIT
// start. The order: the operation and the lease in instance.yaml, the note of the guest, the disks, the
// config file, the hypervisor, the locks of images that it opened itself, the note again, instance.yaml
// without the operation. Each is undone in reverse when one fails.
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/guard.hpp"
#include "core/sys/host.hpp"
#include "core/sys/trusted.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/live_parts.hpp"
#include "manager/instance/sizes.hpp"

namespace vbd::instance {
namespace {

using hypervisor::GuestStatus;
using hypervisor::Profile;
using text::cat;

/// Attached already for us (activate-disks), or given as it should be.
Result<void> give_disk(const Manager &manager, const Profile &profile, const InstanceRecord &record,
                       const DiskRecord &disk, std::vector<LogicalId> &lent) {
  device::AttachSpec spec{logical_id(record, disk), disk_holder(record), disk.mode == DiskMode::ro,
                          disk.driver_options};
  spec.locked = true;
  spec.vetting = manager.vetting.word;
  spec.leased = true;
  const device::Context context{manager.settings, manager.registry};
  VBD_TRY_ASSIGN(auto status, device::query(context, spec.id, true));
  if (profile.commands.opens_files && status.state == device::Status::State::detached) {
    const device::RenderSpec render{spec.id, profile.dialect, hypervisor::guest_vdev(profile, disk.vdev),
                                    spec.read_only, disk.driver_options};
    auto own = device::render(context, render);
    if (!own && !own.error().is(device::kDialect)) return own.error();
    spec.lend = own.ok();
  }
  VBD_TRY(device::attach(context, spec));
  if (spec.lend) lent.push_back(spec.id);
  return {};
}

/// The hypervisor must have the locks that we let go.
Result<void> check_locks(const Manager &manager, const Profile &profile, const sys::Process &process,
                         const InstanceRecord &record, const std::vector<LogicalId> &lent) {
  for (const auto &id : lent) {
    if (!profile.commands.locks_images || process.pid == 0) {
      log::info(cat(id.path, ": opened by ", profile.name, ", which takes no lock on it"));
      continue;
    }
    VBD_TRY_ASSIGN(auto file,
                   sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs),
                                         sys::Access::read));
    VBD_TRY_ASSIGN(auto info, sys::file_info(file.get()));
    bool read_only = false;
    for (const auto &disk : record.disks)
      read_only |= logical_id(record, disk).path == id.path && disk.mode == DiskMode::ro;
    // A reader of QEMU's shares writing with nobody, as our mode for readers does.
    VBD_TRY_ASSIGN(auto held, sys::process_locks_image(
                                  process.pid, info.id,
                                  read_only ? sys::ImageLockMode::stable : sys::ImageLockMode::exclusive));
    if (!held) return Error(sys::kInUse, cat(id.path, ": ", profile.name, " has opened it without a lock"));
  }
  return {};
}

struct Starting {
  const Manager &manager;
  const Profile &profile;
  Work &work;
  GuestRecord guest;
  std::vector<LogicalId> lent;
};

Result<void> run(Starting &starting, bool paused) {
  const Manager &manager = starting.manager;
  for (const auto &disk : starting.work.record.disks) {
    VBD_TRY(give_disk(manager, starting.profile, starting.work.record, disk, starting.lent));
  }
  VBD_TRY_ASSIGN(auto config, render_for(manager, starting.profile, starting.work.record));
  const std::string path = guest_directory(manager.settings, starting.guest.uuid);
  VBD_TRY_ASSIGN(auto directory, sys::open_trusted_directory(path, sys::kRunDirectory));
  VBD_TRY(sys::replace_file_at(directory.get(), hypervisor::kConfigFile, config));
  VBD_TRY_ASSIGN(auto guard, sys::make_guard(directory.get(), hypervisor::kGuardFile));
  auto guest = guest_of(manager, starting.profile, starting.guest);
  auto started = hypervisor::start_guest(guest, config, paused, guard.get());
  starting.guest.process = guest.process;
  if (!started) return started;
  VBD_TRY(check_locks(manager, starting.profile, guest.process, starting.work.record, starting.lent));
  starting.guest.guarded = sys::has_guard(directory.get(), hypervisor::kGuardFile, guest.process);
  starting.guest.up = true;
  return write_guest(manager.settings, starting.guest);
}

Result<void> start_here(const Manager &manager, const Profile &profile, Work &work, bool paused) {
  const bool wanted = work.record.wanted_up;
  auto lease = device::next_lease(work.record.lease, manager.settings, disk_holder(work.record));
  if (!lease) return lease.error();
  Starting starting{manager,
                    profile,
                    work,
                    {work.record.uuid,
                     work.record.name,
                     manager.settings.hypervisor,
                     sys::now_rfc3339(),
                     false,
                     {},
                     profile.commands.status_uuid != 0},
                    {}};
  work.record.lease = *std::move(lease);
  auto done = begin_operation(manager, work, OperationRecord{"start", sys::now_rfc3339(), {}, false, {}});
  if (done) done = write_guest(manager.settings, starting.guest);
  if (done) done = run(starting, paused);
  if (done) {
    work.record.wanted_up = true;
    done = end_operation(manager, work);
    if (done) return done;
  }
  auto undone = destroy(manager, starting.guest, work.record.uuid);
  if (undone) undone = clear(manager, work, wanted);
  if (!undone)
    log::error(cat("instance ", work.record.name, ": left interrupted: ", undone.error().message()));
  return done;
}

/// A toolstack knows its guests by their names: one that we did not start is not ours to destroy.
Result<void> check_name_free(const Manager &manager, const Profile &profile, const InstanceRecord &record) {
  const std::string &name = record.name;
  if (profile.commands.kind != hypervisor::Commands::Kind::toolstack) return {};
  VBD_TRY_ASSIGN(auto guests, hypervisor::toolstack_status(profile, manager.runner));
  for (const auto &[other, status] : guests) {
    if (other == name || status.uuid.empty() || status.uuid != record.uuid) continue;
    return Error(kRunning,
                 cat("instance ", name, ": ", profile.name, " has a guest with its UUID, called ",
                     text::printable(other)),
                 "end that one with the hypervisor's own tools");
  }
  if (!guests.contains(name)) return {};
  return Error(
      kRunning,
      cat("instance ", name, ": ", profile.name, " has a guest of that name, which vbd did not start"),
      "end it with the hypervisor's own tools, or rename the instance");
}

Plan start_plan(const InstanceRecord &record, const Profile &profile) {
  Plan plan;
  for (const auto &disk : record.disks)
    plan.push_back(cat("give ", logical_id(record, disk).path, " to ", disk_holder(record)));
  plan.push_back(cat("start ", record.name, " through ", profile.name));
  return plan;
}

/// It is there: nothing to do, unless it waits.
Result<Plan> go_on(const Manager &manager, const GuestRecord &record, const GuestStatus &status,
                   const StartSpec &spec, bool dry_run) {
  if (!record.directory.empty() && !dry_run) {  // found again: from now on it is noted
    if (auto noted = write_guest(manager.settings, record); !noted) return noted.error();
  }
  const bool waits = status.state == GuestStatus::State::paused || status.state == GuestStatus::State::error;
  if (!waits || spec.paused) return Plan{};
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, record));
  if (dry_run) return Plan{cat("let ", spec.name, " go on")};
  VBD_TRY(hypervisor::tell_guest(guest_of(manager, profile, record), profile.commands.resume));
  return Plan{cat("let ", spec.name, " go on")};
}

Result<Plan> do_start(const Manager &manager, const StartSpec &spec, bool dry_run) {
  std::optional<GuestRecord> guest;
  VBD_TRY_ASSIGN(auto entry, Catalog(manager.settings).find(spec.name));
  VBD_TRY(check_workable(entry));
  VBD_TRY(check_here(manager, entry.record));
  if (!entry.record.operation) {
    VBD_TRY_ASSIGN(auto before, look(manager, entry.record, guest));
    if (is_up(before)) return go_on(manager, *guest, before, spec, dry_run);
  }
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  VBD_TRY(hypervisor::check_present(profile));
  if (dry_run) {
    VBD_TRY_ASSIGN(auto settled, find_settled(manager, spec.name, true));
    VBD_TRY(check_whole(manager, settled.record));
    return start_plan(settled.record, profile);
  }
  VBD_TRY_ASSIGN(auto work, open_work(manager, spec.name));
  VBD_TRY(check_here(manager, work.record));
  VBD_TRY_ASSIGN(auto status, look(manager, work.record, guest));
  if (is_up(status)) {
    if (entry.record.operation) return go_on(manager, *guest, status, spec, dry_run);  // what it had settled
    return Error(kRunning, cat("instance ", spec.name, ": somebody else has started it meanwhile"));
  }
  if (guest) {
    auto gone = destroy(manager, guest, work.record.uuid);
    if (gone) gone = clear(manager, work, work.record.wanted_up);
    if (!gone) return gone.error();
  }
  VBD_TRY(check_name_free(manager, profile, work.record));
  VBD_TRY(check_whole(manager, work.record));
  const Plan plan = start_plan(work.record, profile);
  VBD_TRY(start_here(manager, profile, work, spec.paused));
  return plan;
}

}  // namespace

Result<Plan> start(const Manager &manager, const StartSpec &spec, bool dry_run) {
  auto done = do_start(manager, spec, dry_run);
  if (!dry_run) log::audit(cat("instance start ", spec.name), done ? "done" : done.error().message());
  return done;
}

}  // namespace vbd::instance
