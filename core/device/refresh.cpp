// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"
#include "core/device/disk.hpp"

namespace vbd::device {

Result<bool> can_refresh(const Context &context, const Constant &driver) {
  VBD_TRY_ASSIGN(auto loaded, context.registry.load(driver));
  return loaded->driver()->refresh != nullptr;
}

Result<void> refresh(const Context &context, const LogicalId &id) {
  VBD_TRY_ASSIGN(auto disk, open_for_others(context, id, false));
  if (!disk.record) return Error(kNotAttached, text::cat(disk.shown(), ": not attached"));
  if (disk.driver->driver()->refresh == nullptr) {
    return Error(plugin::kNoOperation,
                 text::cat(disk.shown(), ": ", id.driver.str(), " can't let its device grow"),
                 "detach it and attach it again");
  }
  return call_refresh(disk);
}

}  // namespace vbd::device
