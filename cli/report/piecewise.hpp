// SPDX-License-Identifier: MIT
// A JSON document with a list that may not fit into memory: it goes out piece by piece, and is a whole
// document in any case. One thread.
#pragma once

#include <string>
#include <string_view>

#include "cli/outcome.hpp"
#include "core/base/result.hpp"

namespace vbd::cli::report {

class Piecewise {
 public:
  /// The members that come before the list, and the list's name.
  Piecewise(const json::Value &head, std::string_view list);

  /// An element that is JSON already. Errors are those of the output.
  [[nodiscard]] Result<void> add(std::string_view element);
  /// Is a part of it out already? Nothing but its end may be printed then.
  [[nodiscard]] bool begun() const { return begun_; }
  /// The end of the list, and `tail`'s members after it.
  [[nodiscard]] Outcome end(const json::Value &tail) const;
  /// Likewise with the error as the last member. Where nothing is out yet: the error alone.
  [[nodiscard]] Result<Outcome> end(json::Value tail, const Error &error) const;

 private:
  std::string pending_;
  bool any_ = false, begun_ = false;
};

}  // namespace vbd::cli::report
