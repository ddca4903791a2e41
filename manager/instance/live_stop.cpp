// SPDX-License-Identifier: MIT
// stop and reboot.
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"
#include "core/sys/interrupt.hpp"
#include "manager/instance/live_parts.hpp"
#include "manager/instance/world.hpp"

namespace vbd::instance {
namespace {

using hypervisor::GuestStatus;
using text::cat;

Error still_running(const StopSpec &spec, const std::string &why) {
  return Error(kStillRunning, cat("instance ", spec.name, ": ", why),
               cat("'vbd instance stop --force ", spec.name, "' ends it as if its power failed"));
}

/// Found again by its process, but the socket by which it can be asked to shut down went with RUN_DIR.
bool is_out_of_reach(const hypervisor::Profile &profile, const hypervisor::Guest &handle,
                     const GuestRecord &guest) {
  return profile.commands.qmp && !guest.directory.empty() &&
         !sys::path_exists(cat(handle.directory, "/", hypervisor::kControlSocket));
}

Error out_of_reach(const StopSpec &spec, const GuestRecord &guest) {
  return Error(kRunning,
               cat("instance ", spec.name, ": process ", guest.process.pid, " (", guest.command,
                   ") runs its guest, and can't be asked to shut down: ", guest.directory, "/",
                   hypervisor::kControlSocket, " is gone"),
               cat("shut the guest down from inside, or 'vbd instance stop --force ", spec.name,
                   "' ends it as if its power failed"));
}

/// Orderly within the time-out, then, when wanted, by force.
Result<void> bring_down(const Manager &manager, const GuestRecord &guest, const GuestStatus &status,
                        const StopSpec &spec) {
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, guest));
  const auto handle = guest_of(manager, profile, guest);
  if (is_out_of_reach(profile, handle, guest) && !spec.force) return out_of_reach(spec, guest);
  const bool waits = status.state == GuestStatus::State::paused || status.state == GuestStatus::State::error;
  if (spec.timeout.count() > 0 && status.state != GuestStatus::State::stopped) {
    if (waits && !spec.force) return still_running(spec, cat("it can't shut down: ", status.reason));
    bool down = false;
    if (!waits) {
      VBD_TRY_ASSIGN(auto waited, hypervisor::stop_orderly(handle, spec.timeout));
      down = waited;
    }
    if (!down && sys::Interrupts::came() != 0)
      return still_running(spec, "it was asked to shut down and has not yet, when vbd was told to end");
    if (!down && !spec.force) {
      return still_running(spec, cat("it has not shut down within ", spec.timeout.count(), " s"));
    }
  }
  return destroy(manager, guest, guest.uuid);
}

/// A guest must be ended also where instance.yaml can't be written: a full host is a reason to stop one. The
/// note of it under RUN_DIR is enough for the next stop to go on.
bool can_do_without(const Error &error) {
  return error.is(sys::kNoSpace) || error.is(sys::kReadOnly) || error.is(sys::kIo);
}

/// Its instance can't be read any more, for its storage or its name is gone, but the guest is noted here:
/// that can be ended all the same. `why` is the answer when there is none.
Result<Plan> stop_lost(const Manager &manager, const StopSpec &spec, const Error &why, bool dry_run) {
  auto guests = noted_guests(manager.settings);
  if (!guests) return why;
  const auto guest = std::find_if(guests->begin(), guests->end(),
                                  [&](const GuestRecord &noted) { return noted.name == spec.name; });
  if (guest == guests->end()) return why;
  VBD_TRY_ASSIGN(auto status, status_of(manager, *guest));
  if (dry_run) return Plan{cat("stop the guest of ", spec.name, ", whose instance can't be read")};
  auto down =
      status.there() ? bring_down(manager, *guest, status, spec) : destroy(manager, *guest, guest->uuid);
  if (down) down = drop_guest(manager.settings, guest->uuid);
  if (!down) return down.error();
  return why.rephrase(
      cat("instance ", spec.name, ": its guest is ended, but ", why.message()),
      cat("'vbd instance stop ", spec.name,
          "' again when its storage is back; 'vbd cluster verify --repair' takes its disks back"));
}

Result<Plan> do_stop(const Manager &manager, const StopSpec &spec, bool dry_run) {
  std::optional<GuestRecord> guest;
  if (dry_run) {
    auto entry = find_settled(manager, spec.name, true);
    if (!entry && is_lost(entry.error())) return stop_lost(manager, spec, entry.error(), true);
    if (!entry) return entry.error();
    VBD_TRY_ASSIGN(auto status, look(manager, entry->record, guest));
    return status.there() ? Plan{cat("stop ", spec.name)} : Plan{};
  }
  auto work = open_work(manager, spec.name);
  if (!work && is_lost(work.error())) return stop_lost(manager, spec, work.error(), false);
  if (!work) return work.error();
  VBD_TRY(check_here(manager, work->record));
  VBD_TRY_ASSIGN(auto status, look(manager, work->record, guest));
  const bool wanted = spec.remember ? false : work->record.wanted_up;
  if (!guest) {
    VBD_TRY(refuse_unrecorded(manager, work->record));
    if (!work->record.wanted_up && !may_run_here(manager.settings, work->record)) return Plan{};
  }
  OperationRecord operation{"stop", sys::now_rfc3339(), {}, false, {}};
  if (wanted) operation.details[kRemembered] = "yes";
  const auto begun = begin_operation(manager, *work, std::move(operation));
  if (!begun && !can_do_without(begun.error())) return begun.error();
  if (!begun) {
    log::warn(begun.error().message());
    work->record.operation.reset();
  }
  if (guest && status.there()) {
    if (auto down = bring_down(manager, *guest, status, spec); !down) {
      const auto ended = begun ? end_operation(manager, *work) : Result<void>();
      if (!ended) log::error(ended.error().message());
      return down.error();
    }
  }
  if (auto cleared = clear(manager, *work, wanted); !cleared) {
    if (begun || cleared.error().is(device::kLostWrites)) return cleared.error();
    return cleared.error().rephrase(
        cat("instance ", spec.name, ": its guest is ended, but ", cleared.error().message()),
        cat("mend that, then run 'vbd instance stop ", spec.name, "' again"));
  }
  return Plan{cat("stop ", spec.name)};
}

}  // namespace

Result<Plan> stop(const Manager &manager, const StopSpec &spec, bool dry_run) {
  auto done = do_stop(manager, spec, dry_run);
  if (!dry_run) log::audit(cat("instance stop ", spec.name), done ? "done" : done.error().message());
  return done;
}

Result<Plan> reboot(const Manager &manager, const StopSpec &spec, bool dry_run) {
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, spec.name, dry_run));
  std::optional<GuestRecord> guest;
  VBD_TRY_ASSIGN(auto status, look(manager, entry.record, guest));
  if (!is_up(status)) return Error(kNotRunning, cat("instance ", spec.name, ": it does not run"), "start it");
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, *guest));
  const Plan plan{cat("reboot ", spec.name)};
  if (dry_run) return plan;
  const auto &commands = spec.force ? profile.commands.reset : profile.commands.reboot;
  VBD_TRY_ASSIGN(auto told, hypervisor::tell_guest(guest_of(manager, profile, *guest), commands));
  if (told) return plan;
  StopSpec down = spec;
  down.remember = false;
  if (spec.force) down.timeout = std::chrono::seconds(0);
  VBD_TRY(stop(manager, down, false));
  VBD_TRY(start(manager, {spec.name, false}, false));
  return plan;
}

}  // namespace vbd::instance
