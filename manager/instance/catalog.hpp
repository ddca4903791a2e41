// SPDX-License-Identifier: MIT
// The catalog is the storage: instance.yaml in each instance's directory, found through pointers in
// STATE_DIR/instances. Reading takes no lock; writing holds the directory's operation lock and reads again
// under it; a name is taken or given back under lock_names(). A verb that holds lock_names() never waits for
// a directory's operation lock, so the two can't block each other. Not thread-safe; safe against other
// processes.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/documents.hpp"
#include "core/config/settings.hpp"
#include "core/model/instance_record.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/locks.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kInstanceNotFound{"instance.not_found", Exit::not_found};
inline constexpr ErrorKind kInstanceExists{"instance.exists", Exit::busy};
inline constexpr ErrorKind kForeign{"instance.foreign", Exit::refused};
/// What was read is no longer true: another command was first.
inline constexpr ErrorKind kChanged{"instance.changed", Exit::busy};
inline constexpr ErrorKind kInterrupted{"instance.interrupted", Exit::busy};
inline constexpr ErrorKind kUnreachable{"instance.unreachable", Exit::failed};
inline constexpr ErrorKind kReuse{"instance.reuse", Exit::refused};
inline constexpr ErrorKind kConfirm{"usage.confirm", Exit::usage};

inline constexpr const char *kInstanceFile = "instance.yaml";
inline constexpr std::size_t kInstanceFileLimit = 1u << 20;

/// running and error come with a hypervisor that can be asked; error also means an unreadable instance.yaml.
enum class State { running, stopped, error, unreachable, foreign, interrupted };
/// Their words, in that order.
inline constexpr std::array<const char *, 6> kStateWords = {"running",     "stopped", "error",
                                                            "unreachable", "foreign", "interrupted"};
[[nodiscard]] inline const char *state_text(State state) {
  return kStateWords.at(static_cast<std::size_t>(state));
}

struct Entry {
  State state = State::stopped;
  std::string reason;    ///< why foreign, unreachable, interrupted or error
  bool missing = false;  ///< unreachable: its storage answers, there is no instance
  bool unreadable =
      false;              ///< error: instance.yaml could not be read; `record` has only what the pointer says
  InstanceRecord record;  ///< as far as it could be read
};

/// An unfinished rename may have left the record under either name, in either directory: whether the instance
/// `name` in `path` is meant.
[[nodiscard]] bool is_being_renamed(const InstanceRecord &record, const std::string &name,
                                    const std::string &path);

class Catalog {
 public:
  explicit Catalog(const config::Settings &settings) : settings_(settings) {}
  /// All known instances by name. Each directory is read in a child that is abandoned after 2 s.
  [[nodiscard]] Result<std::vector<Entry>> list() const;
  /// Likewise those whose name `wanted` takes (nothing: all), handed to `take` a few hundred at a time, so
  /// that memory does not grow with their number. An error of `take` ends it.
  [[nodiscard]] Result<void> each(const std::function<bool(const std::string &)> &wanted,
                                  const std::function<Result<void>(std::vector<Entry>)> &take,
                                  std::set<std::string> &silent) const;
  /// kInstanceNotFound suggests the nearest name.
  [[nodiscard]] Error not_found(const std::string &name) const;
  [[nodiscard]] Result<Entry> find(const std::string &name) const;

  /// instance.yaml replaced whole, unless another node has the instance (device::replace_instance): then only
  /// where `overrule` has its very lease. The caller holds the directory's operation lock.
  [[nodiscard]] Result<void> write_record(int directory, const InstanceRecord &record,
                                          const InstanceRecord *overrule = nullptr) const;
  /// instance.yaml where there is none: kInstanceExists otherwise.
  [[nodiscard]] Result<void> create_record(int directory, const InstanceRecord &record) const;
  /// kNotFound (sys) when there is no instance.yaml.
  [[nodiscard]] Result<InstanceRecord> read_record(int directory, const std::string &path) const;

  /// Held from the check of a name until its pointer is there or gone. Makes STATE_DIR/instances.
  [[nodiscard]] Result<sys::OperationLock> lock_names() const;
  [[nodiscard]] Result<std::vector<std::string>> names() const;
  [[nodiscard]] Result<std::optional<config::Pointer>> pointer(const std::string &name) const;
  /// The same in the open directory of pointers.
  [[nodiscard]] Result<std::optional<config::Pointer>> pointer_at(int directory,
                                                                  const std::string &name) const;
  /// Never replaces another instance's: kInstanceExists.
  [[nodiscard]] Result<void> write_pointer(const InstanceRecord &record) const;
  /// In one step over the one that this name has: of an instance that moved.
  [[nodiscard]] Result<void> replace_pointer(const InstanceRecord &record) const;
  [[nodiscard]] Result<void> remove_pointer(const std::string &name) const;
  /// As remove_pointer, but only when it is that of `record`: by uuid and directory. Holds lock_names().
  [[nodiscard]] Result<void> remove_own_pointer(const InstanceRecord &record) const;

  /// Directories below the allowed ones that carry an instance.yaml: for `cluster verify --rebuild`.
  [[nodiscard]] Result<std::vector<std::string>> scan_directories() const;

 private:
  [[nodiscard]] Result<sys::Fd> open_names() const;
  [[nodiscard]] std::vector<Entry> read(std::span<const std::string> names,
                                        std::set<std::string> &silent) const;
  [[nodiscard]] std::string names_path() const { return settings_.state_dir + "/instances"; }
  const config::Settings &settings_;
};

}  // namespace vbd::instance
