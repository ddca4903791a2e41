// SPDX-License-Identifier: MIT
#include "core/device/disk.hpp"

#include <set>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/children.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

/// The record that this disk is about: by the image's identity, else by the path under which it was attached.
Result<void> find_record(Disk &disk) {
  if (disk.info) {
    VBD_TRY_ASSIGN(auto found, disk.records.find(disk.info->id));
    disk.record = std::move(found);
    if (disk.record && !disk.record->is_of(*disk.info)) {  // of a file that is gone: attach clears it
      disk.record.reset();
      return {};
    }
    if (disk.record) return {};
  }
  VBD_TRY_ASSIGN(auto by_path, disk.records.find(disk.place.path));
  disk.record = std::move(by_path);
  if (disk.record) disk.image.reset();  // another file stands at the path now
  return {};
}

/// The file as it is now; an error only when there is something that no disk can be.
Result<void> look_at_image(Disk &disk) {
  if (!disk.place.directory) return {};
  auto info = sys::file_info_at(disk.place.directory.get(), sys::base_name(disk.place.path));
  if (!info) {
    if (info.error().is(sys::kNotFound)) return {};
    return info.error();
  }
  auto image = sys::open_image_below(disk.place.path, disk.place.allowed, sys::Access::read);
  if (image) {
    disk.image = std::move(*image);
    VBD_TRY_ASSIGN(auto opened, sys::file_info(disk.image.get()));
    disk.info = opened;
    return {};
  }
  if (image.error().is(sys::kNotFound)) return {};
  if (!image.error().is(sys::kPermission)) return image.error();
  disk.info = *info;  // without the right to read it, its identity still finds the device
  return {};
}

}  // namespace

namespace {

/// Only those that the path lies below by its text, so that the storage of others is not touched.
std::vector<std::string> fitting(const config::Settings &settings, const std::string &path) {
  std::vector<std::string> found;
  for (const std::string &directory : settings.allowed_dirs) {
    if (path.starts_with(directory + "/")) found.push_back(directory);
  }
  return found.empty() ? settings.allowed_dirs : found;
}

Error silent_error(const std::string &path, const char *more) {
  return Error(sys::kIo, text::cat(text::printable(path), ": its storage does not answer", more),
               "look at its server, its network or its disk, or unmount it");
}

bool is_broken(const Error &error) {
  return error.is(sys::kIo);
}

/// A letter: what a child answers.
std::string try_path(const Context &context, const std::string &path) {
  const auto allowed = sys::resolve_allowed(fitting(context.settings, path));
  const auto place = sys::open_dir_below(sys::dir_name(path), allowed);
  if (!place) return is_broken(place.error()) ? "b" : "y";
  const auto info = sys::file_info_at(place->get(), sys::base_name(path));
  if (!info) return is_broken(info.error()) ? "b" : "y";
  const auto image = sys::open_image_below(path, allowed, sys::Access::read);
  return !image && is_broken(image.error()) ? "b" : "y";
}

}  // namespace

bool answers(const Context &context, const std::string &path) {
  constexpr std::chrono::milliseconds kPatience{2000};
  const std::string mount = sys::mount_that_may_hang(path);
  if (mount.empty()) return try_path(context, path) == "y";
  static std::set<std::string> silent;  // waited for once
  if (silent.contains(mount)) return false;
  const auto answer = sys::run_in_children(
      1, {{0}}, [&](std::size_t) { return try_path(context, path); }, kPatience);
  if (!answer.front()) silent.insert(mount);
  return answer.front() == "y";
}

Result<Place> open_place(const Context &context, const std::string &path, bool may_be_gone) {
  VBD_TRY(check_image_path(path));
  Place place;
  place.allowed = sys::resolve_allowed(fitting(context.settings, path));
  VBD_TRY_ASSIGN(auto confined, sys::confine(path, place.allowed));
  place.path = std::move(confined);
  place.directory_path = sys::dir_name(place.path);
  auto directory = sys::open_dir_below(place.directory_path, place.allowed);
  if (directory) {
    place.directory = std::move(*directory);
  } else if (!may_be_gone || !directory.error().is(sys::kNotFound)) {
    return directory.error();
  }
  return place;
}

Result<sys::OperationLock> lock_place(const Context &context, const Place &place,
                                      std::chrono::milliseconds patience) {
  const Records records(context.settings.run_dir);
  if (place.directory) return records.lock(place.directory.get(), place.directory_path, patience);
  std::string path;
  VBD_TRY_ASSIGN(auto locks, records.locks_directory(path));
  return sys::OperationLock::acquire(locks.get(), path, patience);
}

std::string Disk::shown() const {
  return text::printable(place.path);
}

