// SPDX-License-Identifier: MIT
// modify: disks added, removed, made read-only. Two steps with one write between them: new files are made
// (undone by a failure or the next verb), the record gets its new list of disks, and then the files of
// removed disks go (finished by the next verb).
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/add_plan.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/grow.hpp"
#include "manager/instance/modify.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/sizes.hpp"
#include "manager/instance/space.hpp"
#include "manager/instance/witness.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr const char *kPhase = "phase", *kMaking = "making", *kDeleting = "deleting";
constexpr std::size_t kMostChanges = 48;  // what an operation's details hold

struct Change {
  InstanceRecord after;
  std::vector<PlannedDisk> added;
  std::vector<DiskRecord> removed;
  Plan lines;
};

std::string filetype_key(const std::string &file) {
  return cat("filetype.", file);
}

/// The first sdX that neither a disk nor a file has, whatever its partition number.
Result<std::string> free_name(const InstanceRecord &record, const Change &change, int directory) {
  auto files = sys::list_dir(directory);
  if (!files) return files.error().at(record.directory);
  std::vector<bool> used(kMaxDisks);
  const auto note = [&](const std::string &name) {
    if (const auto disk = parse_disk_name(name)) used[disk->index] = true;
  };
  for (const auto &name : *files) note(name);
  for (const auto *disks : {&record.disks, &change.after.disks}) {
    for (const auto &disk : *disks) {
      note(disk.file);
      note(disk.vdev);
    }
  }
  const auto free = std::find(used.begin(), used.end(), false);
  if (free == used.end())
    return Error(kGrammar, cat("instance ", record.name, ": no name of a disk is free"));
  return disk_name(static_cast<std::size_t>(free - used.begin()));
}

/// An image that lies right, under a name that no disk has, is adopted where it is.
std::string adopted_name(const InstanceRecord &record, const DiskSpec &disk) {
  if (!disk.adopt || sys::dir_name(*disk.adopt) != record.directory) return {};
  const std::string name = sys::base_name(*disk.adopt);
  const auto parsed = parse_disk_name(name);
  if (!parsed || parsed->partition) return {};
  const bool taken = std::any_of(record.disks.begin(), record.disks.end(), [&](const DiskRecord &other) {
    return other.file == name || other.vdev == name;
  });
  return taken ? std::string() : name;
}

Result<void> plan_add_disk(const Manager &manager, const InstanceRecord &record, int directory,
                           const DiskChange &wanted, Change &change) {
  auto &disks = change.after.disks;
  const std::size_t at = wanted.index.value_or(disks.size());
  if (at > disks.size()) {
    return Error(kNoDisk, cat("--disk ", at, ":add: there are ", disks.size(), " disks"),
                 cat("the next one is ", disks.size()));
  }
  AddSpec spec;
  spec.name = record.name;
  if (!record.disks.empty()) {
    spec.driver = record.disks.front().driver.str();
    spec.filetype = record.disks.front().filetype.str();
  }
  std::string name = adopted_name(record, wanted.disk);
  if (name.empty()) {
    auto free = free_name(record, change, directory);
    if (!free) return free.error();
    name = *std::move(free);
  }
  VBD_TRY_ASSIGN(auto planned, plan_one_disk(manager, spec, wanted.disk, record.directory, name));
  for (const auto &other : change.added) {
    if (planned.adopt && other.adopt && other.adopt->source == planned.adopt->source)
      return Error(kGrammar, cat(other.adopt->source, " is adopted twice"));
  }
  const std::string what = cat(record.directory, "/", name, " (", planned.record.driver.str(), ", ",
                               planned.record.filetype.str(), ", ", format_size(planned.record.size), ")");
  const bool elsewhere = planned.adopt && !planned.adopt->in_place;
  const std::string from =
      elsewhere ? cat(planned.adopt->source, " (a clone where the filesystem can, else moved) as ") : "";
  change.lines.push_back(cat(planned.adopt ? "adopt " : "create ", from, what));
  if (planned.adopt && !vetting_line(manager).empty()) change.lines.push_back(vetting_line(manager));
  disks.insert(disks.begin() + static_cast<std::ptrdiff_t>(at), planned.record);
  change.added.push_back(std::move(planned));
  return {};
}

Result<std::size_t> present_index(const DiskChange &wanted, const Change &change) {
  const auto &disks = change.after.disks;
  if (disks.empty()) return Error(kNoDisk, cat("instance ", change.after.name, ": has no disk"));
  const std::size_t index = wanted.index.value_or(disks.size() - 1);
  if (index < disks.size()) return index;
  return Error(kNoDisk, cat("instance ", change.after.name, ": no disk ", index),
               cat("there are disks 0 to ", disks.size() - 1));
}

