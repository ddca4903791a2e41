// SPDX-License-Identifier: MIT
#include <vbdkit/plugin.h>

#include <algorithm>

#include "cli/build_info.hpp"
#include "cli/report/report.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {

std::string version_text() {
  return text::cat("vbd ", kVersion, " (plugin ABI ", VBD_ABI_MAJOR, ".", VBD_ABI_MINOR, ")\n");
}

std::string error_text(const Error &error, bool color) {
  const std::string_view on = color ? "\x1b[1;31m" : "";
  const std::string_view off = color ? "\x1b[0m" : "";
  std::string out =
      text::cat("vbd: ", on, "error[", error.id(), "]", off, ": ", text::printable(error.message()), "\n");
  if (!error.hint().empty()) out += text::cat("hint: ", text::printable(error.hint()), "\n");
  return out;
}

json::Value error_value(const Error &error) {
  json::Value inner;
  return inner.set("id", error.id()).set("message", error.message()).set("hint", error.hint());
}

std::string error_json(const Error &error) {
  json::Value value;
  value.set("schema", "vbdkit.error/1").set("error", error_value(error));
  return json::dump(value) + "\n";
}

Outcome each(bool json, const std::vector<Each> &list, bool dry_run, std::string_view done) {
  Outcome outcome;
  json::Array instances;
  for (const Each &one : list) {
    json::Value value;
    value.set("name", one.name).set("steps", to_json(one.done ? *one.done : instance::Plan{}));
    instances.push_back(value.set("error", one.done ? json::Value() : error_value(one.done.error())));
    if (!one.done) {
      outcome.exit = std::max(outcome.exit, one.done.error().exit());
      continue;
    }
    if (json) continue;
    const std::string line =
        text::cat("instance ", one.name, ": ", done, one.done->empty() ? " already" : "");
    outcome.text += plan(false, *one.done, dry_run, line).text;
  }
  if (json) {
    outcome.json.set("schema", "vbdkit.each/1").set("dry_run", dry_run);
    outcome.json.set("instances", std::move(instances));
  }
  return outcome;
}

}  // namespace vbd::cli::report
