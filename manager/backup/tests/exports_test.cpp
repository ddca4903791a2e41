// SPDX-License-Identifier: MIT
// How a new export takes the place of an older one, where a call fails in the middle.
#include "manager/backup/exports.hpp"

#include "core/sys/tests/recorded_calls.hpp"
#include "manager/instance/tests/fixture.hpp"

using namespace vbd;
using namespace vbd::backup;
using sys::test::RecordedCalls;
using vbd::test::Fixture;
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

namespace {

struct Shelf : Fixture {
  Shelf() { settings.export_dir = root + "/export"; }
  /// An export of that name whose one file says `words`.
  Result<void> put(const std::string &words) {
    auto made = NewExport::begin(settings, "web1");
    if (!made) return made.error();
    test::spill(made->path() + "/sda.raw", words);
    return std::move(*made).publish("");
  }
  [[nodiscard]] std::string words() const { return test::slurp(settings.export_dir + "/web1/sda.raw"); }
  /// But for the lock file.
  [[nodiscard]] Names names() const {
    Names found;
    for (const auto &entry : fs::directory_iterator(settings.export_dir)) {
      const std::string name = entry.path().filename().string();
      if (name != ".vbdkit.lock") found.push_back(name);
    }
    std::sort(found.begin(), found.end());
    return found;
  }
};

constexpr const char *kExchange = "rename .web1.new web1", *kAside = "rename web1 .web1.old";

}  // namespace

TEST_CASE("exports: a new one takes an older one's place in one step, and is on the disk before") {
  Shelf f;
  NEED_FIXTURE(f, "export order");
  REQUIRE(f.put("old").ok());
  const RecordedCalls calls;
  REQUIRE(f.put("new").ok());
  CHECK(f.words() == "new");
  CHECK(f.names() == Names{"web1"});
  const auto seen = calls.seen();
  const auto taken = std::find(seen.begin(), seen.end(), kExchange);
  REQUIRE(taken != seen.begin());
  REQUIRE(taken != seen.end());
  CHECK(*(taken - 1) == "fsync .web1.new/");
  CHECK(*(taken + 1) == "fsync export/");
}

TEST_CASE("exports: where names can't be exchanged the older one goes aside first, and then goes") {
  Shelf f;
  NEED_FIXTURE(f, "export without exchange");
  REQUIRE(f.put("old").ok());
  bool asked = false;
  const RecordedCalls calls([&](const std::string &call) {
    if (call != kExchange || asked) return 0;
    asked = true;
    return EINVAL;
  });
  REQUIRE(f.put("new").ok());
  CHECK(f.words() == "new");
  CHECK(f.names() == Names{"web1"});
  CHECK(calls.count(kAside) == 1);
}

TEST_CASE("exports: an older one that can't go aside stays, and nothing more is tried") {
  Shelf f;
  NEED_FIXTURE(f, "export that stays");
  REQUIRE(f.put("old").ok());
  bool asked = false;
  const RecordedCalls calls([&](const std::string &call) {
    if (call == kAside) return EIO;
    if (call != kExchange || asked) return 0;
    asked = true;
    return EINVAL;
  });
  const auto done = f.put("new");
  REQUIRE_FALSE(done.ok());
  CHECK(done.error().is(sys::kIo));
  CHECK(calls.count(kExchange) == 1);
  CHECK(f.words() == "old");
  CHECK(f.names() == Names{"web1"});
}

TEST_CASE("exports: an older one whose going aside can't be made durable comes back") {
  Shelf f;
  NEED_FIXTURE(f, "export that comes back");
  REQUIRE(f.put("old").ok());
  bool exchanged = false, aside = false;
  const RecordedCalls calls([&](const std::string &call) {
    if (call == "fsync export/" && aside) {
      aside = false;
      return EIO;
    }
    aside |= call == kAside;
    if (call != kExchange || exchanged) return 0;
    exchanged = true;
    return EINVAL;
  });
  CHECK_FALSE(f.put("new").ok());
  CHECK(f.words() == "old");
  CHECK(f.names() == Names{"web1"});
}

TEST_CASE("exports: one whose place could not be made durable is not there") {
  Shelf f;
  NEED_FIXTURE(f, "export undone");
  for (const bool older : {false, true}) {
    if (older) REQUIRE(f.put("old").ok());
    bool taken = false;
    const RecordedCalls calls([&](const std::string &call) {
      const bool now = call == "fsync export/" && taken;
      taken = call == kExchange;
      return now ? EIO : 0;
    });
    CHECK_FALSE(f.put("new").ok());
    CHECK(f.words() == (older ? "old" : ""));
    CHECK(f.names() == (older ? Names{"web1"} : Names{}));
  }
}
