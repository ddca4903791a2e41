// SPDX-License-Identifier: MIT
#include <algorithm>

#include "image.hpp"

namespace vbdkit::qcow {

namespace {
/// What is read in one go: a stretch of guest bytes that lie together in the file, or one odd cluster.
struct Stretch {
  Entry entry;
  uint64_t guest = 0, length = 0, host = 0;
  bool plain = false;  ///< all of it lies at host
};
constexpr std::size_t kStretches = 64;
}  // namespace

Status Image::read_backing(void *to, uint64_t length, uint64_t guest, vbd_error *err) const {
  auto *out = static_cast<unsigned char *>(to);
  if (backing_ == nullptr || guest >= backing_size_) {
    std::memset(out, 0, length);
    return VBD_OK;
  }
  return File(backing_).read_padded(out, length, guest, err);
}

Status Image::read_packed(const Entry &entry, uint64_t skip, uint64_t length, void *to, vbd_error *err) {
  if (length < cluster()) {
    const std::lock_guard lock(last_mutex_);
    if (last_ != nullptr && last_host_ == entry.host) {
      std::memcpy(to, last_->data() + skip, length);
      return VBD_OK;
    }
  }
  std::vector<unsigned char> packed(entry.packed_bytes);
  if (const Status s = file_.read(packed.data(), packed.size(), entry.host, "qcow.packed_beyond_eof", err);
      s != VBD_OK)
    return s;
  if (length == cluster()) return packing_.unpack(packed.data(), packed.size(), to, length, err);
  auto whole = std::make_shared<std::vector<unsigned char>>(cluster());
  if (const Status s = packing_.unpack(packed.data(), packed.size(), whole->data(), whole->size(), err);
      s != VBD_OK)
    return s;
  std::memcpy(to, whole->data() + skip, length);
  const std::lock_guard lock(last_mutex_);
  last_host_ = entry.host;
  last_ = std::move(whole);
  return VBD_OK;
}

/// Guest bytes of one cluster.
Status Image::read_entry(const Entry &entry, uint64_t guest, uint64_t length, void *to, vbd_error *err) {
  auto *out = static_cast<unsigned char *>(to);
  if (length == 0) return VBD_OK;
  if (entry.packed()) return read_packed(entry, guest % cluster(), length, to, err);
  const uint64_t sub = subcluster_size(header_);
  while (length > 0) {
    const uint32_t bit = 1u << (guest % cluster() / sub);
    const uint64_t now = std::min(length, sub - guest % sub);
    Status status = VBD_OK;
    if ((entry.data & bit) != 0) {
      status =
          (data_ != nullptr ? File(data_) : file_).read_padded(out, now, entry.host + guest % cluster(), err);
    } else if ((entry.zero & bit) != 0) {
      std::memset(out, 0, now);
    } else {
      status = read_backing(out, now, guest, err);
    }
    if (status != VBD_OK) return status;
    out += now;
    guest += now;
    length -= now;
  }
  return VBD_OK;
}

Status Image::read(void *to, uint64_t length, uint64_t offset, vbd_error *err) {
  if (const Status s = range(offset, length, err); s != VBD_OK) return s;
  auto *out = static_cast<unsigned char *>(to);
  const std::shared_lock reading(readers_);
  while (length > 0) {
    Stretch list[kStretches];
    std::size_t n = 0;
    uint64_t at = offset;
    {
      const std::lock_guard lock(mutex_);
      while (at < offset + length) {
        const uint64_t now = std::min(offset + length - at, cluster() - at % cluster());
        Entry entry;
        if (const Status s = lookup(at / cluster(), &entry, err); s != VBD_OK) return s;
        const bool plain = !entry.packed() && entry.data == all_subclusters(header_);
        const uint64_t host = entry.host + at % cluster();
        if (plain && n > 0 && list[n - 1].plain && list[n - 1].host + list[n - 1].length == host) {
          list[n - 1].length += now;
        } else {
          if (n == kStretches) break;
          list[n++] = {entry, at, now, host, plain};
        }
        at += now;
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const Stretch &one = list[i];
      const File &source = data_ != nullptr ? File(data_) : file_;
      const Status status = one.plain ? source.read_padded(out, one.length, one.host, err)
                                      : read_entry(one.entry, one.guest, one.length, out, err);
      if (status != VBD_OK) return status;
      out += one.length;
    }
    length -= at - offset;
    offset = at;
  }
  return VBD_OK;
}

}  // namespace vbdkit::qcow
