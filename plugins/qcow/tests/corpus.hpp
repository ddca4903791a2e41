// SPDX-License-Identifier: MIT
// Valid images ("parents") and hostile ones made of them by edits of a few bytes, each with the rule that it
// breaks. The tests, the fuzzers' seeds and the shadow runs share them. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools.hpp"

namespace qcow_test {

using vbdkit::testkit::SparseBytes;

/// Which operation must refuse; those before it may pass, those after it refuse too or see the damage.
enum class Stage { info, open, read, check };

struct Hostile {
  std::string name, parent;
  Stage stage;
  int32_t status;
  std::string reason;
  std::function<void(SparseBytes &)> edit;
};

/// "v1", "v1 xen", "v2", "v3", "v3 extended", "v3 zlib", "v3 zstd", and with qemu-img "v3 snapshot", "v3
/// bitmap".
const std::vector<std::pair<std::string, SparseBytes>> &parents();
const SparseBytes *parent(const std::string &name);
const std::vector<Hostile> &hostile_images();

uint64_t get64(const SparseBytes &bytes, uint64_t offset);
void put64(SparseBytes &bytes, uint64_t offset, uint64_t value);
void put32(SparseBytes &bytes, uint64_t offset, uint32_t value);
void put8(SparseBytes &bytes, uint64_t offset, unsigned value);

/// Offsets of the first tables of an image.
struct Places {
  explicit Places(const SparseBytes &image);
  uint64_t l1, l2, refcount_table, refcount_block, snapshots, cluster;
};

}  // namespace qcow_test
