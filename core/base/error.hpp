// SPDX-License-Identifier: MIT
// Errors are values: a kind with a stable id (part of the command line's contract), one line of
// text that says what, where and why, and a hint with the next step. Immutable once returned;
// copyable between threads. Kinds are constants in the errors.hpp of the room that reports them.
#pragma once

#include <string>
#include <string_view>

namespace vbd {

/// Exit codes of the command line; see the manual page of vbd.
enum class Exit : int { done = 0, failed = 1, usage = 2, not_found = 3, busy = 4, refused = 5, damaged = 6 };

/// A class of errors. `id` is "room.what", never changes once released and has static storage.
struct ErrorKind {
  std::string_view id;
  Exit exit;
};

class Error {
 public:
  Error(const ErrorKind &kind, std::string message, std::string hint = {});

  [[nodiscard]] std::string_view id() const { return id_; }
  [[nodiscard]] Exit exit() const { return exit_; }
  [[nodiscard]] const std::string &message() const { return message_; }
  [[nodiscard]] const std::string &hint() const { return hint_; }
  [[nodiscard]] bool is(const ErrorKind &kind) const { return id_ == kind.id; }

  /// The same error with "where: " put in front of its message.
  [[nodiscard]] Error at(std::string_view where) const;
  [[nodiscard]] Error with_hint(std::string hint) const;
  /// The same error in the caller's words: id, exit code and hint stay. `next`, when given, is one more step,
  /// after those of the hint.
  [[nodiscard]] Error rephrase(std::string message, std::string_view next = {}) const;

 private:
  std::string id_;  // owned: a plugin's reason code may become part of it
  Exit exit_;
  std::string message_;
  std::string hint_;
};

/// An error of `kind` with errno's text at the end: "open /p: No such file or directory".
[[nodiscard]] Error system_error(const ErrorKind &kind, std::string_view what, int error_number);

}  // namespace vbd
