// SPDX-License-Identifier: MIT
#include "core/plugin/trust.hpp"

namespace vbd::plugin {

Result<sys::Fd> open_trusted(const std::string &path) {
  return sys::open_trusted_file(path, {kUntrusted, "plugin", "not loaded", false, false});
}

}  // namespace vbd::plugin
