// SPDX-License-Identifier: MIT
// vbd image copy
#include "cli/image_words.hpp"
#include "cli/parser.hpp"
#include "cli/progress.hpp"
#include "cli/report/report.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/image/copy.hpp"

namespace vbd::cli {
namespace image_copy_file {
namespace {

/// filetype=FT[,option=value...]
Result<image::CreateSpec> target_of(const Session &session) {
  const std::string given = session.args().value("to");
  const std::string shown = text::cat("--to ", text::printable(given));
  std::string filetype;
  plugin::Values options;
  for (const std::string &word : text::split(given, ',')) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{kBadValue, text::cat(shown, ": '", text::printable(word), "' is not NAME=VALUE"),
                   "write --to filetype=FT[,OPTION=VALUE...]"};
    }
    const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
    const bool is_new =
        name == "filetype" ? std::exchange(filetype, value).empty() : options.emplace(name, value).second;
    if (!is_new) return Error{kBadValue, text::cat(shown, ": ", text::printable(name), " is given twice")};
  }
  if (filetype.empty()) {
    return Error{kBadValue, text::cat(shown, ": names no filetype"),
                 "write --to filetype=FT[,OPTION=VALUE...]"};
  }
  auto constant = Constant::parse(filetype, PluginKind::filetype);
  if (!constant) return constant.error();
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(session.settings()));
  return image::CreateSpec{*std::move(constant), std::move(options), 0, !session.args().has("no-sync"),
                           ownership};
}

Result<Outcome> plan_only(Session &session, const Place &place, const image::OpenImage &source,
                          image::CreateSpec spec, const instance::Plan &steps) {
  spec.size = source.size();
  VBD_TRY(image::check_create(session.registry(), spec, text::printable(place.path)));
  if (sys::file_info_at(place.directory.get(), place.name))
    return Error{sys::kExists, text::cat(text::printable(place.path), ": exists already")};
  return report::plan(session.json(), steps, true, "");
}

Result<Outcome> copy(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  VBD_TRY_ASSIGN(const auto target, target_of(session));
  VBD_TRY_ASSIGN(const auto place, place_of(session, "DST"));
  const std::string from = session.args().value("SRC");
  std::string in_use;
  VBD_TRY_ASSIGN(const auto source, open_still(session, filetype, from, in_use));
  const instance::Plan steps = {text::cat("copy ", filetype.str(), " image ", from, " to ",
                                          target.filetype.str(), " image ", place.path, ", ", source->size(),
                                          " bytes")};
  if (session.dry_run()) {
    auto plan = plan_only(session, place, *source, target, steps);
    return plan ? marked(session.json(), *std::move(plan), in_use) : plan;
  }
  VBD_TRY_ASSIGN(const auto lock, lock_if_ours(place));
  Progress progress(session, "copy", from);
  const image::CopySpec spec{target, session.args().has("detect-zeroes")};
  const auto done = image::copy(session.registry(), *source, place.directory.get(), place.name, place.path,
                                spec, progress.watch());
  log::audit("image " + steps.front(), done ? "done" : done.error().message());
  if (!done) return done.error();
  return marked(session.json(), report::plan(session.json(), steps, false, ""), in_use);
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--to", Takes::value, "filetype=FT[,OPTION=VALUE...]",
     "filetype of the copy and its options; see vbd plugin show", "", true},
    {"--detect-zeroes", Takes::nothing, "", "look for zeros in what SRC stores, and do not store them"},
    kAllowInUse,
    {"--no-sync", Takes::nothing, "", "do not wait until the copy is on disk"},
};
constexpr ArgumentSpec kArguments[] = {{"SRC", "an image that nobody writes to", true, Meaning::file},
                                       {"DST", "the new image", true, Meaning::file}};
constexpr std::string_view kExamples[] = {
    "vbd image copy --filetype raw disk.img --to filetype=qcow disk.qcow2",
    "vbd image copy --filetype raw disk.img --to filetype=qcow,compression=zstd archive.qcow2",
    "vbd image copy --detect-zeroes --filetype qcow disk.qcow2 --to filetype=raw disk.img"};

}  // namespace
}  // namespace image_copy_file

VerbSpec image_copy_verb() {
  return {
      "copy",
      "copy an image into a new one of any filetype",
      "DST shows the guest the same bytes, refers to no other file, and appears under its name only when it "
      "is complete and on disk; it never replaces a file. What SRC does not store is not stored in DST. On a "
      "filesystem that can share the content of files, it is shared. SIGINT and SIGTERM end it and leave "
      "nothing behind.",
      image_copy_file::kOptions,
      image_copy_file::kArguments,
      image_copy_file::kExamples,
      true,
      false,
      image_copy_file::copy};
}

}  // namespace vbd::cli
