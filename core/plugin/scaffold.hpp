// SPDX-License-Identifier: MIT
// A new plugin's project from an installed template: its own folder, named after its constant. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/model/logical_id.hpp"

namespace vbd::plugin {

struct ScaffoldSpec {
  Constant constant;      ///< FD_ACME: a driver; FT_ACME: a filetype
  std::string templates;  ///< where the templates are installed
  std::string language;   ///< "c" or "cpp"
  std::string directory;  ///< absolute; made, must not be there
};

struct NewFile {
  std::string path, content;
};
/// What `create_scaffold` writes. kNotFound (sys) where no template is installed.
[[nodiscard]] Result<std::vector<NewFile>> plan_scaffold(const ScaffoldSpec &spec);
/// Makes the directory and writes the files; a failure leaves what was written. kExists (sys).
[[nodiscard]] Result<void> create_scaffold(const ScaffoldSpec &spec, const std::vector<NewFile> &files);

}  // namespace vbd::plugin
