// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string_view>

#include "check.hpp"
#include "image.hpp"
#include "info.hpp"

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kL2CacheBytes = 12u << 20;
constexpr uint64_t kMaxSlice = 32768;

uint64_t slice_of(const Header &h) {
  return h.version == 1
             ? 512
             : std::min(h.cluster_size(), kMaxSlice);  // version 1 aligns tables to sectors at least
}

const vbd_file *reference(const vbd_request *request, const char *role) {
  if (!has_field(request, request->n_references)) return nullptr;
  for (uint32_t i = 0; i < request->n_references; ++i) {
    if (std::string_view(request->references[i].role) == role) return request->references[i].file;
  }
  return nullptr;
}
}  // namespace

Image::Image(const File &file, const Header &header, bool writable)
    : file_(file),
      header_(header),
      writable_(writable),
      l2_(file, slice_of(header), kL2CacheBytes),
      packing_(header.compression) {}

Status Image::open(const vbd_request *request, std::unique_ptr<Image> *image, vbd_error *err) {
  const File file(request->file);
  Header header;
  if (const Status s = read_header(file, Purpose::use, &header, err); s != VBD_OK) return s;
  const bool writable = (request->must & VBD_MUST_READONLY) == 0 && !file.read_only();
  std::unique_ptr<Image> made(new Image(file, header, writable));
  if (const Status s = made->take_references(request, err); s != VBD_OK) return s;
  if (const Status s = made->load_l1(err); s != VBD_OK) return s;
  if (writable) {
    if (const Status s = made->prepare_writing(request, err); s != VBD_OK) return s;
  }
  *image = std::move(made);
  return VBD_OK;
}

Status Image::take_references(const vbd_request *request, vbd_error *err) {
  if (header_.has_backing()) {
    backing_ = reference(request, "backing");
    if (backing_ == nullptr)
      return fail(err, VBD_E_REFERENCE, "qcow.backing_file", 0, "the image needs its backing file \"%s\"",
                  header_.backing_name.c_str());
    if (const Status s = File(backing_).size(&backing_size_, err); s != VBD_OK) return s;
  }
  if (header_.data_file()) {
    data_ = reference(request, "data");
    if (data_ == nullptr)
      return fail(err, VBD_E_REFERENCE, "qcow.data_file", 0,
                  "the image keeps its data in another file, \"%s\"", header_.data_name.c_str());
  }
  return VBD_OK;
}

Status Image::load_l1(vbd_error *err) {
  l1_.resize(header_.l1_entries);
  if (const Status s = file_.read_padded(l1_.data(), l1_.size() * 8, header_.l1_offset, err); s != VBD_OK)
    return s;
  uint64_t tables = 0;
  for (uint64_t &word : l1_) {
    if (!header_.xen_little_endian) word = swap_if_little(word);
    uint64_t table = 0;
    if (const char *reason = decode_l1(header_, header_.file_size, word, &table); reason != nullptr)
      return corrupt(err, reason, "L1 entry %llu is 0x%016llx",
                     ull(static_cast<uint64_t>(&word - l1_.data())), ull(word));
    if (table != 0) ++tables;
  }
  // More tables than the file has room for: some are shared, and walking them would take for ever.
  if (tables > header_.file_size / header_.l2_bytes() + 1)
    return corrupt(err, "qcow.l2_shared", "%llu L1 entries point at L2 tables, more than the file can hold",
                   ull(tables));
  l1_dirty_.assign(l1_.size() / 64 + 1, false);
  return VBD_OK;
}

/// Writing trusts the image's tables with its own bytes, so all of them are looked at first.
Status Image::prepare_writing(const vbd_request *request, vbd_error *err) {
  if ((header_.incompatible & kCorrupt) != 0)
    return corrupt(err, "qcow.marked_corrupt",
                   "the image is marked corrupt: it can only be read, or checked with repair");
  if ((header_.incompatible & kDirty) != 0)
    return corrupt(err, "qcow.dirty",
                   "the image was not closed and its reference counts are stale: check with repair first");
  if (header_.xen)
    return fail(err, VBD_E_NOTSUP, "qcow.xen_write", 0, "images with blktap's extended header are only read");
  if (header_.data_file())
    return fail(err, VBD_E_NOTSUP, "qcow.data_file_write", 0,
                "images with an external data file are only read");
  if (const Status s = verify_for_writing(file_, header_, err); s != VBD_OK) return s;
  const std::string_view compression = param(request, "compression", "none");
  compress_ = compression != "none";
  if (compress_ && (compression == "zstd") != (header_.compression == 1))
    return fail(err, VBD_E_INVAL, "qcow.option", 0, "compression: the image's compressed clusters are %s",
                header_.compression == 1 ? "zstd" : "zlib");
  if (header_.version == 1) {
    space_ = make_appending_space(file_, header_);
    return VBD_OK;
  }
  return make_counted_space(file_, header_, &space_, err);
}

Status Image::close(vbd_error *err) {
  if (!writable_) return VBD_OK;
  if (failed_) return fail(err, VBD_E_IO, "qcow.failed", 0, "the image's tables could not be written");
  Status status = give_up(0, ~0ull, err);
  const bool changed = marked_;
  if (status == VBD_OK && changed) status = flush(err);
  if (status == VBD_OK && changed && space_->dirty()) {  // what the flush made free
    status = space_->write_back(err);
    if (status == VBD_OK) status = file_.sync(err);
  }
  return status;
}

Status Image::geometry(vbd_sink *out, vbd_error *) {
  Sink sink(out);
  sink.number("virtual_size", header_.size);
  sink.number("unit", header_.cluster_size());
  put_properties(header_, &sink);
  put_references(header_, &sink);
  return sink.status();
}

Status Image::range(uint64_t offset, uint64_t length, vbd_error *err) const {
  if (fits(offset, length, header_.size)) return VBD_OK;
  return fail(err, VBD_E_INVAL, "qcow.range", 0, "%llu bytes at %llu lie beyond the image's %llu",
              ull(length), ull(offset), ull(header_.size));
}

Status Image::begin_change(uint64_t offset, uint64_t length, vbd_error *err) const {
  if (!writable_) return fail(err, VBD_E_PERM, "qcow.read_only", 0, "the image is open to read only");
  return range(offset, length, err);
}

}  // namespace vbdkit::qcow
