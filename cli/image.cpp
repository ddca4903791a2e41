// SPDX-License-Identifier: MIT
// vbd image: any path that the caller names and may open; allowed_dirs binds disks and instances.
#include <chrono>
#include <optional>

#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/image/image.hpp"
#include "core/sys/locks.hpp"

namespace vbd::cli {
namespace {

inline constexpr ErrorKind kListed{"image.listed", Exit::refused};
constexpr std::size_t kMaxRecord = std::size_t{1} << 20;

Result<Constant> filetype_of(const Session &session) {
  return Constant::parse(session.args().value("filetype"), PluginKind::filetype);
}

/// The directory of PATH, the name in it, and the path for messages.
struct Place {
  sys::Fd directory;
  std::string name, path;
};
Result<Place> place_of(const Session &session) {
  const std::string path = session.args().value("PATH");
  if (path.empty() || path.ends_with('/')) {
    return Error{kBadValue, text::cat("PATH '", text::printable(path), "': no name of a file")};
  }
  auto directory = sys::open_parent(path);
  if (!directory) return directory.error();
  return Place{*std::move(directory), sys::base_name(path), path};
}

/// Where vbd works with the directory as an instance's, its lock is held; elsewhere nothing is left behind.
Result<std::optional<sys::OperationLock>> lock_if_ours(const Place &place) {
  const std::string lock_name(sys::OperationLock::kFileName);
  if (!sys::file_info_at(place.directory.get(), lock_name)) return std::optional<sys::OperationLock>{};
  auto lock =
      sys::OperationLock::acquire(place.directory.get(), sys::dir_name(place.path), std::chrono::seconds(5));
  if (!lock) return lock.error();
  return std::optional<sys::OperationLock>{*std::move(lock)};
}

Result<image::CreateSpec> create_spec(Session &session) {
  auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  auto options = session.option_values();
  if (!options) return options.error();
  const auto size = parse_image_size(session.args().value("SIZE"), SizeStyle::plain);
  if (!size) return size.error();
  auto ownership = config::image_ownership(session.settings());
  if (!ownership) return ownership.error();
  return image::CreateSpec{*std::move(filetype), *std::move(options), *size, !session.args().has("no-sync"),
                           *ownership};
}

Result<Outcome> create(Session &session) {
  const auto spec = create_spec(session);
  if (!spec) return spec.error();
  const auto place = place_of(session);
  if (!place) return place.error();
  const instance::Plan steps = {
      text::cat("create ", spec->filetype.str(), " image ", place->path, ", ", spec->size, " bytes")};
  if (session.dry_run()) {
    if (auto checked = image::check_create(session.registry(), *spec, place->path); !checked)
      return checked.error();
    if (sys::file_info_at(place->directory.get(), place->name)) {
      return Error{sys::kExists, text::cat("create ", text::printable(place->path), ": exists already")};
    }
    return report::plan(session.json(), steps, true, "");
  }
  const auto lock = lock_if_ours(*place);
  if (!lock) return lock.error();
  const auto done =
      image::create(session.registry(), place->directory.get(), place->name, place->path, *spec);
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return report::plan(session.json(), steps, false, "");
}

Result<Outcome> info(Session &session) {
  const auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  const std::string path = session.args().value("PATH");
  const auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return fd.error();
  if (auto locked = sys::lock_image(fd->get(), sys::ImageLockMode::inspect, path); !locked)
    return locked.error();
  const auto found = image::info(session.registry(), *filetype, fd->get(), path);
  if (!found) return found.error();
  return report::image(session.json(), *filetype, path, *found);
}

/// An instance's images go with their instance. A record that can't be read may list it.
Result<void> refuse_listed(const Place &place) {
  const auto text = sys::read_file_at(place.directory.get(), instance::kInstanceFile, kMaxRecord);
  if (!text) return text.error().is(sys::kNotFound) ? Result<void>{} : text.error();
  const std::string file =
      text::cat(sys::dir_name(sys::absolute_path(place.path)), "/", instance::kInstanceFile);
  const auto record = config::parse_instance(*text, file);
  if (!record) {
    return Error{kListed,
                 text::cat("remove ", text::printable(place.path),
                           ": may be an instance's: ", record.error().message()),
                 "use a vbd that reads this file, or remove the instance"};
  }
  for (const DiskRecord &disk : record->disks) {
    if (disk.file != place.name) continue;
    return Error{kListed,
                 text::cat("remove ", text::printable(place.path), ": is a disk of instance ", record->name),
                 text::cat("vbd instance remove ", record->name)};
  }
  return {};
}

Result<Outcome> remove(Session &session) {
  const auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  const auto place = place_of(session);
  if (!place) return place.error();
  const auto lock = lock_if_ours(*place);
  if (!lock) return lock.error();
  if (auto allowed = refuse_listed(*place); !allowed) return allowed.error();
  const instance::Plan steps = {text::cat("remove ", filetype->str(), " image ", place->path)};
  if (session.dry_run()) {
    if (const auto there = sys::file_info_at(place->directory.get(), place->name); !there)
      return there.error();
    return report::plan(session.json(), steps, true, "");
  }
  const auto done = image::remove(session.registry(), *filetype, place->directory.get(), place->name,
                                  place->path, session.args().has("assume-unused"));
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return report::plan(session.json(), steps, false, "");
}

constexpr OptionSpec kFiletype = {
    "--filetype", Takes::value, "FT", "filetype of the image: raw, qcow, ...", "", true, Meaning::filetype};
constexpr OptionSpec kCreateOptions[] = {
    kFiletype,
    {"-O,--option", Takes::values, "NAME=VALUE", "an option of the filetype; see vbd plugin show"},
    {"--no-sync", Takes::nothing, "", "do not wait until the image is on disk"},
};
constexpr OptionSpec kInfoOptions[] = {kFiletype};
constexpr OptionSpec kRemoveOptions[] = {
    kFiletype,
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
};
constexpr ArgumentSpec kPathAndSize[] = {{"PATH", "the new image", true, Meaning::file},
                                         {"SIZE", "bytes, or with a suffix K, M, G, T; a multiple of 512"}};
constexpr ArgumentSpec kPath[] = {{"PATH", "an image", true, Meaning::file}};
constexpr std::string_view kCreateExamples[] = {
    "vbd image create --filetype raw disk.img 10G",
    "vbd image create --no-sync --filetype qcow -O cluster_size=64K disk.qcow2 1T"};
constexpr std::string_view kInfoExamples[] = {"vbd image info --filetype raw disk.img",
                                              "vbd image info --filetype qcow disk.qcow2 --output json"};
constexpr std::string_view kRemoveExamples[] = {"vbd image remove --filetype raw disk.img"};

constexpr VerbSpec kVerbs[] = {
    {"create", "make a new image", "Makes a new image that reads as zeros. Never replaces a file.",
     kCreateOptions, kPathAndSize, kCreateExamples, true, false, create},
    {"info", "show sizes and what the filetype knows",
     "Shows an image, also beside a running guest. The filetype is declared, never guessed.", kInfoOptions,
     kPath, kInfoExamples, false, false, info},
    {"remove", "remove an image that no instance lists and nobody uses", "", kRemoveOptions, kPath,
     kRemoveExamples, true, false, remove},
};

}  // namespace

std::span<const VerbSpec> image_verbs() {
  return kVerbs;
}

}  // namespace vbd::cli
