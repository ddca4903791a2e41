// SPDX-License-Identifier: MIT
// New images: what QEMU's tools say of ours, and what we say of theirs.
#include <doctest/doctest.h>

#include <sstream>

#include "tests/support/skip.hpp"
#include "tools.hpp"

using namespace qcow_test;
using vbdkit::testkit::CountingFile;
using vbdkit::testkit::MemoryFile;

namespace {

constexpr uint64_t kM = 1u << 20, kG = 1u << 30;

/// What qemu-img says, without what differs between two files.
std::string qemu_info(const std::string &path) {
  const Ran ran = run({"qemu-img", "info", path});
  REQUIRE_MESSAGE(ran.status == 0, ran.out);
  std::istringstream lines(ran.out);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("image:") && !line.starts_with("disk size:")) kept += line + "\n";
  }
  return kept;
}

bool says(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

struct Case {
  uint64_t bytes;
  Pairs params;
  std::string qemu;  ///< -o of qemu-img create for the same
};

const Case kCases[] = {
    {10 * kG, {}, "compat=1.1"},
    {10 * kG, {{"version", "2"}}, "compat=0.10"},
    {512, {{"cluster_size", "512"}}, "cluster_size=512"},
    {8 * kG, {{"cluster_size", "512"}}, "cluster_size=512"},
    {7 * kM + 512, {{"cluster_size", "2097152"}}, "cluster_size=2M"},
    {16384 * kG, {}, "compat=1.1"},
    {1024 * kG, {{"extended_l2", "true"}}, "extended_l2=on"},
    {5 * kG, {{"refcount_bits", "1"}, {"cluster_size", "4096"}}, "refcount_bits=1,cluster_size=4k"},
    {5 * kG, {{"refcount_bits", "64"}, {"cluster_size", "512"}}, "refcount_bits=64,cluster_size=512"},
    {kG, {{"lazy_refcounts", "true"}, {"compression", "zstd"}}, "lazy_refcounts=on,compression_type=zstd"},
};

}  // namespace

TEST_CASE("qemu-img finds new images clean and agrees on what they are") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img"), "qcow.create", "qemu-img is not installed");
  Scratch scratch;
  for (const Case &one : kCases) {
    CAPTURE(one.qemu);
    const std::string ours = scratch.path("ours"), theirs = scratch.path("theirs");
    {
      DiskFile disk(ours, true);
      CountingFile counting(disk.file());
      const Outcome made = call(Op::create, counting.file(), one.bytes, 0, one.params);
      REQUIRE_MESSAGE(made.status == VBD_OK, made.message);
      CHECK(counting.count(vbdkit::testkit::Call::write).calls <= 4);
      const Outcome said = call(Op::info, disk.file());
      REQUIRE_MESSAGE(said.status == VBD_OK, said.message);
      CHECK(said.results->number("virtual_size") == one.bytes);
    }
    const Ran check = run({"qemu-img", "check", "-f", "qcow2", ours});
    CHECK_MESSAGE(check.status == 0, check.out);
    REQUIRE(
        run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", one.qemu, theirs, std::to_string(one.bytes)})
            .status == 0);
    CHECK(qemu_info(ours) == qemu_info(theirs));
    DiskFile disk(theirs);
    const Outcome said = call(Op::info, disk.file());
    REQUIRE_MESSAGE(said.status == VBD_OK, said.message);
    CHECK(said.results->number("virtual_size") == one.bytes);
    CHECK(said.results->text("prop.tap") == "qcow2");
    CHECK(says(qemu_info(ours),
               "cluster_size: " + std::to_string(said.results->number("cluster_size")) + "\n"));
  }
}

TEST_CASE("version 1: qemu-img agrees and reads it") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img"), "qcow.create.v1", "qemu-img is not installed");
  Scratch scratch;
  for (const char *cluster : {"512", "4096", "65536"}) {
    CAPTURE(std::string(cluster));
    const std::string ours = scratch.path("ours");
    DiskFile disk(ours, true);
    REQUIRE(
        call(Op::create, disk.file(), kG + 512, 0, {{"version", "1"}, {"cluster_size", cluster}}).status ==
        VBD_OK);
    const std::string said = qemu_info(ours);
    CHECK(says(said, "file format: qcow\n"));
    CHECK(says(said, "(" + std::to_string(kG + 512) + " bytes)"));
    CHECK(says(said, std::string("cluster_size: ") + cluster + "\n"));
    const Outcome info = call(Op::info, disk.file());
    REQUIRE_MESSAGE(info.status == VBD_OK, info.message);
    CHECK(info.results->text("prop.tap") == "qcow");
    CHECK(info.results->text("prop.qemu") == "qcow");
    CHECK(run({"qemu-img", "convert", "-f", "qcow", "-O", "raw", ours, scratch.path("raw")}).status == 0);
  }
  REQUIRE(run({"qemu-img", "create", "-q", "-f", "qcow", scratch.path("theirs"), "1G"}).status == 0);
  DiskFile disk(scratch.path("theirs"));
  const Outcome info = call(Op::info, disk.file());
  REQUIRE_MESSAGE(info.status == VBD_OK, info.message);
  CHECK(info.results->number("version") == 1);
  CHECK(info.results->number("virtual_size") == kG);
}

TEST_CASE("options that don't fit together are refused by name") {
  const Pairs bad[] = {
      {{"version", "2"}, {"extended_l2", "true"}},
      {{"version", "1"}, {"cluster_size", "131072"}},
      {{"cluster_size", "5000"}},
      {{"extended_l2", "true"}, {"cluster_size", "4096"}},
      {{"version", "2"}, {"compression", "zstd"}},
      {{"version", "2"}, {"lazy_refcounts", "true"}},
      {{"version", "2"}, {"refcount_bits", "8"}},
      {{"refcount_bits", "12"}},
      {{"version", "4"}},
  };
  for (const Pairs &params : bad) {
    MemoryFile file;
    const Outcome made = call(Op::create, file.file(), kG, 0, params);
    CHECK(made.status == VBD_E_INVAL);
    CHECK(made.reason == "qcow.option");
  }
  MemoryFile file;
  CHECK(call(Op::create, file.file(), 129 * kG, 0, {{"cluster_size", "512"}}).reason ==
        "qcow.size_for_cluster");
  CHECK(call(Op::create, file.file(), 1000).reason == "qcow.size");
}

TEST_CASE("probe looks at the signature only") {
  MemoryFile file;
  CHECK(call(Op::probe, file.file()).results->number("match") == 0);
  REQUIRE(call(Op::create, file.file(), kG).status == VBD_OK);
  const Outcome said = call(Op::probe, file.file());
  CHECK(said.results->number("match") == 100);
  CHECK(said.results->text("why") == "qcow signature, version 3");
}
