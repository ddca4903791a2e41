// SPDX-License-Identifier: MIT
#include "core/device/disk.hpp"

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

/// The record that this disk is about: by the image's identity, else by the path under which it was attached.
Result<void> find_record(Disk &disk) {
  if (disk.info) {
    auto found = disk.records.find(disk.info->id);
    if (!found) return found.error();
    disk.record = std::move(*found);
    if (disk.record && !disk.record->is_of(*disk.info)) {  // of a file that is gone: attach clears it
      disk.record.reset();
      return {};
    }
    if (disk.record) return {};
  }
  auto by_path = disk.records.find(disk.place.path);
  if (!by_path) return by_path.error();
  disk.record = std::move(*by_path);
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
    auto opened = sys::file_info(disk.image.get());
    if (!opened) return opened.error();
    disk.info = *opened;
    return {};
  }
  if (image.error().is(sys::kNotFound)) return {};
  if (!image.error().is(sys::kPermission)) return image.error();
  disk.info = *info;  // without the right to read it, its identity still finds the device
  return {};
}

}  // namespace

Result<Place> open_place(const Context &context, const std::string &path, bool may_be_gone) {
  if (auto valid = check_image_path(path); !valid) return valid.error();
  Place place;
  place.allowed = sys::resolve_allowed(context.settings.allowed_dirs);
  auto confined = sys::confine(path, place.allowed);
  if (!confined) return confined.error();
  place.path = std::move(*confined);
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
  auto locks = records.locks_directory(path);
  if (!locks) return locks.error();
  return sys::OperationLock::acquire(locks->get(), path, patience);
}

std::string Disk::shown() const {
  return text::printable(place.path);
}

Result<Disk> open_for_attach(const Context &context, const AttachSpec &spec) {
  if (auto paired = context.registry.check_pairing(spec.id); !paired) return paired.error();
  auto place = open_place(context, spec.id.path, false);
  if (!place) return place.error();
  auto driver = context.registry.load(spec.id.driver);
  if (!driver) return driver.error();
  if ((*driver)->driver()->attach == nullptr) {
    return Error(plugin::kNoOperation, text::cat(text::printable(spec.id.path), ": ", spec.id.driver.str(),
                                                 " only writes disk strings, it makes no devices"));
  }
  Disk disk{context, spec.id, *driver, Records(context.settings.run_dir), std::move(*place), {}, {}, {}, {}};
  if (!spec.dry_run) {
    // Looked at before the lock as well, so that a wrong name makes no lock file.
    auto there = sys::open_image_below(disk.place.path, disk.place.allowed, sys::Access::read);
    if (!there) return there.error();
  }
  if (!spec.dry_run && !spec.locked) {
    auto lock = lock_place(context, disk.place);
    if (!lock) return lock.error();
    disk.lock.emplace(std::move(*lock));
  }
  const bool writes = !spec.read_only || (spec.vetting == image::Vetting::Word::repair && !spec.dry_run);
  auto image = sys::open_image_below(disk.place.path, disk.place.allowed,
                                     writes ? sys::Access::read_write : sys::Access::read);
  if (!image) return image.error();
  disk.image = std::move(*image);
  auto info = sys::file_info(disk.image.get());
  if (!info) return info.error().at(disk.shown());
  disk.info = *info;
  auto found = disk.records.find(info->id);
  if (!found) return found.error();
  disk.record = std::move(*found);
  return disk;
}

Result<Disk> open_for_others(const Context &context, const LogicalId &id, bool locked) {
  auto place = open_place(context, id.path, true);
  if (!place) return place.error();
  auto driver = context.registry.load(id.driver);
  if (!driver) return driver.error();
  Disk disk{context, id, *driver, Records(context.settings.run_dir), std::move(*place), {}, {}, {}, {}};
  auto looked = look_at_image(disk);
  if (auto found = find_record(disk); !found) return found.error();
  if (!looked && !disk.record) return looked.error();
  if (!disk.info && !disk.record) {
    return Error(sys::kNotFound,
                 text::cat(disk.shown(), ": no such image, and nothing of that name is attached"));
  }
  if (locked) {
    auto lock = lock_place(context, disk.place);
    if (!lock) return lock.error();
    disk.lock.emplace(std::move(*lock));
    if (auto found = find_record(disk); !found) return found.error();  // as it is under the lock
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
