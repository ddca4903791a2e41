// SPDX-License-Identifier: MIT
// Where leases are stored. Each place is one entry of a table; the first that has the image is where it is
// written. Internal to this room. Not thread-safe; writing holds the operation lock and the name lock.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/device/lease.hpp"

namespace vbd::device {

struct LeaseStore {
  const char *file;
  /// Nothing when this place has nothing to do with the image. `instance`: the one that lists it, or null.
  Result<std::optional<Lease>> (*read)(const LeaseSpot &spot, const InstanceRecord *instance);
  Result<void> (*write)(const LeaseSpot &spot, const Lease &lease, const config::Settings &settings);
};
[[nodiscard]] std::span<const LeaseStore> lease_stores();

/// instance.yaml as it is given, without asking what is there.
[[nodiscard]] Result<void> put_instance(int directory, const InstanceRecord &record);

}  // namespace vbd::device
