// SPDX-License-Identifier: MIT
// remove, and what add and verify need of it. The order: record what goes, the images, the pointer, then the
// directory by one rename; wherever a run is killed, the record or the directory's temporary name says how to
// go on.
#include <algorithm>
#include <set>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/usage.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/site.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::chrono::milliseconds kRemovePatience{10000};

std::string path_of(const InstanceRecord &record, const DiskRecord &disk) {
  return logical_id(record, disk).path;
}

bool is_there(const config::Settings &settings, const std::string &path) {
  auto directory = sys::open_dir_below(sys::dir_name(path), sys::resolve_allowed(settings.allowed_dirs));
  return directory.ok() && sys::file_info_at(directory->get(), sys::base_name(path)).ok();
}

Plan describe(const config::Settings &settings, const InstanceRecord &record, const RemoveSpec &spec) {
  Plan plan;
  for (const auto &disk : record.disks) {
    const std::string path = path_of(record, disk);
    if (!is_there(settings, path)) continue;
    plan.push_back(cat(spec.keep_files ? "keep " : "delete ", path));
  }
  plan.push_back(cat("forget ", record.name));
  plan.push_back(cat("delete ", record.directory, "/", kInstanceFile));
  if (!spec.keep_files)
    plan.push_back(cat("remove the directory ", record.directory, " when nothing else is in it"));
  return plan;
}

/// What the operation names, without the images.
void keep_images(InstanceRecord &record) {
  auto &files = record.operation->files;
  std::erase_if(files, [&](const std::string &name) { return !is_own_file(name); });
}

bool ends_in_removal(const std::string &verb) {
  return verb == "add" || verb == "remove";
}

Result<void> do_remove(const Manager &manager, const InstanceRecord &known, const RemoveSpec &spec) {
  VBD_TRY_ASSIGN(auto site, open_site(manager.settings, known.directory, kRemovePatience));
  VBD_TRY_ASSIGN(auto record, read_again(manager, site, known));
  if (record.operation && record.operation->verb == "add") {
    if (spec.keep_files) keep_images(record);
    return undo_add(manager, site, record, NamesLock::wanted);
  }
  if (record.operation && record.operation->verb != "remove") {
    return Error(kInterrupted, cat("instance ", spec.name, ": ", record.operation->verb, " was interrupted"),
                 "try again");
  }
  VBD_TRY(check_all_unused(manager, record, spec.assume_unused));
  record.operation = OperationRecord{"remove", sys::now_rfc3339(), {}, false};
  for (const auto &disk : record.disks) {
    if (!spec.keep_files) record.operation->files.push_back(disk.file);
  }
  VBD_TRY(Catalog(manager.settings).write_record(site.directory.get(), record));
  return finish_remove(manager, site, record, spec.assume_unused, NamesLock::wanted);
}

/// Calls `act` with every directory of `candidates` whose instance.yaml is of `name`.
template <class Act>
Result<void> for_name(const config::Settings &settings, const std::vector<std::string> &candidates,
                      const std::string &name, const Act &act) {
  const auto files = read_instance_files(settings, candidates);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!files[i] || !*files[i]) continue;
    auto record = config::parse_instance(**files[i], candidates[i]);
    if (!record || record->name != name) continue;
    if (Result<void> done = act(candidates[i], *record); !done) return done;
  }
  return {};
}

/// A name without a pointer: a removal that was killed after it was gone, or an add before it was there.
Result<Plan> remove_orphans(const Manager &manager, const RemoveSpec &spec, bool dry_run,
                            const Error &not_found) {
  Plan plan;
  const Walk walk = walk_storage(manager.settings);
  if (walk.instances.empty() && walk.leftovers.empty()) return not_found;
  std::optional<sys::OperationLock> lock;
  if (!dry_run) {
    VBD_TRY_ASSIGN(auto names, Catalog(manager.settings).lock_names());
    lock = std::move(names);
  }
  const auto finish = [&](const std::string &path, const InstanceRecord &record) -> Result<void> {
    if (record.directory != path) return {};  // a copy
    if (!record.operation) {
      return not_found.with_hint(
          cat("its directory is ", path, ": 'vbd cluster verify --rebuild' makes it known again"));
    }
    plan.push_back(cat("finish what a killed ", record.operation->verb, " left in ", path));
    if (dry_run) return {};
    auto settled = settle(manager, spec.name, path, spec.assume_unused);
    return settled ? Result<void>() : settled.error();
  };
  VBD_TRY(for_name(manager.settings, walk.instances, spec.name, finish));
  const auto sweep = [&](const std::string &path, const InstanceRecord &) -> Result<void> {
    plan.push_back(cat("remove ", path, ", which a killed run left"));
    return dry_run ? Result<void>() : remove_leftover(manager.settings, path);
  };
  VBD_TRY(for_name(manager.settings, walk.leftovers, spec.name, sweep));
  if (!dry_run) {
    for (const auto &leftover : walk.leftovers) sweep_leftovers(manager.settings, leftover);
  }
  if (plan.empty()) return not_found;
  return plan;
}

