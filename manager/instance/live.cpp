// SPDX-License-Identifier: MIT
// start, stop and reboot. The order of a start: the operation and the claim in instance.yaml, the note of the
// guest, the disks, the config file, the hypervisor, the locks of images that it opened itself, the note
// again, instance.yaml without the operation. Each is undone in reverse when one fails.
#include "manager/instance/live.hpp"

#include <algorithm>
#include <thread>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/guard.hpp"
#include "core/sys/host.hpp"
#include "manager/hypervisor/guest.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/guest_record.hpp"

namespace vbd::instance {
namespace {

using hypervisor::GuestStatus;
using hypervisor::Profile;
using std::chrono::milliseconds;
using text::cat;

constexpr milliseconds kAnswer{2000};
constexpr int kDetachTries = 50;  // of a tenth of a second: a device that was just closed
constexpr milliseconds kDetachPause{100};

device::Context live_context(const Manager &manager) {
  return {manager.settings, manager.registry};
}

hypervisor::Guest guest_of(const Manager &manager, const Profile &profile, const GuestRecord &record) {
  return {profile, manager.runner, record.name, guest_directory(manager.settings, record.uuid),
          record.process};
}

Result<Profile> profile_of(const Manager &manager, const GuestRecord &record) {
  return hypervisor::load_profile(record.hypervisor, manager.profile_dirs);
}

/// What the hypervisor says of the guest; absent without one.
Result<GuestStatus> status_of(const Manager &manager, const std::optional<GuestRecord> &record) {
  if (!record) return GuestStatus{};
  auto profile = profile_of(manager, *record);
  if (!profile) return profile.error();
  return hypervisor::guest_status(guest_of(manager, *profile, *record), kAnswer);
}

Result<void> detach_one(const Manager &manager, const InstanceRecord &record, const DiskRecord &disk) {
  const LogicalId id = logical_id(record, disk);
  auto status = device::query(live_context(manager), id);
  if (!status) return status.error().is(sys::kNotFound) ? Result<void>() : status.error();
  const auto &holders = status->attachment.holders;
  const bool ours = std::find(holders.begin(), holders.end(), disk_holder(record)) != holders.end();
  if (status->state == device::Status::State::detached || (!ours && !holders.empty())) return {};
  for (int attempt = 1;; ++attempt) {
    auto gone = device::detach(live_context(manager), id, disk_holder(record), false, true);
    if (gone || !gone.error().is(device::kDeviceBusy) || attempt == kDetachTries) return gone;
    std::this_thread::sleep_for(kDetachPause);
  }
}

/// No guest is there any more: disks, the note of it, the operation and the claim.
Result<void> clear(const Manager &manager, Work &work, bool wanted_up) {
  for (auto disk = work.record.disks.rbegin(); disk != work.record.disks.rend(); ++disk) {
    if (auto gone = detach_one(manager, work.record, *disk); !gone) return gone;
  }
  if (auto gone = drop_guest(manager.settings, work.record.uuid); !gone) return gone;
  if (work.record.claim && work.record.claim->node == manager.settings.node) work.record.claim.reset();
  work.record.wanted_up = wanted_up;
  return end_operation(manager, work);
}

/// Processes of a start whose process id nobody wrote down.
Result<void> end_unnoted(const Manager &manager, const std::string &uuid) {
  auto directory = sys::open_directory(guest_directory(manager.settings, uuid));
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<void>() : directory.error();
  auto processes = sys::guarded_processes(directory->get(), hypervisor::kGuardFile);
  if (!processes) return processes.error();
  for (const auto &process : *processes) {
    if (auto gone = manager.runner.stop(process, std::chrono::seconds(10)); !gone) return gone;
  }
  return {};
}

Result<void> destroy(const Manager &manager, const std::optional<GuestRecord> &record,
                     const std::string &uuid) {
  if (record) {
    auto profile = profile_of(manager, *record);
    if (!profile) return profile.error();
    auto gone = hypervisor::destroy_guest(guest_of(manager, *profile, *record));
    if (!gone) return gone;
  }
  return end_unnoted(manager, uuid);
}

/// Attached already for us (activate-disks), or given as it should be.
Result<void> give_disk(const Manager &manager, const Profile &profile, const InstanceRecord &record,
                       const DiskRecord &disk, std::vector<LogicalId> &lent) {
  device::AttachSpec spec{logical_id(record, disk), disk_holder(record), disk.mode == DiskMode::ro,
                          disk.driver_options};
  spec.locked = true;
  auto status = device::query(live_context(manager), spec.id);
  if (!status) return status.error();
  if (profile.commands.opens_files && status->state == device::Status::State::detached) {
    const device::RenderSpec render{spec.id, profile.dialect, hypervisor::guest_vdev(profile, disk.vdev),
                                    spec.read_only, disk.driver_options};
    auto own = device::render(live_context(manager), render);
    if (!own && !own.error().is(device::kDialect)) return own.error();
    spec.lend = own.ok();
  }
  auto attached = device::attach(live_context(manager), spec);
  if (!attached) return attached.error();
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
    auto file = sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs),
                                      sys::Access::read);
    if (!file) return file.error();
    auto info = sys::file_info(file->get());
    if (!info) return info.error();
    bool read_only = false;
    for (const auto &disk : record.disks)
      read_only |= logical_id(record, disk).path == id.path && disk.mode == DiskMode::ro;
    // A reader of QEMU's shares writing with nobody, as our mode for readers does.
    auto held = sys::process_locks_image(
        process.pid, info->id, read_only ? sys::ImageLockMode::stable : sys::ImageLockMode::exclusive);
    if (!held) return held.error();
    if (!*held) return Error(sys::kInUse, cat(id.path, ": ", profile.name, " has opened it without a lock"));
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
    auto given = give_disk(manager, starting.profile, starting.work.record, disk, starting.lent);
    if (!given) return given;
  }
  auto config = render_for(manager, starting.profile, starting.work.record);
  if (!config) return config.error();
  const std::string path = guest_directory(manager.settings, starting.guest.uuid);
  auto directory = sys::open_directory(path);
  if (!directory) return directory.error();
  if (auto put = sys::replace_file_at(directory->get(), hypervisor::kConfigFile, *config); !put) return put;
  auto guard = sys::make_guard(directory->get(), hypervisor::kGuardFile);
  if (!guard) return guard.error();
  auto guest = guest_of(manager, starting.profile, starting.guest);
  auto started = hypervisor::start_guest(guest, *config, paused, guard->get());
  starting.guest.process = guest.process;
  if (!started) return started;
  auto locked = check_locks(manager, starting.profile, guest.process, starting.work.record, starting.lent);
  if (!locked) return locked;
  starting.guest.up = true;
  return write_guest(manager.settings, starting.guest);
}

