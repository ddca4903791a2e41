// SPDX-License-Identifier: MIT
#include <algorithm>

#include "space.hpp"

namespace vbdkit::qcow {

Status Space::grow_file(uint64_t end, vbd_error *err) {
  if (end <= file_end_) return VBD_OK;
  if (const Status s = file_.truncate(end, err); s != VBD_OK) return s;
  file_end_ = end;
  return VBD_OK;
}

namespace {

class AppendingSpace final : public Space {
 public:
  AppendingSpace(const File &file, const Header &header) : Space(file, header) {}

  Status allocate(uint64_t want, Run *run, vbd_error *err) override {
    return append(want * header_.cluster_size(), run, err);
  }
  Status allocate_table(uint64_t bytes, Run *run, vbd_error *err) override { return append(bytes, run, err); }
  Status allocate_packed(uint64_t bytes, uint64_t *offset, vbd_error *err) override {
    *offset = file_end_;
    return grow_file(file_end_ + bytes, err);
  }
  Status cancel(uint64_t offset, uint64_t bytes, vbd_error *err) override {
    if (offset + bytes != file_end_) return VBD_OK;  // lost: version 1 can't say that space is free
    if (const Status s = file_.truncate(offset, err); s != VBD_OK) return s;
    file_end_ = offset;
    return VBD_OK;
  }
  void release(uint64_t, uint64_t, bool) override {}
  Status write_back(vbd_error *) override { return VBD_OK; }
  bool dirty() const override { return false; }
  void synced() override {}
  Status reuse_released(vbd_error *) override { return VBD_OK; }
  bool has_released() const override { return false; }
  Status trim(vbd_error *) override { return VBD_OK; }

 private:
  Status append(uint64_t bytes, Run *run, vbd_error *err) {
    run->offset = round_up(file_end_, header_.cluster_size());
    run->clusters = units_of(bytes, header_.cluster_size());
    run->fresh = true;
    // Bit 63 of an entry says compressed, so offsets end far below; the filesystem's limit is lower still.
    if (run->offset + bytes >= kMaxHostOffset)
      return fail(err, VBD_E_NOSPC, "qcow.full", 0, "the image file is full");
    return grow_file(run->offset + bytes, err);
  }
};

}  // namespace

std::unique_ptr<Space> make_appending_space(const File &file, const Header &header) {
  return std::make_unique<AppendingSpace>(file, header);
}

}  // namespace vbdkit::qcow
