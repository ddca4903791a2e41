// SPDX-License-Identifier: MIT
// The catalog is the storage: instance.yaml in each instance's directory, found through pointers in
// STATE_DIR/instances. Reading takes no lock; writing holds the directory's operation lock and reads again under it.
// Not thread-safe; safe against other processes.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/documents.hpp"
#include "core/config/settings.hpp"
#include "core/model/instance_record.hpp"
#include "core/sys/fd.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kInstanceNotFound{"instance.not_found", Exit::not_found};
inline constexpr ErrorKind kInstanceExists{"instance.exists", Exit::busy};
inline constexpr ErrorKind kForeign{"instance.foreign", Exit::refused};
inline constexpr ErrorKind kInterrupted{"instance.interrupted", Exit::busy};
inline constexpr ErrorKind kClaimed{"instance.claimed", Exit::busy};
inline constexpr ErrorKind kReuse{"instance.reuse", Exit::refused};
inline constexpr ErrorKind kConfirm{"usage.confirm", Exit::usage};
inline constexpr ErrorKind kOsUnsupported{"instance.os_install", Exit::refused};

inline constexpr const char *kInstanceFile = "instance.yaml";

/// running and error come with a hypervisor that can be asked.
enum class State { running, stopped, error, unreachable, foreign, interrupted };
[[nodiscard]] const char *state_text(State state);

struct Entry {
  State state = State::stopped;
  std::string reason;          ///< why foreign, unreachable or interrupted
  InstanceRecord record;       ///< as far as it could be read
};

class Catalog {
 public:
  explicit Catalog(const config::Settings &settings) : settings_(settings) {}
  /// All known instances by name. Each directory is read in a child that is abandoned after 2 s.
  [[nodiscard]] Result<std::vector<Entry>> list() const;
  /// kInstanceNotFound suggests the nearest name.
  [[nodiscard]] Result<Entry> find(const std::string &name) const;

  [[nodiscard]] Result<void> write_record(int directory, const InstanceRecord &record) const;
  [[nodiscard]] Result<void> write_pointer(const InstanceRecord &record) const;
  [[nodiscard]] Result<void> remove_pointer(const std::string &name) const;
  /// Directories below the allowed ones that carry an instance.yaml: for `cluster verify --rebuild`.
  [[nodiscard]] Result<std::vector<std::string>> scan_directories() const;

 private:
  const config::Settings &settings_;
};

}  // namespace vbd::instance
