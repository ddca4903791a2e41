// SPDX-License-Identifier: MIT
// The rules of `reuse`: which files are correctly named, and what each must be. All problems are collected,
// so that an operator can mend them at once. Nothing is written, not even a lock file; image locks are taken
// and given back.
#include <algorithm>
#include <optional>

#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/usage.hpp"
#include "manager/instance/add_plan.hpp"

namespace vbd::instance {
namespace {

using text::cat;

struct Candidate {
  std::string name;
  DiskName disk;
};

class Reuse {
 public:
  Reuse(const Manager &manager, const AddSpec &spec, const std::string &path, int directory)
      : manager_(manager), spec_(spec), path_(path), directory_(directory) {}

  Result<std::vector<ReusedFile>> run(const std::set<std::string> &ignored);

 private:
  void problem(const std::string &name, std::string_view why) {
    problems_.push_back(cat(text::printable(name), ": ", why));
  }
  void check_names(const std::vector<Candidate> &files);
  void check_partitions(const std::vector<Candidate> &files, std::size_t at);
  void check_count(std::size_t files);
  /// The virtual size, or why not.
  Result<std::uint64_t> check_file(const std::string &name, const DiskSpec *disk);
  [[nodiscard]] Error report() const;

  const Manager &manager_;
  const AddSpec &spec_;
  const std::string &path_;
  int directory_;
  std::vector<std::string> problems_;
  bool damaged_ = false;
  std::optional<Error> failure_;  ///< the first file that could not be looked at
};

/// Hidden files, ours among them, and what mkfs makes.
bool is_ignored(const std::string &name) {
  return name.starts_with(".") || name == "lost+found" || name == kInstanceFile;
}

const char *kind_text(const sys::FileInfo &info) {
  if (info.is_directory()) return "a directory";
  if (info.is_link()) return "a symbolic link";
  return "not a regular file: a FIFO, a socket or a device";
}

/// What stands after "PATH: " of a message, for a list that names the file itself.
std::string without_path(const std::string &message, const std::string &path) {
  const std::string prefix = text::printable(path) + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

void Reuse::check_partitions(const std::vector<Candidate> &files, std::size_t at) {
  const auto &file = files[at];
  if (!file.disk.partition) return;
  const bool first = at == 0 || files[at - 1].disk.index != file.disk.index;
  const bool whole = std::any_of(files.begin(), files.end(), [&](const Candidate &other) {
    return other.disk.index == file.disk.index && !other.disk.partition;
  });
  if (whole)
    return problem(file.name, cat(disk_name(file.disk.index), " is there too: a disk and a partition of it"));
  const unsigned expected = first ? 1 : files[at - 1].disk.partition.value_or(0) + 1;
  if (*file.disk.partition != expected) {
    problem(file.name,
            cat("there is no ", disk_name(file.disk.index), *file.disk.partition - 1, " before it"));
  }
}

void Reuse::check_names(const std::vector<Candidate> &files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    check_partitions(files, i);
    const std::size_t index = files[i].disk.index;
    const bool gap = i == 0 ? index != 0 : index > files[i - 1].disk.index + 1;
    if (gap) problem(files[i].name, cat("there is no ", disk_name(index - 1), " before it"));
  }
}

void Reuse::check_count(std::size_t files) {
  if (!spec_.disks.empty() && spec_.disks.size() != files) {
    problems_.push_back(cat(spec_.disks.size(), " --disk given, ", files, " files found"));
  }
}

Result<std::uint64_t> Reuse::check_file(const std::string &name, const DiskSpec *disk) {
  VBD_TRY_ASSIGN(auto info, sys::file_info_at(directory_, name));
  if (!info.is_regular()) return Error(sys::kNotRegular, kind_text(info));
  if (info.links > 1) return Error(kReuse, cat(info.links, " names (hard links): another one may be in use"));
  if (info.size == 0) return Error(kReuse, "empty");
  VBD_TRY_ASSIGN(auto driver, driver_of(manager_, spec_, disk));
  VBD_TRY_ASSIGN(auto filetype, filetype_of(manager_, spec_, disk));
  auto size = check_takeable(manager_, {driver, filetype, cat(path_, "/", name)}, info.id);
  if (!size) return size;
  if (disk != nullptr && disk->size && *disk->size != *size) {
    return Error(kReuse, cat("its size is ", *size, " bytes, --disk ", disk->index, " says ", *disk->size));
  }
  return size;
}

Error Reuse::report() const {
  // A file that could not be looked at is no reason against it.
  if (failure_ && !damaged_) {
    return {ErrorKind{failure_->id(), failure_->exit()}, cat(path_, ": reuse: ", text::join(problems_, "; ")),
            "nothing was changed; try again when its storage answers"};
  }
  return {damaged_ ? image::kDamagedImage : kReuse, cat(path_, ": reuse: ", text::join(problems_, "; ")),
          damaged_
              ? "nothing was changed; --repair mends what can be mended, --unchecked takes images as they are"
              : "nothing was changed; mend or move away what is listed, and try again"};
}

Result<std::vector<ReusedFile>> Reuse::run(const std::set<std::string> &ignored) {
  auto names = sys::list_dir(directory_);
  if (!names) return names.error().at(path_);
  std::vector<Candidate> files;
  for (const auto &name : *names) {
    if (is_ignored(name) || ignored.contains(name)) continue;
    if (auto disk = parse_disk_name(name)) {
      files.push_back({name, *disk});
    } else {
      problem(name, "not the name of a disk (sda, sdb, ... or sda1, sda2, ...)");
    }
  }
  std::sort(files.begin(), files.end(), [](const Candidate &a, const Candidate &b) {
    return std::pair(a.disk.index, a.disk.partition) < std::pair(b.disk.index, b.disk.partition);
  });
  if (files.empty()) problems_.push_back("no file named like a disk (sda, sdb, ...)");
  check_names(files);
  check_count(files.size());
  std::vector<ReusedFile> reused;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto size = check_file(files[i].name, find_disk(spec_, i));
    if (size) {
      reused.push_back({files[i].name, *size});
    } else {
      if (size.error().exit() == Exit::failed && !failure_) failure_ = size.error();
      damaged_ |= size.error().exit() == Exit::damaged && !size.error().is(image::kBadSizeInImage);
      problem(files[i].name, without_path(size.error().message(), cat(path_, "/", files[i].name)));
    }
  }
  if (!problems_.empty()) return report();
  return reused;
}

}  // namespace

