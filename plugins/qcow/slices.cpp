// SPDX-License-Identifier: MIT
#include "slices.hpp"

#include <algorithm>

namespace vbdkit::qcow {

Slices::Slices(const File &file, uint64_t slice, uint64_t max_bytes)
    : file_(file), slice_(slice), max_slices_(std::max<uint64_t>(4, max_bytes / slice)) {}

void Slices::make_room() {
  // Two turns: the first takes the marks off, so the second finds a clean slice if there is one.
  for (std::size_t steps = 2 * clock_.size(); slices_.size() >= max_slices_ && steps > 0; --steps) {
    if (hand_ >= clock_.size()) hand_ = 0;
    const auto found = slices_.find(clock_[hand_]);
    if (found != slices_.end() && (found->second.dirty || found->second.used)) {
      found->second.used = false;
      ++hand_;
      continue;
    }
    if (found != slices_.end()) slices_.erase(found);
    clock_[hand_] = clock_.back();
    clock_.pop_back();
  }
}

Status Slices::load(uint64_t offset, Slice **slice, vbd_error *err) {
  const uint64_t key = offset / slice_;
  const auto found = slices_.find(key);
  if (found != slices_.end()) {
    found->second.used = true;
    *slice = &found->second;
    return VBD_OK;
  }
  make_room();
  Slice fresh;
  fresh.bytes = std::make_unique_for_overwrite<unsigned char[]>(slice_);
  fresh.used = true;
  if (const Status s = file_.read_padded(fresh.bytes.get(), slice_, key * slice_, err); s != VBD_OK) return s;
  clock_.push_back(key);
  *slice = &slices_.insert_or_assign(key, std::move(fresh)).first->second;
  return VBD_OK;
}

Status Slices::at(uint64_t offset, const unsigned char **bytes, vbd_error *err) {
  Slice *slice = nullptr;
  if (const Status s = load(offset, &slice, err); s != VBD_OK) return s;
  *bytes = slice->bytes.get() + offset % slice_;
  return VBD_OK;
}

Status Slices::change(uint64_t offset, unsigned char **bytes, vbd_error *err) {
  Slice *slice = nullptr;
  if (const Status s = load(offset, &slice, err); s != VBD_OK) return s;
  if (!slice->dirty) ++dirty_;
  slice->dirty = true;
  *bytes = slice->bytes.get() + offset % slice_;
  return VBD_OK;
}

Status Slices::write_dirty(vbd_error *err) {
  if (dirty_ == 0) return VBD_OK;
  std::vector<uint64_t> keys;
  keys.reserve(dirty_);
  for (const auto &[key, slice] : slices_) {
    if (slice.dirty) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<unsigned char> run;
  for (std::size_t i = 0; i < keys.size();) {
    std::size_t end = i + 1;
    while (end < keys.size() && keys[end] == keys[end - 1] + 1 && (end - i) * slice_ < (1u << 20)) ++end;
    run.resize((end - i) * slice_);
    for (std::size_t k = i; k < end; ++k)
      std::memcpy(run.data() + (k - i) * slice_, slices_[keys[k]].bytes.get(), slice_);
    if (const Status s = file_.write(run.data(), run.size(), keys[i] * slice_, err); s != VBD_OK) return s;
    for (std::size_t k = i; k < end; ++k) slices_[keys[k]].dirty = false;
    dirty_ -= end - i;
    i = end;
  }
  return VBD_OK;
}

void Slices::forget(uint64_t offset, uint64_t length) {
  for (uint64_t at = offset; at < offset + length; at += slice_) {
    const auto found = slices_.find(at / slice_);
    if (found == slices_.end()) continue;
    if (found->second.dirty) --dirty_;
    slices_.erase(found);  // its key in clock_ goes when the hand comes to it
  }
}

}  // namespace vbdkit::qcow
