// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "sdk/testkit/fault_file.hpp"
#include "sdk/testkit/files.hpp"
#include "sdk/testkit/host.hpp"
#include "sdk/testkit/plugin.hpp"

using namespace vbdkit::testkit;

namespace {

struct Raw {
  ScriptedHost host;
  std::string error_text;
  std::unique_ptr<Plugin> plugin = Plugin::linked(vbd_plugin_v1(), error_text, {}, host.host());
  Results results;
  ErrorBox error;

  std::int32_t call(vbd_op op, Request &request) {
    results.clear();
    return op(plugin->self(), request.get(), results.sink(), error.get());
  }
  std::int32_t create(const vbd_file *file, std::uint64_t bytes, const char *preallocation = "off",
                      std::uint32_t must = 0) {
    Request request(file, bytes, must);
    request.params({{"preallocation", preallocation}});
    return call(ops().create, request);
  }
  const vbd_filetype_ops &ops() { return *plugin->filetype().ops; }
};

SparseBytes starting_with(const std::string &head, std::uint64_t offset = 0) {
  SparseBytes bytes;
  bytes.resize(1u << 20);
  bytes.write(head.data(), head.size(), offset);
  return bytes;
}

}  // namespace

TEST_CASE("the plugin describes itself, and init may come again") {
  Raw raw;
  REQUIRE(raw.plugin != nullptr);
  CHECK(std::string(raw.plugin->description().constant) == "FT_RAW");
  CHECK(vbd_plugin_v1() == vbd_plugin_v1());
  CHECK(raw.plugin->params() == Pairs{{"preallocation", "off"}});
  raw.plugin.reset();
  raw.plugin = Plugin::linked(vbd_plugin_v1(), raw.error_text, {}, raw.host.host());
  CHECK(raw.plugin != nullptr);
}

TEST_CASE("create makes a sparse file of any size with a handful of calls") {
  Raw raw;
  for (const std::uint64_t bytes :
       {std::uint64_t{512}, std::uint64_t{10} << 30, (std::uint64_t{1} << 63) - 512}) {
    MemoryFile memory;
    CountingFile counting(memory.file());
    REQUIRE(raw.create(counting.file(), bytes) == VBD_OK);
    CHECK(memory.content().size() == bytes);
    CHECK(memory.content().allocated() == 0);
    CHECK(counting.all_calls() <= 2);
  }
}

TEST_CASE("create refuses sizes that no disk has") {
  Raw raw;
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{511}, std::uint64_t{513}, std::uint64_t{1} << 63}) {
    MemoryFile memory;
    CHECK(raw.create(memory.file(), bytes) == VBD_E_INVAL);
    CHECK(raw.error.reason() == "raw.size_invalid");
    CHECK(memory.content().size() == 0);
  }
}

TEST_CASE("create reports what the filesystem does not take") {
  Raw raw;
  MemoryFile small;
  small.limit_size(1u << 30);
  CHECK(raw.create(small.file(), std::uint64_t{2} << 30) == VBD_E_NOSPC);
  CHECK(raw.error.sys_errno() == EFBIG);
  MemoryFile full;
  full.limit_space(1u << 20);
  CHECK(raw.create(full.file(), 2u << 20, "falloc") == VBD_E_NOSPC);
  MemoryFile also_full;
  also_full.limit_space(1u << 20);
  CHECK(raw.create(also_full.file(), 2u << 20, "full") == VBD_E_NOSPC);
  MemoryFile used(starting_with("x"));
  CHECK(raw.create(used.file(), 512) == VBD_E_EXIST);
  CHECK(raw.error.reason() == "raw.not_empty");
}

TEST_CASE("preallocation reserves or writes all of it") {
  Raw raw;
  MemoryFile reserved;
  REQUIRE(raw.create(reserved.file(), 3u << 20, "falloc") == VBD_OK);
  CHECK(reserved.content().allocated() == 3u << 20);
  MemoryFile simple;
  simple.set_simple(true);
  CHECK(raw.create(simple.file(), 3u << 20, "falloc") == VBD_E_NOTSUP);
  CHECK(raw.error.reason() == "raw.no_falloc");
  MemoryFile written;
  written.set_simple(true);
  CountingFile counting(written.file());
  REQUIRE(raw.create(counting.file(), 3u << 20, "full") == VBD_OK);
  CHECK(counting.count(Call::write).bytes == 3u << 20);
  CHECK(raw.create(MemoryFile().file(), 512, "metadata") == VBD_E_INVAL);
}

TEST_CASE("a long create can be cancelled") {
  Raw raw;
  raw.host.cancel_at(2);
  MemoryFile memory;
  CHECK(raw.create(memory.file(), 8u << 20, "full") == VBD_E_CANCELLED);
}

