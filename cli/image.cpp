// SPDX-License-Identifier: MIT
// vbd image: any path that the caller names and may open; allowed_dirs binds disks and instances.
#include "core/image/image.hpp"
#include "cli/image_words.hpp"
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/sys/locks.hpp"

namespace vbd::cli {
namespace image_file {
namespace {

Result<image::CreateSpec> create_spec(Session &session) {
  auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  auto options = session.option_values();
  if (!options) return options.error();
  VBD_TRY_ASSIGN(const auto size, parse_image_size(session.args().value("SIZE"), SizeStyle::plain));
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(session.settings()));
  return image::CreateSpec{*std::move(filetype), *std::move(options), size, !session.args().has("no-sync"),
                           ownership};
}

Result<Outcome> create(Session &session) {
  VBD_TRY_ASSIGN(const auto spec, create_spec(session));
  VBD_TRY_ASSIGN(const auto place, place_of(session));
  const instance::Plan steps = {
      text::cat("create ", spec.filetype.str(), " image ", place.path, ", ", spec.size, " bytes")};
  if (session.dry_run()) {
    VBD_TRY(image::check_create(session.registry(), spec, place.path));
    if (sys::file_info_at(place.directory.get(), place.name)) {
      return Error{sys::kExists, text::cat("create ", text::printable(place.path), ": exists already")};
    }
    return report::plan(session.json(), steps, true, "");
  }
  VBD_TRY_ASSIGN(const auto lock, lock_if_ours(place));
  const auto done = image::create(session.registry(), place.directory.get(), place.name, place.path, spec);
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return report::plan(session.json(), steps, false, "");
}

Result<Outcome> info(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  const std::string path = session.args().value("PATH");
  VBD_TRY_ASSIGN(const auto fd, sys::open_image_anywhere(path, sys::Access::read));
  VBD_TRY(image::lock_to_look(fd.get(), path));
  VBD_TRY_ASSIGN(const auto found, image::info(session.registry(), filetype, fd.get(), path));
  return report::image(session.json(), filetype, path, found);
}

Result<Outcome> remove(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  VBD_TRY_ASSIGN(const auto place, place_of(session));
  VBD_TRY_ASSIGN(const auto lock, lock_if_ours(place));
  VBD_TRY(refuse_listed(place, "remove", "vbd instance remove"));
  VBD_TRY_ASSIGN(const auto nodes, keep_nodes_off(session, place));
  const instance::Plan steps = {text::cat("remove ", filetype.str(), " image ", place.path)};
  if (session.dry_run()) {
    VBD_TRY(sys::file_info_at(place.directory.get(), place.name));
    return report::plan(session.json(), steps, true, "");
  }
  const auto done = image::remove(session.registry(), filetype, place.directory.get(), place.name, place.path,
                                  session.args().has("assume-unused"));
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return report::plan(session.json(), steps, false, "");
}

constexpr OptionSpec kCreateOptions[] = {
    kFiletypeOption,
    {"-O,--option", Takes::values, "NAME=VALUE", "an option of the filetype; see vbd plugin show"},
    {"--no-sync", Takes::nothing, "", "do not wait until the image is on disk"},
};
constexpr OptionSpec kInfoOptions[] = {kFiletypeOption};
constexpr OptionSpec kRemoveOptions[] = {
    kFiletypeOption,
    kAssumeUnused,
};
constexpr ArgumentSpec kPathAndSize[] = {{"PATH", "the new image", true, Meaning::file},
                                         {"SIZE", "bytes, or with a suffix K, M, G, T; a multiple of 512"}};
constexpr std::string_view kCreateExamples[] = {
    "vbd image create --filetype raw disk.img 10G",
    "vbd image create --no-sync --filetype qcow -O cluster_size=64K disk.qcow2 1T"};
constexpr std::string_view kInfoExamples[] = {"vbd image info --filetype raw disk.img",
                                              "vbd image info --filetype qcow disk.qcow2 --output json"};
constexpr std::string_view kRemoveExamples[] = {"vbd image remove --filetype raw disk.img"};

constexpr VerbSpec kOwnVerbs[] = {
    {"create", "make a new image", "Makes a new image that reads as zeros. Never replaces a file.",
     kCreateOptions, kPathAndSize, kCreateExamples, true, false, create},
    {"info", "show sizes and what the filetype knows",
     "Shows an image, also beside a running guest. The filetype is declared, never guessed.", kInfoOptions,
     kImagePath, kInfoExamples, false, false, info},
    {"remove", "remove an image that no instance lists and nobody uses", "", kRemoveOptions, kImagePath,
     kRemoveExamples, true, false, remove},
};

}  // namespace
}  // namespace image_file

std::span<const VerbSpec> image_verbs() {
  static const VerbSpec verbs[] = {
      image_file::kOwnVerbs[0], image_file::kOwnVerbs[1], image_map_verb(),
      image_check_verb(),       image_resize_verb(),      image_copy_verb(),
      image_compare_verb(),     image_digest_verb(),      image_file::kOwnVerbs[2]};
  return verbs;
}

}  // namespace vbd::cli
