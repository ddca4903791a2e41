// SPDX-License-Identifier: MIT
// A lock between hosts that share a directory but no file locks: a name that only one of them can make. It is
// a symbolic link that leads nowhere: making one fails when the name is there, on NFS too, and its text says
// in the same step who has it. Where a filesystem has none, it is a file; where none
// can be made, for it is full, a link to one that was made for that. Held for moments; one that a kill
// left is known by its process. Not thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

class NameLock {
 public:
  static constexpr std::string_view kFileName = ".vbdkit-lease.lock";
  /// `node` is this host's name. Takes over what a killed process of this node left: the caller holds the
  /// operation lock of the directory, so that no other process of this node does the same. Waits up to
  /// `patience` for another node; then kLocked, naming it.
  [[nodiscard]] static Result<NameLock> acquire(int directory, const std::string &directory_path,
                                                const std::string &node, std::chrono::milliseconds patience);
  NameLock(NameLock &&other) noexcept;
  NameLock &operator=(NameLock &&) = delete;
  ~NameLock();

  /// Makes sure that this node (the one of acquire) can have it again on a full filesystem: where that needs
  /// room for a name, a file of this node's own, which is then linked. kNoSpace when there is none.
  [[nodiscard]] Result<void> keep_spare(const std::string &node) const;

  /// False when somebody broke it meanwhile.
  [[nodiscard]] bool held() const { return seen_in(directory_.get()); }
  /// Whether another descriptor, perhaps through another mount, leads to the same directory.
  [[nodiscard]] bool seen_in(int directory) const;

 private:
  NameLock(Fd directory, std::string text) : directory_(std::move(directory)), text_(std::move(text)) {}
  Fd directory_;
  std::string text_;
};

/// The node that has it; nothing when nobody has.
[[nodiscard]] std::optional<std::string> name_lock_owner(int directory);
/// Takes it from whoever has it: on the operator's word.
[[nodiscard]] Result<void> break_name_lock(int directory);

}  // namespace vbd::sys