Result<std::uint64_t> check_takeable(const Manager &manager, const LogicalId &id, const sys::FileId &file) {
  auto fd =
      sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!fd) return fd.error();
  auto opened = sys::file_info(fd->get());
  if (!opened) return opened.error().at(id.path);
  if (opened->id != file) return Error(sys::kInUse, "somebody replaces it at this moment", "try again");
  VBD_TRY_ASSIGN(auto home, sys::open_parent(id.path));
  const device::LeaseSpot spot{home.get(), sys::dir_name(id.path), sys::base_name(id.path)};
  VBD_TRY(device::refuse_elsewhere(spot, manager.settings, true));
  VBD_TRY_ASSIGN(auto holders, device::holders_of({manager.settings, manager.registry}, id));
  if (!holders.empty()) return Error(sys::kInUse, cat("attached for ", text::join(holders, ", ")));
  VBD_TRY(sys::lock_image(fd->get(), sys::ImageLockMode::exclusive, id.path));
  VBD_TRY_ASSIGN(auto usage, sys::find_usage(file));
  if (usage.any()) return Error(sys::kInUse, cat("in use: ", usage.describe()));
  if (!usage.unseen.empty()) log::warn(cat(id.path, ": ", usage.unseen, " could not be looked at"));
  VBD_TRY_ASSIGN(auto info, image::verify_declared(manager.registry, id.filetype, fd->get(), id.path));
  // Nothing is changed before all are known to be good: a repair comes when the image is in its place.
  image::Vetting vetting = manager.vetting;
  vetting.dry_run |= vetting.word == image::Vetting::Word::repair;
  VBD_TRY(image::vet(manager.registry, manager.settings, id.filetype, fd->get(), id.path, vetting));
  VBD_TRY(image::check_references(info, manager.settings, id.path));
  const std::uint64_t size = info.virtual_size;
  if (size == 0 || size > kMaxImageSize || size % kSectorSize != 0) {
    return Error(image::kBadSizeInImage,
                 cat("its size is ", size, " bytes, not a multiple of 512 from 512 on"));
  }
  return size;
}

Result<void> vet_image(const Manager &manager, const LogicalId &id) {
  const bool repairs = manager.vetting.word == image::Vetting::Word::repair && !manager.vetting.dry_run;
  VBD_TRY_ASSIGN(auto file,
                 sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs),
                                       repairs ? sys::Access::read_write : sys::Access::read));
  const auto mode = repairs ? sys::ImageLockMode::exclusive : sys::ImageLockMode::stable;
  VBD_TRY(sys::lock_image(file.get(), mode, id.path));
  return image::vet(manager.registry, manager.settings, id.filetype, file.get(), id.path, manager.vetting);
}

std::string vetting_line(const Manager &manager) {
  switch (manager.vetting.word) {
    case image::Vetting::Word::repair:
      return "repair the images that are taken, where the check finds damage";
    case image::Vetting::Word::unchecked:
      return "take the images as they are, without a check";
    default:
      return "";
  }
}

Result<std::vector<ReusedFile>> check_reuse(const Manager &manager, const AddSpec &spec,
                                            const std::string &path, int directory,
                                            const std::set<std::string> &ignored) {
  for (const auto &disk : {driver_of(manager, spec, nullptr), filetype_of(manager, spec, nullptr)}) {
    if (!disk) return disk.error();  // a wrong constant is the command's mistake, not each file's
    if (auto found = manager.registry.find(*disk); !found) return found.error();
  }
  return Reuse(manager, spec, path, directory).run(ignored);
}

}  // namespace vbd::instance
