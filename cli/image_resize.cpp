// SPDX-License-Identifier: MIT
// vbd image resize
#include "cli/image_words.hpp"
#include "cli/report/report.hpp"
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"

namespace vbd::cli {
namespace image_resize_file {
namespace {

inline constexpr ErrorKind kWouldShrink{"image.would_shrink", Exit::usage};

/// Refused before anything is opened for writing.
Result<void> check_change(Session &session, const Constant &filetype, const Place &place,
                          std::uint64_t size) {
  VBD_TRY_ASSIGN(const auto fd, sys::open_image_anywhere(place.path, sys::Access::read));
  VBD_TRY(sys::lock_image(fd.get(), sys::ImageLockMode::stable, place.path));
  VBD_TRY(refuse_other_writer(session, place.path));
  VBD_TRY_ASSIGN(const auto info, image::info(session.registry(), filetype, fd.get(), place.path));
  if (size >= info.virtual_size || session.args().has("shrink")) return {};
  return Error{kWouldShrink,
               text::cat(text::printable(place.path), ": has ", info.virtual_size, " bytes; ", size,
                         " would cut off the end"),
               "add --shrink when what lies there may be lost"};
}

Result<Outcome> resize(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  VBD_TRY_ASSIGN(const auto size, parse_image_size(session.args().value("SIZE"), SizeStyle::plain));
  VBD_TRY_ASSIGN(const auto place, place_of(session));
  std::optional<sys::OperationLock> lock;
  if (!session.dry_run()) {
    auto taken = lock_if_ours(place);
    if (!taken) return taken.error();
    lock = *std::move(taken);
  }
  VBD_TRY(refuse_listed(place, "resize", "the catalog must know: vbd instance info"));
  VBD_TRY(check_change(session, filetype, place, size));
  const instance::Plan steps = {
      text::cat("resize ", filetype.str(), " image ", place.path, " to ", size, " bytes")};
  if (session.dry_run()) return report::plan(session.json(), steps, true, "");
  VBD_TRY_ASSIGN(const auto fd, open_alone(session, place));
  const auto done =
      image::resize(session.registry(), filetype, fd.get(), place.path, size, session.args().has("shrink"));
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return report::plan(session.json(), steps, false, "");
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--shrink", Takes::nothing, "", "the image may get smaller: what lies behind its new end is lost"},
    kAssumeUnused,
};
constexpr ArgumentSpec kArguments[] = {{"PATH", "an image", true, Meaning::file},
                                       {"SIZE", "bytes, or with a suffix K, M, G, T; a multiple of 512"}};
constexpr std::string_view kExamples[] = {"vbd image resize --filetype raw disk.img 20G",
                                          "vbd image resize --shrink --filetype qcow disk.qcow2 5G"};

}  // namespace
}  // namespace image_resize_file

VerbSpec image_resize_verb() {
  return {"resize",
          "make an image larger, or with --shrink smaller",
          "What is added reads as zeros. An image that is in use, or that an instance lists, is refused.",
          image_resize_file::kOptions,
          image_resize_file::kArguments,
          image_resize_file::kExamples,
          true,
          false,
          image_resize_file::resize};
}

}  // namespace vbd::cli
