// SPDX-License-Identifier: MIT
// cluster verify: what the pointers, the directories and the images say about each other. Each problem is
// found before it is repaired, so that a dry run and a real one tell the same.
#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/image/vet.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/leftover.hpp"
#include "core/sys/trusted.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/site.hpp"
#include "manager/instance/storage.hpp"
#include "manager/instance/world.hpp"

namespace vbd::instance {
namespace {

using text::cat;

class Verify {
 public:
  Verify(const Manager &manager, const VerifySpec &spec, bool dry_run)
      : manager_(manager),
        settings_(manager.settings),
        catalog_(manager.settings),
        repair_(spec.repair && !dry_run),
        rebuild_(spec.rebuild && !dry_run),
        dry_run_(dry_run),
        trust_(spec.trust),
        forget_(spec.forget.begin(), spec.forget.end()) {}

  Result<std::vector<Problem>> run();

 private:
  using Repair = std::function<Result<void>()>;
  [[nodiscard]] Result<std::optional<sys::OperationLock>> take_names() const;
  void report(std::string where, std::string what, bool mend = false, const Repair &repair = {});
  [[nodiscard]] Result<void> check_forget(const std::vector<Entry> &entries) const;
  [[nodiscard]] bool is_left_name(const std::string &name) const;
  [[nodiscard]] Result<void> write_found_pointer(const std::string &path, const InstanceRecord &record);
  void check_entry(const Entry &entry);
  void check_instance(const InstanceRecord &record);
  void check_stale_files(const std::string &path);
  void check_lease(const InstanceRecord &record);
  void check_disk(const InstanceRecord &record, const DiskRecord &disk);
  void check_size(const InstanceRecord &record, const DiskRecord &disk, const std::string &path);
  void check_guests();
  void check_world();
  [[nodiscard]] bool has_guest(const std::string &name) const;
  void check_orphans(const std::vector<std::string> &directories);
  void check_orphan(const std::string &path, const InstanceRecord &record);

