// SPDX-License-Identifier: MIT
// Whether this host can do what its configuration says: plugins and directories. Reads only; not
// thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/config/settings.hpp"
#include "core/plugin/registry.hpp"

namespace vbd::node {

struct Check {
  std::string what;     ///< "plugin FD_LOOP"
  std::string problem;  ///< "": good
  /// A problem that is none of the disks': without the hypervisor, instances can be kept here but not run.
  bool is_note = false;
};

/// In the order in which they are worth mending. Directories are looked at in children that are abandoned
/// after 2 s.
[[nodiscard]] std::vector<Check> check_host(const config::Settings &settings, plugin::Registry &registry);

}  // namespace vbd::node
