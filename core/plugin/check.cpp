// SPDX-License-Identifier: MIT
#include "core/plugin/check.hpp"

#include <algorithm>

#include "core/base/text.hpp"
#include "core/plugin/loaded.hpp"
#include "core/plugin/trust.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::plugin {
namespace {

constexpr ErrorKind kFileName{"plugin.file_name", Exit::refused};

void add(Checked &checked, bool error, std::string id, std::string message) {
  checked.findings.push_back({error, std::move(id), std::move(message)});
}
void add(Checked &checked, const Error &error) {
  add(checked, true, std::string(error.id()), error.message());
}

/// What `vbd plugin list`, the option tables and the round trip through images show of it.
void look_at_note(Checked &checked) {
  const Note &note = checked.note;
  if (note.summary.empty())
    add(checked, false, "plugin.no_summary", "the note has no summary: vbd plugin list shows an empty line");
  if (note.version.empty()) add(checked, false, "plugin.no_version", "the note has no version");
  if (note.kind == PluginKind::driver && note.needs.empty())
    add(checked, false, "plugin.needs_nothing",
        "a driver without a need.* takes every filetype, also those whose bytes are not the guest's");
  if (note.kind == PluginKind::filetype && note.properties.empty())
    add(checked, false, "plugin.no_properties",
        "a filetype without a prop.* suits no driver that needs something");
  if (note.kind == PluginKind::filetype && !note.ops.contains("probe"))
    add(checked, false, "plugin.no_probe",
        "without probe, files of this filetype are not recognised when they are declared as another one");
}

void look_at_options(Checked &checked, const Plugin &plugin) {
  for (const OptionInfo &option : plugin.options()) {
    if (option.help.empty())
      add(checked, false, "plugin.option_without_help", text::cat("option ", option.name, " has no help"));
  }
}

}  // namespace

bool Checked::usable() const {
  return std::none_of(findings.begin(), findings.end(), [](const Finding &finding) { return finding.error; });
}

Result<Checked> check_file(const std::string &path, const config::Settings &settings, sys::Runner &runner) {
  Checked checked;
  checked.path = path;
  checked.constant = constant_of_file(sys::base_name(path));
  if (checked.constant.empty()) {
    return Error(kFileName,
                 text::cat(text::printable(path), ": a plugin's file is named fd-NAME.so or ft-NAME.so"));
  }
  auto file = open_trusted(path);
  if (!file && file.error().is(sys::kNotFound)) return file.error();
  if (!file) {
    add(checked, file.error());
    return checked;
  }
  auto note = read_note(file->get(), path);
  if (!note) {
    add(checked, note.error());
    return checked;
  }
  checked.note = *std::move(note);
  if (auto good = check_note(checked.note, path); !good) {
    add(checked, good.error());
    return checked;
  }
  look_at_note(checked);
  auto loaded = load_plugin({path, checked.note}, settings, runner);
  if (!loaded) {
    add(checked, loaded.error());
    return checked;
  }
  look_at_options(checked, **loaded);
  return checked;
}

}  // namespace vbd::plugin