  const Manager &manager_;
  const config::Settings &settings_;
  Catalog catalog_;
  bool repair_, rebuild_, dry_run_, trust_;
  std::set<std::string> forget_;
  std::map<std::string, std::string> known_uuids_, known_names_;  ///< -> directory
  std::set<std::string> known_directories_;
  std::set<std::string> readable_uuids_;
  std::optional<sys::OperationLock> names_;  ///< for the whole of it: only where something is to be forgotten
  std::vector<Problem> problems_;
};

Result<std::optional<sys::OperationLock>> Verify::take_names() const {
  VBD_TRY_ASSIGN(auto taken, catalog_.lock_names());
  return std::optional(std::move(taken));
}

void Verify::report(std::string where, std::string what, bool mend, const Repair &repair) {
  Problem problem{std::move(where), std::move(what), false};
  if (mend && repair) {
    // Only while something is changed, so that add and remove go on beside a long verify; each repair looks
    // again at what it changes.
    auto names = names_ ? Result<std::optional<sys::OperationLock>>(std::nullopt) : take_names();
    auto done = names ? repair() : Result<void>(names.error());
    log::audit(cat("cluster verify: ", problem.where, ": ", problem.what),
               done ? "repaired" : done.error().message());
    problem.repaired = done.ok();
    if (!done) problem.what += cat(" (not repaired: ", done.error().message(), ")");
  }
  problems_.push_back(std::move(problem));
}

/// Only what is not there, or not fine, is forgotten, and only by its name: storage that is merely not
/// mounted looks as empty as storage that is lost.
Result<void> Verify::check_forget(const std::vector<Entry> &entries) const {
  for (const auto &name : forget_) {
    const auto entry = std::find_if(entries.begin(), entries.end(),
                                    [&](const Entry &one) { return one.record.name == name; });
    if (entry == entries.end()) return catalog_.not_found(name);
    if (has_guest(name)) {
      return Error(kRunning,
                   cat("instance ", name, ": can't be forgotten, for its guest is noted as running here"),
                   cat("vbd instance stop ", name));
    }
    if (entry->state != State::unreachable && entry->state != State::foreign &&
        entry->state != State::error) {
      return Error(
          kStillThere,
          cat("instance ", name, ": can't be forgotten, for it is there, in ", entry->record.directory),
          cat("'vbd instance remove --keep-files ", name, "' forgets it and leaves its images"));
    }
  }
  return {};
}

/// A register that was killed after the new name was written: the directory's instance is known by that one.
bool Verify::is_left_name(const std::string &name) const {
  const auto left = catalog_.pointer(name);
  if (!left || !left->has_value()) return false;
  const std::string &path = (*left)->directory;
  const auto directory = sys::open_dir_below(path, allowed_for(settings_, path));
  const auto record = directory ? catalog_.read_record(directory->get(), path) : directory.error();
  if (!record || record->name == name || record->directory != path) return false;
  const auto own = catalog_.pointer(record->name);
  return own && own->has_value() && (*own)->uuid == record->uuid && (*own)->directory == path;
}

Result<void> Verify::write_found_pointer(const std::string &path, const InstanceRecord &record) {
  VBD_TRY_ASSIGN(auto directory, sys::open_dir_below(path, allowed_for(settings_, path)));
  VBD_TRY_ASSIGN(auto again, catalog_.read_record(directory.get(), path));
  if (again.uuid != record.uuid || again.operation)
    return Error(kChanged, "another instance came into being there meanwhile");
  if (!trust_) {
    if (auto plain = check_names_nothing_here(manager_, again); !plain) return plain;
  }
  return catalog_.write_pointer(record);
}

void Verify::check_entry(const Entry &entry) {
  const InstanceRecord &record = entry.record;
  const bool forget = forget_.contains(record.name) && !dry_run_;
  // A former name is asked for again, for another instance may have got it meanwhile; to forget, the names
  // are locked all the time.
  const Repair drop = [&] {
    return forget || is_left_name(record.name) ? catalog_.remove_pointer(record.name) : Result<void>();
  };
  const std::string where = cat("instance ", record.name);
  if (!record.uuid.empty()) known_uuids_[record.uuid] = record.directory;
  known_names_[record.name] = record.directory;
  known_directories_.insert(record.directory);
  if (entry.state != State::unreachable) readable_uuids_.insert(record.uuid);
  switch (entry.state) {
    case State::unreachable:
      return report(where, cat("pointer without an instance: ", entry.reason), forget, drop);
    case State::interrupted:
      return report(where, cat("interrupted: ", entry.reason), repair_, [&]() -> Result<void> {
        VBD_TRY_ASSIGN(auto settled, settle(manager_, record.name, record.directory, false));
        if (!settled) return Error(kInterrupted, "its directory changed meanwhile");
        return {};
      });
    case State::foreign:
      if (is_left_name(record.name)) {
        return report(where, cat("a former name, which a killed register left: ", entry.reason),
                      forget || repair_, drop);
      }
      return report(where, cat("foreign: ", entry.reason), forget, drop);
    case State::error:
      return report(where, entry.reason, forget, drop);
    default:
      return check_instance(record);
  }
}

void Verify::check_instance(const InstanceRecord &record) {
  check_stale_files(record.directory);
  check_lease(record);
  for (const auto &disk : record.disks) check_disk(record, disk);
}

void Verify::check_stale_files(const std::string &path) {
  auto directory = sys::open_dir_below(path, allowed_for(settings_, path));
  if (!directory) return;
  auto stale = sys::stale_temp_files(directory->get());
  if (!stale) return report(path, stale.error().message());
  for (const auto &name : *stale) {
    auto info = sys::file_info_at(directory->get(), name);
    if (!info || !info->is_regular()) continue;
    report(cat(path, "/", text::printable(name)), "temporary file of a killed run", repair_,
           [&] { return sys::unlink_at(directory->get(), name); });
  }
}

/// A lease of this node from before its last boot: whoever held it is gone.
void Verify::check_lease(const InstanceRecord &record) {
  if (record.lease.node != settings_.node) return;
  auto boot = sys::boot_id();
  if (!boot || *boot == record.lease.boot_id) return;
  report(cat("instance ", record.name),
         cat("lease of ", text::printable(record.lease.holder), " from an earlier boot"), repair_,
         [&]() -> Result<void> {
           VBD_TRY_ASSIGN(auto site, open_site(settings_, record.directory, std::chrono::milliseconds(0)));
           VBD_TRY_ASSIGN(auto again, catalog_.read_record(site.directory.get(), site.path));
           if (again.lease != record.lease) return {};
           again.lease.free();
           return catalog_.write_record(site.directory.get(), again);
         });
}

void Verify::check_disk(const InstanceRecord &record, const DiskRecord &disk) {
  const LogicalId id = logical_id(record, disk);
  auto directory = sys::open_dir_below(record.directory, allowed_for(settings_, record.directory));
  if (!directory) return report(record.directory, directory.error().message());
  auto info = sys::file_info_at(directory->get(), disk.file);
  if (!info)
    return report(id.path, info.error().is(sys::kNotFound) ? "the image is missing" : info.error().message());
  if (!info->is_regular()) return report(id.path, "not a regular file");
  if (info->links > 1) report(id.path, cat(info->links, " names (hard links)"));
  if (auto paired = manager_.registry.check_pairing(id); !paired)
    return report(id.path, paired.error().message());
  if (auto users = unrecorded_writers(manager_, id); !users.empty())
    report(id.path, cat("no record says that it is attached, but it is in use by ", users));
  check_size(record, disk, id.path);
}

void Verify::check_size(const InstanceRecord &record, const DiskRecord &disk, const std::string &path) {
  auto file = sys::open_image_below(path, allowed_for(settings_, path), sys::Access::read);
  if (!file) return report(path, file.error().message());
  // A writer that shares nothing: in use, and not ours to judge now. Asked first, for the lock waits a
  // second, and an attached disk has it all the time.
  auto taken = sys::image_lock_conflicts(file->get(), sys::ImageLockMode::inspect);
  if (!taken || *taken) return;
  if (auto locked = sys::lock_image(file->get(), sys::ImageLockMode::inspect, path); !locked) return;
  auto info = image::info(manager_.registry, disk.filetype, file->get(), path);
  if (!info) return report(path, info.error().message());
  if (info->virtual_size == disk.size) return;
  const auto whole = image::check_recorded(record, path, info->virtual_size);
  report(path, cat("its size is ", info->virtual_size, " bytes, the catalog says ", disk.size,
                   whole ? "" : ": its end is missing; ", whole ? "" : whole.error().hint()));
}

void Verify::check_orphan(const std::string &path, const InstanceRecord &record) {
  if (record.directory != path) {
    return report(path, cat("foreign: a copy of the instance ", record.name, " of ",
                            text::printable(record.directory)));
  }
  if (const auto known = known_uuids_.find(record.uuid); known != known_uuids_.end()) {
    return report(path, cat("foreign: its UUID is that of the instance in ", known->second));
  }
  if (record.operation) {
    return report(path, cat("what a killed ", record.operation->verb, " of ", record.name, " left"), repair_,
                  [&]() -> Result<void> {
                    auto settled = settle(manager_, record.name, path, false);
                    return settled ? Result<void>() : settled.error();
                  });
  }
  if (const auto known = known_names_.find(record.name); known != known_names_.end()) {
    return report(path, cat("its name ", record.name, " is that of the instance in ", known->second));
  }
  known_names_[record.name] = path;
  known_directories_.insert(path);
  known_uuids_[record.uuid] = path;
  report(path, cat("instance ", record.name, " is not known on this host (--rebuild)"), rebuild_,
         [&] { return write_found_pointer(path, record); });
  check_instance(record);
}

void Verify::check_orphans(const std::vector<std::string> &directories) {
  const auto files = read_instance_files(settings_, directories);
  for (std::size_t i = 0; i < directories.size(); ++i) {
    const auto &path = directories[i];
    if (known_directories_.contains(path)) continue;
    if (!files[i] || !*files[i]) {
      report(path, files[i] ? files[i]->error().message() : "no answer within 2 s");
      continue;
    }
    auto record = config::parse_instance(**files[i], cat(path, "/", kInstanceFile));
    if (record) {
      check_orphan(path, *record);
    } else {
      report(path, record.error().message());
    }
  }
}

void Verify::check_world() {
  for (Problem &problem : unrecorded_processes(manager_, readable_uuids_))
    problems_.push_back(std::move(problem));
}

/// After all instances are known.
void Verify::check_guests() {
  for (const LostGuest &guest : lost_guests(manager_, readable_uuids_)) {
    report(cat("instance ", text::printable(guest.name)), guest.what, repair_ && guest.ended,
           [&] { return forget_guest(manager_, guest); });
  }
}

/// A pointer leads to the guest that still runs.
bool Verify::has_guest(const std::string &name) const {
  const auto guests = noted_guests(settings_);
  return guests && std::any_of(guests->begin(), guests->end(),
                               [&](const GuestRecord &guest) { return guest.name == name; });
}

Result<std::vector<Problem>> Verify::run() {
  if (!forget_.empty() && !dry_run_) {
    VBD_TRY_ASSIGN(auto taken, catalog_.lock_names());
    names_ = std::move(taken);
  }
  VBD_TRY_ASSIGN(auto entries, catalog_.list());
  VBD_TRY(check_forget(entries));
  for (const auto &entry : entries) check_entry(entry);
  const Walk walk = walk_storage(settings_);
  for (const auto &path : walk.silent) report(path, "its storage does not answer");
  check_orphans(walk.instances);
  check_guests();
  check_world();
  for (const auto &path : walk.leftovers) {
    report(path, "directory of a killed run", repair_, [&] { return remove_leftover(settings_, path); });
  }
  for (const auto &path : walk.files) {
    report(text::printable(path), "temporary file of a killed run", repair_, [&]() -> Result<void> {
      auto directory = sys::open_dir_below(sys::dir_name(path), allowed_for(settings_, path));
      return directory ? sys::remove_left_file(directory->get(), sys::base_name(path)) : directory.error();
    });
  }
  for (const auto &path : walk.locks_only) {
    report(path, "nothing but a lock file", repair_, [&] { return remove_leftover(settings_, path); });
  }
  if (auto stale = image::stale_vettings(settings_, repair_)) {
    for (const auto &path : *stale)
      log::info(cat(text::printable(path), ": what was remembered of its check is not needed any more"));
  }
  auto state = sys::open_trusted_directory(settings_.state_dir + "/instances", sys::kStateDirectory);
  VBD_TRY_ASSIGN(auto stale, state ? sys::stale_temp_files(state->get()) : std::vector<std::string>{});
  for (const auto &name : stale) {
    report(cat(settings_.state_dir, "/instances/", text::printable(name)), "temporary file of a killed run",
           repair_, [&] { return sys::unlink_at(state->get(), name); });
  }
  return std::move(problems_);
}

}  // namespace

Result<std::vector<Problem>> verify(const Manager &manager, const VerifySpec &spec, bool dry_run) {
  return Verify(manager, spec, dry_run).run();
}

}  // namespace vbd::instance