/// What the catalog does not list is not ours to delete.
void say_what_stays(const InstanceRecord &record) {
  auto directory = sys::open_directory(record.directory);
  if (!directory) return;
  auto names = sys::list_dir(directory->get());
  if (!names || names->empty()) return;
  constexpr std::size_t kMost = 5;
  std::string shown;
  for (std::size_t i = 0; i < std::min(kMost, names->size()); ++i)
    shown += cat(i == 0 ? "" : ", ", text::printable((*names)[i]));
  if (names->size() > kMost) shown += cat(" and ", names->size() - kMost, " more");
  log::warn(cat(record.directory, ": stays, for it also has ", shown));
}

}  // namespace

Result<void> check_all_unused(const Manager &manager, const InstanceRecord &record, bool assume_unused) {
  VBD_TRY(check_unleased(manager, record));
  VBD_TRY(check_down(manager, record));
  for (const auto &disk : record.disks) {
    if (auto unused = check_disk_unused(manager, record, disk, assume_unused); !unused) return unused;
  }
  return {};
}

Result<void> check_disk_unused(const Manager &manager, const InstanceRecord &record, const DiskRecord &disk,
                               bool assume_unused) {
  const LogicalId id = logical_id(record, disk);
  if (!is_there(manager.settings, id.path)) return {};
  VBD_TRY_ASSIGN(auto holders, device::holders_of({manager.settings, manager.registry}, id));
  if (!holders.empty()) {
    return Error(device::kHeldByOther, cat(id.path, ": attached for ", text::join(holders, ", ")),
                 cat("vbd disk detach '", id.str(), "'"));
  }
  auto file =
      sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!file) return file.error();
  VBD_TRY(sys::lock_image(file->get(), sys::ImageLockMode::exclusive, id.path));
  auto info = sys::file_info(file->get());
  if (!info) return info.error().at(id.path);
  VBD_TRY_ASSIGN(auto usage, sys::find_usage(info->id));
  if (usage.any()) return Error(sys::kInUse, cat(id.path, ": in use: ", usage.describe()));
  if (!usage.unseen.empty() && !assume_unused) {
    return Error(device::kPartialView,
                 cat(id.path, ": what uses it can't be told: ", usage.unseen, " can't be looked at"),
                 "run as root, or give --assume-unused");
  }
  return {};
}

Result<void> finish_remove(const Manager &manager, Site &site, const InstanceRecord &record,
                           bool assume_unused, NamesLock names) {
  VBD_TRY(remove_stale_files(site.directory.get()));
  const std::set<std::string> files(record.operation->files.begin(), record.operation->files.end());
  for (const auto &disk : record.disks) {
    if (!files.contains(disk.file)) continue;
    auto info = sys::file_info_at(site.directory.get(), disk.file);
    if (!info && info.error().is(sys::kNotFound)) continue;  // by the run that was killed, or by hand
    VBD_TRY(image::remove(manager.registry, disk.filetype, site.directory.get(), disk.file,
                          path_of(record, disk), assume_unused));
  }
  return forget_site(manager, site, record, names);
}

Result<Plan> remove(const Manager &manager, const RemoveSpec &spec, bool dry_run) {
  auto entry = Catalog(manager.settings).find(spec.name);
  if (!entry) {
    if (entry.error().is(kInstanceNotFound)) return remove_orphans(manager, spec, dry_run, entry.error());
    return entry.error();
  }
  VBD_TRY(check_workable(*entry));
  if (const auto &operation = entry->record.operation; operation && !ends_in_removal(operation->verb)) {
    // What it made is known to its record alone.
    if (entry = find_settled(manager, spec.name, dry_run); !entry) return entry.error();
  }
  const bool half_added = entry->record.operation && entry->record.operation->verb == "add";
  const InstanceRecord &record = entry->record;
  // What a killed add attached is still its own, and goes with it.
  auto free =
      half_added ? check_unleased(manager, record) : check_all_unused(manager, record, spec.assume_unused);
  if (!free) return free.error();
  Plan plan = half_added ? Plan{cat("undo the interrupted add in ", record.directory)}
                         : describe(manager.settings, record, spec);
  if (dry_run) return plan;
  auto done = do_remove(manager, record, spec);
  log::audit(
      cat("instance remove ", spec.name, " in ", record.directory, spec.keep_files ? ", files kept" : ""),
      done ? "done" : done.error().message());
  if (!done) return done.error();
  if (!spec.keep_files) say_what_stays(record);
  return plan;
}

}  // namespace vbd::instance