Result<void> check_here(const Manager &manager, const InstanceRecord &record) {
  if (record.node != manager.settings.node) {
    return Error(
        kOtherNode,
        cat("instance ", record.name, ": its node is ", record.node, ", this is ", manager.settings.node),
        cat("run the same command on ", record.node));
  }
  if (!record.claim || record.claim->node == manager.settings.node) return {};
  return Error(
      kClaimed,
      cat("instance ", record.name, ": claimed by ", text::printable(record.claim->holder), " on node ",
          text::printable(record.claim->node), " since ", text::printable(record.claim->time)),
      cat("stop it on ", text::printable(record.claim->node)));
}

Result<void> start_here(const Manager &manager, const Profile &profile, Work &work, bool paused) {
  const bool wanted = work.record.wanted_up;
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  Starting starting{
      manager,
      profile,
      work,
      {work.record.uuid, work.record.name, manager.settings.hypervisor, sys::now_rfc3339(), false, {}},
      {}};
  work.record.claim = ClaimRecord{manager.settings.node, *boot, disk_holder(work.record), sys::now_rfc3339()};
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
  const bool waits = status.state == GuestStatus::State::paused || status.state == GuestStatus::State::error;
  if (!waits || spec.paused) return Plan{};
  auto profile = profile_of(manager, record);
  if (!profile) return profile.error();
  if (dry_run) return Plan{cat("let ", spec.name, " go on")};
  auto told = hypervisor::tell_guest(guest_of(manager, *profile, record), profile->commands.resume);
  if (!told) return told.error();
  return Plan{cat("let ", spec.name, " go on")};
}

