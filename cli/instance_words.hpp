// SPDX-License-Identifier: MIT
// The words of `vbd instance add`, which are those of gnt-instance(8), turned into a specification.
#pragma once

#include "cli/arguments.hpp"
#include "core/config/settings.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::cli {

[[nodiscard]] Result<instance::AddSpec> add_spec(const Arguments &arguments,
                                                 const config::Settings &settings);

/// -O, repeated.
[[nodiscard]] Result<void> os_parameters(const Arguments &arguments, std::map<std::string, std::string> &out);

/// -B, -H, -O and --net into `spec`.
[[nodiscard]] Result<void> parameters(const Arguments &arguments, const config::Settings &settings,
                                      instance::AddSpec &spec);

}  // namespace vbd::cli