TEST_CASE("a dry run changes nothing and needs no file") {
  Raw raw;
  CHECK(raw.create(nullptr, 1u << 20, "full", VBD_MUST_DRY_RUN) == VBD_OK);
  MemoryFile memory(starting_with("x"));
  Request request(memory.file(), 512, VBD_MUST_DRY_RUN | VBD_MUST_SHRINK);
  CHECK(raw.call(raw.ops().resize, request) == VBD_OK);
  CHECK(memory.content() == starting_with("x"));
}

TEST_CASE("must bits that are unknown are refused, hints are not") {
  Raw raw;
  MemoryFile memory(starting_with("x"));
  const vbd_filetype_ops &ops = raw.ops();
  for (const vbd_op op : {ops.probe, ops.info, ops.create, ops.resize, ops.check}) {
    Request strict(memory.file(), 1u << 20, 1u << 31);
    CHECK(raw.call(op, strict) == VBD_E_NOTSUP);
  }
  Request hinted(memory.file());
  hinted->hint = 1u << 31;
  CHECK(raw.call(ops.info, hinted) == VBD_OK);
}

TEST_CASE("probe takes anything but other formats") {
  Raw raw;
  const auto match = [&](const SparseBytes &bytes) {
    const MemoryFile memory(bytes, VBD_FILE_READONLY);
    Request request(memory.file());
    REQUIRE(raw.call(raw.ops().probe, request) == VBD_OK);
    CHECK_FALSE(raw.results.text("why").empty());
    return raw.results.number("match");
  };
  CHECK(match({}) == 1);
  CHECK(match(starting_with("Q")) == 1);
  CHECK(match(starting_with("\xeb\x63\x90")) == 1);
  CHECK(match(starting_with(std::string("LUKS\xba\xbe"))) == 1);
  CHECK(match(starting_with("QFI\xfb")) == 0);
  CHECK(raw.results.text("why") == "begins like a qcow image");
  CHECK(match(starting_with("KDMV")) == 0);
  CHECK(match(starting_with("vhdxfile")) == 0);
  CHECK(match(starting_with("\x7f\x10\xda\xbe", 0x40)) == 0);
  CHECK(match(starting_with("QFI\xfb", 1)) == 1);
}

TEST_CASE("info and check look at the size only") {
  Raw raw;
  MemoryFile memory;
  CountingFile counting(memory.file());
  REQUIRE(raw.create(memory.file(), std::uint64_t{1} << 40) == VBD_OK);
  Request request(counting.file());
  REQUIRE(raw.call(raw.ops().info, request) == VBD_OK);
  CHECK(raw.results.number("virtual_size") == std::uint64_t{1} << 40);
  REQUIRE(raw.call(raw.ops().check, request) == VBD_OK);
  CHECK(raw.results.has("errors"));
  CHECK(raw.results.number("errors") == 0);
  CHECK(raw.results.number("leaks") == 0);
  CHECK(counting.count(Call::read).calls == 0);
}

TEST_CASE("check finds a size that is not whole sectors, and leaves it alone") {
  Raw raw;
  SparseBytes odd;
  odd.resize(1000);
  MemoryFile memory(odd);
  Request request(memory.file(), 0, VBD_MUST_REPAIR_ALL);
  CHECK(raw.call(raw.ops().check, request) == VBD_E_CORRUPT);
  CHECK(raw.error.reason() == "raw.size_not_sectors");
  CHECK(raw.results.number("errors") == 1);
  CHECK(memory.content() == odd);
}

TEST_CASE("resize grows, and shrinks only when that is wanted") {
  Raw raw;
  MemoryFile memory(starting_with("end", (1u << 20) - 3));
  Request grow(memory.file(), 2u << 20);
  CHECK(raw.call(raw.ops().resize, grow) == VBD_OK);
  CHECK(memory.content().size() == 2u << 20);
  Request shrink(memory.file(), 1u << 20);
  CHECK(raw.call(raw.ops().resize, shrink) == VBD_E_INVAL);
  CHECK(raw.error.reason() == "raw.would_shrink");
  CHECK(memory.content().size() == 2u << 20);
  Request wanted(memory.file(), 1u << 20, VBD_MUST_SHRINK);
  CHECK(raw.call(raw.ops().resize, wanted) == VBD_OK);
  CHECK(memory.content() == starting_with("end", (1u << 20) - 3));
}

TEST_CASE("errors of the file are told with their errno") {
  Raw raw;
  FaultFile fault(starting_with("x"));
  fault.fail(Call::get_size, 1, EIO);
  Request request(fault.file());
  CHECK(raw.call(raw.ops().info, request) == VBD_E_IO);
  CHECK(raw.error.sys_errno() == EIO);
  fault.fail(Call::read, 1, EIO);
  CHECK(raw.call(raw.ops().probe, request) == VBD_E_IO);
  raw.results.refuse(VBD_E_CANCELLED);
  CHECK(raw.call(raw.ops().info, request) == VBD_E_CANCELLED);
}
