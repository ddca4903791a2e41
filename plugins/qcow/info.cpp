// SPDX-License-Identifier: MIT
#include "info.hpp"

#include <string>

#include "snapshots.hpp"

namespace vbdkit::qcow {

namespace {

constexpr uint32_t kListedSnapshots = 256;

std::string features_of(const Header &h) {
  std::string text;
  const auto add = [&text](bool set, const char *name) {
    if (!set) return;
    if (!text.empty()) text += ',';
    text += name;
  };
  add((h.incompatible & kDirty) != 0, "dirty");
  add((h.incompatible & kCorrupt) != 0, "corrupt");
  add(h.data_file(), "external_data_file");
  add((h.incompatible & kCompressionType) != 0, "compression_type");
  add(h.extended_l2(), "extended_l2");
  add((h.compatible & kLazyRefcounts) != 0, "lazy_refcounts");
  add(h.bitmaps_valid(), "bitmaps");
  add((h.autoclear & kRawData) != 0, "raw_external_data");
  add(h.xen, "xen");
  return text;
}

/// Snapshot names are the guest owner's bytes: what can't be printed is shown as '?'.
std::string shown(std::string text) {
  for (char &c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return text;
}

Status put_snapshots(const File &file, const Header &h, Sink *sink, vbd_error *err) {
  uint32_t index = 0;
  return for_each_snapshot(file, h, nullptr, err, [&](const Snapshot &snapshot) {
    if (index < kListedSnapshots) {
      const std::string key = "snapshot." + std::to_string(index) + ".";
      sink->text((key + "id").c_str(), shown(snapshot.id).c_str());
      sink->text((key + "name").c_str(), shown(snapshot.name).c_str());
      sink->number((key + "seconds").c_str(), snapshot.seconds);
      sink->number((key + "vm_state_size").c_str(), snapshot.vm_state_size);
      sink->number((key + "virtual_size").c_str(), snapshot.disk_size != 0 ? snapshot.disk_size : h.size);
    }
    ++index;
    return sink->status();
  });
}

/// QEMU's name of a driver as the constant of the filetype that reads it.
const char *constant_of(const std::string &format) {
  if (format == "raw" || format == "file") return "FT_RAW";
  if (format == "qcow" || format == "qcow2") return "FT_QCOW";
  return format.c_str();
}

}  // namespace

void put_properties(const Header &header, Sink *sink) {
  const char *name = header.version == 1 ? "qcow" : "qcow2";
  sink->text("prop.tap", name);
  sink->text("prop.qemu", name);
}

void put_references(const Header &header, Sink *sink) {
  if (header.has_backing()) {
    sink->text("reference.0.role", "backing");
    sink->text("reference.0.name", header.backing_name.c_str());
    if (!header.backing_format.empty()) sink->text("reference.0.format", constant_of(header.backing_format));
  }
  if (header.data_file()) {
    const std::string key = "reference." + std::to_string(data_reference_index(header)) + ".";
    sink->text((key + "role").c_str(), "data");
    sink->text((key + "name").c_str(), header.data_name.c_str());
    sink->text((key + "format").c_str(), "FT_RAW");
  }
}

Status probe(const File &file, vbd_sink *out, vbd_error *err) {
  unsigned char raw[8] = {};
  if (const Status s = file.read_padded(raw, sizeof raw, 0, err); s != VBD_OK) return s;
  Sink sink(out);
  const bool ours = be32(raw, 0) == kMagic;
  sink.number("match", ours ? 100 : 0);
  const std::string why =
      ours ? "qcow signature, version " + std::to_string(be32(raw, 4)) : "no qcow signature";
  sink.text("why", why.c_str());
  return sink.status();
}

Status info(const File &file, vbd_sink *out, vbd_error *err) {
  Header h;
  if (const Status s = read_header(file, Purpose::use, &h, err); s != VBD_OK) return s;
  Sink sink(out);
  sink.number("virtual_size", h.size);
  sink.number("version", h.version);
  sink.number("cluster_size", h.cluster_size());
  sink.text("features", features_of(h).c_str());
  sink.number("snapshots", h.snapshot_count);
  if (h.version >= 2) {
    sink.number("refcount_bits", h.refcount_bits());
    sink.text("compression", h.compression == 1 ? "zstd" : "zlib");
    sink.number("bitmaps", h.bitmap_count);
    sink.flag("dirty", (h.incompatible & kDirty) != 0);
    sink.flag("corrupt", (h.incompatible & kCorrupt) != 0);
    sink.flag("lazy_refcounts", (h.compatible & kLazyRefcounts) != 0);
    sink.flag("extended_l2", h.extended_l2());
  }
  put_properties(h, &sink);
  put_references(h, &sink);
  if (const Status s = put_snapshots(file, h, &sink, err); s != VBD_OK) return s;
  return sink.status();
}

}  // namespace vbdkit::qcow
