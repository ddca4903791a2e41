// SPDX-License-Identifier: MIT
// Other YAML documents: logical_ids as an argument, instance.yaml, pointers in the state directory.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/model/instance_record.hpp"

namespace vbd::config {

inline constexpr ErrorKind kNewerSchema{"instance.newer_schema", Exit::refused};

/// '[FD_LOOP, FT_RAW, "/p/sda"]'; short constants and the older ["loop", path] are accepted, the missing
/// filetype being settings.default_filetype.
[[nodiscard]] Result<LogicalId> parse_logical_id(std::string_view text, const Settings &settings);

/// instance.yaml; every key checked, every number bounded. A newer schema is kNewerSchema; callers who only
/// list still get its name with parse_instance_head.
[[nodiscard]] Result<InstanceRecord> parse_instance(std::string_view text, const std::string &file);
[[nodiscard]] std::string write_instance(const InstanceRecord &record);

/// The part of instance.yaml that every schema has; other keys are not looked at.
struct InstanceHead {
  std::uint32_t schema = 0;
  std::string uuid, name, directory;
};
[[nodiscard]] Result<InstanceHead> parse_instance_head(std::string_view text, const std::string &file);

/// .vbdkit-lease.yaml: by the name of the image.
using Leases = std::map<std::string, Lease>;
[[nodiscard]] Result<Leases> parse_leases(std::string_view text, const std::string &file);
/// Of leases that were taken once.
[[nodiscard]] std::string write_leases(const Leases &leases);

/// STATE_DIR/instances/NAME.yaml
struct Pointer {
  std::string name, uuid, directory;
};
[[nodiscard]] Result<Pointer> parse_pointer(std::string_view text, const std::string &file);
[[nodiscard]] std::string write_pointer(const Pointer &pointer);

}  // namespace vbd::config
