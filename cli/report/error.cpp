// SPDX-License-Identifier: MIT
#include <vbdkit/plugin.h>

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

std::string error_json(const Error &error) {
  json::Value inner;
  inner.set("id", error.id()).set("message", error.message()).set("hint", error.hint());
  json::Value value;
  value.set("schema", "vbdkit.error/1").set("error", std::move(inner));
  return json::dump(value) + "\n";
}

}  // namespace vbd::cli::report
