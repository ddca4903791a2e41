// SPDX-License-Identifier: MIT
// Images that we write are read by QEMU's tools, and theirs by us, over a pairwise cover of everything that
// an image can be.
#include <doctest/doctest.h>

#include <algorithm>

#include "configs.hpp"
#include "pairs.hpp"
#include "sdk/testkit/random.hpp"
#include "sdk/testkit/workload.hpp"
#include "tests/support/skip.hpp"
#include "tools.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

const std::vector<Factor> kFactors = {
    {"version", {"1", "2", "3"}},
    {"cluster_size", {"512", "4096", "16384", "65536", "2097152"}},
    {"compression", {"none", "zlib", "zstd"}},
    {"bytes", {"512", "1048576", "5243392", "33554432", "3298534883328"}},
    {"pattern", {"zeros", "text", "random", "mixed"}},
    {"extended_l2", {"false", "true"}},
    {"preallocation", {"off", "metadata", "falloc", "full"}},
    {"refcount_bits", {"1", "8", "16", "64"}},
};

std::string value(const Combination &c, const std::string &factor) {
  for (std::size_t i = 0; i < kFactors.size(); ++i) {
    if (kFactors[i].name == factor) return kFactors[i].values[c[i]];
  }
  return "";
}

uint64_t number(const Combination &c, const std::string &factor) {
  return std::stoull(value(c, factor));
}

bool valid(const Combination &c) {
  const bool v3 = value(c, "version") == "3", v1 = value(c, "version") == "1";
  const uint64_t cluster = number(c, "cluster_size"), bytes = number(c, "bytes");
  if (!v3 && (value(c, "compression") == "zstd" || value(c, "extended_l2") == "true" ||
              value(c, "refcount_bits") != "16"))
    return false;
  if (v1 && (cluster > 65536 || value(c, "preallocation") != "off")) return false;
  if (value(c, "extended_l2") == "true" && cluster < 16384) return false;
  if (bytes > (1ull << 40) && (cluster < 16384 || value(c, "preallocation") != "off" || v1)) return false;
  if (value(c, "preallocation") != "off" && bytes > (8u << 20) && cluster < 4096) return false;
  return true;
}

Pairs params(const Combination &c) {
  Pairs list;
  for (const Factor &factor : kFactors) {
    if (factor.name == "bytes" || factor.name == "pattern") continue;
    if (value(c, "version") == "1" && (factor.name == "refcount_bits" || factor.name == "extended_l2"))
      continue;
    list.emplace_back(factor.name, value(c, factor.name));
  }
  return list;
}

std::string qemu_options(const Combination &c) {
  const std::string version = value(c, "version");
  std::string text = version == "1" ? "" : "cluster_size=" + value(c, "cluster_size");
  if (version == "2") text += ",compat=0.10";
  if (version == "3")
    text += ",refcount_bits=" + value(c, "refcount_bits") +
            ",extended_l2=" + (value(c, "extended_l2") == "true" ? "on" : "off") +
            (value(c, "compression") == "zstd" ? ",compression_type=zstd" : "");
  if (version != "1") text += ",preallocation=" + value(c, "preallocation");
  return text;
}

std::vector<unsigned char> data(Random &random, const std::string &pattern, uint64_t length) {
  std::vector<unsigned char> bytes(length);
  const std::string kind = pattern == "mixed" ? (random.chance(2) ? "text" : "random") : pattern;
  if (kind == "zeros") return bytes;
  for (uint64_t i = 0; i < length; ++i)
    bytes[i] = kind == "text" ? static_cast<unsigned char>("a line of text, over and over\n"[i % 30])
                              : static_cast<unsigned char>(random.next());
  return bytes;
}

struct Range {
  uint64_t offset, length;
};

std::vector<Range> ranges(Random &random, uint64_t bytes) {
  std::vector<Range> list;
  for (int i = 0; i < 12; ++i) {
    const uint64_t length =
        std::min<uint64_t>(bytes, random.between(1, 300) * (random.chance(3) ? 4096 : 512));
    list.push_back({random.below((bytes - length) / 512 + 1) * 512, length});
  }
  list.push_back({bytes - 512, 512});
  return list;
}

std::string name_of(const Combination &c) {
  std::string text;
  for (const Factor &factor : kFactors) text += factor.name + "=" + value(c, factor.name) + " ";
  return text;
}

