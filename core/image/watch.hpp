// SPDX-License-Identifier: MIT
// How those who wait for long work with images see it go on, and stop it.
#pragma once

#include <cstdint>
#include <functional>

#include "core/base/text.hpp"
#include "core/plugin/plugin.hpp"

namespace vbd::image {

/// Called now and then, from any thread, with what is done of how much (units are the work's own). True:
/// stop. May be empty.
using Watch = std::function<bool(std::uint64_t done, std::uint64_t total)>;

[[nodiscard]] inline bool stopped(const Watch &watch, std::uint64_t done, std::uint64_t total) {
  return watch && watch(done, total);
}

/// What work that was stopped gives back; `what` for the message.
[[nodiscard]] inline Error cancelled(std::string_view what) {
  return {plugin::kCancelled, text::cat(what, ": cancelled"), ""};
}

}  // namespace vbd::image
