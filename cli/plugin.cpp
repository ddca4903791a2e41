// SPDX-License-Identifier: MIT
// vbd plugin
#include "cli/nouns.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

Result<Outcome> list(Session &session) {
  return report::plugins(session.json(), session.registry().list(), session.color());
}

/// FD_LOOP, FT_RAW, or the short form of either.
Result<plugin::Found> find_plugin(Session &session, const std::string &word) {
  const bool is_filetype = word.starts_with("FT_");
  const auto first = Constant::parse(word, is_filetype ? PluginKind::filetype : PluginKind::driver);
  if (!first) return first.error();
  auto found = session.registry().find(*first);
  if (found || word.starts_with("FD_") || is_filetype || !found.error().is(plugin::kPluginNotFound))
    return found;
  const auto second = Constant::parse(word, PluginKind::filetype);
  if (!second) return second.error();
  auto filetype = session.registry().find(*second);
  return filetype || !filetype.error().is(plugin::kPluginNotFound) ? filetype : found;
}

Result<Outcome> show(Session &session) {
  const auto found = find_plugin(session, session.args().value("CONSTANT"));
  if (!found) return found.error();
  const PluginKind kind = found->note.kind;
  const auto constant = Constant::parse(found->note.constant, kind);
  if (!constant) return constant.error();
  const auto loaded = session.registry().load(*constant);
  if (!loaded) return loaded.error();
  return report::plugin(session.json(), *found, (*loaded)->options());
}

Result<Outcome> matrix(Session &session) {
  return report::matrix(session.json(), session.registry().list(), session.color());
}

constexpr ArgumentSpec kConstant[] = {
    {"CONSTANT", "FD_LOOP, FT_RAW, or short: loop, raw", true, Meaning::plugin}};
constexpr std::string_view kListExamples[] = {"vbd plugin list",
                                              "vbd plugin list --plugin-dir /opt/acme/plugins"};
constexpr std::string_view kShowExamples[] = {"vbd plugin show FD_LOOP",
                                              "vbd plugin show qcow --output json"};
constexpr std::string_view kMatrixExamples[] = {"vbd plugin matrix"};

constexpr VerbSpec kVerbs[] = {
    {"list",
     "list plugins, and why one can't be used",
     "Lists what the plugin directories hold. Nothing is loaded or run.",
     {},
     {},
     kListExamples,
     false,
     false,
     list},
    {"show", "show a plugin and its options", "", {}, kConstant, kShowExamples, false, false, show},
    {"matrix",
     "show which driver takes which filetype",
     "Shows which driver takes which filetype, from what the files say about themselves.",
     {},
     {},
     kMatrixExamples,
     false,
     false,
     matrix},
};

}  // namespace

std::span<const VerbSpec> plugin_verbs() {
  return kVerbs;
}

}  // namespace vbd::cli