Result<GuestStatus> look(const Manager &manager, const InstanceRecord &record,
                         std::optional<GuestRecord> &guest) {
  auto read = read_guest(manager.settings, record.uuid);
  if (!read) return read.error();
  guest = *read;
  return status_of(manager, guest);
}

bool is_up(const GuestStatus &status) {
  return status.there() && status.state != GuestStatus::State::stopped;
}

Result<Plan> do_start(const Manager &manager, const StartSpec &spec, bool dry_run) {
  std::optional<GuestRecord> guest;
  auto entry = Catalog(manager.settings).find(spec.name);
  if (!entry) return entry.error();
  if (auto workable = check_workable(*entry); !workable) return workable.error();
  if (auto here = check_here(manager, entry->record); !here) return here.error();
  if (!entry->record.operation) {
    auto before = look(manager, entry->record, guest);
    if (!before) return before.error();
    if (is_up(*before)) return go_on(manager, *guest, *before, spec, dry_run);
  }
  auto profile = hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs);
  if (!profile) return profile.error();
  if (auto present = hypervisor::check_present(*profile); !present) return present.error();
  if (dry_run) {
    auto settled = find_settled(manager, spec.name, true);
    return settled ? Result<Plan>(start_plan(settled->record, *profile)) : settled.error();
  }
  auto work = open_work(manager, spec.name);
  if (!work) return work.error();
  if (auto here = check_here(manager, work->record); !here) return here.error();
  auto status = look(manager, work->record, guest);
  if (!status) return status.error();
  if (is_up(*status)) {
    return Error(kRunning, cat("instance ", spec.name, ": somebody else has started it meanwhile"));
  }
  if (guest) {
    auto gone = destroy(manager, guest, work->record.uuid);
    if (gone) gone = clear(manager, *work, work->record.wanted_up);
    if (!gone) return gone.error();
  }
  const Plan plan = start_plan(work->record, *profile);
  auto done = start_here(manager, *profile, *work, spec.paused);
  if (!done) return done.error();
  return plan;
}

Error still_running(const StopSpec &spec, const std::string &why) {
  return Error(kStillRunning, cat("instance ", spec.name, ": ", why),
               cat("'vbd instance stop --force ", spec.name, "' ends it as if its power failed"));
}

/// Orderly within the time-out, then, when wanted, by force.
Result<void> bring_down(const Manager &manager, const GuestRecord &guest, const GuestStatus &status,
                        const StopSpec &spec) {
  auto profile = profile_of(manager, guest);
  if (!profile) return profile.error();
  const auto handle = guest_of(manager, *profile, guest);
  const bool waits = status.state == GuestStatus::State::paused || status.state == GuestStatus::State::error;
  if (spec.timeout.count() > 0 && status.state != GuestStatus::State::stopped) {
    if (waits && !spec.force) return still_running(spec, cat("it can't shut down: ", status.reason));
    bool down = false;
    if (!waits) {
      if (auto asked = hypervisor::ask_stop(handle); !asked) return asked;
      auto waited = hypervisor::wait_down(handle, spec.timeout);
      if (!waited) return waited.error();
      down = *waited;
    }
    if (!down && !spec.force) {
      return still_running(spec, cat("it has not shut down within ", spec.timeout.count(), " s"));
    }
  }
  return destroy(manager, guest, guest.uuid);
}

