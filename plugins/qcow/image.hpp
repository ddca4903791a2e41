// SPDX-License-Identifier: MIT
// An open image of any version: what the image table of the ABI does. map and read may come from several
// threads, and so may write, zero, reserve and commit of disjoint ranges. Tables and space are kept under one
// lock; data is read, compressed and written outside of it. A mutation owns the guest clusters that it
// touches while it runs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <vector>

#include "entries.hpp"
#include "packing.hpp"
#include "slices.hpp"
#include "space.hpp"

namespace vbdkit::qcow {

class Image {
 public:
  static Status open(const vbd_request *request, std::unique_ptr<Image> *image, vbd_error *err);
  Image(const Image &) = delete;
  Image &operator=(const Image &) = delete;

  Status close(vbd_error *err);
  Status geometry(vbd_sink *sink, vbd_error *err);
  Status map(uint64_t offset, uint64_t length, std::span<vbd_extent> extents, uint32_t *n, vbd_error *err);
  Status read(void *to, uint64_t length, uint64_t offset, vbd_error *err);
  Status write(const void *from, uint64_t length, uint64_t offset, vbd_error *err);
  Status zero(uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err);
  Status flush(vbd_error *err);
  Status reserve(uint64_t offset, uint64_t length, std::span<vbd_extent> extents, uint32_t *n,
                 vbd_error *err);
  Status commit(uint64_t offset, uint64_t length, vbd_error *err);

  /// Alone: no other call at the same time.
  Status resize(uint64_t bytes, bool may_shrink, bool dry_run, vbd_error *err);
  /// Alone, on a new image: every cluster gets its place in the file.
  Status preallocate(bool allocate_blocks, bool write_zeros, vbd_error *err);

  [[nodiscard]] const Header &header() const noexcept { return header_; }

 private:
  Image(const File &file, const Header &header, bool writable);
  class Busy;  // guest clusters that a mutation owns

  // open
  Status load_l1(vbd_error *err);
  Status take_references(const vbd_request *request, vbd_error *err);
  Status prepare_writing(const vbd_request *request, vbd_error *err);
  Status mark_written(vbd_error *err);  // once, before the first change; under mutex_

  // tables; under mutex_
  [[nodiscard]] uint64_t cluster() const noexcept { return header_.cluster_size(); }
  Status lookup(uint64_t guest_cluster, Entry *entry, vbd_error *err);
  Status writable_l2(uint64_t guest_cluster, vbd_error *err);
  Status store(uint64_t guest_cluster, const Entry &entry, vbd_error *err);
  Status flush_tables(vbd_error *err);
  Status write_l1(vbd_error *err);
  Status relieve(vbd_error *err);  // flushes when much is held back
  Status drop(const Entry &old, bool punch, vbd_error *err);

  // content; no lock needed
  Status range(uint64_t offset, uint64_t length, vbd_error *err) const;
  Status begin_change(uint64_t offset, uint64_t length, vbd_error *err) const;
  Status read_entry(const Entry &entry, uint64_t guest, uint64_t length, void *to, vbd_error *err);
  Status read_backing(void *to, uint64_t length, uint64_t guest, vbd_error *err) const;
  Status read_packed(const Entry &entry, uint64_t skip, uint64_t length, void *to, vbd_error *err);
  Status settle(vbd_error *err);  // gives out released space again; without mutex_

  // map
  Status piece_at(uint64_t offset, uint64_t end, uint64_t unmapped, vbd_extent *piece, vbd_error *err);
  Status empty_clusters(uint64_t guest_cluster, uint64_t *n, vbd_error *err);
  void describe(uint64_t guest_cluster, const Entry &entry, uint64_t begin, uint64_t end,
                vbd_extent *extent) const;

  // write
  struct Piece;
  Status write_plain(const unsigned char *from, uint64_t begin, uint64_t end, vbd_error *err);
  Status plan(uint64_t begin, uint64_t end, std::vector<Piece> *pieces, vbd_error *err);
  Status place(std::vector<Piece> *pieces, vbd_error *err);
  Status put(const unsigned char *from, uint64_t begin, const std::vector<Piece> &pieces, vbd_error *err);
  Status put_bounced(const unsigned char *data, const Piece &piece, vbd_error *err);
  Status link(const std::vector<Piece> &pieces, vbd_error *err);
  void undo(const std::vector<Piece> &pieces);
  Status write_packed(const unsigned char *from, uint64_t guest_cluster, bool *done, vbd_error *err);

  // zero
  Status zero_cluster(uint64_t guest_cluster, uint64_t begin, uint64_t end, uint32_t flags, vbd_error *err);
  Status zero_whole(uint64_t guest_cluster, uint32_t flags, bool *by_writing, vbd_error *err);
  Status write_zeros(uint64_t begin, uint64_t end, vbd_error *err);
  Status zero_range(uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err);
  [[nodiscard]] uint64_t unmapped_until(uint64_t guest_cluster, uint64_t end) const noexcept;

  // reserve
  struct Reservation {
    uint64_t length = 0, host = 0;
  };
  Status give_up(uint64_t begin, uint64_t end, vbd_error *err);
  Status commit_one(uint64_t begin, const Reservation &reservation, vbd_error *err);

  // resize
  Status check_resize(uint64_t bytes, bool may_shrink, vbd_error *err) const;
  Status grow_l1(uint64_t entries, vbd_error *err);
  Status write_size(uint64_t bytes, vbd_error *err);

  File file_;
  Header header_;
  bool writable_ = false;
  bool compress_ = false;
  bool failed_ = false;  // tables in memory and file may differ: nothing more is written
  bool marked_ = false;
  const vbd_file *backing_ = nullptr;
  uint64_t backing_size_ = 0;
  const vbd_file *data_ = nullptr;  // external data file

  std::mutex mutex_;
  std::shared_mutex readers_;   // held while bytes are read at places that were looked up
  std::vector<uint64_t> l1_;    // as in the file, in this machine's order
  std::vector<bool> l1_dirty_;  // by 64 entries
  bool any_l1_dirty_ = false;
  Slices l2_;
  std::unique_ptr<Space> space_;
  std::map<uint64_t, Reservation> reserved_;  // by guest offset
  std::vector<std::pair<uint64_t, uint64_t>> busy_;
  std::condition_variable no_longer_busy_;

  Packing packing_;
  std::mutex last_mutex_;  // the cluster that was decompressed last
  uint64_t last_host_ = 0;
  std::shared_ptr<const std::vector<unsigned char>> last_;
};

}  // namespace vbdkit::qcow
