// SPDX-License-Identifier: MIT
#include "corpus.hpp"

#include <algorithm>

#include "plugins/qcow/bytes.hpp"

namespace qcow_test {

using namespace vbdkit::testkit;

namespace {
constexpr uint64_t kOffset = 0x00fffffffffffe00ull;

SparseBytes make(const Pairs &params, uint64_t bytes) {
  MemoryFile file;
  if (call(Op::create, file.file(), bytes, 0, params).status != VBD_OK) std::abort();
  Image image(filetype());
  if (image.open(file.file(), 0, plugin().params(params)) != VBD_OK) std::abort();
  std::vector<unsigned char> data(40000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<unsigned char>(i / 100);
  if (image.write(data.data(), data.size(), 0) != VBD_OK) std::abort();
  if (image.write(data.data(), 512, bytes - 512) != VBD_OK) std::abort();
  image.zero(16384, 16384);
  if (image.close() != VBD_OK) std::abort();
  return file.content();
}

/// What blktap writes: the extended header, L1 at 4096 in the byte order of the machine.
SparseBytes make_xen() {
  SparseBytes image = make({{"version", "1"}}, 1u << 20);
  const uint64_t l1 = get64(image, 40);
  SparseBytes xen;
  const auto bytes = image.bytes();
  xen.write(bytes.data(), 48, 0);
  xen.resize(8192 + bytes.size());
  const uint64_t shift = 8192;  // whole clusters
  put64(xen, 40, 4096);
  put32(xen, 48, 0x58454efb);
  put32(xen, 56, 1);
  const uint64_t l2 = get64(image, l1);
  for (unsigned i = 0; i < 8; ++i) put8(xen, 4096 + i, static_cast<unsigned>((l2 + shift) >> (8 * i)) & 0xff);
  xen.write(bytes.data() + l2, bytes.size() - l2, l2 + shift);
  for (uint64_t i = 0; i < 512; ++i) {
    const uint64_t entry = get64(image, l2 + i * 8);
    if (entry != 0) put64(xen, l2 + shift + i * 8, entry + shift);
  }
  return xen;
}

std::vector<std::pair<std::string, SparseBytes>> make_parents() {
  const uint64_t bytes = 1u << 20;
  std::vector<std::pair<std::string, SparseBytes>> list;
  list.emplace_back("v1", make({{"version", "1"}}, bytes));
  list.emplace_back("v1 zlib", make({{"version", "1"}, {"compression", "zlib"}}, bytes));
  list.emplace_back("v1 xen", make_xen());
  list.emplace_back("v2", make({{"version", "2"}, {"cluster_size", "4096"}}, bytes));
  list.emplace_back("v3", make({{"cluster_size", "4096"}}, bytes));
  list.emplace_back("v3 64k", make({}, bytes));
  list.emplace_back("v3 extended", make({{"extended_l2", "true"}, {"cluster_size", "16384"}}, bytes));
  list.emplace_back("v3 zlib", make({{"compression", "zlib"}, {"cluster_size", "4096"}}, bytes));
  list.emplace_back("v3 zstd", make({{"compression", "zstd"}, {"cluster_size", "4096"}}, bytes));
  if (!have("qemu-img")) return list;
  const Scratch scratch;
  const SparseBytes v3 = list[4].second;
  save(v3, scratch.path("snapshot"));
  if (run({"qemu-img", "snapshot", "-c", "first", scratch.path("snapshot")}).status != 0) std::abort();
  list.emplace_back("v3 snapshot", load(scratch.path("snapshot")));
  save(v3, scratch.path("bitmap"));
  if (run({"qemu-img", "bitmap", "--add", scratch.path("bitmap"), "dirty"}).status != 0) std::abort();
  list.emplace_back("v3 bitmap", load(scratch.path("bitmap")));
  return list;
}

}  // namespace

uint64_t get64(const SparseBytes &bytes, uint64_t offset) {
  unsigned char raw[8] = {};
  bytes.read(raw, sizeof raw, offset);
  return vbdkit::qcow::be64(raw, 0);
}

void put64(SparseBytes &bytes, uint64_t offset, uint64_t value) {
  unsigned char raw[8];
  vbdkit::qcow::store_be(raw, value);
  bytes.write(raw, sizeof raw, offset);
}

void put32(SparseBytes &bytes, uint64_t offset, uint32_t value) {
  unsigned char raw[4];
  vbdkit::qcow::store_be(raw, value);
  bytes.write(raw, sizeof raw, offset);
}

void put8(SparseBytes &bytes, uint64_t offset, unsigned value) {
  const auto raw = static_cast<unsigned char>(value);
  bytes.write(&raw, 1, offset);
}

Places::Places(const SparseBytes &image) {
  const bool v1 = get64(image, 0) % 8 == 1;
  l1 = get64(image, 40);
  l2 = get64(image, l1) & kOffset;
  refcount_table = v1 ? 0 : get64(image, 48);
  refcount_block = v1 ? 0 : get64(image, refcount_table);
  snapshots = v1 ? 0 : get64(image, 64);
  unsigned char bits[4] = {};
  image.read(bits, 4, v1 ? 29 : 20);
  cluster = 1ull << bits[3];
}

const std::vector<std::pair<std::string, SparseBytes>> &parents() {
  static const auto list = make_parents();
  return list;
}

const SparseBytes *parent(const std::string &name) {
  for (const auto &[known, image] : parents()) {
    if (known == name) return &image;
  }
  return nullptr;
}

}  // namespace qcow_test
