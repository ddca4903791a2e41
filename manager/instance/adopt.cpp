// SPDX-License-Identifier: MIT
#include "manager/instance/adopt.hpp"

#include <charconv>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/move.hpp"
#include "core/sys/take_file.hpp"
#include "manager/instance/add_plan.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::string_view kNote = "adopt.";
constexpr std::chrono::milliseconds kAdoptPatience{5000};

std::vector<sys::AllowedDir> allowed_dirs(const Manager &manager) {
  return sys::resolve_allowed(manager.settings.allowed_dirs);
}

/// Another instance's disk stays its own; a record that can't be read may list it.
Result<void> check_unlisted(const Manager &manager, int directory, const std::string &path,
                            const std::string &target) {
  auto record = Catalog(manager.settings).read_record(directory, sys::dir_name(path));
  if (!record) {
    if (record.error().is(sys::kNotFound)) return {};
    return Error(kAdopt, cat(path, ": may be an instance's: ", record.error().message()));
  }
  for (const auto &disk : record->disks) {
    if (disk.file != sys::base_name(path)) continue;
    return Error(kAdopt, cat(path, ": is a disk of the instance ", record->name),
                 cat("vbd instance remove --keep-files ", record->name, " leaves it free"));
  }
  if (!record->operation || sys::dir_name(path) == sys::dir_name(target)) return {};
  return Error(kInterrupted, cat(path, ": the instance ", record->name, " there is interrupted"),
               cat("vbd instance remove ", record->name));
}

/// "INODE MODE UID GID PATH"
struct Note {
  std::uint64_t inode = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::string source;
};

template <class Number>
bool take_number(std::string_view &text, Number &out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end == text.data() + text.size() || *end != ' ') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

Result<Note> read_note(const std::string &text) {
  Note note;
  std::string_view rest = text;
  if (!take_number(rest, note.inode) || !take_number(rest, note.mode) || !take_number(rest, note.uid) ||
      !take_number(rest, note.gid) || !check_image_path(rest)) {
    return Error(kInterrupted, cat("an adoption that can't be read: ", text::printable(text)));
  }
  note.source = rest;
  return note;
}

bool is_at(int directory, const std::string &name, std::uint64_t inode) {
  auto info = sys::file_info_at(directory, name);
  return info && info->is_regular() && info->id.inode == inode;
}

/// The directory that it came from holds files of an instance: that one's lock is ours meanwhile.
Result<std::optional<sys::OperationLock>> lock_source(int directory, const Site &site,
                                                      const std::string &path) {
  using Lock = std::optional<sys::OperationLock>;
  auto own = sys::file_info(site.directory.get());
  auto other = sys::file_info(directory);
  const bool same = own && other && own->id == other->id;
  if (same || !sys::file_info_at(directory, std::string(sys::OperationLock::kFileName))) return Lock();
  auto lock = sys::OperationLock::acquire(directory, path, kAdoptPatience);
  if (!lock) return lock.error();
  return Lock(std::move(*lock));
}

/// What the configuration says about new images counts for a moved one too, where it says something.
Result<void> give_configured_owner(const Manager &manager, int file, const Adoption &adoption) {
  const auto &origins = manager.settings.origins;
  const auto said = [&](const char *key) {
    const auto found = origins.find(key);
    return found != origins.end() && found->second != "default";
  };
  if (!said("image_owner") && !said("image_group") && !said("image_mode")) return {};
  auto ownership = config::image_ownership(manager.settings);
  if (!ownership) return ownership.error();
  if (!said("image_mode")) ownership->mode = adoption.mode & 07777u;
  return sys::set_ownership(file, *ownership);
}

/// True: the disk is there and shares the image's blocks.
Result<bool> try_clone(const Manager &manager, const Site &site, const std::string &file, int image) {
  auto ownership = config::image_ownership(manager.settings);
  if (!ownership) return ownership.error();
  auto temp = sys::TempFile::create(site.directory.get(), file, *ownership);
  if (!temp) return temp.error();
  auto shared = sys::clone_whole(image, temp->fd());
  if (!shared || !*shared) return shared;
  auto published = std::move(*temp).publish_new();
  if (!published) return published.error();
  return true;
}

