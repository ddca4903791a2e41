// SPDX-License-Identifier: MIT
#include "core/device/claim.hpp"

#include "core/config/documents.hpp"
#include "core/device/tests/device_bench.hpp"

using namespace vbd;
using test::DeviceBench;

namespace {

struct InstanceBench : DeviceBench {
  InstanceBench() {
    if (!ok) return;
    record.uuid = *sys::new_uuid();
    record.name = "web";
    record.directory = images();
    record.node = "node1";
    record.created = sys::now_rfc3339();
    for (const char *disk : {"sda", "sdb"}) {
      DiskRecord entry{test::constant("FD_LOOP"),
                       test::constant("FT_RAW"),
                       disk,
                       8 << 20,
                       disk,
                       DiskMode::rw,
                       true,
                       {},
                       {}};
      record.disks.push_back(entry);
      make_raw(disk, 8 << 20);
    }
    save();
  }
  void save() const { test::spill(file(), config::write_instance(record)); }
  [[nodiscard]] std::string file() const { return images() + "/instance.yaml"; }
  [[nodiscard]] std::optional<ClaimRecord> claim() const {
    const auto parsed = config::parse_instance(test::slurp(file()), file());
    REQUIRE_MESSAGE(parsed.ok(), parsed.error().message());
    return parsed->claim;
  }
  InstanceRecord record;
};

}  // namespace

TEST_CASE("claim: written by the first writer, taken out by the last, not by readers") {
  InstanceBench bench;
  NEED_DEVICES(bench, "claim");
  REQUIRE(bench.attach("sda", "cli", true).ok());
  CHECK_FALSE(bench.claim());
  REQUIRE(bench.detach("sda").ok());
  const auto attached = bench.attach("sda");
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  REQUIRE(bench.claim());
  CHECK(bench.claim()->node == "node1");
  CHECK(bench.claim()->boot_id == *sys::boot_id());
  CHECK(bench.claim()->holder == "cli");
  REQUIRE(bench.attach("sdb", "instance:web").ok());
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.claim());
  REQUIRE(bench.detach("sdb", "instance:web").ok());
  CHECK_FALSE(bench.claim());
}

TEST_CASE("claim: another node's is respected, an earlier boot's of this node is taken over") {
  InstanceBench bench;
  NEED_DEVICES(bench, "claim of others");
  bench.record.claim =
      ClaimRecord{"node2", "6a0e2f0c-0000-4000-8000-000000000000", "instance:web", sys::now_rfc3339()};
  bench.save();
  const std::string before = test::slurp(bench.file());
  const auto refused = bench.attach("sda");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().is(device::kClaimedElsewhere));
  CHECK(refused.error().exit() == Exit::busy);
  CHECK(refused.error().message().find("node2") != std::string::npos);
  CHECK(test::slurp(bench.file()) == before);
  CHECK(bench.run_files().empty());

  bench.record.claim->node = "node1";
  bench.save();
  REQUIRE(bench.attach("sda").ok());
  CHECK(bench.claim()->boot_id == *sys::boot_id());
  REQUIRE(bench.detach("sda").ok());
  CHECK_FALSE(bench.claim());
}

TEST_CASE("claim: one that was made before stays when the disk goes") {
  InstanceBench bench;
  NEED_DEVICES(bench, "claim of the instance");
  bench.record.claim = ClaimRecord{"node1", *sys::boot_id(), "instance:web", sys::now_rfc3339()};
  bench.save();
  REQUIRE(bench.attach("sda", "instance:web").ok());
  REQUIRE(bench.detach("sda", "instance:web").ok());
  CHECK(bench.claim());
}

TEST_CASE("claim: a copied directory is foreign and its disks are refused") {
  InstanceBench bench;
  NEED_DEVICES(bench, "foreign directory");
  test::fs::create_directory(bench.image("copy"));
  ::chmod(bench.image("copy").c_str(), 0755);
  test::fs::copy_file(bench.file(), bench.image("copy/instance.yaml"));
  bench.make_raw("copy/sda", 8 << 20);
  for (const bool read_only : {false, true}) {
    const auto refused = bench.attach("copy/sda", "cli", read_only);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().is(device::kForeignDirectory));
    CHECK(refused.error().exit() == Exit::refused);
  }
  CHECK(bench.attach("sda").ok());
}

TEST_CASE("claim: when it can't be written nothing stays attached") {
  InstanceBench bench;
  NEED_DEVICES(bench, "claim without space");
  const std::string directory = bench.image("small");
  test::fs::create_directory(directory);
  REQUIRE(::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=12m,nr_inodes=4,mode=755") == 0);
  bench.record.directory = directory;
  test::spill(directory + "/instance.yaml", config::write_instance(bench.record));
  bench.make_raw("small/sda", 8 << 20);
  test::spill(directory + "/.vbdkit.lock", "");  // the last inode
  const auto attached = bench.attach("small/sda");
  REQUIRE_FALSE(attached.ok());
  CHECK_MESSAGE(attached.error().is(sys::kNoSpace), attached.error().message());
  CHECK(bench.loops_of("small/sda") == 0);
  CHECK(bench.run_files().empty());
  CHECK(DeviceBench::files_below(directory).size() == 3);
}
