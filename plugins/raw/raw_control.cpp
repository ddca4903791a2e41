// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cinttypes>
#include <string_view>

#include "raw.hpp"

namespace raw {
namespace {

using vbdkit::fail;
using vbdkit::fail_errno;

constexpr uint64_t kLargest = 0x7fffffffffffffffu / kSector * kSector;  // plugin.h: 2^63 - 512
constexpr uint32_t kReads = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE;
constexpr uint32_t kChanges = VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN;

/// First bytes that another format's images have, so that they are not taken for a guest's disk by accident.
struct Magic {
  std::size_t offset;
  std::string_view bytes;
  const char *name;
};
using namespace std::string_view_literals;
constexpr std::array kMagics = {
    Magic{0, "QFI\xfb"sv, "qcow"},                  // QEMU docs/interop/qcow2.txt
    Magic{0, "QED\0"sv, "QED"},                     // QEMU docs/interop/qed_spec.txt
    Magic{0, "KDMV"sv, "VMDK"},                     // VMware Virtual Disk Format 1.1, SparseExtentHeader
    Magic{0, "COWD"sv, "VMDK"},                     // likewise, COWDisk_Header
    Magic{0, "# Disk DescriptorFile"sv, "VMDK"},    // likewise, the text descriptor
    Magic{0, "conectix"sv, "VHD"},                  // Microsoft VHD specification, the copy of the footer
    Magic{0, "vhdxfile"sv, "VHDX"},                 // MS-VHDX 2.2.1, file type identifier
    Magic{0x40, "\x7f\x10\xda\xbe"sv, "VDI"},       // VirtualBox VDICore.h, VDI_IMAGE_SIGNATURE
    Magic{0, "WithoutFreeSpace"sv, "Parallels"},    // QEMU docs/interop/parallels.txt
    Magic{0, "WithouFreSpacExt"sv, "Parallels"},    // likewise
    Magic{0, "Bochs Virtual HD Image"sv, "Bochs"},  // Bochs iodev/hdimage/hdimage.h
};

const char *other_format(const char *head, std::size_t length) {
  const std::string_view bytes(head, length);
  for (const Magic &magic : kMagics) {
    if (length >= magic.offset && bytes.substr(magic.offset).starts_with(magic.bytes)) return magic.name;
  }
  return nullptr;
}

int32_t check_size(uint64_t bytes, vbd_error *err) noexcept {
  if (bytes >= kSector && bytes <= kLargest && bytes % kSector == 0) return VBD_OK;
  return fail(err, VBD_E_INVAL, "raw.size_invalid", 0,
              "size %" PRIu64 ": a raw image has a multiple of 512 bytes, from 512 to 2^63-512", bytes);
}

int32_t allocate(const vbd_file *file, uint64_t bytes, bool required, vbd_error *err) noexcept {
  const int32_t error = file->allocate(file->ctx, 0, bytes);
  if (error == 0 || (error == -EOPNOTSUPP && !required)) return VBD_OK;
  if (error == -EOPNOTSUPP) {
    return fail(err, VBD_E_NOTSUP, "raw.no_falloc", EOPNOTSUPP,
                "the filesystem can't reserve space; use preallocation=full or off");
  }
  return fail_errno(err, -error, "reserving the image's space");
}

}  // namespace

int32_t file_size(const vbd_file *file, uint64_t &bytes, vbd_error *err) noexcept {
  const int32_t error = file->get_size(file->ctx, &bytes);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "size of the file");
}

int32_t write_zeros(const vbd_file *file, uint64_t offset, uint64_t length, const vbd_host *host,
                    vbd_error *err) noexcept {
  static constexpr std::array<char, 1u << 20> kZeros{};
  for (uint64_t done = 0; done < length;) {
    const uint64_t n = std::min<uint64_t>(kZeros.size(), length - done);
    if (const int32_t status = vbdkit::write_all(file, kZeros.data(), n, offset + done, err);
        status != VBD_OK) {
      return status;
    }
    done += n;
    if (host != nullptr && host->progress != nullptr && host->progress(host->ctx, done, length) != 0) {
      return fail(err, VBD_E_CANCELLED, nullptr, 0, "cancelled");
    }
  }
  return VBD_OK;
}

