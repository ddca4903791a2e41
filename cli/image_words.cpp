// SPDX-License-Identifier: MIT
#include "cli/image_words.hpp"

#include <chrono>

#include "cli/parser.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/device/lease.hpp"
#include "core/image/image.hpp"
#include "core/sys/spare.hpp"
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
  const auto text = sys::read_record_at(place.directory.get(), instance::kInstanceFile, kMaxRecord);
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

Result<void> refuse_other_writer(const Session &session, const std::string &path) {
  const std::string full = sys::absolute_path(path);
  VBD_TRY_ASSIGN(auto directory, sys::open_parent(full));
  return device::refuse_elsewhere({directory.get(), sys::dir_name(full), sys::base_name(full)},
                                  session.settings(), true);
}

Result<std::optional<sys::NameLock>> keep_nodes_off(const Session &session, const Place &place) {
  std::optional<sys::NameLock> nodes;
  const std::string where = sys::dir_name(sys::absolute_path(place.path));
  auto taken =
      sys::NameLock::acquire(place.directory.get(), where, session.settings().node, std::chrono::seconds(5));
  const bool theirs = !taken && (taken.error().is(sys::kPermission) || taken.error().is(sys::kReadOnly));
  if (!taken && !theirs) return taken.error();
  if (taken) nodes.emplace(*std::move(taken));
  VBD_TRY(refuse_other_writer(session, place.path));
  return nodes;
}

Result<Alone> open_alone(const Session &session, const Place &place) {
  auto fd = sys::open_image_anywhere(place.path, sys::Access::read_write);
  if (!fd) return fd.error();
  auto nodes = keep_nodes_off(session, place);
  if (!nodes) return nodes.error();
  VBD_TRY(image::refuse_users(fd->get(), place.path, session.args().has("assume-unused")));
  VBD_TRY(sys::lock_image(fd->get(), sys::ImageLockMode::exclusive, place.path));
  return Alone{*std::move(fd), *std::move(nodes)};
}

Result<sys::Fd> open_file_still(const Session &session, const std::string &path, std::string &in_use) {
  auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return fd;
  VBD_TRY_ASSIGN(auto writers, image::writers_of(fd->get(), path));
  const bool allowed = session.args().has("allow-in-use");
  if (!writers.empty() && !allowed) {
    return Error{sys::kInUse,
                 text::cat(text::printable(path), ": in use by ", writers, ", and may change meanwhile"),
                 "stop that process or detach that device, or add --allow-in-use"};
  }
  auto locked = sys::lock_image(fd->get(), sys::ImageLockMode::stable, path);
  if (!locked && !(allowed && locked.error().is(sys::kInUse))) return locked.error();
  auto here = refuse_other_writer(session, path);
  if (!here && !allowed) return here.error();
  const std::string named = !writers.empty() ? writers
                            : !locked        ? locked.error().message()
                            : !here          ? here.error().message()
                                             : std::string();
  if (!named.empty()) in_use += text::cat(in_use.empty() ? "" : "; ", text::printable(path), ": ", named);
  return fd;
}

Outcome marked(bool json, Outcome outcome, const std::string &in_use) {
  if (json) {
    outcome.json.set("in_use", in_use_json(in_use));
  } else if (!in_use.empty()) {
    outcome.text += text::cat("in use meanwhile, so this is of no one moment: ", in_use, "\n");
  }
  return outcome;
}

json::Value in_use_json(const std::string &in_use) {
  return in_use.empty() ? json::Value{nullptr} : json::Value{in_use};
}

Result<std::unique_ptr<image::OpenImage>> open_still(Session &session, const Constant &filetype,
                                                     const std::string &path, std::string &in_use) {
  auto fd = open_file_still(session, path, in_use);
  if (!fd) return fd.error();
  return image::OpenImage::open(session.registry(), session.settings(), filetype, *std::move(fd), path);
}

}  // namespace vbd::cli