/// A random guest on our side, its image compared by QEMU.
void we_write(const Combination &c, Scratch &scratch, uint64_t seed) {
  const uint64_t bytes = number(c, "bytes");
  const bool v1 = value(c, "version") == "1";
  const std::string format = v1 ? "qcow" : "qcow2", path = scratch.path("ours"), raw = scratch.path("raw");
  Random random(seed);
  SparseBytes expected;
  expected.resize(bytes);
  {
    DiskFile disk(path, true);
    const Outcome made = call(Op::create, disk.file(), bytes, 0, params(c));
    REQUIRE_MESSAGE(made.status == VBD_OK, made.message);
    Image image(filetype());
    REQUIRE_MESSAGE(image.open(disk.file(), 0, plugin().params(params(c))) == VBD_OK, image.error().all());
    for (const Range &range : ranges(random, bytes)) {
      if (random.chance(5)) {
        REQUIRE_MESSAGE(
            image.zero(range.offset, range.length, uint32_t{random.chance(2)} * VBD_ZERO_MAY_PUNCH) == VBD_OK,
            image.error().all());
        expected.punch(range.offset, range.length);
      } else {
        const auto content = data(random, value(c, "pattern"), range.length);
        REQUIRE_MESSAGE(image.write(content.data(), content.size(), range.offset) == VBD_OK,
                        image.error().all());
        expected.write(content.data(), content.size(), range.offset);
      }
    }
    REQUIRE_MESSAGE(image.close() == VBD_OK, image.error().all());
    CHECK(run_check(filetype(), disk.file()).empty());
  }
  save(expected, raw);
  if (!v1) {
    const Ran check = run({"qemu-img", "check", "-f", "qcow2", path});
    CHECK_MESSAGE(check.status == 0, check.out);
  }
  const Ran compare = run({"qemu-img", "compare", "-f", format, "-F", "raw", path, raw});
  CHECK_MESSAGE(compare.status == 0, compare.out);
}

/// The same by qemu-io, read by us.
void they_write(const Combination &c, Scratch &scratch, uint64_t seed) {
  const uint64_t bytes = number(c, "bytes");
  const bool v1 = value(c, "version") == "1";
  const std::string path = scratch.path("theirs"), format = v1 ? "qcow" : "qcow2";
  std::vector<std::string> create = {"qemu-img", "create", "-q", "-f", format, path, std::to_string(bytes)};
  if (const std::string options = qemu_options(c); !options.empty())
    create.insert(create.end() - 2, {"-o", options});
  const Ran made = run(create);
  REQUIRE_MESSAGE(made.status == 0, made.out);
  Random random(seed);
  SparseBytes expected;
  expected.resize(bytes);
  std::vector<std::string> io = {"qemu-io", "-f", format};
  // A compressed cluster, which qemu-io writes whole, and only where nothing is.
  const uint64_t cluster = v1 ? 4096 : number(c, "cluster_size");
  if (value(c, "compression") != "none" && value(c, "preallocation") == "off" && bytes >= 2 * cluster) {
    const uint64_t at = bytes / 2 / cluster * cluster;
    io.insert(io.end(), {"-c", "write -c -P 7 " + std::to_string(at) + " " + std::to_string(cluster)});
    const std::vector<unsigned char> content(cluster, 7);
    expected.write(content.data(), content.size(), at);
  }
  for (const Range &range : ranges(random, bytes)) {
    const auto pattern = static_cast<unsigned char>(random.below(255) + 1);
    const bool zero = random.chance(5) && !v1;
    const std::string where = std::to_string(range.offset) + " " + std::to_string(range.length);
    io.insert(io.end(),
              {"-c", zero ? "write -z -u " + where : "write -P " + std::to_string(pattern) + " " + where});
    const std::vector<unsigned char> content(range.length, zero ? 0 : pattern);
    expected.write(content.data(), content.size(), range.offset);
  }
  io.push_back(path);
  const Ran written = run(io);
  REQUIRE_MESSAGE(written.status == 0, written.out);
  DiskFile disk(path);
  const Outcome check = call(Op::check, disk.file());
  CHECK_MESSAGE(check.status == VBD_OK, check.message);
  Image image(filetype());
  REQUIRE_MESSAGE(image.open(disk.file(), VBD_MUST_READONLY) == VBD_OK, image.error().all());
  CHECK(image.virtual_size() == bytes);
  if (bytes < (1ull << 40)) {
    CHECK(compare_content(image, expected, 0, bytes) == "");
    CHECK(compare_map(image, disk.file(), expected) == "");
  } else {
    Random again(seed);
    for (const Range &range : ranges(again, bytes))
      CHECK(compare_content(image, expected, range.offset, range.length) == "");
  }
}

}  // namespace

TEST_CASE("QEMU reads what we write and we read what QEMU writes") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img") && have("qemu-io"), "qcow.roundtrip",
                      "QEMU's tools are not installed");
  auto combinations = pairwise(kFactors, 60, valid);
  CHECK(combinations.size() >= 60);
  if (seconds_for(0, 1) == 0) combinations.resize(12);  // the first ones have most of the pairs
  uint64_t seed = 1;
  for (const Combination &c : combinations) {
    CAPTURE(name_of(c));
    Scratch scratch;
    we_write(c, scratch, ++seed);
    they_write(c, scratch, ++seed);
  }
  MESSAGE(combinations.size() << " combinations, both ways");
}
