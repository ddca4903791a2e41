// SPDX-License-Identifier: MIT
// QEMU's monitor protocol: a greeting, then one JSON document a line (QEMU's docs/interop/qmp-spec). Not
// thread-safe.
#pragma once

#include <chrono>
#include <string>

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

}  // namespace vbd::hypervisor
