// SPDX-License-Identifier: MIT
// vbd image check
#include "cli/image_words.hpp"
#include "cli/report/report.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"

namespace vbd::cli {
namespace image_check_file {
namespace {

using image::Repair;

Repair wanted_repair(const Session &session) {
  const std::string word = session.args().value("repair", "none");
  return word == "all" ? Repair::all : word == "leaks" ? Repair::leaks : Repair::none;
}

Result<Alone> open_for(const Session &session, const Place &place, Repair repair, std::string &in_use) {
  if (repair != Repair::none && !session.dry_run()) return open_alone(session, place);
  auto fd = open_file_still(session, place.path, in_use);
  if (!fd) return fd.error();
  return Alone{*std::move(fd), {}};
}

Result<Outcome> check(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  VBD_TRY_ASSIGN(const auto place, place_of(session));
  const Repair repair = wanted_repair(session);
  std::optional<sys::OperationLock> lock;
  if (repair != Repair::none && !session.dry_run()) {
    auto taken = lock_if_ours(place);
    if (!taken) return taken.error();
    lock = *std::move(taken);
  }
  std::string in_use;
  VBD_TRY_ASSIGN(const auto fd, open_for(session, place, repair, in_use));
  const auto result = image::check(session.registry(), filetype, fd.get(), place.path,
                                   session.dry_run() ? Repair::none : repair);
  if (repair != Repair::none && !session.dry_run()) {
    log::audit(text::cat("image check --repair ", place.path), result ? "done" : result.error().message());
  }
  if (!result) return result.error();
  return marked(session.json(), report::check(session.json(), filetype, place.path, *result), in_use);
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--repair", Takes::value, "leaks|all", "give back lost space, or mend everything that can be mended",
     "leaks|all"},
    kAssumeUnused,
    kAllowInUse,
};
constexpr std::string_view kExamples[] = {"vbd image check --filetype qcow disk.qcow2",
                                          "vbd image check --repair=leaks --filetype qcow disk.qcow2"};

}  // namespace
}  // namespace image_check_file

VerbSpec image_check_verb() {
  return {
      "check",
      "look for damage and lost space, and repair it on request",
      "Exit code 0: clean, 1: space is lost but the content is safe, 6: damaged. Reads the tables, not the "
      "data. With --repair the exit code says what is left.",
      image_check_file::kOptions,
      kImagePath,
      image_check_file::kExamples,
      true,
      false,
      image_check_file::check};
}

}  // namespace vbd::cli
