// SPDX-License-Identifier: MIT
// A shared object in this process, and the only door to Boost.DLL. Once loaded it stays until the process
// ends: its code may be running in a thread, its static objects may be referred to.
#pragma once

#include <string>

#include <vbdkit/plugin.h>

#include "core/base/result.hpp"

namespace vbd::plugin {

/// The plugin's struct as it gave it; not looked at yet. `path` is absolute, trusted and its note is checked:
/// its constructors run here. kLoadFailed (with the dynamic linker's words), kNoSymbol, kNullStruct.
[[nodiscard]] Result<const vbd_plugin *> load_library(const std::string &path);

}  // namespace vbd::plugin
