// SPDX-License-Identifier: MIT
#include <algorithm>

#include "bitmaps.hpp"
#include "busy.hpp"
#include "piece.hpp"

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kStep = 2u << 20;  // guest bytes that one turn plans and writes
}

/// Once, before the first change: what this program does not keep up to date must not look as if it were.
Status Image::mark_written(vbd_error *err) {
  if (failed_) return fail(err, VBD_E_IO, "qcow.failed", 0, "an earlier write of the image's tables failed");
  if (marked_) return VBD_OK;
  // What an earlier, killed process left in the page cache was looked at as if it were on the disk: now it
  // is.
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  if (header_.bitmap_count > 0) {
    if (const Status s = mark_bitmaps_in_use(file_, header_, err); s != VBD_OK) return s;
  }
  if (const uint64_t kept = header_.autoclear & kBitmapsValid; kept != header_.autoclear) {
    unsigned char raw[8];
    store_be(raw, kept);
    if (const Status s = file_.write(raw, sizeof raw, 88, err); s != VBD_OK) return s;
    if (const Status s = file_.sync(err); s != VBD_OK) return s;
    header_.autoclear = kept;
  }
  marked_ = true;
  return VBD_OK;
}

/// Which clusters the bytes go to, and which of them need a new place (after.host is 0 then).
Status Image::plan(uint64_t begin, uint64_t end, std::vector<Piece> *pieces, vbd_error *err) {
  const uint64_t sub = subcluster_size(header_);
  for (uint64_t at = begin; at < end;) {
    Piece piece;
    piece.guest_cluster = at / cluster();
    piece.begin = at;
    piece.end = std::min(end, (piece.guest_cluster + 1) * cluster());
    at = piece.end;
    if (const Status s = writable_l2(piece.guest_cluster, err); s != VBD_OK) return s;
    if (const Status s = lookup(piece.guest_cluster, &piece.before, err); s != VBD_OK) return s;
    const uint64_t base = piece.guest_cluster * cluster();
    const uint64_t first = (piece.begin - base) / sub, last = (piece.end - 1 - base) / sub;
    const uint32_t touched = static_cast<uint32_t>((2ull << last) - (1ull << first));
    const Entry &old = piece.before;
    const bool in_place = old.stored() && old.copied && !old.packed();
    piece.after = in_place ? old : Entry{};
    piece.after.copied = true;
    piece.after.data = old.data | touched;
    piece.after.zero = old.zero & ~touched;
    piece.fill_begin = piece.begin;
    piece.fill_end = piece.end;
    if (!in_place && old.data != 0) {  // everything moves
      piece.fill_begin = base;
      piece.fill_end = base + cluster();
    } else {
      if ((old.data & (1u << first)) == 0) piece.fill_begin = base + first * sub;
      if ((old.data & (1u << last)) == 0) piece.fill_end = base + (last + 1) * sub;
    }
    pieces->push_back(piece);
  }
  return VBD_OK;
}

Status Image::place(std::vector<Piece> *pieces, vbd_error *err) {
  for (std::size_t i = 0; i < pieces->size();) {
    if ((*pieces)[i].after.host != 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < pieces->size() && (*pieces)[end].after.host == 0) ++end;
    Run run;
    if (const Status s = space_->allocate(end - i, &run, err); s != VBD_OK) return s;
    for (uint64_t k = 0; k < run.clusters; ++k, ++i) {
      (*pieces)[i].after.host = run.offset + k * cluster();
      (*pieces)[i].fresh = run.fresh;
    }
  }
  return VBD_OK;
}

/// Nothing points at the new places: they are free again.
void Image::undo(const std::vector<Piece> &pieces) {
  const std::lock_guard lock(mutex_);
  for (const Piece &piece : pieces) {
    if (!piece.moves() || piece.after.host == 0) continue;
    if (space_->cancel(piece.after.host, cluster(), nullptr) != VBD_OK) failed_ = true;
  }
}

/// A cluster of which the caller gave only a part.
Status Image::put_bounced(const unsigned char *data, const Piece &piece, vbd_error *err) {
  const uint64_t base = piece.guest_cluster * cluster();
  const bool nothing_there =
      piece.before.data == 0 && (backing_ == nullptr || piece.before.zero == all_subclusters(header_));
  if (piece.fresh && nothing_there)  // the rest reads as zeros without being written
    return file_.write(data, piece.end - piece.begin, piece.after.host + (piece.begin - base), err);
  std::vector<unsigned char> bounce(piece.fill_end - piece.fill_begin);
  const uint64_t head = piece.begin - piece.fill_begin, body = piece.end - piece.begin;
  if (const Status s = read_entry(piece.before, piece.fill_begin, head, bounce.data(), err); s != VBD_OK)
    return s;
  std::memcpy(bounce.data() + head, data, body);
  if (const Status s =
          read_entry(piece.before, piece.end, piece.fill_end - piece.end, bounce.data() + head + body, err);
      s != VBD_OK)
    return s;
  return file_.write(bounce.data(), bounce.size(), piece.after.host + (piece.fill_begin - base), err);
}

