// SPDX-License-Identifier: MIT
// A plugin's file looked at before it is installed: everything that the host would refuse, and what its users
// would miss. The code of a trusted file runs (its constructors and init). Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/plugin/registry.hpp"

namespace vbd::plugin {

struct Finding {
  bool error = false;   ///< the host refuses the plugin; else it works, but its users will miss something
  std::string id;       ///< stable: "plugin.untrusted", "plugin.no_summary"
  std::string message;  ///< one line
};

struct Checked {
  std::string path, constant;
  Note note;  ///< when it could be read
  std::vector<Finding> findings;
  [[nodiscard]] bool usable() const;
};

/// Of the file at `path` (absolute). An Error only where there is no such file.
[[nodiscard]] Result<Checked> check_file(const std::string &path, const config::Settings &settings,
                                         sys::Runner &runner);

}  // namespace vbd::plugin
