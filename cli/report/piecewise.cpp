// SPDX-License-Identifier: MIT
#include "cli/report/piecewise.hpp"

#include "cli/terminal.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 16;

/// The members of an object, without its brackets; "" where it has none.
std::string members(const json::Value &object) {
  if (object.as_object() == nullptr || object.as_object()->empty()) return "";
  const std::string text = json::dump(object);
  return text.substr(1, text.size() - 3);
}

}  // namespace

Piecewise::Piecewise(const json::Value &head, std::string_view list)
    : pending_(text::cat("{", members(head), ",\n  \"", list, "\": [")) {
  pending_.reserve(kBuffer + kBuffer / 4);
}

Result<void> Piecewise::add(std::string_view element) {
  pending_ += any_ ? ",\n    " : "\n    ";
  pending_ += element;
  any_ = true;
  if (pending_.size() < kBuffer) return {};
  auto written = write_stdout(pending_);
  begun_ = true;
  pending_.clear();
  return written;
}

Outcome Piecewise::end(const json::Value &tail) const {
  const std::string more = members(tail);
  return {text::cat(pending_, any_ ? "\n  ]" : "]", more.empty() ? "" : ",", more, "\n}\n"), {}};
}

Result<Outcome> Piecewise::end(json::Value tail, const Error &error) const {
  if (!begun_ || error.is(kOutput) || error.is(kNoReader)) return error;
  json::Value value;
  value.set("id", error.id()).set("message", error.message()).set("hint", error.hint());
  Outcome outcome = end(tail.set("error", std::move(value)));
  outcome.exit = error.exit();
  return outcome;
}

}  // namespace vbd::cli::report
