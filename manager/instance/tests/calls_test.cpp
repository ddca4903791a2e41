// SPDX-License-Identifier: MIT
// What the verbs have on the disk before they go on, and what becomes of it when a call fails in the middle.
#include "core/sys/tests/recorded_calls.hpp"
#include "fixture.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/site.hpp"

using namespace vbd;
using namespace vbd::instance;
using sys::test::RecordedCalls;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

namespace {

constexpr std::uint64_t kOdd = 3 * 512;  // sizes off every unit

struct Called : Fixture {
  /// web1 with one disk of a MiB and three sectors.
  void web1() {
    auto web1 = spec("web1", "file:", {"0:size=1"});
    web1.disks.front().size = kMiB + kOdd;
    REQUIRE(add(web1) == "");
    REQUIRE(fs::file_size(image("web1/sda")) == kMiB + kOdd);
  }
  Result<Plan> grow(std::uint64_t amount) {
    return grow_disk(manager(), {"web1", "0", amount, false, false}, false);
  }
};

/// Where a call stands for the last time.
std::size_t last(const Names &calls, const std::string &call) {
  const auto found = std::find(calls.rbegin(), calls.rend(), call);
  REQUIRE_MESSAGE(found != calls.rend(), call);
  return static_cast<std::size_t>(calls.rend() - found) - 1;
}
std::size_t first(const Names &calls, const std::string &call) {
  const auto found = std::find(calls.begin(), calls.end(), call);
  REQUIRE_MESSAGE(found != calls.end(), call);
  return static_cast<std::size_t>(found - calls.begin());
}

}  // namespace

TEST_CASE("calls: a pointer that went is gone from the disk") {
  Called f;
  NEED_FIXTURE(f, "pointer");
  f.web1();
  const RecordedCalls calls;
  REQUIRE(Catalog(f.settings).remove_pointer("web1").ok());
  CHECK(calls.seen() == Names{"unlink web1.yaml", "fsync instances/"});
}

TEST_CASE("calls: another instance's pointer of that name stays") {
  Called f;
  NEED_FIXTURE(f, "own pointer");
  f.web1();
  const Catalog catalog(f.settings);
  auto other = f.find("web1").record;
  other.uuid = "11111111-2222-4333-8444-555555555555";
  REQUIRE(catalog.remove_own_pointer(other).ok());
  CHECK(f.knows("web1"));
  other = f.find("web1").record;
  other.directory = f.image("elsewhere");
  REQUIRE(catalog.remove_own_pointer(other).ok());
  CHECK(f.knows("web1"));
  REQUIRE(catalog.remove_own_pointer(f.find("web1").record).ok());
  CHECK_FALSE(f.knows("web1"));
}

TEST_CASE("calls: an add enters no directory where one of its files has come into being") {
  Called f;
  NEED_FIXTURE(f, "enter a directory");
  f.make("images/shared");
  f.make_raw("shared/sda", kOdd);
  InstanceRecord record;
  record.uuid = "11111111-2222-4333-8444-555555555555";
  record.name = "web1";
  record.directory = f.image("shared");
  record.node = "node1";
  record.created = "2026-01-31T12:00:00Z";
  record.operation = OperationRecord{"add", "2026-01-31T12:00:00Z", {"sda", "sdb"}, false};
  const auto before = f.snapshot();
  const auto entered = enter_site(f.settings, record);
  REQUIRE_FALSE(entered.ok());
  CHECK(entered.error().is(sys::kExists));
  CHECK(f.snapshot() == before);
}

TEST_CASE("calls: a grown image is on the disk before its new size is in instance.yaml") {
  Called f;
  NEED_FIXTURE(f, "grow order");
  f.web1();
  const RecordedCalls calls;
  auto grown = f.grow(kOdd);
  REQUIRE_MESSAGE(grown.ok(), grown.error().message());
  CHECK(f.find("web1").record.disks.at(0).size == kMiB + 2 * kOdd);
  const auto seen = calls.seen();
  const std::string written = "rename .vbd-instance.yaml.tmp instance.yaml";
  CHECK(first(seen, written) < first(seen, "fsync sda"));
  CHECK(last(seen, "fsync sda") < last(seen, written));
}

TEST_CASE("calls: an image that could not be grown wholly has its former size") {
  Called f;
  NEED_FIXTURE(f, "grow undone");
  f.web1();
  {
    bool failed = false;
    const RecordedCalls calls([&](const std::string &call) {
      const bool now = call == "fsync sda" && !failed;
      failed |= now;
      return now ? EIO : 0;
    });
    CHECK_FALSE(f.grow(kOdd).ok());
    REQUIRE(failed);
  }
  CHECK(fs::file_size(f.image("web1/sda")) == kMiB + kOdd);
  const auto entry = f.find("web1");
  CHECK(entry.state == State::stopped);
  CHECK(entry.record.disks.at(0).size == kMiB + kOdd);
}

TEST_CASE("calls: an add whose pointer can't be made durable leaves nothing") {
  Called f;
  NEED_FIXTURE(f, "add undone");
  REQUIRE(f.add(f.spec("other", "file:", {"0:size=1"})) == "");
  bool failed = false;
  {
    const RecordedCalls calls([&](const std::string &call) {
      const bool now = call == "fsync .vbd-web1.yaml.tmp";
      failed |= now;
      return now ? EIO : 0;
    });
    CHECK(f.add(f.spec("web1", "file:", {"0:size=1"})) != "");
  }
  REQUIRE(failed);
  CHECK_FALSE(f.knows("web1"));
  CHECK_FALSE(fs::exists(f.image("web1")));
  CHECK(instance::verify(f.manager(), {false, false}, false)->empty());
}

TEST_CASE("calls: a removed instance's pointer is gone from the disk before its directory goes") {
  Called f;
  NEED_FIXTURE(f, "remove order");
  f.web1();
  const RecordedCalls calls;
  REQUIRE(f.remove("web1") == "");
  const auto seen = calls.seen();
  const auto pointer = last(seen, "unlink web1.yaml");
  REQUIRE(pointer + 1 < seen.size());
  CHECK(seen[pointer + 1] == "fsync instances/");
  CHECK(pointer < last(seen, "unlink instance.yaml"));
  CHECK(seen.back() != "unlink instance.yaml");
  CHECK(last(seen, "fsync images/") > last(seen, "unlink instance.yaml"));
}
