// SPDX-License-Identifier: MIT
// What a verb gives back for stdout: text or JSON, whichever the session asks for. Plain data.
#pragma once

#include <string>

#include "core/base/error.hpp"
#include "core/json/json.hpp"

namespace vbd::cli {

struct Outcome {
  std::string text;        ///< with its final newline; may be empty
  json::Value json;        ///< null: `text` is the end of a document that was written piece by piece
  Exit exit = Exit::done;  ///< failed: the verb did its work and what it found is bad
};

}  // namespace vbd::cli
