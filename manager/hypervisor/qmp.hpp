// SPDX-License-Identifier: MIT
// QEMU's monitor protocol: a greeting, then one JSON document a line (QEMU's docs/interop/qmp-spec). Not
// thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/json/json.hpp"
#include "core/sys/socket.hpp"

namespace vbd::hypervisor {

inline constexpr ErrorKind kRefusedByGuest{"hypervisor.command", Exit::failed};

class Qmp {
 public:
  /// Connects, and leaves the mode of the greeting.
  [[nodiscard]] static Result<Qmp> open(const std::string &socket, std::chrono::milliseconds patience);
  /// One command, as the JSON text of the protocol; what it returned. Events in between are dropped.
  [[nodiscard]] Result<json::Value> execute(const std::string &command, std::chrono::milliseconds patience);

 private:
  explicit Qmp(sys::LineSocket socket) : socket_(std::move(socket)) {}
  sys::LineSocket socket_;
};

/// The word of query-status: "running", "paused", "io-error", ...
[[nodiscard]] Result<std::string> qmp_status(const std::string &socket, std::chrono::milliseconds patience);

// What a monitor sends, read: a guest may have taken QEMU over.

/// One line: what the command returned; nothing for an event; kRefusedByGuest with QEMU's reason.
[[nodiscard]] Result<std::optional<json::Value>> read_qmp_answer(std::string_view line,
                                                                 std::string_view command);
/// What query-status returned.
[[nodiscard]] Result<std::string> read_qmp_status(const json::Value &answer);

}  // namespace vbd::hypervisor