/// The catalog's number follows the image, whatever became of that.
Result<void> plan_size(const Manager &manager, Change &change, DiskRecord &disk) {
  const LogicalId id = logical_id(change.after, disk);
  VBD_TRY_ASSIGN(auto size, real_size(manager, id));
  VBD_TRY(image::check_image_size(size, text::printable(id.path)));
  if (size == disk.size) return {};
  change.lines.push_back(cat("take ", id.path, " as it is: ", size, " bytes, and no longer ", disk.size));
  disk.size = size;
  return {};
}

Result<void> plan_other(const Manager &manager, const DiskChange &wanted, Change &change) {
  VBD_TRY_ASSIGN(auto index, present_index(wanted, change));
  auto &disks = change.after.disks;
  DiskRecord &disk = disks[index];
  const std::string path = logical_id(change.after, disk).path;
  const bool fresh = std::any_of(change.added.begin(), change.added.end(),
                                 [&](const PlannedDisk &added) { return added.record.file == disk.file; });
  if (wanted.what == DiskChange::What::size && !fresh) return plan_size(manager, change, disk);
  if (wanted.what == DiskChange::What::mode) {
    // Not yet made: nothing to look at.
    VBD_TRY(fresh ? Result<std::uint64_t>(disk.size) : whole_size(manager, change.after, disk));
    disk.mode = *wanted.disk.mode == "ro" ? DiskMode::ro : DiskMode::rw;
    change.lines.push_back(cat("make ", path, *wanted.disk.mode == "ro" ? " read-only" : " writable"));
    return {};
  }
  if (fresh) return Error(kGrammar, cat("--disk remove: ", disk.file, " is added by the same command"));
  change.lines.push_back(cat("delete ", path));
  change.removed.push_back(disk);
  disks.erase(disks.begin() + static_cast<std::ptrdiff_t>(index));
  return {};
}

/// Nobody may have what is deleted or gets another mode; another node's lease counts for all.
Result<void> check_quiet(const Manager &manager, const InstanceRecord &record, const Change &change,
                         bool assume_unused) {
  VBD_TRY(check_unleased(manager, record));
  for (const auto &disk : record.disks) {
    const auto same = std::find_if(change.after.disks.begin(), change.after.disks.end(),
                                   [&](const DiskRecord &other) { return other.file == disk.file; });
    if (same != change.after.disks.end() && same->mode == disk.mode && same->size == disk.size) continue;
    if (auto unused = check_disk_unused(manager, record, disk, assume_unused); !unused) return unused;
  }
  return {};
}

Result<Change> plan_change(const Manager &manager, const ModifySpec &spec, const InstanceRecord &record,
                           int directory) {
  if (spec.changes.empty())
    return Error(kGrammar, "nothing to change", "give --disk add:size=4G, for example");
  if (spec.changes.size() > kMostChanges)
    return Error(kGrammar, cat(spec.changes.size(), " changes: at most ", kMostChanges, " at a time"));
  Change change{record, {}, {}, {}};
  for (const auto &wanted : spec.changes) {
    VBD_TRY(wanted.what == DiskChange::What::add ? plan_add_disk(manager, record, directory, wanted, change)
                                                 : plan_other(manager, wanted, change));
  }
  if (change.after.disks.size() > kMaxDisks)
    return Error(kGrammar, cat(change.after.disks.size(), " disks: at most ", kMaxDisks));
  VBD_TRY(check_quiet(manager, record, change, spec.assume_unused));
  // What can't be read back must not be written.
  auto read =
      config::parse_instance(config::write_instance(change.after), cat(record.directory, "/", kInstanceFile));
  if (!read) return read.error();
  return change;
}

OperationRecord making(const Change &change) {
  OperationRecord operation{"modify", sys::now_rfc3339(), {}, false, {{kPhase, kMaking}}};
  for (const auto &disk : change.added) {
    if (disk.create) operation.files.push_back(disk.record.file);
    if (disk.adopt) note_adoption(operation, disk.record.file, *disk.adopt);
  }
  return operation;
}

OperationRecord deleting(const Change &change) {
  OperationRecord operation{"modify", sys::now_rfc3339(), {}, false, {{kPhase, kDeleting}}};
  for (const auto &disk : change.removed) {
    operation.files.push_back(disk.file);
    operation.details[filetype_key(disk.file)] = disk.filetype.str();
  }
  return operation;
}

Result<void> delete_files(const Manager &manager, Work &work, bool assume_unused) {
  auto &operation = *work.record.operation;
  for (const auto &file : operation.files) {
    VBD_TRY_ASSIGN(auto filetype,
                   Constant::parse(operation.details[filetype_key(file)], PluginKind::filetype));
    auto there = sys::file_info_at(work.site.directory.get(), file);
    if (!there && there.error().is(sys::kNotFound)) continue;
    VBD_TRY(image::remove(manager.registry, filetype, work.site.directory.get(), file,
                          cat(work.site.path, "/", file), assume_unused));
  }
  return end_operation(manager, work);
}

