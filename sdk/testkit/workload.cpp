// SPDX-License-Identifier: MIT
#include "workload.hpp"

#include <algorithm>
#include <utility>

namespace vbdkit::testkit {

Workload::Workload(Filetype filetype, const vbd_file *file, WorkloadOptions options)
    : filetype_(filetype),
      file_(file),
      options_(std::move(options)),
      random_(options_.seed),
      image_(filetype) {}

std::string Workload::failed(const char *what, std::int32_t status) {
  return std::string(what) + " answered " + std::to_string(status) + ": " + image_.error().all() + " (" +
         last_step_ + ")";
}

void Workload::changing(const SparseBytes &after) {
  if (on_change) on_change(after);
}

std::string Workload::create() {
  last_step_ = "create";
  Request request(file_, options_.bytes);
  request.params(options_.params);
  Results results;
  ErrorBox error;
  const std::int32_t status =
      filetype_.ops->create(filetype_.self, request.get(), results.sink(), error.get());
  if (status != VBD_OK) return "create answered " + std::to_string(status) + ": " + error.all();
  if (file_->sync(file_->ctx) != 0) return "the file can't be synced";
  expected_ = {};
  expected_.resize(options_.bytes);
  return open();
}

std::string Workload::open() {
  const std::int32_t status = image_.open(file_, 0, options_.params);
  if (status != VBD_OK) return failed("open", status);
  if (image_.virtual_size() == expected_.size()) return "";
  return "virtual size " + std::to_string(image_.virtual_size()) + " instead of " +
         std::to_string(expected_.size());
}

Workload::Range Workload::range(std::uint64_t unit) {
  const std::uint64_t size = expected_.size();
  // Near the start half of the time, so that ranges meet again.
  const std::uint64_t span = random_.chance(2) ? size : std::min(size, options_.largest * 2);
  const std::uint64_t offset = random_.below(span) / unit * unit;
  const std::uint64_t most = std::min(options_.largest, size - offset);
  const std::uint64_t wanted =
      random_.chance(2) ? random_.between(1, std::min<std::uint64_t>(most, 4096)) : random_.between(1, most);
  return {offset, std::min((wanted + unit - 1) / unit * unit, size - offset)};
}

std::vector<unsigned char> Workload::pattern(std::uint64_t length) {
  std::vector<unsigned char> bytes(length);
  const std::uint64_t kind = random_.below(8);
  if (kind == 0) return bytes;
  if (kind <= 2) {  // packs well
    const auto fill = static_cast<unsigned char>(random_.next());
    std::fill(bytes.begin(), bytes.end(), fill);
    for (std::uint64_t i = 0; i < length; i += 509) bytes[i] = static_cast<unsigned char>(random_.next());
    return bytes;
  }
  for (std::uint64_t i = 0; i < length; i += 8) {
    std::uint64_t word = random_.next();
    for (std::uint64_t k = i; k < std::min(length, i + 8); ++k, word >>= 8)
      bytes[k] = static_cast<unsigned char>(word);
  }
  if (kind == 3)
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(length / 2), bytes.end(), std::uint8_t{0});
  return bytes;
}

std::string Workload::write() {
  const Range at = range(options_.alignment);
  const std::vector<unsigned char> bytes = pattern(at.length);
  last_step_ = "write " + std::to_string(at.length) + " at " + std::to_string(at.offset);
  SparseBytes after = expected_;
  after.write(bytes.data(), at.length, at.offset);
  changing(after);
  const std::int32_t status = image_.write(bytes.data(), at.length, at.offset);
  if (status != VBD_OK) return failed("write", status);
  expected_ = std::move(after);
  return compare_range(at.offset, at.length);
}

std::string Workload::zero() {
  const Range at = range(options_.alignment);
  static constexpr std::uint32_t kFlags[] = {VBD_ZERO_MAY_PUNCH, VBD_ZERO_MAY_PUNCH, 0, VBD_ZERO_KEEP_SPACE};
  const std::uint32_t flags = kFlags[random_.below(4)];
  last_step_ = "zero " + std::to_string(at.length) + " at " + std::to_string(at.offset) + " flags " +
               std::to_string(flags);
  SparseBytes after = expected_;
  after.punch(at.offset, at.length);
  changing(after);
  const std::int32_t status = image_.zero(at.offset, at.length, flags);
  if (status != VBD_OK) return failed("zero", status);
  expected_ = std::move(after);
  return compare_range(at.offset, at.length);
}

std::string Workload::put(const std::vector<vbd_extent> &extents, const std::vector<unsigned char> &bytes,
                          std::uint64_t offset) {
  for (const vbd_extent &extent : extents) {
    const auto *from = bytes.data() + (extent.offset - offset);
    if (file_->write(file_->ctx, from, extent.length, extent.host_offset) < 0) {
      return "the reserved range can't be written (" + last_step_ + ")";
    }
  }
  return "";
}

