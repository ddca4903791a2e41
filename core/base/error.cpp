// SPDX-License-Identifier: MIT
#include "core/base/error.hpp"

#include <system_error>
#include <utility>

namespace vbd {

Error::Error(const ErrorKind &kind, std::string message, std::string hint)
    : id_(kind.id), exit_(kind.exit), message_(std::move(message)), hint_(std::move(hint)) {}

Error Error::at(std::string_view where) const {
  Error copy = *this;
  copy.message_ = std::string(where) + ": " + message_;
  return copy;
}

Error Error::with_hint(std::string hint) const {
  Error copy = *this;
  copy.hint_ = std::move(hint);
  return copy;
}

Error Error::rephrase(std::string message, std::string_view next) const {
  Error copy = *this;
  copy.message_ = std::move(message);
  if (!next.empty()) copy.hint_ += copy.hint_.empty() ? std::string(next) : "; " + std::string(next);
  return copy;
}

Error system_error(const ErrorKind &kind, std::string_view what, int error_number) {
  return {kind, std::string(what) + ": " + std::generic_category().message(error_number)};
}

}  // namespace vbd
