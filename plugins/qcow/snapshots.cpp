// SPDX-License-Identifier: MIT
#include "snapshots.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {

constexpr uint64_t kSnapshotFixed = 40;  // bytes before the extra data
constexpr uint32_t kMaxExtra = 1024;     // QEMU's QCOW_MAX_SNAPSHOT_EXTRA_DATA
const char *const kBeyond = "qcow.snapshots_beyond_eof";

Status check_l1(const Header &header, const Snapshot &snapshot, vbd_error *err) {
  if (snapshot.l1_entries > kMaxL1Entries)
    return corrupt(err, "qcow.snapshot_l1_size", "a snapshot's L1 table has %u entries", snapshot.l1_entries);
  if (snapshot.l1_entries == 0) return VBD_OK;
  if (snapshot.l1_offset < header.cluster_size() || !is_aligned(snapshot.l1_offset, header.cluster_size()))
    return corrupt(err, "qcow.snapshot_l1_offset", "a snapshot's L1 table is at %llu",
                   ull(snapshot.l1_offset));
  if (!inside_file(header, snapshot.l1_offset, snapshot.l1_entries * 8ull))
    return corrupt(err, "qcow.snapshot_l1_beyond_eof", "a snapshot's L1 table at %llu ends after the file",
                   ull(snapshot.l1_offset));
  return VBD_OK;
}

/// Reads one entry at *at and moves it behind.
Status read_one(const File &file, const Header &header, uint64_t *at, Snapshot *out, vbd_error *err) {
  unsigned char raw[kSnapshotFixed];
  if (const Status s = file.read(raw, sizeof raw, *at, kBeyond, err); s != VBD_OK) return s;
  out->l1_offset = be64(raw, 0);
  out->l1_entries = be32(raw, 8);
  const uint32_t id_length = load_be<uint16_t>(raw + 12);
  const uint32_t name_length = load_be<uint16_t>(raw + 14);
  out->seconds = be32(raw, 16);
  out->vm_state_size = be32(raw, 32);
  out->disk_size = 0;
  const uint32_t extra = be32(raw, 36);
  if (extra > kMaxExtra || (header.version >= 3 && extra < 16))
    return corrupt(err, "qcow.snapshot_extra", "a snapshot has %u bytes of extra data", extra);
  unsigned char more[16];
  if (extra >= 8) {
    const uint64_t known = std::min<uint64_t>(extra, sizeof more);
    if (const Status s = file.read(more, known, *at + kSnapshotFixed, kBeyond, err); s != VBD_OK) return s;
    out->vm_state_size = be64(more, 0);
    if (extra >= 16) out->disk_size = be64(more, 8);
  }
  const uint64_t text = *at + kSnapshotFixed + extra;
  out->id.resize(id_length);
  out->name.resize(name_length);
  if (const Status s = file.read(out->id.data(), id_length, text, kBeyond, err); s != VBD_OK) return s;
  if (const Status s = file.read(out->name.data(), name_length, text + id_length, kBeyond, err); s != VBD_OK)
    return s;
  *at = text + id_length + name_length;
  return check_l1(header, *out, err);
}

}  // namespace

Status for_each_snapshot(const File &file, const Header &header, uint64_t *table_bytes, vbd_error *err,
                         const std::function<Status(const Snapshot &)> &each) {
  uint64_t at = header.snapshots_offset;
  Snapshot snapshot;
  for (uint32_t i = 0; i < header.snapshot_count; ++i) {
    at = round_up(at, 8);
    if (const Status s = read_one(file, header, &at, &snapshot, err); s != VBD_OK) return s;
    if (at - header.snapshots_offset > kMaxSnapshotTable)
      return corrupt(err, "qcow.snapshot_table_size", "the snapshot table is longer than 64 MiB");
    if (const Status s = each(snapshot); s != VBD_OK) return s;
  }
  if (table_bytes != nullptr) *table_bytes = header.snapshot_count == 0 ? 0 : at - header.snapshots_offset;
  return VBD_OK;
}

}  // namespace vbdkit::qcow
