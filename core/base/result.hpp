// SPDX-License-Identifier: MIT
// Result<T>: a value or an Error. No exceptions of ours are thrown anywhere; those of libraries are
// caught where the library is called. An error on its way up is passed on by VBD_TRY and VBD_TRY_ASSIGN; only
// code that adds something to it, or goes on in spite of it, looks at ok() itself.
#pragma once

#include <cassert>
#include <optional>
#include <utility>
#include <variant>

#include "core/base/error.hpp"

namespace vbd {

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  /// Only when ok().
  [[nodiscard]] T &value() & { return std::get<0>(state_); }
  [[nodiscard]] const T &value() const & { return std::get<0>(state_); }
  [[nodiscard]] T &&value() && { return std::get<0>(std::move(state_)); }
  T &operator*() & { return value(); }
  const T &operator*() const & { return value(); }
  T &&operator*() && { return std::get<0>(std::move(state_)); }
  T *operator->() { return &std::get<0>(state_); }
  const T *operator->() const { return &std::get<0>(state_); }

  /// Only when not ok().
  [[nodiscard]] const Error &error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error &error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace vbd

/// Returns the error of `...` from the function that this stands in; else goes on. A value that has to live
/// on, such as a lock, is not for this: it would be gone at once.
#define VBD_TRY(...)                                                              \
  do {                                                                            \
    if (auto VBD_TRY_NAME(vbd_tried_) = (__VA_ARGS__); !VBD_TRY_NAME(vbd_tried_)) \
      return VBD_TRY_NAME(vbd_tried_).error();                                    \
  } while (false)
/// The value of `...`, a Result<T>, becomes `declaration`, such as `const auto size`; its error is returned
/// from the function that this stands in. A declaration cannot be wrapped in do-while: not after an `if`
/// without braces.
#define VBD_TRY_ASSIGN(declaration, ...)                                  \
  auto VBD_TRY_NAME(vbd_tried_) = (__VA_ARGS__);                          \
  if (!VBD_TRY_NAME(vbd_tried_)) return VBD_TRY_NAME(vbd_tried_).error(); \
  declaration = *std::move(VBD_TRY_NAME(vbd_tried_))
#define VBD_TRY_NAME(prefix) VBD_TRY_NAMED(prefix, __LINE__)
#define VBD_TRY_NAMED(prefix, line) VBD_TRY_JOIN(prefix, line)
#define VBD_TRY_JOIN(prefix, line) prefix##line
