// SPDX-License-Identifier: MIT
// A plugin's structs copied by size into ours and checked, before anything of the plugin is called: sizes,
// strings, flags, version, option table, tables of operations, and that struct and note say the same.
// Thread-safe.
#pragma once

#include <string>
#include <vector>

#include <vbdkit/plugin.h>

#include "core/base/result.hpp"
#include "core/plugin/note.hpp"
#include "core/plugin/options.hpp"

namespace vbd::plugin {

/// Ours, zero where the plugin's struct was shorter. `plugin.driver`, `.filetype` and `filetype.image` still
/// point into the plugin; the copies are beside them.
struct Description {
  vbd_plugin plugin{};
  vbd_driver_ops driver{};
  vbd_filetype_ops filetype{};
  vbd_image_ops image{};
  bool has_image = false;
  std::vector<OptionInfo> options;
};

[[nodiscard]] Result<Description> describe(const vbd_plugin *given, const Note &note,
                                           const std::string &path);

/// The option table of a (copied) plugin struct. kBadOptionTable.
[[nodiscard]] Result<std::vector<OptionInfo>> read_options(const vbd_plugin &plugin, const std::string &path);

}  // namespace vbd::plugin
