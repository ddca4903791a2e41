// SPDX-License-Identifier: MIT
// vbd cluster init: directories and a configuration file, made where they are missing.
#pragma once

#include "cli/session.hpp"

namespace vbd::cli {

/// What was made, or with --dry-run would be; empty when all is there. Loads the session's configuration
/// itself.
[[nodiscard]] Result<instance::Plan> init_cluster(Session &session);

}  // namespace vbd::cli
