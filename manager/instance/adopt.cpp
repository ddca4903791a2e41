// SPDX-License-Identifier: MIT
#include "manager/instance/adopt.hpp"

#include <charconv>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/move.hpp"
#include "core/sys/take_file.hpp"
#include "manager/instance/add_plan.hpp"
#include "manager/instance/witness.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::string_view kNote = "adopt.";
/// An image is nothing to run, and nobody's to become.
constexpr std::uint32_t kImageMode = 0666, kSetIdBits = 06000;
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

/// As operations have them: a file of this directory, and none of ours.
bool is_disk_file(const std::string &name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos && name != kInstanceFile;
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
  VBD_TRY_ASSIGN(auto lock, sys::OperationLock::acquire(directory, path, kAdoptPatience));
  return Lock(std::move(lock));
}

/// What the configuration says about new images counts for a moved one too, where it says something.
Result<void> give_configured_owner(const Manager &manager, int file, const Adoption &adoption) {
  const auto &origins = manager.settings.origins;
  const auto said = [&](const char *key) {
    const auto found = origins.find(key);
    return found != origins.end() && found->second != "default";
  };
  if (!said("image_owner") && !said("image_group") && !said("image_mode")) return {};
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(manager.settings));
  if (!said("image_mode")) ownership.mode = adoption.mode & kImageMode;
  return sys::set_ownership(file, ownership);
}

/// True: the disk is there and shares the image's blocks.
Result<bool> try_clone(const Manager &manager, const Site &site, const std::string &file, int image) {
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(manager.settings));
  VBD_TRY_ASSIGN(auto temp, sys::TempFile::create(site.directory.get(), file, ownership));
  auto shared = sys::clone_whole(image, temp.fd());
  if (!shared || !*shared) return shared;
  VBD_TRY(std::move(temp).publish_new());
  return true;
}

/// The original is at its place: then what lies here is a clone of it, or a second name.
bool is_home(const Manager &manager, const Note &note) {
  auto home = sys::open_dir_below(sys::dir_name(note.source), allowed_dirs(manager));
  return home && is_at(home->get(), sys::base_name(note.source), note.inode);
}

/// instance.yaml alone is obeyed by nobody: whoever writes beside the data may have written it.
Result<Witness> witness_of(const Manager &manager, const Site &site, const InstanceRecord &record,
                           const std::string &file, const Note &note) {
  VBD_TRY_ASSIGN(auto witness, find_witness(manager.settings, record.uuid, site.path, file));
  if (witness && witness->source == note.source && witness->id.inode == note.inode) return *witness;
  const std::string from = text::printable(note.source), to = cat(site.path, "/", file);
  return Error(kInterrupted,
               cat(to, ": ", kInstanceFile, " says that it was ", from, ", and ", manager.settings.state_dir,
                   " knows nothing of that; nothing was changed"),
               cat("when it is true, 'mv -n ", to, " ", from, "', and run the command again"));
}

/// A moved image goes back to where this host wrote down that it was.
Result<void> move_home(const Manager &manager, const Site &site, const std::string &file,
                       const Witness &witness) {
  const std::string path = cat(site.path, "/", file);
  VBD_TRY_ASSIGN(auto image, sys::open_regular_at(site.directory.get(), file, path, sys::Access::read));
  auto info = sys::file_info(image.get());
  if (!info) return info.error().at(path);
  const bool same_device = witness.id.device == 0 || witness.id.device == info->id.device;
  if (info->id.inode != witness.id.inode || !same_device || info->links > 1)
    return Error(kInterrupted, cat(path, ": is not what was ", witness.source, "; nothing was changed"));
  VBD_TRY_ASSIGN(auto home, sys::open_dir_below(sys::dir_name(witness.source), allowed_dirs(manager)));
  const sys::Ownership former{witness.uid, witness.gid, witness.mode & kImageMode};
  if (former.mode != (info->mode & 07777u) || witness.uid != info->uid || witness.gid != info->gid) {
    if (auto done = sys::set_ownership(image.get(), former); !done) return done.error().at(path);
  }
  return sys::move_file_at(site.directory.get(), file, home.get(), sys::base_name(witness.source));
}

Result<void> give_back(const Manager &manager, const Site &site, const InstanceRecord &record,
                       const std::string &file, const Note &note) {
  const std::string path = cat(site.path, "/", file);
  if (!is_disk_file(file)) return Error(kInterrupted, cat(path, ": an adoption under no name of a disk"));
  auto there = sys::file_info_at(site.directory.get(), file);
  if (!there) return there.error().is(sys::kNotFound) ? Result<void>() : there.error();
  if (is_home(manager, note)) return remove_created(manager.settings, site, file);
  if (there->id.inode != note.inode) {
    // Perhaps all that is left of the data: the instance's own file, which nothing needs to move.
    log::warn(cat(path, ": stays, for ", text::printable(note.source), ", of which it is a clone, is gone"));
    return {};
  }
  VBD_TRY_ASSIGN(auto witness, witness_of(manager, site, record, file, note));
  return move_home(manager, site, file, witness);
}

}  // namespace