std::string Workload::reserve() {
  const Range at = range(image_.unit());
  const bool leave = options_.reopen && random_.chance(4);
  last_step_ = (leave ? "reserve and abandon " : "reserve and commit ") + std::to_string(at.length) + " at " +
               std::to_string(at.offset);
  const std::vector<unsigned char> bytes = pattern(at.length);
  SparseBytes after = expected_;
  after.write(bytes.data(), at.length, at.offset);
  std::vector<vbd_extent> extents;
  std::int32_t status = image_.reserve(at.offset, at.length, extents);
  if (status == VBD_E_NOTSUP) return {};  // not for this image: its bytes come through write
  if (status != VBD_OK) return failed("reserve", status);
  if (options_.reserve_in_place) changing(after);
  if (std::string problem = put(extents, bytes, at.offset); !problem.empty()) return problem;
  if (options_.reserve_in_place) expected_ = after;
  if (std::string problem = compare_range(at.offset, at.length); !problem.empty()) {
    return "seen before commit: " + problem;
  }
  if (leave) return abandon();
  if (!options_.reserve_in_place) changing(after);
  status = image_.commit(at.offset, at.length);
  if (status != VBD_OK) return failed("commit", status);
  expected_ = std::move(after);
  return compare_range(at.offset, at.length);
}

std::string Workload::abandon() {
  if (const std::int32_t status = image_.close(); status != VBD_OK) return failed("close", status);
  if (std::string problem = open(); !problem.empty()) return problem;
  return verify();
}

std::string Workload::flush() {
  last_step_ = "flush";
  if (const std::int32_t status = image_.flush(); status != VBD_OK) return failed("flush", status);
  if (on_durable) on_durable(expected_);
  return "";
}

std::string Workload::reopen() {
  last_step_ = "reopen";
  if (const std::int32_t status = image_.close(); status != VBD_OK) return failed("close", status);
  if (filetype_.ops->check != nullptr) {
    if (std::string problem = run_check(filetype_, file_); !problem.empty())
      return problem + " (" + last_step_ + ")";
  }
  if (std::string problem = open(); !problem.empty()) return problem;
  return verify();
}

std::string Workload::resize() {
  if (const std::int32_t status = image_.close(); status != VBD_OK) return failed("close", status);
  const std::uint64_t bytes = random_.between(1, options_.max_bytes / 512) * 512;
  last_step_ = "resize to " + std::to_string(bytes);
  const bool shrinks = bytes < expected_.size();
  SparseBytes after = expected_;
  if (shrinks) {  // on the way the end may be zeroed before the size changes
    after.punch(bytes, expected_.size() - bytes);
    changing(after);
  }
  after.resize(bytes);
  changing(after);
  Request request(file_, bytes, shrinks ? std::uint32_t{VBD_MUST_SHRINK} : 0u);
  request.params(options_.params);
  Results results;
  const std::int32_t status =
      filetype_.ops->resize(filetype_.self, request.get(), results.sink(), image_.error().get());
  if (status != VBD_OK) return failed("resize", status);
  if (file_->sync(file_->ctx) != 0) return "the file can't be synced (" + last_step_ + ")";
  expected_ = std::move(after);
  if (on_durable) on_durable(expected_);
  if (std::string problem = open(); !problem.empty()) return problem;
  return verify();
}

std::string Workload::compare_range(std::uint64_t offset, std::uint64_t length) {
  std::string problem = compare_content(image_, expected_, offset, length);
  return problem.empty() ? problem : problem + " (" + last_step_ + ")";
}

std::string Workload::step() {
  if (random_.chance(options_.flush_one_in)) return flush();
  if (options_.reopen && random_.chance(24)) return reopen();
  const bool can_resize = options_.max_bytes != 0 && filetype_.ops->resize != nullptr;
  if (can_resize && random_.chance(24)) return resize();
  const bool can_reserve = options_.reserve && image_.ops()->reserve != nullptr;
  if (can_reserve && random_.chance(4)) return reserve();
  if (options_.zero && image_.ops()->zero != nullptr && random_.chance(4)) return zero();
  if (random_.chance(6)) {
    const Range at = range(1);
    last_step_ = "read " + std::to_string(at.length) + " at " + std::to_string(at.offset);
    return compare_range(at.offset, at.length);
  }
  return write();
}

std::string Workload::verify() {
  std::string problem = compare_content(image_, expected_, 0, expected_.size());
  if (problem.empty()) problem = compare_map(image_, file_, expected_);
  return problem.empty() ? problem : problem + " (" + last_step_ + ")";
}

std::string Workload::finish() {
  if (std::string problem = flush(); !problem.empty()) return problem;
  if (std::string problem = verify(); !problem.empty()) return problem;
  if (const std::int32_t status = image_.close(); status != VBD_OK) return failed("close", status);
  return "";
}

}  // namespace vbdkit::testkit