Status Image::put(const unsigned char *from, uint64_t begin, const std::vector<Piece> &pieces,
                  vbd_error *err) {
  for (std::size_t i = 0; i < pieces.size();) {
    const Piece &piece = pieces[i];
    const unsigned char *data = from + (piece.begin - begin);
    if (piece.bounced()) {
      if (const Status s = put_bounced(data, piece, err); s != VBD_OK) return s;
      ++i;
      continue;
    }
    const uint64_t host = piece.after.host + piece.begin % cluster();
    uint64_t length = piece.end - piece.begin;
    for (++i; i < pieces.size() && !pieces[i].bounced() && pieces[i].after.host == host + length; ++i)
      length += pieces[i].end - pieces[i].begin;
    if (const Status s = file_.write(data, length, host, err); s != VBD_OK) return s;
  }
  return VBD_OK;
}

Status Image::link(const std::vector<Piece> &pieces, vbd_error *err) {
  const std::lock_guard lock(mutex_);
  for (const Piece &piece : pieces) {
    if (piece.after == piece.before) continue;
    if (const Status s = store(piece.guest_cluster, piece.after, err); s != VBD_OK) {
      failed_ = true;
      return s;
    }
    if (piece.moves()) {
      if (const Status s = drop(piece.before, false, err); s != VBD_OK) return s;
    }
  }
  return relieve(err);
}

/// The clusters are the caller's: see Busy.
Status Image::write_plain(const unsigned char *from, uint64_t begin, uint64_t end, vbd_error *err) {
  std::vector<Piece> pieces;
  Status status = VBD_OK;
  {
    const std::lock_guard lock(mutex_);
    status = mark_written(err);
    if (status == VBD_OK) status = plan(begin, end, &pieces, err);
    if (status == VBD_OK) status = place(&pieces, err);
  }
  if (status == VBD_OK) status = put(from, begin, pieces, err);
  if (status != VBD_OK) {
    undo(pieces);
    return status;
  }
  return link(pieces, err);
}

/// A whole cluster, packed if it gets smaller. `*done` false: to be written plainly.
Status Image::write_packed(const unsigned char *from, uint64_t guest_cluster, bool *done, vbd_error *err) {
  *done = false;
  std::vector<unsigned char> padded, packed(cluster());
  const uint64_t inside = std::min(cluster(), header_.size - guest_cluster * cluster());
  if (inside < cluster()) {
    padded.assign(cluster(), 0);
    std::memcpy(padded.data(), from, inside);
    from = padded.data();
  }
  const std::size_t bytes = packing_.pack(from, cluster(), packed.data(), cluster() - 1);
  if (bytes == 0) return VBD_OK;
  uint64_t offset = 0;
  Entry before;
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = mark_written(err); s != VBD_OK) return s;
    if (const Status s = writable_l2(guest_cluster, err); s != VBD_OK) return s;
    if (const Status s = lookup(guest_cluster, &before, err); s != VBD_OK) return s;
    if (const Status s = space_->allocate_packed(bytes, &offset, err); s != VBD_OK) return s;
  }
  const Status status = file_.write(packed.data(), bytes, offset, err);
  const std::lock_guard lock(mutex_);
  if (status != VBD_OK) {
    if (space_->cancel(offset, bytes, nullptr) != VBD_OK) failed_ = true;
    return status;
  }
  if (const Status s = store(guest_cluster, packed_entry(header_, offset, bytes), err); s != VBD_OK) {
    failed_ = true;
    return s;
  }
  if (const Status s = drop(before, false, err); s != VBD_OK) return s;
  *done = true;
  return relieve(err);
}

Status Image::write(const void *from, uint64_t length, uint64_t offset, vbd_error *err) {
  if (const Status s = begin_change(offset, length, err); s != VBD_OK) return s;
  const auto *data = static_cast<const unsigned char *>(from);
  const uint64_t step = std::max(kStep, cluster());
  while (length > 0) {
    const uint64_t end = std::min(offset + length, (offset / step + 1) * step);
    const Busy busy(*this, offset, end);
    uint64_t at = offset;
    while (at < end) {
      const uint64_t cluster_end = std::min((at / cluster() + 1) * cluster(), header_.size);
      bool done = false;
      uint64_t stop = compress_ ? std::min(end, cluster_end) : end;
      if (compress_ && at % cluster() == 0 && end >= cluster_end) {
        if (const Status s = write_packed(data, at / cluster(), &done, err); s != VBD_OK) return s;
      }
      if (!done) {
        if (const Status s = write_plain(data, at, stop, err); s != VBD_OK) return s;
      }
      data += stop - at;
      at = stop;
    }
    length -= end - offset;
    offset = end;
  }
  return settle(err);
}

}  // namespace vbdkit::qcow