Result<Disk> open_for_attach(const Context &context, const AttachSpec &spec) {
  VBD_TRY(context.registry.check_pairing(spec.id));
  if (!answers(context, spec.id.path)) return silent_error(spec.id.path, "");
  VBD_TRY_ASSIGN(auto place, open_place(context, spec.id.path, false));
  VBD_TRY_ASSIGN(auto driver, context.registry.load(spec.id.driver));
  if (driver->driver()->attach == nullptr) {
    return Error(plugin::kNoOperation, text::cat(text::printable(spec.id.path), ": ", spec.id.driver.str(),
                                                 " only writes disk strings, it makes no devices"));
  }
  Disk disk{context, spec.id, driver, Records(context.settings.run_dir), std::move(place), {}, {}, {}, {}};
  if (!spec.dry_run) {
    // Looked at before the lock as well, so that a wrong name makes no lock file.
    VBD_TRY(sys::open_image_below(disk.place.path, disk.place.allowed, sys::Access::read));
  }
  if (!spec.dry_run && !spec.locked) {
    VBD_TRY_ASSIGN(auto lock, lock_place(context, disk.place));
    disk.lock.emplace(std::move(lock));
  }
  const bool writes = !spec.read_only || (spec.vetting == image::Vetting::Word::repair && !spec.dry_run);
  VBD_TRY_ASSIGN(auto image, sys::open_image_below(disk.place.path, disk.place.allowed,
                                                   writes ? sys::Access::read_write : sys::Access::read));
  disk.image = std::move(image);
  auto info = sys::file_info(disk.image.get());
  if (!info) return info.error().at(disk.shown());
  disk.info = *info;
  VBD_TRY_ASSIGN(auto found, disk.records.find(info->id));
  disk.record = std::move(found);
  return disk;
}

namespace {

/// What is known of a disk whose storage does not answer.
Result<Disk> open_silent(const Context &context, const LogicalId &id, bool locked) {
  VBD_TRY(check_image_path(id.path));
  VBD_TRY_ASSIGN(auto driver, context.registry.load(id.driver));
  Place place;
  place.path = sys::absolute_path(id.path);
  place.directory_path = sys::dir_name(place.path);
  place.silent = true;
  Disk disk{context, id, driver, Records(context.settings.run_dir), std::move(place), {}, {}, {}, {}};
  if (locked) {
    VBD_TRY_ASSIGN(auto lock, lock_place(context, disk.place));
    disk.lock.emplace(std::move(lock));
  }
  VBD_TRY_ASSIGN(auto found, disk.records.find(disk.place.path));
  if (!found) {
    return silent_error(disk.place.path, ", and no record says that it is attached");
  }
  disk.record = std::move(found);
  return disk;
}

}  // namespace

Result<Disk> open_for_others(const Context &context, const LogicalId &id, bool locked) {
  if (!answers(context, id.path)) return open_silent(context, id, locked);
  VBD_TRY_ASSIGN(auto place, open_place(context, id.path, true));
  VBD_TRY_ASSIGN(auto driver, context.registry.load(id.driver));
  Disk disk{context, id, driver, Records(context.settings.run_dir), std::move(place), {}, {}, {}, {}};
  auto looked = look_at_image(disk);
  VBD_TRY(find_record(disk));
  if (!looked && !disk.record) return looked.error();
  if (!disk.info && !disk.record) {
    return Error(sys::kNotFound,
                 text::cat(disk.shown(), ": no such image, and nothing of that name is attached"));
  }
  if (locked) {
    VBD_TRY_ASSIGN(auto lock, lock_place(context, disk.place));
    disk.lock.emplace(std::move(lock));
    VBD_TRY(find_record(disk));  // as it is under the lock
  }
  return disk;
}

std::optional<std::uint64_t> flat_size(const Disk &disk) {
  const auto filetype = disk.context.registry.find(disk.id.filetype);
  if (!filetype || !disk.info) return {};
  const auto flat = filetype->note.properties.find("flat");
  if (flat == filetype->note.properties.end() || flat->second != "1") return {};
  return disk.info->size / kSectorSize * kSectorSize;
}

std::string words(const std::vector<std::string> &holders) {
  return holders.empty() ? std::string("an unknown holder") : text::printable(text::join(holders, ", "));
}

std::string describe(const Record &record) {
  return text::cat("attached ", record.read_only ? "read-only" : "writable",
                   record.node.empty() ? "" : " at ", text::printable(record.node), " for ",
                   words(record.holders));
}

Attachment attachment_of(const Record &record, const Observed &observed) {
  Attachment attachment;
  attachment.node = observed.facts.text("node");
  if (attachment.node.empty()) attachment.node = record.node;
  if (!attachment.node.empty()) {
    if (const auto size = sys::node_size(attachment.node)) attachment.size = *size;
  }
  attachment.read_only = record.read_only;
  attachment.holders = record.holders;
  attachment.facts = observed.facts;
  return attachment;
}

}  // namespace vbd::device
