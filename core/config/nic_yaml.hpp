// SPDX-License-Identifier: MIT
// The key `nics` of instance.yaml. Private to this room.
#pragma once

#include <string>
#include <vector>

#include "core/config/document_fields.hpp"
#include "core/model/nic.hpp"

namespace vbd::config {

[[nodiscard]] Result<void> read_nics(const Fields &fields, std::vector<NicRecord> &out);
/// "" when there are none.
[[nodiscard]] std::string lines_of(const std::vector<NicRecord> &nics);

}  // namespace vbd::config
