// SPDX-License-Identifier: MIT
// The image table of FT_TOY. It is not parallel, and says so by failing when two calls meet, of one image or
// of two.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>

#include "toy.hpp"

namespace toy {
namespace {

using vbdkit::fail;
using vbdkit::guarded;

constexpr uint64_t kNoPlace = ~uint64_t{0};

struct Image {
  Store store;
  bool read_only = false;
  std::map<uint64_t, uint32_t> reserved;  ///< block: place
};

std::atomic<bool> busy{false};

/// Runs the body of a call unless another one runs.
template <class Body>
int32_t alone(void *image, vbd_error *err, Body &&body) noexcept {
  auto &self = *static_cast<Image *>(image);
  if (busy.exchange(true)) {
    return fail(err, VBD_E_INTERNAL, "toy.called_twice", 0,
                "two calls at once to a filetype that is not parallel");
  }
  const int32_t status = guarded(err, [&] { return body(self); });
  busy = false;
  return status;
}

int32_t in_range(const Image &image, uint64_t offset, uint64_t length, bool writes, vbd_error *err) {
  if (writes && image.read_only)
    return fail(err, VBD_E_PERM, "toy.read_only", 0, "the image is open for reading");
  if (offset <= image.store.size() && length <= image.store.size() - offset) return VBD_OK;
  return fail(err, VBD_E_INVAL, "toy.range", 0, "the range lies beyond the end");
}

/// Reserved and committed ranges are whole blocks, the last one cut by the end of the disk.
int32_t whole_blocks(const Image &image, uint64_t offset, uint64_t length, vbd_error *err) {
  const uint64_t end = offset + length;
  if (offset % kBlock == 0 && (end % kBlock == 0 || end == image.store.size())) return VBD_OK;
  return fail(err, VBD_E_INVAL, "toy.not_aligned", 0, "only whole units can be reserved");
}

/// Calls body(block, where in the block, bytes, where in the range) for each block of the range.
template <class Body>
int32_t each_block(uint64_t offset, uint64_t length, Body &&body) {
  for (uint64_t done = 0; done < length;) {
    const uint64_t at = offset + done;
    const uint64_t n = std::min(kBlock - at % kBlock, length - done);
    if (const int32_t status = body(at / kBlock, at % kBlock, n, done); status != VBD_OK) return status;
    done += n;
  }
  return VBD_OK;
}

int32_t open(void *, const vbd_request *request, void **image, vbd_error *err) noexcept {
  return guarded(err, [&]() -> int32_t {
    int32_t status = vbdkit::check_must(request, VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE, err);
    if (status != VBD_OK) return status;
    auto made = std::make_unique<Image>();
    status = made->store.load(request->file, err);
    if (status != VBD_OK) return status;
    made->read_only =
        (request->must & VBD_MUST_READONLY) != 0 || (request->file->flags & VBD_FILE_READONLY) != 0;
    *image = made.release();
    return VBD_OK;
  });
}

int32_t close(void *image, vbd_error *err) noexcept {
  const std::unique_ptr<Image> self(static_cast<Image *>(image));
  return guarded(err, [&] { return self->read_only ? VBD_OK : self->store.save(err); });
}

int32_t geometry(void *image, vbd_sink *sink, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) {
    vbdkit::Sink out(sink);
    out.number("virtual_size", self.store.size());
    out.number("unit", kBlock);
    return out.status();
  });
}

vbd_extent extent_of(const Store &store, uint64_t block, uint64_t within, uint64_t length) {
  const Entry &entry = store.entry(block);
  vbd_extent extent = {block * kBlock + within, length, 0, VBD_EXTENT_HOLE, 0, 0};
  if (entry.kind == kPacked) extent.kind = VBD_EXTENT_PACKED;
  if (entry.kind == kVerbatim) extent.kind = VBD_EXTENT_DATA;
  if (entry.kind == kZero) extent.kind = VBD_EXTENT_ZERO;
  if (entry.kind == kVerbatim || (entry.kind == kZero && entry.place != 0)) {
    extent.host_offset = uint64_t{entry.place} * kSector + within;
  } else if (entry.kind == kZero) {
    extent.host_offset = kNoPlace;
  }
  return extent;
}

