// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "sdk/testkit/fault_file.hpp"

using namespace vbdkit::testkit;

namespace {

void put(const FaultFile &fault, char byte, std::uint64_t sector) {
  const std::string data(kSector, byte);
  REQUIRE(fault.file()->write(fault.file()->ctx, data.data(), kSector, sector * kSector) ==
          std::int64_t{kSector});
}

/// The first byte of each sector, '.' for zero.
std::string shape(const SparseBytes &image) {
  std::string line;
  const std::vector<unsigned char> bytes = image.bytes();
  for (std::uint64_t at = 0; at < bytes.size(); at += kSector) {
    line += bytes[at] == 0 ? '.' : static_cast<char>(bytes[at]);
  }
  return line;
}

std::set<std::string> shapes(const FaultFile &fault, std::uint64_t extra) {
  std::set<std::string> all;
  fault.crash_images(extra, 1, [&](const SparseBytes &image, const std::string &) {
    all.insert(shape(image));
    return true;
  });
  return all;
}

}  // namespace

TEST_CASE("what was synced is always there, the rest in any choice") {
  FaultFile fault;
  put(fault, 'a', 0);
  put(fault, 'b', 1);
  REQUIRE(fault.file()->sync(fault.file()->ctx) == 0);
  CHECK(shapes(fault, 50) == std::set<std::string>{"ab"});
  put(fault, 'c', 0);
  put(fault, 'd', 1);
  CHECK(shapes(fault, 50) == std::set<std::string>{"ab", "cb", "ad", "cd"});
  fault.settle();
  CHECK(shapes(fault, 50) == std::set<std::string>{"cd"});
}

TEST_CASE("a long write may be torn at sectors") {
  FaultFile fault;
  const std::string data(4 * kSector, 'x');
  fault.file()->write(fault.file()->ctx, data.data(), data.size(), 0);
  const auto seen = shapes(fault, 400);
  CHECK(seen.count("x.x.") + seen.count(".x.x") + seen.count("xx.x") > 0);
  CHECK(seen.count("") == 1);
  CHECK(seen.count("xxxx") == 1);
}

TEST_CASE("writes to one place may reach the disk in any order") {
  FaultFile fault;
  for (char byte = 'a'; byte <= 'c'; ++byte) put(fault, byte, 0);
  CHECK(shapes(fault, 200) == std::set<std::string>{"", "a", "b", "c"});
}

TEST_CASE("truncates and punches are lost like writes") {
  FaultFile fault;
  put(fault, 'a', 0);
  put(fault, 'b', 1);
  fault.settle();
  fault.file()->truncate(fault.file()->ctx, kSector);
  fault.file()->punch(fault.file()->ctx, 0, kSector);
  CHECK(shapes(fault, 100) == std::set<std::string>{"ab", ".b", "a", "."});
}

TEST_CASE("calls fail when they are told to") {
  FaultFile fault;
  put(fault, 'a', 0);
  const vbd_file *file = fault.file();
  char byte = 0;
  fault.fail(Call::read, 2, EIO);
  CHECK(file->read(file->ctx, &byte, 1, 0) == 1);
  CHECK(file->read(file->ctx, &byte, 1, 0) == -EIO);
  CHECK(file->read(file->ctx, &byte, 1, 0) == 1);
  fault.cut_read(1, 0);
  CHECK(file->read(file->ctx, &byte, 1, 0) == 0);

  fault.fail_change(2, ENOSPC, true);
  CHECK(file->write(file->ctx, "x", 1, 0) == 1);
  CHECK(file->truncate(file->ctx, 9) == -ENOSPC);
  CHECK(file->sync(file->ctx) == -ENOSPC);
  fault.no_faults();
  CHECK(file->sync(file->ctx) == 0);
}

TEST_CASE("a failing write leaves a part behind when it is told to") {
  FaultFile fault;
  fault.fail(Call::write, 1, ENOSPC, false, 2);
  CHECK(fault.file()->write(fault.file()->ctx, "abcd", 4, 0) == -ENOSPC);
  CHECK(fault.content().bytes() == std::vector<unsigned char>{'a', 'b'});
}

TEST_CASE("an ignored sync makes nothing durable") {
  FaultFile fault;
  fault.ignore_syncs([](std::uint64_t nth, const Operation *) { return nth == 0; });
  put(fault, 'a', 0);
  REQUIRE(fault.file()->sync(fault.file()->ctx) == 0);
  CHECK(shapes(fault, 5) == std::set<std::string>{"", "a"});
  REQUIRE(fault.file()->sync(fault.file()->ctx) == 0);
  CHECK(shapes(fault, 5) == std::set<std::string>{"a"});
}

TEST_CASE("a file opened with --no-sync never becomes durable") {
  FaultFile fault({}, VBD_FILE_NO_SYNC);
  put(fault, 'a', 0);
  REQUIRE(fault.file()->sync(fault.file()->ctx) == 0);
  CHECK(shapes(fault, 5) == std::set<std::string>{"", "a"});
}
