// SPDX-License-Identifier: MIT
// The instance.yaml beside an image, as far as disks care: a copied or moved directory is foreign, and a
// claim in it says which node writes. All under the operation lock of the directory.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/device/record.hpp"
#include "core/model/instance_record.hpp"

namespace vbd::device {

inline constexpr const char *kInstanceFile = "instance.yaml";

/// Nothing when the directory has none. A newer schema is an error, but not for a reader.
[[nodiscard]] Result<std::optional<InstanceRecord>> read_instance(int directory, const std::string &path,
                                                                  bool read_only);
/// kForeignDirectory when `record` was written for another directory than the one that is open.
[[nodiscard]] Result<void> check_home(const InstanceRecord &record, int directory, const std::string &path);
/// kClaimedElsewhere when another node's claim is in it. A claim of this node from an earlier boot is stale.
[[nodiscard]] Result<void> check_claim(const InstanceRecord &record, const config::Settings &settings,
                                       const std::string &path);
/// Whether this node holds the claim already, since this boot.
[[nodiscard]] Result<bool> claim_is_ours(const InstanceRecord &record, const config::Settings &settings);
[[nodiscard]] Result<void> write_claim(int directory, InstanceRecord record, const config::Settings &settings,
                                       const std::string &holder);
/// Takes this node's claim out; fine when there is none.
[[nodiscard]] Result<void> release_claim(int directory, const std::string &path,
                                         const config::Settings &settings);

}  // namespace vbd::device
