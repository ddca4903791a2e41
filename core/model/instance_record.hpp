// SPDX-License-Identifier: MIT
// What instance.yaml holds. Pure data; file names of disks are relative to the instance's directory, so
// that logical_ids are composed and a directory can be moved. Format: docs/instance-yaml.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/model/logical_id.hpp"
#include "core/model/nic.hpp"

namespace vbd {

inline constexpr ErrorKind kBadName{"usage.name", Exit::usage};

inline constexpr std::uint32_t kInstanceSchema = 1;
inline constexpr std::size_t kMaxDisks = 702;  ///< sda .. sdzz

enum class DiskMode { rw, ro };

struct DiskRecord {
  Constant driver;
  Constant filetype;
  std::string file;        ///< name below the directory: "sda"
  std::uint64_t size = 0;  ///< virtual size, bytes
  std::string vdev;        ///< "sda", "sda1"
  DiskMode mode = DiskMode::rw;
  bool created = true;  ///< false: reused or adopted
  std::map<std::string, std::string> driver_options;
  std::map<std::string, std::string> filetype_options;
};

/// An operation in progress, recorded before its first change.
struct OperationRecord {
  std::string verb;                ///< "add", "remove"
  std::string started;             ///< RFC 3339, UTC
  std::vector<std::string> files;  ///< names that it may have created (add) or removes (remove)
  bool made_directory = false;  ///< add: the instance's directory is its own work and goes when it is undone
  std::map<std::string, std::string> details = {};  ///< what else the verb needs to finish or undo it
  std::string node = {}, boot_id = {};              ///< where it runs or ran; "" in a file of an earlier vbd
};

/// Who may write an image, or the disks of an instance: a node in one boot of it, and for whom.
struct Lease {
  std::string node, boot_id, holder, time;  ///< all "" when nobody has it
  std::uint64_t generation = 0;             ///< one more with each taking; kept when it is given up
  [[nodiscard]] bool held() const { return !node.empty(); }
  /// Given up: the generation stays.
  void free() { *this = Lease{{}, {}, {}, {}, generation}; }
  bool operator==(const Lease &) const = default;
};

struct InstanceRecord {
  std::uint32_t schema = kInstanceSchema;
  std::string uuid;
  std::string name;
  std::string directory;        ///< where this file was written: elsewhere, the instance is foreign
  std::string node, secondary;  ///< secondary may be ""
  std::string os;               ///< "debian-etch", "debootstrap+default", ""
  std::string created;          ///< RFC 3339, UTC
  bool wanted_up = false;       ///< it was started and not stopped: that it does not run is an error
  std::map<std::string, std::string> backend, hypervisor, os_parameters;
  std::vector<DiskRecord> disks;
  std::vector<NicRecord> nics;
  std::optional<OperationRecord> operation;
  Lease lease;
};

/// sda, sdb, ... sdz, sdaa, ... sdzz for 0..701.
[[nodiscard]] std::string disk_name(std::size_t index);
/// "sdb3" -> {1, 3}; "sda" -> {0, nullopt}; not of the form sd[a-z]{1,2}[1-9][0-9]*?: nullopt.
struct DiskName {
  std::size_t index;
  std::optional<unsigned> partition;
};
[[nodiscard]] std::optional<DiskName> parse_disk_name(std::string_view name);
/// ^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$ and no "..": usable as a directory's name and in a config file.
[[nodiscard]] Result<void> check_instance_name(std::string_view name);

}  // namespace vbd