Result<Plan> do_stop(const Manager &manager, const StopSpec &spec, bool dry_run) {
  std::optional<GuestRecord> guest;
  if (dry_run) {
    auto entry = find_settled(manager, spec.name, true);
    if (!entry) return entry.error();
    auto status = look(manager, entry->record, guest);
    if (!status) return status.error();
    return status->there() ? Plan{cat("stop ", spec.name)} : Plan{};
  }
  auto work = open_work(manager, spec.name);
  if (!work) return work.error();
  if (auto here = check_here(manager, work->record); !here) return here.error();
  auto status = look(manager, work->record, guest);
  if (!status) return status.error();
  const bool wanted = spec.remember ? false : work->record.wanted_up;
  if (!guest && !work->record.wanted_up) return Plan{};
  auto done = begin_operation(manager, *work, OperationRecord{"stop", sys::now_rfc3339(), {}, false, {}});
  if (!done) return done.error();
  if (guest && status->there()) {
    if (done = bring_down(manager, *guest, *status, spec); !done) {
      auto ended = end_operation(manager, *work);
      if (!ended) log::error(ended.error().message());
      return done.error();
    }
  }
  if (done = clear(manager, *work, wanted); !done) return done.error();
  return Plan{cat("stop ", spec.name)};
}

}  // namespace

Result<void> settle_live(const Manager &manager, Work &work) {
  std::optional<GuestRecord> guest;
  auto status = look(manager, work.record, guest);
  if (!status) return status.error();
  const bool stopping = work.record.operation->verb == "stop";
  if (guest && guest->up && is_up(*status)) {
    work.record.wanted_up = true;
    return end_operation(manager, work);
  }
  if (auto gone = destroy(manager, guest, work.record.uuid); !gone) return gone;
  return clear(manager, work, !stopping && work.record.wanted_up);
}

Result<Plan> start(const Manager &manager, const StartSpec &spec, bool dry_run) {
  auto done = do_start(manager, spec, dry_run);
  if (!dry_run) log::audit(cat("instance start ", spec.name), done ? "done" : done.error().message());
  return done;
}

Result<Plan> stop(const Manager &manager, const StopSpec &spec, bool dry_run) {
  auto done = do_stop(manager, spec, dry_run);
  if (!dry_run) log::audit(cat("instance stop ", spec.name), done ? "done" : done.error().message());
  return done;
}

Result<Plan> reboot(const Manager &manager, const StopSpec &spec, bool dry_run) {
  auto entry = find_settled(manager, spec.name, dry_run);
  if (!entry) return entry.error();
  std::optional<GuestRecord> guest;
  auto status = look(manager, entry->record, guest);
  if (!status) return status.error();
  if (!is_up(*status))
    return Error(kNotRunning, cat("instance ", spec.name, ": it does not run"), "start it");
  auto profile = profile_of(manager, *guest);
  if (!profile) return profile.error();
  const Plan plan{cat("reboot ", spec.name)};
  if (dry_run) return plan;
  const auto &commands = spec.force ? profile->commands.reset : profile->commands.reboot;
  auto told = hypervisor::tell_guest(guest_of(manager, *profile, *guest), commands);
  if (!told) return told.error();
  if (*told) return plan;
  StopSpec down = spec;
  down.remember = false;
  if (spec.force) down.timeout = std::chrono::seconds(0);
  if (auto stopped = stop(manager, down, false); !stopped) return stopped.error();
  if (auto started = start(manager, {spec.name, false}, false); !started) return started.error();
  return plan;
}

Result<void> check_down(const Manager &manager, const InstanceRecord &record) {
  std::optional<GuestRecord> guest;
  auto status = look(manager, record, guest);
  if (!status) return status.error();
  if (!guest) return {};
  return Error(kRunning,
               cat("instance ", record.name,
                   status->there() ? ": it runs" : ": it ran, and its end is not cleared up"),
               cat("vbd instance stop ", record.name));
}

Result<void> check_can_start(const Manager &manager) {
  auto profile = hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs);
  if (!profile) return profile.error();
  return hypervisor::check_present(*profile);
}

}  // namespace vbd::instance
