// SPDX-License-Identifier: MIT
#include "manager/instance/settle.hpp"

#include <array>
#include <string_view>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "manager/instance/grow.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/modify.hpp"
#include "manager/instance/os_scripts.hpp"
#include "manager/instance/reinstall.hpp"
#include "manager/instance/rename.hpp"
#include "manager/instance/witness.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// How an interrupted operation is finished or undone. The directory is locked, the record read under that
/// lock, the names lock held.
struct Settler {
  std::string_view verb;
  Result<void> (*finish)(const Manager &manager, Work &work, bool assume_unused);
};

constexpr std::array kSettlers{
    Settler{"start", [](const Manager &manager, Work &work, bool) { return settle_live(manager, work); }},
    Settler{"stop", [](const Manager &manager, Work &work, bool) { return settle_live(manager, work); }},
    Settler{"add", [](const Manager &manager, Work &work,
                      bool) { return undo_add(manager, work.site, work.record, NamesLock::held); }},
    Settler{"remove",
            [](const Manager &manager, Work &work, bool assume_unused) {
              return finish_remove(manager, work.site, work.record, assume_unused, NamesLock::held);
            }},
    Settler{"modify", settle_modify},
    Settler{"grow-disk", [](const Manager &manager, Work &work, bool) { return settle_grow(manager, work); }},
    Settler{"reinstall",
            [](const Manager &manager, Work &work, bool) { return settle_reinstall(manager, work); }},
    Settler{"export", [](const Manager &manager, Work &work, bool) { return settle_export(manager, work); }},
    Settler{"rename", [](const Manager &manager, Work &work, bool) { return settle_rename(manager, work); }},
};

Result<void> finish(const Manager &manager, Work &work, bool assume_unused) {
  for (const Settler &settler : kSettlers) {
    if (settler.verb == work.record.operation->verb) return settler.finish(manager, work, assume_unused);
  }
  return Error(kInterrupted,
               cat("instance ", work.record.name, ": an interrupted ",
                   text::printable(work.record.operation->verb), ", which this vbd doesn't know"));
}

}  // namespace

Result<bool> settle(const Manager &manager, const std::string &name, const std::string &path,
                    bool assume_unused) {
  const Catalog catalog(manager.settings);
  auto directory = sys::open_dir_below(path, sys::resolve_allowed(manager.settings.allowed_dirs));
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<bool>(false) : directory.error();
  auto unlocked = catalog.read_record(directory->get(), path);
  if (!unlocked) return unlocked.error().is(sys::kNotFound) ? Result<bool>(false) : unlocked.error();
  const bool settled_here = unlocked->name == name && unlocked->directory == path;
  if (!unlocked->operation || (!settled_here && !is_being_renamed(*unlocked, name, path))) return false;

  auto site = open_site(manager.settings, path, std::chrono::milliseconds(0));
  if (!site) return site.error().at(cat(unlocked->operation->verb, " of ", name, " is still running"));
  VBD_TRY_ASSIGN(auto record, read_again(manager, *site, *unlocked));
  if (!record.operation) return false;
  Work work{std::move(*site), std::move(record)};
  const std::string verb = work.record.operation->verb;
  auto done = finish(manager, work, assume_unused);
  log::audit(cat("instance ", name, ": settle an interrupted ", verb, " in ", path),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return true;
}

bool is_lost(const Error &error) {
  return error.is(kInstanceNotFound) || error.is(kUnreachable);
}

Result<void> check_workable(const Entry &entry) {
  switch (entry.state) {
    case State::foreign:
      return Error(kForeign, cat("instance ", entry.record.name, ": foreign: ", entry.reason),
                   "'vbd cluster verify' shows where its files are");
    case State::unreachable:
      return Error(kUnreachable, cat("instance ", entry.record.name, ": ", entry.reason));
    default:
      break;
  }
  if (entry.unreadable) return Error(kUnreachable, cat("instance ", entry.record.name, ": ", entry.reason));
  return {};
}

Result<void> check_unleased(const Manager &manager, const InstanceRecord &record) {
  return device::check_lease(record.lease, manager.settings, cat("instance ", record.name), record.name);
}

Result<InstanceRecord> read_again(const Manager &manager, const Site &site, const InstanceRecord &before) {
  auto record = Catalog(manager.settings).read_record(site.directory.get(), site.path);
  if (!record) return record.error();
  if (record->uuid != before.uuid || record->directory != before.directory) {
    return Error(kChanged, cat(site.path, ": another instance came into being there meanwhile"), "try again");
  }
  VBD_TRY(device::check_operation(*record, manager.settings, site.path));
  return record;
}

void wait_for_rest(const config::Settings &settings, const std::string &path) {
  (void)open_site(settings, path, kWorkPatience);
}

Result<Entry> find_settled(const Manager &manager, const std::string &name, bool dry_run) {
  const Catalog catalog(manager.settings);
  auto entry = catalog.find(name);
  if (!entry) return entry;
  VBD_TRY(check_workable(*entry));
  if (!entry->record.operation) return entry;
  if (dry_run)
    return Error(kInterrupted, cat("instance ", name, ": ", entry->reason), "run it without --dry-run");
  wait_for_rest(manager.settings, entry->record.directory);
  {
    VBD_TRY_ASSIGN(const auto names, catalog.lock_names());
    VBD_TRY(settle(manager, name, entry->record.directory, false));
  }
  entry = catalog.find(name);  // an interrupted add is gone now, a renamed one has another name
  if (!entry) return entry;
  VBD_TRY(check_workable(*entry));
  if (entry->record.operation)
    return Error(kInterrupted, cat("instance ", name, ": ", entry->reason), "try again");
  return entry;
}

Result<Work> open_work(const Manager &manager, const std::string &name) {
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, name, false));
  VBD_TRY_ASSIGN(auto site, open_site(manager.settings, entry.record.directory, kWorkPatience));
  VBD_TRY_ASSIGN(auto record, read_again(manager, site, entry.record));
  if (record.operation) {
    return Error(kInterrupted, cat("instance ", name, ": ", record.operation->verb, " was interrupted"),
                 "try again");
  }
  // Of one that was killed after its last word here.
  if (auto gone = drop_witness(manager.settings, record.uuid); !gone) log::info(gone.error().message());
  return Work{std::move(site), std::move(record)};
}

Result<void> begin_operation(const Manager &manager, Work &work, OperationRecord operation) {
  work.record.operation = std::move(operation);
  return Catalog(manager.settings).write_record(work.site.directory.get(), work.record);
}

Result<void> end_operation(const Manager &manager, Work &work) {
  work.record.operation.reset();
  return Catalog(manager.settings).write_record(work.site.directory.get(), work.record);
}

}  // namespace vbd::instance
