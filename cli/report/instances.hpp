// SPDX-License-Identifier: MIT
// The list of instances.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.hpp"
#include "core/base/result.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::cli::report {

/// "name,state", "+uuid", "": the names of fields, checked.
[[nodiscard]] Result<std::vector<std::string>> instance_fields(std::string_view wanted);

struct ListLook {
  std::vector<std::string> fields;
  bool no_headers = false;
  std::string separator;
  bool color = false;
};
/// vbdkit.instances/1: all fields, whatever was wanted.
[[nodiscard]] Outcome instances(bool json, const std::vector<instance::Entry> &entries, const ListLook &look);

}  // namespace vbd::cli::report