Result<void> give_back(const Manager &manager, const Site &site, const std::string &file, const Note &note) {
  auto there = sys::file_info_at(site.directory.get(), file);
  if (!there) return there.error().is(sys::kNotFound) ? Result<void>() : there.error();
  const std::string name = sys::base_name(note.source);
  auto home = sys::open_dir_below(sys::dir_name(note.source), allowed_dirs(manager));
  if (!home) return home.error();
  if (is_at(home->get(), name, note.inode)) return remove_created(manager.settings, site, file);  // a clone
  if (there->id.inode != note.inode) {
    return Error(kInterrupted,
                 cat(site.path, "/", file, ": neither ", text::printable(note.source),
                     " nor a clone of it; nothing was changed"),
                 "look at the two, and move the image to where it belongs");
  }
  const std::string path = cat(site.path, "/", file);
  auto image = sys::open_image_below(path, allowed_dirs(manager), sys::Access::read);
  if (!image) return image.error();
  const sys::Ownership former{note.uid, note.gid, note.mode & 07777u};
  if (former.mode != (there->mode & 07777u) || note.uid != there->uid || note.gid != there->gid) {
    if (auto done = sys::set_ownership(image->get(), former); !done) return done.error().at(path);
  }
  return sys::move_file_at(site.directory.get(), file, home->get(), name);
}

}  // namespace

Result<Adoption> check_adoptable(const Manager &manager, const LogicalId &id, const std::string &target) {
  const auto allowed = allowed_dirs(manager);
  auto path = sys::confine(id.path, allowed);
  if (!path) return path.error();
  auto directory = sys::open_dir_below(sys::dir_name(*path), allowed);
  if (!directory) return directory.error();
  auto file = sys::open_image_below(*path, allowed, sys::Access::read);
  if (!file) return file.error();
  auto info = sys::file_info(file->get());
  if (!info) return info.error().at(*path);
  if (info->links > 1) {
    return Error(kAdopt, cat(*path, ": has ", info->links, " names (hard links): another one may be in use"));
  }
  if (auto free = check_unlisted(manager, directory->get(), *path, target); !free) return free.error();
  auto size = check_takeable(manager, {id.driver, id.filetype, *path}, info->id);
  if (!size)
    return size.error().message().find(*path) == std::string::npos ? size.error().at(*path) : size.error();
  const bool in_place = *path == target;
  if (!in_place) {
    auto home = sys::open_dir_below(sys::dir_name(target), allowed);
    if (home && sys::file_info_at(home->get(), sys::base_name(target)).ok())
      return Error(sys::kExists, cat(target, ": exists already"));
  }
  return Adoption{*path, info->id.inode, *size, in_place, info->mode, info->uid, info->gid};
}

void note_adoption(OperationRecord &operation, const std::string &file, const Adoption &adoption) {
  if (adoption.in_place) return;
  operation.details[cat(kNote, file)] =
      cat(adoption.inode, " ", adoption.mode, " ", adoption.uid, " ", adoption.gid, " ", adoption.source);
}

Result<void> adopt_image(const Manager &manager, const Site &site, const DiskRecord &disk,
                         const Adoption &adoption) {
  const auto allowed = allowed_dirs(manager);
  auto home = sys::open_dir_below(sys::dir_name(adoption.source), allowed);
  if (!home) return home.error();
  auto lock = lock_source(home->get(), site, sys::dir_name(adoption.source));
  if (!lock) return lock.error();
  const std::string target = cat(site.path, "/", disk.file);
  auto again = check_adoptable(manager, {disk.driver, disk.filetype, adoption.source}, target);
  if (!again) return again.error();
  if (again->inode != adoption.inode || again->size != adoption.size) {
    return Error(kAdopt, cat(adoption.source, ": changed meanwhile"), "nothing was changed; try again");
  }
  auto image = sys::open_image_below(adoption.source, allowed, sys::Access::read);
  if (!image) return image.error();
  if (auto locked = sys::lock_image(image->get(), sys::ImageLockMode::exclusive, adoption.source); !locked)
    return locked;
  auto cloned = try_clone(manager, site, disk.file, image->get());
  if (!cloned) return cloned.error().at(target);
  if (*cloned) return {};
  auto moved =
      sys::move_file_at(home->get(), sys::base_name(adoption.source), site.directory.get(), disk.file);
  if (!moved) {
    return moved.error().is(sys::kCrossDevice)
               ? moved.error().with_hint(cat("vbd image copy makes a copy as ", target, "; reuse takes it"))
               : moved.error();
  }
  return give_configured_owner(manager, image->get(), adoption);
}

Result<void> undo_adoptions(const Manager &manager, const Site &site, const InstanceRecord &record) {
  for (const auto &[key, value] : record.operation->details) {
    if (!key.starts_with(kNote)) continue;
    auto note = read_note(value);
    if (!note) return note.error();
    if (auto done = give_back(manager, site, key.substr(kNote.size()), *note); !done) return done;
  }
  return {};
}

}  // namespace vbd::instance