Result<void> undo_making(const Manager &manager, Work &work) {
  for (const auto &file : work.record.operation->files) {
    if (auto gone = remove_created(manager.settings, work.site, file); !gone) return gone;
  }
  VBD_TRY(undo_adoptions(manager, work.site, work.record));
  VBD_TRY(end_operation(manager, work));
  return drop_witness(manager.settings, work.record.uuid);
}

/// After a failure: which of the two steps the record on the disk is in decides.
void undo_or_leave(const Manager &manager, Work &work) {
  auto there = Catalog(manager.settings).read_record(work.site.directory.get(), work.site.path);
  if (there && there->operation && there->operation->details[kPhase] == kDeleting) {
    return log::error(cat("instance ", work.record.name, ": left interrupted; the next command finishes it"));
  }
  if (there && !there->operation) return;  // not begun, or complete
  auto undone = undo_making(manager, work);
  if (!undone)
    log::error(cat("instance ", work.record.name, ": left interrupted: ", undone.error().message()));
}

Result<void> make_disks(const Manager &manager, Work &work, const Change &change) {
  for (std::size_t i = 0; i < change.added.size(); ++i) {
    auto made = make_disk(manager, work.site, change.added[i]);
    if (made && !change.added[i].made())
      made = vet_image(manager, logical_id(change.after, change.added[i].record));
    if (made) continue;
    // What this run has not come to, or found there, is not its to delete.
    for (std::size_t k = i; k < change.added.size(); ++k) {
      if (k == i && !made.error().is(sys::kExists)) continue;
      std::erase(work.record.operation->files, change.added[k].record.file);
      work.record.operation->details.erase(cat("adopt.", change.added[k].record.file));
    }
    return made;
  }
  return {};
}

Result<void> do_modify(const Manager &manager, Work &work, const Change &change, bool assume_unused) {
  Result<void> done;
  if (!change.added.empty()) {
    done = begin_operation(manager, work, making(change));
    if (done) done = witness_adoptions(manager, work.record, change.added);
    if (done) done = make_disks(manager, work, change);
  }
  if (done) {
    InstanceRecord after = change.after;
    if (!change.removed.empty()) after.operation = deleting(change);
    done = Catalog(manager.settings).write_record(work.site.directory.get(), after);
    if (done) {
      work.record = std::move(after);
      if (auto gone = drop_witness(manager.settings, work.record.uuid); !gone)
        log::warn(gone.error().message());
      if (change.removed.empty()) return done;
      auto deleted = delete_files(manager, work, assume_unused);
      if (deleted) return deleted;
      // Said again, the same number would remove another disk.
      return deleted.error().with_hint(cat(
          "the disks are out of the list already, and those behind them have other numbers now: don't say "
          "this again; the next verb on ",
          work.record.name, " finishes what is left"));
    }
  }
  undo_or_leave(manager, work);
  return done;
}

/// A guest that runs keeps the disks that it was started with.
void say_when(const Manager &manager, const InstanceRecord &record) {
  auto guest = running_guest(manager, record);
  if (guest && *guest)
    log::warn(cat("instance ", record.name, ": it runs, and gets a new disk at its next start"));
}

}  // namespace

Result<void> settle_modify(const Manager &manager, Work &work, bool assume_unused) {
  VBD_TRY(remove_stale_files(work.site.directory.get()));
  const bool made = work.record.operation->details[kPhase] == kDeleting;
  return made ? delete_files(manager, work, assume_unused) : undo_making(manager, work);
}

Result<Plan> modify(const Manager &manager, const ModifySpec &spec, bool dry_run) {
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, spec.name, dry_run));
  const std::string &path = entry.record.directory;
  VBD_TRY_ASSIGN(auto directory,
                 sys::open_dir_below(path, sys::resolve_allowed(manager.settings.allowed_dirs)));
  auto change = plan_change(manager, spec, entry.record, directory.get());
  if (!change) return change.error();
  if (!change->added.empty()) {
    const auto warning = space_warning(manager.settings, directory.get(), path);
    if (!warning.empty()) log::warn(warning);
  }
  if (dry_run) return change->lines;
  VBD_TRY_ASSIGN(auto work, open_work(manager, spec.name));
  change = plan_change(manager, spec, work.record, work.site.directory.get());  // as it is under the lock
  if (!change) return change.error();
  auto done = do_modify(manager, work, *change, spec.assume_unused);
  if (done && !change->added.empty()) say_when(manager, work.record);
  log::audit(cat("instance modify ", spec.name, ": ", text::join(change->lines, ", ")),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return change->lines;
}

}  // namespace vbd::instance
