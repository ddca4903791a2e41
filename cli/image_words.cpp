// SPDX-License-Identifier: MIT
#include "cli/image_words.hpp"

#include <chrono>

#include "cli/parser.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/image/image.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::cli {
namespace {

inline constexpr ErrorKind kListed{"image.listed", Exit::refused};
constexpr std::size_t kMaxRecord = std::size_t{1} << 20;

}  // namespace

Result<Constant> filetype_of(const Session &session) {
  return Constant::parse(session.args().value("filetype"), PluginKind::filetype);
}

Result<Place> place_of(const Session &session, std::string_view argument) {
  const std::string path = session.args().value(argument);
  if (path.empty() || path.ends_with('/')) {
    return Error{kBadValue, text::cat(argument, " '", text::printable(path), "': no name of a file")};
  }
  auto directory = sys::open_parent(path);
  if (!directory) return directory.error();
  return Place{*std::move(directory), sys::base_name(path), path};
}

Result<std::optional<sys::OperationLock>> lock_if_ours(const Place &place) {
  const std::string lock_name(sys::OperationLock::kFileName);
  if (!sys::file_info_at(place.directory.get(), lock_name)) return std::optional<sys::OperationLock>{};
  auto lock =
      sys::OperationLock::acquire(place.directory.get(), sys::dir_name(place.path), std::chrono::seconds(5));
  if (!lock) return lock.error();
  return std::optional<sys::OperationLock>{*std::move(lock)};
}

Result<void> refuse_listed(const Place &place, std::string_view verb, std::string_view instead) {
  const auto text = sys::read_file_at(place.directory.get(), instance::kInstanceFile, kMaxRecord);
  if (!text) return text.error().is(sys::kNotFound) ? Result<void>{} : text.error();
  const std::string file =
      text::cat(sys::dir_name(sys::absolute_path(place.path)), "/", instance::kInstanceFile);
  const auto record = config::parse_instance(*text, file);
  if (!record) {
    return Error{kListed,
                 text::cat(verb, " ", text::printable(place.path),
                           ": may be an instance's: ", record.error().message()),
                 "use a vbd that reads this file, or work on the instance"};
  }
  for (const DiskRecord &disk : record->disks) {
    if (disk.file != place.name) continue;
    return Error{kListed,
                 text::cat(verb, " ", text::printable(place.path), ": is a disk of instance ", record->name),
                 text::cat(instead, " ", record->name)};
  }
  return {};
}

Result<sys::Fd> open_alone(const Session &session, const Place &place) {
  auto fd = sys::open_image_anywhere(place.path, sys::Access::read_write);
  if (!fd) return fd;
  if (auto unused = image::refuse_users(fd->get(), place.path, session.args().has("assume-unused")); !unused)
    return unused.error();
  if (auto locked = sys::lock_image(fd->get(), sys::ImageLockMode::exclusive, place.path); !locked)
    return locked.error();
  return fd;
}

Result<std::unique_ptr<image::OpenImage>> open_still(Session &session, const Constant &filetype,
                                                     const std::string &path) {
  auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return fd.error();
  if (auto locked = sys::lock_image(fd->get(), sys::ImageLockMode::stable, path); !locked)
    return locked.error();
  return image::OpenImage::open(session.registry(), session.settings(), filetype, *std::move(fd), path);
}

}  // namespace vbd::cli