int32_t probe(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kReads, err); status != VBD_OK) return status;
  char head[512];
  const int64_t n = request->file->read(request->file->ctx, head, sizeof head, 0);
  if (n < 0) return fail_errno(err, static_cast<int>(-n), "read");
  const char *other = other_format(head, static_cast<std::size_t>(n));
  vbdkit::Sink out(sink);
  if (other == nullptr) {
    out.number("match", 1);
    out.text("why", "any file can be a raw image");
  } else {
    char why[64];
    std::snprintf(why, sizeof why, "begins like a %s image", other);
    out.number("match", 0);
    out.text("why", why);
  }
  return out.status();
}

int32_t info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kReads, err); status != VBD_OK) return status;
  uint64_t bytes = 0;
  if (const int32_t status = file_size(request->file, bytes, err); status != VBD_OK) return status;
  vbdkit::Sink out(sink);
  out.number("virtual_size", bytes);
  return out.status();
}

int32_t create(void *self, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kChanges, err); status != VBD_OK) return status;
  if (const int32_t status = check_size(request->bytes, err); status != VBD_OK) return status;
  const std::string_view how = vbdkit::param(request, "preallocation", "off");
  if (how != "off" && how != "falloc" && how != "full") {
    return fail(err, VBD_E_INVAL, "raw.preallocation", 0, "preallocation is off, falloc or full");
  }
  // A dry run comes before there is a file.
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  const vbd_file *file = request->file;
  uint64_t before = 0;
  if (const int32_t status = file_size(file, before, err); status != VBD_OK) return status;
  if (before != 0) return fail(err, VBD_E_EXIST, "raw.not_empty", 0, "the file is not empty");
  if (const int32_t error = file->truncate(file->ctx, request->bytes); error != 0) {
    return fail_errno(err, -error, "setting the image's size");
  }
  if (how == "off") return VBD_OK;
  // Reserved first, a full image is laid out in few pieces and lacks of space are found early.
  const int32_t status = allocate(file, request->bytes, how == "falloc", err);
  if (status != VBD_OK || how == "falloc") return status;
  return write_zeros(file, 0, request->bytes, static_cast<Self *>(self)->host, err);
}

int32_t resize(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kChanges | VBD_MUST_SHRINK, err); status != VBD_OK) {
    return status;
  }
  if (const int32_t status = check_size(request->bytes, err); status != VBD_OK) return status;
  uint64_t before = 0;
  if (const int32_t status = file_size(request->file, before, err); status != VBD_OK) return status;
  if (request->bytes < before && (request->must & VBD_MUST_SHRINK) == 0) {
    return fail(err, VBD_E_INVAL, "raw.would_shrink", 0,
                "the image has %" PRIu64 " bytes, %" PRIu64
                " would cut off its end; say that shrinking is wanted",
                before, request->bytes);
  }
  if (request->bytes == before || (request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  const int32_t error = request->file->truncate(request->file->ctx, request->bytes);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "setting the image's size");
}

int32_t check(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  const uint32_t known = kReads | VBD_MUST_DRY_RUN | VBD_MUST_REPAIR_LEAKS | VBD_MUST_REPAIR_ALL;
  if (const int32_t status = vbdkit::check_must(request, known, err); status != VBD_OK) return status;
  uint64_t bytes = 0;
  if (const int32_t status = file_size(request->file, bytes, err); status != VBD_OK) return status;
  const bool sectors = bytes % kSector == 0 && bytes != 0;
  vbdkit::Sink out(sink);
  out.number("leaks", 0);
  out.number("errors", sectors ? 0 : 1);
  if (sectors) return out.status();
  char finding[128];
  std::snprintf(finding, sizeof finding, "size %" PRIu64 " is not a positive multiple of 512", bytes);
  out.text("finding.0", finding);
  if (out.status() != VBD_OK) return out.status();
  // Not repaired: growing would give the guest another disk, and so would cutting.
  return fail(err, VBD_E_CORRUPT, "raw.size_not_sectors", 0, "%s", finding);
}

}  // namespace raw
