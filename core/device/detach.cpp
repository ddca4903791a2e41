// SPDX-License-Identifier: MIT
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/disk.hpp"

namespace vbd::device {
namespace {

Error not_held(const Disk &disk, const std::string &holder) {
  return Error(kHeldByOther,
               text::cat(disk.shown(), ": ", describe(*disk.record), ", not for ", text::printable(holder)),
               "only a holder can give it up");
}

Error other_driver(const Disk &disk) {
  return Error(kHeldByOther,
               text::cat(disk.shown(), ": ", describe(*disk.record), " through ", disk.record->driver,
                         ", not through ", disk.id.driver.str()),
               text::cat("detach [", disk.record->driver, ", ", disk.record->filetype, ", ...]"));
}

/// No record: what the driver finds by the image's identity is cleared; nothing found is fine.
Result<void> detach_unrecorded(Disk &disk, const Observed &observed, bool dry_run) {
  if (observed.state == Status::State::detached) {
    VBD_TRY_ASSIGN(auto users, unrecorded_users(disk));
    if (users.empty()) return {};
    return Error(kUnrecorded,
                 text::cat(disk.shown(), ": no record says that it is attached, but it is in use by ", users),
                 "stop that process or detach that device; nothing was changed");
  }
  if (dry_run) return {};
  disk.record = new_record(disk);
  disk.record->node = observed.facts.text("node");
  disk.record->read_only = observed.facts.flag("read_only");
  disk.record->leased = !disk.record->read_only;
  return finish_detach(disk);
}

/// It was whole once, and broke while it was in use: what it had not stored yet is gone with it.
void say_what_broke(const Disk &disk, const Observed &observed) {
  if (observed.state != Status::State::broken || disk.record->phase != Record::Phase::attached) return;
  log::warn(text::cat(disk.shown(), ": was broken when it was detached: ", observed.reason,
                      disk.record->read_only ? "" : "; what was written last may be missing in it"));
}

}  // namespace

Result<void> give_up(Disk &disk, const std::string &holder, bool dry_run) {
  if (disk.record && disk.record->driver != disk.id.driver.str()) return other_driver(disk);
  VBD_TRY_ASSIGN(auto observed, observe(disk));
  if (!disk.record) return detach_unrecorded(disk, observed, dry_run);

  const bool gone = observed.state == Status::State::detached;
  Record &record = *disk.record;
  if (!record.held_by(holder) && !record.holders.empty() && !gone) return not_held(disk, holder);
  if (dry_run) return {};
  if (gone) return finish_detach(disk);
  say_what_broke(disk, observed);
  if (record.holders.size() <= 1) {
    auto done = finish_detach(disk);
    // Nobody else had it while it was attached.
    if (done && observed.state == Status::State::attached && disk.image)
      image::keep_vetted(disk.context.settings, disk.image.get(), disk.place.path);
    return done;
  }
  record.drop_holder(holder);
  return disk.records.write(record);
}

Result<void> detach(const Context &context, const LogicalId &id, const std::string &holder, bool dry_run,
                    bool locked) {
  VBD_TRY_ASSIGN(auto disk, open_for_others(context, id, !dry_run && !locked));
  return give_up(disk, holder, dry_run);
}

}  // namespace vbd::device
