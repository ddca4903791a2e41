// SPDX-License-Identifier: MIT
// A plugin in this process: loaded, described, its options checked, initialised. [call-thread]
#pragma once

#include <memory>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/plugin/plugin.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/run.hpp"

namespace vbd::plugin {

/// `found` is trusted and its note checked. The settings are read now, `runner` must outlive the plugin.
[[nodiscard]] Result<std::unique_ptr<Plugin>> load_plugin(const Found &found,
                                                          const config::Settings &settings,
                                                          sys::Runner &runner);

}  // namespace vbd::plugin