/// Appends, or lengthens the last one; false when there is no room.
bool append(vbd_extent *extents, uint32_t cap, uint32_t *n, const vbd_extent &next) {
  if (*n > 0) {
    vbd_extent &last = extents[*n - 1];
    const bool nowhere = next.host_offset == 0 || next.host_offset == kNoPlace;
    const uint64_t expected = nowhere ? next.host_offset : last.host_offset + last.length;
    if (last.kind == next.kind && next.host_offset == expected &&
        (!nowhere || last.host_offset == expected)) {
      last.length += next.length;
      return true;
    }
  }
  if (*n == cap) return false;
  extents[(*n)++] = next;
  return true;
}

int32_t map(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
            vbd_error *err) noexcept {
  *n = 0;
  return alone(image, err, [&](Image &self) {
    const int32_t status = in_range(self, offset, length, false, err);
    bool room = true;
    return status != VBD_OK
               ? status
               : each_block(offset, length, [&](uint64_t block, uint64_t at, uint64_t some, uint64_t) {
                   room = room && append(extents, cap, n, extent_of(self.store, block, at, some));
                   return int32_t{VBD_OK};
                 });
  });
}

int32_t read(void *image, void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) {
    if (const int32_t status = in_range(self, offset, length, false, err); status != VBD_OK) return status;
    return each_block(offset, length, [&](uint64_t block, uint64_t at, uint64_t n, uint64_t done) {
      Block bytes;
      const int32_t status = self.store.read_block(block, bytes, err);
      if (status == VBD_OK) std::memcpy(static_cast<unsigned char *>(buf) + done, bytes.data() + at, n);
      return status;
    });
  });
}

int32_t write(void *image, const void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) {
    if (const int32_t status = in_range(self, offset, length, true, err); status != VBD_OK) return status;
    return each_block(offset, length, [&](uint64_t block, uint64_t at, uint64_t n, uint64_t done) {
      Block bytes;
      int32_t status = self.store.read_block(block, bytes, err);
      if (status != VBD_OK) return status;
      std::memcpy(bytes.data() + at, static_cast<const unsigned char *>(buf) + done, n);
      return self.store.write_block(block, bytes, err);
    });
  });
}

int32_t zero(void *image, uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) {
    if (const int32_t status = in_range(self, offset, length, true, err); status != VBD_OK) return status;
    return each_block(offset, length, [&](uint64_t block, uint64_t at, uint64_t n, uint64_t) {
      if (n == self.store.inside(block))
        return self.store.zero_block(block, (flags & VBD_ZERO_KEEP_SPACE) != 0, err);
      Block bytes;
      int32_t status = self.store.read_block(block, bytes, err);
      if (status != VBD_OK) return status;
      std::memset(bytes.data() + at, 0, n);
      return self.store.write_block(block, bytes, err);
    });
  });
}

int32_t flush(void *image, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) { return self.read_only ? VBD_OK : self.store.save(err); });
}

int32_t reserve(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
                vbd_error *err) noexcept {
  *n = 0;
  return alone(image, err, [&](Image &self) {
    int32_t status = in_range(self, offset, length, true, err);
    if (status == VBD_OK) status = whole_blocks(self, offset, length, err);
    if (status != VBD_OK) return status;
    bool room = true;
    return each_block(offset, length, [&](uint64_t block, uint64_t, uint64_t some, uint64_t) {
      if (!room) return int32_t{VBD_OK};
      const auto [place, fresh] = self.reserved.try_emplace(block, 0u);
      if (fresh) {
        if (const int32_t full = self.store.take_place(place->second, err); full != VBD_OK) return full;
      }
      room = append(extents, cap, n,
                    {block * kBlock, some, uint64_t{place->second} * kSector, VBD_EXTENT_DATA, 0, 0});
      return int32_t{VBD_OK};
    });
  });
}

int32_t commit(void *image, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  return alone(image, err, [&](Image &self) {
    int32_t status = in_range(self, offset, length, true, err);
    if (status == VBD_OK) status = whole_blocks(self, offset, length, err);
    if (status != VBD_OK) return status;
    return each_block(offset, length, [&](uint64_t block, uint64_t, uint64_t, uint64_t) {
      const auto place = self.reserved.find(block);
      if (place == self.reserved.end()) {
        return fail(err, VBD_E_INVAL, "toy.not_reserved", 0, "commit of a range that was not reserved");
      }
      self.store.set_entry(block, {place->second, static_cast<uint16_t>(kBlock), kVerbatim});
      self.reserved.erase(place);
      return int32_t{VBD_OK};
    });
  });
}

}  // namespace

const vbd_image_ops kImageOps = {
    sizeof(vbd_image_ops), 0, open, close, geometry, map, read, write, zero, flush, reserve, commit,
};

}  // namespace toy
