// SPDX-License-Identifier: MIT
#include "header.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {

/// Signatures of other formats that fit beside ours: a file that is two things at once is a trick.
Status refuse_polyglot(const File &file, const Header &header, vbd_error *err) {
  unsigned char sector[512] = {};
  if (const Status s = file.read_padded(sector, sizeof sector, 0, err); s != VBD_OK) return s;
  if (sector[510] == 0x55 && sector[511] == 0xaa)
    return corrupt(err, "qcow.polyglot", "the header also ends like a partition table (55 aa at 510)");
  if (be32(sector, 64) == 0x7f10dabe)
    return corrupt(err, "qcow.polyglot", "the header also holds VDI's signature");
  if (header.version == 1 || header.cluster_size() < 32774) return VBD_OK;  // there it is the guest's data
  char iso[5] = {};
  if (const Status s = file.read_padded(iso, sizeof iso, 32769, err); s != VBD_OK) return s;
  if (std::memcmp(iso, "CD001", 5) == 0)
    return corrupt(err, "qcow.polyglot", "the header also holds ISO 9660's signature");
  return VBD_OK;
}

}  // namespace

bool inside_file(const Header &header, uint64_t offset, uint64_t length) noexcept {
  if (offset >= header.file_size) return false;
  return fits(offset, length, round_up(header.file_size, header.cluster_size()));
}

Status read_name(const File &file, uint64_t offset, uint64_t length, const char *reason, std::string *name,
                 vbd_error *err) {
  name->assign(length, '\0');
  if (const Status s = file.read(name->data(), length, offset, reason, err); s != VBD_OK) return s;
  const bool bad = std::any_of(name->begin(), name->end(),
                               [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (bad || name->empty()) {
    name->clear();
    return corrupt(err, reason, "a name in the header is empty or holds control characters");
  }
  return VBD_OK;
}

Status read_header(const File &file, Purpose purpose, Header *header, vbd_error *err) {
  *header = Header{};
  if (const Status s = file.size(&header->file_size, err); s != VBD_OK) return s;
  if (header->file_size < kHeaderV1)
    return corrupt(err, "qcow.too_short", "the file has %llu bytes, a header at least %llu",
                   ull(header->file_size), ull(kHeaderV1));
  if (header->file_size > (1ull << 62))
    return corrupt(err, "qcow.too_long", "the file is longer than 2^62 bytes");
  unsigned char raw[kHeaderV3 + 8] = {};
  const uint64_t length = std::min<uint64_t>(sizeof raw, header->file_size);
  if (const Status s = file.read(raw, length, 0, "qcow.too_short", err); s != VBD_OK) return s;
  if (be32(raw, 0) != kMagic)
    return corrupt(err, "qcow.magic", "not a qcow image: it begins with 0x%08x", be32(raw, 0));
  header->version = be32(raw, 4);
  Status status = VBD_OK;
  switch (header->version) {
    case 1:
      status = read_header_v1(file, raw, header, err);
      break;
    case 2:
    case 3:
      status = read_header_v23(file, raw, purpose, header, err);
      break;
    default:
      return fail(err, VBD_E_NOTSUP, "qcow.version", 0, "qcow version %u is not known (1, 2 and 3 are)",
                  header->version);
  }
  if (status != VBD_OK) return status;
  return refuse_polyglot(file, *header, err);
}

}  // namespace vbdkit::qcow
