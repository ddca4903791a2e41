// SPDX-License-Identifier: MIT
#include "core/device/lease.hpp"

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
  [[nodiscard]] Lease lease() const {
    const auto parsed = config::parse_instance(test::slurp(file()), file());
    REQUIRE_MESSAGE(parsed.ok(), parsed.error().message());
    return parsed->lease;
  }
  InstanceRecord record;
};

}  // namespace

TEST_CASE("lease: written by the first writer, taken out by the last, not by readers") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease");
  REQUIRE(bench.attach("sda", "cli", true).ok());
  CHECK_FALSE(bench.lease().held());
  REQUIRE(bench.detach("sda").ok());
  const auto attached = bench.attach("sda");
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  REQUIRE(bench.lease().held());
  CHECK(bench.lease().node == "node1");
  CHECK(bench.lease().boot_id == *sys::boot_id());
  CHECK(bench.lease().holder == "cli");
  REQUIRE(bench.attach("sdb", "instance:web").ok());
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.lease().held());
  REQUIRE(bench.detach("sdb", "instance:web").ok());
  CHECK_FALSE(bench.lease().held());
}

TEST_CASE("lease: another node's is respected, an earlier boot's of this node is taken over") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease of others");
  bench.record.lease =
      Lease{"node2", "6a0e2f0c-0000-4000-8000-000000000000", "instance:web", sys::now_rfc3339(), 5};
  bench.save();
  const std::string before = test::slurp(bench.file());
  const auto refused = bench.attach("sda");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().is(device::kLeasedElsewhere));
  CHECK(refused.error().exit() == Exit::busy);
  CHECK(refused.error().message().find("node2") != std::string::npos);
  CHECK(test::slurp(bench.file()) == before);
  CHECK(bench.run_files().empty());

  bench.record.lease.node = "node1";
  bench.save();
  REQUIRE(bench.attach("sda").ok());
  CHECK(bench.lease().boot_id == *sys::boot_id());
  REQUIRE(bench.detach("sda").ok());
  CHECK_FALSE(bench.lease().held());
}

TEST_CASE(
    "lease: one that was taken for a guest stays when the disk goes, one that a kill left is taken over") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease of the guest");
  bench.record.lease = Lease{"node1", *sys::boot_id(), "instance:web", sys::now_rfc3339(), 5};
  bench.save();
  device::AttachSpec spec{bench.id("sda"), "instance:web", false, {}, 512, false};
  spec.leased = true;
  REQUIRE(device::attach(bench.context(), spec).ok());
  REQUIRE(bench.attach("sdb").ok());
  CHECK(bench.lease().generation == 5);
  REQUIRE(bench.detach("sdb").ok());
  REQUIRE(bench.detach("sda", "instance:web").ok());
  CHECK(bench.lease().held());
  REQUIRE(bench.attach("sda").ok());
  CHECK(bench.lease().generation == 6);
  CHECK(bench.lease().holder == "cli");
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.lease() == Lease{{}, {}, {}, {}, 6});
}

TEST_CASE("lease: disks that stay attached when the guest ends keep it") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease kept");
  bench.record.lease = Lease{"node1", *sys::boot_id(), "instance:web", sys::now_rfc3339(), 5};
  bench.save();
  CHECK_FALSE(*device::keep_lease(bench.context(), bench.record));
  device::AttachSpec spec{bench.id("sda"), "instance:web", false, {}, 512, false};
  spec.leased = true;
  REQUIRE(device::attach(bench.context(), spec).ok());
  REQUIRE(bench.attach("sdb").ok());
  REQUIRE(bench.detach("sda", "instance:web").ok());
  CHECK(*device::keep_lease(bench.context(), bench.record));
  CHECK(bench.lease().held());
  REQUIRE(bench.detach("sdb").ok());
  CHECK_FALSE(bench.lease().held());
}

TEST_CASE("lease: of an image that no instance lists it is beside the image, one more with each taking") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease beside");
  bench.make_raw("disk.img", 8 << 20);
  const test::fs::path directory = bench.images();
  const sys::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const device::LeaseSpot spot{fd.get(), directory, "disk.img"};
  const auto seen = [&] { return device::see_lease(spot, bench.settings)->lease; };
  REQUIRE(bench.attach("disk.img").ok());
  CHECK(seen().node == "node1");
  CHECK(seen().generation == 1);
  const std::string before = test::slurp(bench.image(".vbdkit-lease.yaml"));
  REQUIRE(bench.attach("disk.img").ok());
  CHECK(test::slurp(bench.image(".vbdkit-lease.yaml")) == before);
  CHECK_FALSE(bench.lease().held());
  REQUIRE(bench.detach("disk.img").ok());
  CHECK(seen() == Lease{{}, {}, {}, {}, 1});
  struct stat st {};
  REQUIRE(::stat(bench.image(".vbdkit-lease.yaml").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777u) == 0600u);

  test::spill(
      bench.image(".vbdkit-lease.yaml"),
      config::write_leases({{"disk.img", {"node2", "b", "cli", "t", 8}}, {"gone", {{}, {}, {}, {}, 2}}}));
  for (const bool read_only : {false, true}) {
    const auto refused = bench.attach("disk.img", "cli", read_only);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().is(device::kLeasedElsewhere));
  }
  REQUIRE(device::break_lease(spot, bench.settings).ok());
  CHECK(seen() == Lease{{}, {}, {}, {}, 8});
  REQUIRE(bench.attach("disk.img").ok());
  CHECK(seen().generation == 9);
  CHECK(test::slurp(bench.image(".vbdkit-lease.yaml")).find("gone") == std::string::npos);
}

TEST_CASE("lease: an operation of another node keeps writers away, and what it wrote stands") {
  InstanceBench bench;
  NEED_DEVICES(bench, "operation of others");
  bench.record.operation = OperationRecord{"modify", "t", {}, false, {}, "node2", "b"};
  bench.save();
  CHECK(bench.attach("sda").error().is(device::kOperationElsewhere));
  const sys::Fd fd(::open(bench.images().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  InstanceRecord mine = bench.record;
  mine.operation.reset();
  CHECK(device::replace_instance(fd.get(), bench.images(), mine, bench.settings)
            .error()
            .is(device::kOperationElsewhere));
  bench.record.operation.reset();
  bench.record.lease = Lease{"node2", "b", "cli", "t", 5};
  bench.save();
  CHECK(device::replace_instance(fd.get(), bench.images(), mine, bench.settings)
            .error()
            .is(device::kLeasedElsewhere));
  bench.record.lease.free();
  bench.save();
  REQUIRE(device::replace_instance(fd.get(), bench.images(), mine, bench.settings).ok());
  CHECK(bench.lease().generation == 5);
}

TEST_CASE("lease: a copied directory is foreign and its disks are refused") {
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

TEST_CASE("lease: when it can't be written nothing stays attached") {
  InstanceBench bench;
  NEED_DEVICES(bench, "lease without space");
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
