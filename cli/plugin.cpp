// SPDX-License-Identifier: MIT
// vbd plugin
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"
#include "core/plugin/check.hpp"
#include "core/plugin/scaffold.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"

namespace vbd::cli {
namespace plugin_file {
namespace {

Result<Outcome> list(Session &session) {
  return report::plugins(session.json(), session.registry().list(), session.color());
}

/// FD_LOOP, FT_RAW, or the short form of either.
Result<plugin::Found> find_plugin(Session &session, const std::string &word) {
  const bool is_filetype = word.starts_with("FT_");
  VBD_TRY_ASSIGN(const auto first,
                 Constant::parse(word, is_filetype ? PluginKind::filetype : PluginKind::driver));
  auto found = session.registry().find(first);
  if (found || word.starts_with("FD_") || is_filetype || !found.error().is(plugin::kPluginNotFound))
    return found;
  VBD_TRY_ASSIGN(const auto second, Constant::parse(word, PluginKind::filetype));
  auto filetype = session.registry().find(second);
  return filetype || !filetype.error().is(plugin::kPluginNotFound) ? filetype : found;
}

Result<Outcome> show(Session &session) {
  VBD_TRY_ASSIGN(const auto found, find_plugin(session, session.args().value("CONSTANT")));
  const PluginKind kind = found.note.kind;
  VBD_TRY_ASSIGN(const auto constant, Constant::parse(found.note.constant, kind));
  VBD_TRY_ASSIGN(const auto loaded, session.registry().load(constant));
  return report::plugin(session.json(), found, loaded->options());
}

/// Of the file, or of the installed plugin of that constant.
Result<Outcome> check(Session &session) {
  std::string path = session.args().value("PLUGIN");
  if (path.find('/') == std::string::npos && !path.ends_with(".so")) {
    VBD_TRY_ASSIGN(const auto found, find_plugin(session, path));
    path = found.path;
  }
  const auto checked =
      plugin::check_file(sys::absolute_path(path), session.settings(), session.registry().runner());
  if (!checked) return checked.error();
  return report::plugin_check(session.json(), *checked);
}

Result<Outcome> create(Session &session) {
  const std::string word = session.args().value("CONSTANT");
  if (!word.starts_with("FD_") && !word.starts_with("FT_")) {
    return Error{kBadValue,
                 text::cat(text::printable(word), ": a new plugin's constant begins with FD_ or FT_"),
                 "FD_NAME is a driver, FT_NAME a filetype"};
  }
  VBD_TRY_ASSIGN(const auto constant,
                 Constant::parse(word, word[1] == 'D' ? PluginKind::driver : PluginKind::filetype));
  const std::string file = constant.file_name();
  const plugin::ScaffoldSpec spec{
      constant, sys::install_prefix() + "/share/vbdkit/templates", session.args().value("language", "cpp"),
      sys::absolute_path(session.args().value("DIR", file.substr(0, file.size() - 3)))};
  VBD_TRY_ASSIGN(const auto files, plugin::plan_scaffold(spec));
  instance::Plan steps = {text::cat("make directory ", text::printable(spec.directory))};
  for (const plugin::NewFile &each : files)
    steps.push_back(text::cat("write ", text::printable(spec.directory), "/", each.path));
  if (!session.dry_run()) {
    if (const auto made = plugin::create_scaffold(spec, files); !made) return made.error();
  }
  return report::plan(
      session.json(), steps, session.dry_run(),
      text::cat("plugin ", constant.str(), ": project made in ", text::printable(spec.directory)));
}

Result<Outcome> matrix(Session &session) {
  return report::matrix(session.json(), session.registry().list(), session.color());
}

constexpr ArgumentSpec kConstant[] = {
    {"CONSTANT", "FD_LOOP, FT_RAW, or short: loop, raw", true, Meaning::plugin}};
constexpr ArgumentSpec kPlugin[] = {
    {"PLUGIN", "the file of a plugin, or the constant of an installed one", true, Meaning::file}};
constexpr ArgumentSpec kNew[] = {
    {"CONSTANT", "of the new plugin: FD_NAME for a driver, FT_NAME for a filetype"},
    {"DIR", "made for the project (default: the file's name, fd-name)", false, Meaning::file}};
constexpr OptionSpec kNewOptions[] = {
    {"--language", Takes::value, "c|cpp", "what the template is written in (default: cpp)", "c|cpp"}};
constexpr std::string_view kCheckExamples[] = {"vbd plugin check ./fd-acme.so", "vbd plugin check FD_LOOP"};
constexpr std::string_view kNewExamples[] = {"vbd plugin new FT_ACME",
                                             "vbd plugin new --language c FD_ACME /src/acme"};
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
    {"check",
     "check a plugin's file as the host would before it uses it",
     "Says what the host would refuse, and what users would miss. Loads the plugin, so its code runs.",
     {},
     kPlugin,
     kCheckExamples,
     false,
     false,
     check},
    {"new", "begin the project of a new plugin",
     "Copies a template that builds, passes its tests and installs.", kNewOptions, kNew, kNewExamples, true,
     false, create},
};

}  // namespace
}  // namespace plugin_file

std::span<const VerbSpec> plugin_verbs() {
  return plugin_file::kVerbs;
}

}  // namespace vbd::cli