Result<Adoption> check_adoptable(const Manager &manager, const LogicalId &id, const std::string &target) {
  const auto allowed = allowed_dirs(manager);
  VBD_TRY_ASSIGN(auto path, sys::confine(id.path, allowed));
  VBD_TRY_ASSIGN(auto directory, sys::open_dir_below(sys::dir_name(path), allowed));
  VBD_TRY_ASSIGN(auto file, sys::open_image_below(path, allowed, sys::Access::read));
  auto info = sys::file_info(file.get());
  if (!info) return info.error().at(path);
  if ((info->mode & kSetIdBits) != 0) {
    return Error(kAdopt,
                 cat(path, ": has a set-user-ID or set-group-ID bit, as programs have and images don't"),
                 cat("chmod ug-s ", path));
  }
  if (info->links > 1) {
    return Error(kAdopt, cat(path, ": has ", info->links, " names (hard links): another one may be in use"));
  }
  VBD_TRY(check_unlisted(manager, directory.get(), path, target));
  auto size = check_takeable(manager, {id.driver, id.filetype, path}, info->id);
  if (!size)
    return size.error().message().find(path) == std::string::npos ? size.error().at(path) : size.error();
  const bool in_place = path == target;
  if (!in_place) {
    auto home = sys::open_dir_below(sys::dir_name(target), allowed);
    if (home && sys::file_info_at(home->get(), sys::base_name(target)).ok())
      return Error(sys::kExists, cat(target, ": exists already"));
  }
  return Adoption{path, info->id, *size, in_place, info->mode, info->uid, info->gid};
}

void note_adoption(OperationRecord &operation, const std::string &file, const Adoption &adoption) {
  if (adoption.in_place) return;
  operation.details[cat(kNote, file)] =
      cat(adoption.id.inode, " ", adoption.mode, " ", adoption.uid, " ", adoption.gid, " ", adoption.source);
}

Result<void> adopt_image(const Manager &manager, const Site &site, const DiskRecord &disk,
                         const Adoption &adoption) {
  const auto allowed = allowed_dirs(manager);
  VBD_TRY_ASSIGN(auto home, sys::open_dir_below(sys::dir_name(adoption.source), allowed));
  VBD_TRY_ASSIGN(const auto lock, lock_source(home.get(), site, sys::dir_name(adoption.source)));
  const std::string target = cat(site.path, "/", disk.file);
  auto again = check_adoptable(manager, {disk.driver, disk.filetype, adoption.source}, target);
  if (!again) return again.error();
  const Error changed(kAdopt, cat(adoption.source, ": changed meanwhile"), "nothing was changed; try again");
  if (again->id != adoption.id || again->size != adoption.size) return changed;
  const std::string name = sys::base_name(adoption.source);
  auto image = sys::open_regular_at(home.get(), name, adoption.source, sys::Access::read);
  if (!image) return image.error();
  auto opened = sys::file_info(image->get());
  if (!opened) return opened.error().at(adoption.source);
  if (opened->id != adoption.id) return changed;
  VBD_TRY(sys::lock_image(image->get(), sys::ImageLockMode::exclusive, adoption.source));
  auto cloned = try_clone(manager, site, disk.file, image->get());
  if (!cloned) return cloned.error().at(target);
  if (*cloned) return {};
  auto moved = sys::move_file_at(home.get(), name, site.directory.get(), disk.file);
  if (!moved) {
    return moved.error().is(sys::kCrossDevice)
               ? moved.error().with_hint(cat("vbd image copy makes a copy as ", target, "; reuse takes it"))
               : moved.error();
  }
  // The name may have become another file's before it was moved.
  auto there = sys::file_info_at(site.directory.get(), disk.file);
  if (there && there->id != adoption.id) {
    auto back = sys::move_file_at(site.directory.get(), disk.file, home.get(), name);
    return back ? Result<void>(changed) : back;
  }
  return give_configured_owner(manager, image->get(), adoption);
}

Result<void> witness_adoptions(const Manager &manager, const InstanceRecord &record,
                               const std::vector<PlannedDisk> &disks) {
  std::vector<Witness> images;
  for (const auto &disk : disks) {
    if (!disk.adopt || disk.adopt->in_place) continue;
    const Adoption &from = *disk.adopt;
    images.push_back({disk.record.file, from.source, from.id, from.mode, from.uid, from.gid});
  }
  return write_witness(manager.settings, record.uuid, record.directory, images);
}

Result<void> undo_adoptions(const Manager &manager, const Site &site, const InstanceRecord &record) {
  for (const auto &[key, value] : record.operation->details) {
    if (!key.starts_with(kNote)) continue;
    VBD_TRY_ASSIGN(auto note, read_note(value));
    if (auto done = give_back(manager, site, record, key.substr(kNote.size()), note); !done) return done;
  }
  return {};
}

}  // namespace vbd::instance
