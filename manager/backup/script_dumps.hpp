// SPDX-License-Identifier: MIT
// Dumps through the scripts of a guest OS definition: what its export writes is stored, what was stored is
// given to its import. Several disks may be worked on at once, each in a thread; the first failure ends the
// scripts of the others.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/bulk.hpp"
#include "manager/backup/transfer.hpp"
#include "manager/os/scripts.hpp"

namespace vbd::backup {

class ScriptDumps {
 public:
  /// All three must outlive it. Made before threads are.
  [[nodiscard]] static Result<std::unique_ptr<ScriptDumps>> begin(const os::Call &call,
                                                                  const os::Definition &definition,
                                                                  const os::Guest &guest);

  /// The disk's dump, as the export script writes it to its standard output.
  [[nodiscard]] Result<Moved> save(std::size_t index, Sink &sink, const Watch &watch);

  /// The import script gets all of the dump. A dump that can't be read, or that `check` doesn't like, is the
  /// error before what the script has to say about it.
  using Check = std::function<Result<void>(const Moved &moved)>;
  [[nodiscard]] Result<void> restore(std::size_t index, Source &source, const Check &check,
                                     const Watch &watch);

 private:
  ScriptDumps(const os::Call &call, const os::Definition &definition, const os::Guest &guest)
      : call_(call), definition_(definition), guest_(guest) {}
  using Script = std::function<Result<void>(const os::Call &call)>;
  /// The script in a thread of its own, the transfer in this one.
  Result<Moved> side_by_side(const Script &script, const std::function<void()> &script_ended,
                             const std::function<Result<Moved>(const Watch &)> &moving, const Watch &watch,
                             Result<void> &ended);
  void stop();
  Error told(const Error &error) const;

  const os::Call &call_;
  const os::Definition &definition_;
  const os::Guest &guest_;
  sys::BulkPipe stop_;  ///< its writer is closed: all scripts are to end
  sys::Fd cancel_;
  std::atomic<bool> stopped_{false};
};

/// Says where an error happened; that of a script says it itself.
[[nodiscard]] Result<void> at_unless_script(const Result<void> &result, std::string_view where);

}  // namespace vbd::backup
