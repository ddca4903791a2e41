// SPDX-License-Identifier: MIT
#include "fault_file.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vbdkit::testkit {
namespace {

bool is_change(Call call) {
  return call == Call::write || call == Call::truncate || call == Call::allocate || call == Call::punch ||
         call == Call::sync;
}

}  // namespace

struct FaultFile::Functions {
  static FaultFile &self(void *ctx) { return *static_cast<FaultFile *>(ctx); }

  static std::int64_t read(void *ctx, void *to, std::uint64_t length, std::uint64_t offset) noexcept {
    const std::lock_guard lock(self(ctx).mutex_);
    if (const Fault *fault = self(ctx).due(Call::read); fault != nullptr) {
      if (fault->error != 0) return -fault->error;
      length = std::min(length, fault->part);
    }
    return static_cast<std::int64_t>(self(ctx).content_.read(to, length, offset));
  }
  static std::int64_t write(void *ctx, const void *from, std::uint64_t length,
                            std::uint64_t offset) noexcept {
    const auto *bytes = static_cast<const unsigned char *>(from);
    const std::int64_t error = self(ctx).change({Call::write, offset, length, {bytes, bytes + length}});
    return error != 0 ? error : static_cast<std::int64_t>(length);
  }
  static std::int32_t get_size(void *ctx, std::uint64_t *bytes) noexcept {
    const std::lock_guard lock(self(ctx).mutex_);
    if (const Fault *fault = self(ctx).due(Call::get_size); fault != nullptr) return -fault->error;
    *bytes = self(ctx).content_.size();
    return 0;
  }
  static std::int32_t truncate(void *ctx, std::uint64_t bytes) noexcept {
    return static_cast<std::int32_t>(self(ctx).change({Call::truncate, bytes, 0, {}}));
  }
  static std::int32_t allocate(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    return static_cast<std::int32_t>(self(ctx).change({Call::allocate, offset, length, {}}));
  }
  static std::int32_t punch(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    return static_cast<std::int32_t>(self(ctx).change({Call::punch, offset, length, {}}));
  }
  static std::int32_t map(void *ctx, std::uint64_t offset, std::uint64_t *length,
                          std::uint32_t *is_hole) noexcept {
    const std::lock_guard lock(self(ctx).mutex_);
    if (const Fault *fault = self(ctx).due(Call::map); fault != nullptr) return -fault->error;
    if (offset >= self(ctx).content_.size()) return -ENXIO;
    bool hole = false;
    *length = self(ctx).content_.extent(offset, hole);
    *is_hole = hole ? 1 : 0;
    return 0;
  }
  static std::int32_t sync(void *ctx) noexcept {
    return static_cast<std::int32_t>(self(ctx).change({Call::sync, 0, 0, {}}));
  }
};

FaultFile::FaultFile(SparseBytes start, std::uint32_t flags)
    : start_(start),
      content_(std::move(start)),
      file_{sizeof(vbd_file),
            flags,
            this,
            Functions::read,
            Functions::write,
            Functions::get_size,
            Functions::truncate,
            Functions::allocate,
            Functions::punch,
            Functions::map,
            Functions::sync} {}

const FaultFile::Fault *FaultFile::due(Call call) {
  const Fault *found = nullptr;
  for (Fault &fault : faults_) {
    if (fault.any_change ? !is_change(call) : fault.call != call) continue;
    if (fault.nth > 0 && --fault.nth > 0) continue;
    due_now_ = fault;
    found = &due_now_;
  }
  std::erase_if(faults_, [](const Fault &fault) { return fault.nth == 0 && !fault.forever; });
  return found;
}

std::int64_t FaultFile::change(Operation operation) {
  const std::lock_guard lock(mutex_);
  const bool is_sync = operation.call == Call::sync;
  if (!is_sync && (file_.flags & VBD_FILE_READONLY) != 0) return -EBADF;
  if (const Fault *fault = due(operation.call); fault != nullptr) {
    if (operation.call == Call::write && fault->part > 0) {
      operation.length = std::min(operation.length, fault->part);
      operation.data.resize(operation.length);
      apply(operation, content_);
      log_.push_back(std::move(operation));
    }
    return -fault->error;
  }
  if (is_sync && (file_.flags & VBD_FILE_NO_SYNC) != 0) return 0;
  if (is_sync && ignored_ && ignored_(syncs_++, log_.empty() ? nullptr : &log_.back())) return 0;
  apply(operation, content_);
  log_.push_back(std::move(operation));
  return 0;
}

void FaultFile::fail(Call call, std::uint64_t nth, int error, bool forever, std::uint64_t part) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({call, false, forever, nth, error, part});
}

void FaultFile::fail_change(std::uint64_t nth, int error, bool forever) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({Call::write, true, forever, nth, error, 0});
}

void FaultFile::cut_read(std::uint64_t nth, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({Call::read, false, false, nth, 0, bytes});
}

void FaultFile::no_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

SparseBytes FaultFile::content() const {
  const std::lock_guard lock(mutex_);
  return content_;
}

std::size_t FaultFile::position() const {
  const std::lock_guard lock(mutex_);
  return log_.size();
}

void FaultFile::settle() {
  const std::lock_guard lock(mutex_);
  start_ = content_;
  log_.clear();
}

void FaultFile::crash_images(
    std::uint64_t extra, std::uint64_t seed,
    const std::function<bool(const SparseBytes &, const std::string &)> &body) const {
  CrashImages images(start_, log_);
  images.seek(log_.size());
  Random random(seed);
  images.each(extra, random, body);
}

}  // namespace vbdkit::testkit
