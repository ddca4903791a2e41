// SPDX-License-Identifier: MIT
#include "manager/instance/hold.hpp"

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/host.hpp"
#include "core/sys/signals.hpp"
#include "manager/instance/live_parts.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// In OperationRecord::details: the guest is paused for as long as the operation is recorded.
constexpr const char *kHeldDetail = "held";
/// What a guest has written is on disk before it is paused.
constexpr std::chrono::milliseconds kFlush = std::chrono::minutes(1);

Result<void> let_go(const hypervisor::Guest &guest) {
  auto told = hypervisor::tell_guest(guest, guest.profile.commands.resume, {}, kFlush);
  if (told) return {};
  return told.error()
      .at(cat("instance ", guest.name, ": is held still"))
      .with_hint(cat("'vbd instance start ", guest.name, "' lets it go on"));
}

/// Noted under RUN_DIR as well: a note on the storage alone makes no guest go on.
Result<void> note_held(const Manager &manager, GuestRecord &noted, bool held) {
  noted.held = held;
  return write_guest(manager.settings, noted);
}

}  // namespace

Result<void> hold_guest(const Manager &manager, Work &work, const std::function<Result<void>()> &meanwhile) {
  std::optional<GuestRecord> noted;
  VBD_TRY_ASSIGN(auto status, look(manager, work.record, noted));
  if (!noted || status.state != hypervisor::GuestStatus::State::running) return meanwhile();
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, *noted));
  if (profile.commands.pause.empty() || profile.commands.resume.empty()) {
    log::info(cat("the hypervisor ", profile.name, " can't hold a guest still"));
    return meanwhile();
  }
  const sys::Signals signals;
  const hypervisor::Guest guest = guest_of(manager, profile, *noted);
  OperationRecord operation{"export", sys::now_rfc3339(), {}, false};
  operation.details[kHeldDetail] = "guest";
  VBD_TRY(begin_operation(manager, work, std::move(operation)));
  Result<void> done = note_held(manager, *noted, true);
  if (done) {
    auto paused = hypervisor::tell_guest(guest, profile.commands.pause, {}, kFlush);
    done = paused ? meanwhile() : paused.error();
  }
  if (auto gone_on = let_go(guest); !gone_on) return done ? gone_on : done;
  auto ended = note_held(manager, *noted, false);
  if (ended) ended = end_operation(manager, work);
  if (!done) return done;
  return ended ? signals.check() : ended;
}

Result<void> release_held(const Manager &manager, const InstanceRecord &record) {
  if (!record.operation || !record.operation->details.contains(kHeldDetail)) return {};
  std::optional<GuestRecord> noted;
  VBD_TRY_ASSIGN(auto status, look(manager, record, noted));
  if (!noted || !noted->held || status.state != hypervisor::GuestStatus::State::paused) return {};
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, *noted));
  log::warn(cat("instance ", record.name, ": its guest was held still by an export that was cut off"));
  VBD_TRY(let_go(guest_of(manager, profile, *noted)));
  return note_held(manager, *noted, false);
}

}  // namespace vbd::instance
