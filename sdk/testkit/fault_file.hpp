// SPDX-License-Identifier: MIT
// A vbd_file in memory that fails on request and remembers every change in order, so that the states a power
// cut could leave can be made afterwards: what was synced, plus any choice of what was not, torn at sectors
// and in any order. FaultFile may be used from any thread; CrashImages is for one.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <vbdkit/plugin.h>

#include "files.hpp"
#include "random.hpp"
#include "sparse_bytes.hpp"

namespace vbdkit::testkit {

inline constexpr std::uint64_t kSector = 512;  ///< what a disk writes whole or not at all

/// One change of a file, or a sync.
struct Operation {
  Call call = Call::sync;  ///< write, truncate, allocate, punch or sync
  std::uint64_t offset = 0;
  std::uint64_t length = 0;         ///< truncate: the new size is `offset`
  std::vector<unsigned char> data;  ///< write
};
void apply(const Operation &operation, SparseBytes &file);

/// The states that a crash can leave. `log` must outlive this and may grow meanwhile.
class CrashImages {
 public:
  CrashImages(SparseBytes start, const std::vector<Operation> &log);
  /// The crash comes after the first `cut` operations of the log. Cuts ascend.
  void seek(std::size_t cut);
  /// The log indices that no sync covers.
  [[nodiscard]] std::size_t pending() const { return cut_ - synced_; }
  /// Only what was synced.
  [[nodiscard]] const SparseBytes &durable() const { return durable_; }
  /// All of it: what a killed process leaves while the system lives on.
  [[nodiscard]] SparseBytes everything() const;
  /// A random choice of the pending operations, in random order; writes and punches may be torn.
  [[nodiscard]] SparseBytes random(Random &random) const;
  /// The durable state, everything, each pending operation alone, everything but each one, then `extra`
  /// random choices. The body gets the image and words for it; it returns false to stop.
  void each(std::uint64_t extra, Random &random,
            const std::function<bool(const SparseBytes &, const std::string &)> &body) const;

 private:
  SparseBytes durable_;
  const std::vector<Operation> *log_;
  std::size_t synced_ = 0, cut_ = 0;
};

class FaultFile {
 public:
  explicit FaultFile(SparseBytes start = {}, std::uint32_t flags = 0);
  FaultFile(const FaultFile &) = delete;
  FaultFile &operator=(const FaultFile &) = delete;
  [[nodiscard]] const vbd_file *file() const { return &file_; }

  /// The nth call of this kind from now on (1: the next) answers -error; a write puts down its first `part`
  /// bytes before. `forever`: all later ones of the kind too.
  void fail(Call call, std::uint64_t nth, int error, bool forever = false, std::uint64_t part = 0);
  /// The nth changing call (write, truncate, allocate, punch, sync) from now on.
  void fail_change(std::uint64_t nth, int error, bool forever = false);
  /// The nth read from now on delivers at most `bytes`, as if the file ended there.
  void cut_read(std::uint64_t nth, std::uint64_t bytes);
  void no_faults();
  /// Syncs that answer 0 but do nothing: shows that a test notices a missing barrier. `last`: the change
  /// before it, or null.
  using IgnoreSync = std::function<bool(std::uint64_t nth, const Operation *last)>;
  void ignore_syncs(IgnoreSync which) { ignored_ = std::move(which); }

  [[nodiscard]] SparseBytes content() const;  ///< as a reader sees it now
  [[nodiscard]] const SparseBytes &start() const { return start_; }
  /// Every change since the start. Not to be read while another thread writes.
  [[nodiscard]] const std::vector<Operation> &log() const { return log_; }
  [[nodiscard]] std::size_t position() const;
  /// Makes the present content durable and forgets the log.
  void settle();
  /// What a power cut now could leave, see CrashImages::each.
  void crash_images(std::uint64_t extra, std::uint64_t seed,
                    const std::function<bool(const SparseBytes &, const std::string &)> &body) const;

 private:
  struct Functions;
  struct Fault {
    Call call = Call::read;
    bool any_change = false, forever = false;
    std::uint64_t nth = 0;
    int error = 0;  ///< 0: a short read
    std::uint64_t part = 0;
  };
  const Fault *due(Call call);
  std::int64_t change(Operation operation);

  mutable std::mutex mutex_;
  SparseBytes start_, content_;
  std::vector<Operation> log_;
  std::vector<Fault> faults_;
  Fault due_now_;
  IgnoreSync ignored_;
  std::uint64_t syncs_ = 0;
  vbd_file file_;
};

}  // namespace vbdkit::testkit
