// SPDX-License-Identifier: MIT
// The key `lease` of instance.yaml, and `claim`, which earlier vbd wrote. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "core/config/document_fields.hpp"
#include "core/model/instance_record.hpp"

namespace vbd::config {

[[nodiscard]] Result<void> read_lease(const Fields &fields, Lease &out);
/// The lines below the key; "" of a lease that nobody ever took.
[[nodiscard]] std::string lines_of(const Lease &lease, std::string_view indent);

}  // namespace vbd::config
