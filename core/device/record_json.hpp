// SPDX-License-Identifier: MIT
// A record as JSON, schema vbdkit.attachment/1. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/device/record.hpp"

namespace vbd::device {

[[nodiscard]] std::string write_record_json(const Record &record);
/// `file` is for messages.
[[nodiscard]] Result<Record> parse_record_json(std::string_view text, const std::string &file);

}  // namespace vbd::device
