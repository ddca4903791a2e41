// SPDX-License-Identifier: MIT
// Imports of what somebody exchanges or inflates while it is read.
#include <fcntl.h>

#include <atomic>

#include "core/sys/bulk.hpp"
#include "manager/backup/backup.hpp"
#include "manager/instance/tests/fixture.hpp"

using namespace vbd;
using namespace vbd::backup;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

namespace {

struct Exports : Fixture {
  Exports() { settings.export_dir = root + "/export"; }
  /// An instance whose disk is full of `letter`, exported as a qcow2 image.
  void exported(const std::string &name, char letter) {
    REQUIRE(add(spec(name, "file:driver=loop", {"0:size=2"})) == "");
    test::spill(image(name + "/sda"), std::string(2 * kMiB, letter));
    ExportSpec spec;
    spec.name = name;
    spec.images = true;
    spec.filetype = test::constant("FT_QCOW");
    auto done = export_instance(manager(), spec, false);
    if (!done) FAIL(done.error().message());
  }
};

sys::Fd scratch_file(const std::string &path) {
  return sys::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

/// What reached it.
class Counting final : public Sink {
 public:
  Result<std::vector<unsigned char>> encode(const Part &, const unsigned char *, const Pages &) override {
    return std::vector<unsigned char>{};
  }
  Result<void> take(std::uint64_t offset, std::size_t length, std::vector<unsigned char>) override {
    end = std::max(end, offset + length);
    return {};
  }
  Result<void> finish(std::uint64_t) override { return {}; }
  std::uint64_t end = 0;
};

}  // namespace

TEST_CASE("a dump that is exchanged after its digest was read is not the one that is copied in") {
  Exports f;
  NEED_FIXTURE(f, "exchanged dump");
  f.exported("mine", 'A');
  f.exported("others", 'B');
  const std::string dump = f.settings.export_dir + "/mine/sda.qcow";
  std::atomic<bool> exchanged{false};
  const Watch exchange = [&](std::uint64_t, std::uint64_t) {
    if (!exchanged.exchange(true)) fs::rename(f.settings.export_dir + "/others/sda.qcow", dump);
    return false;
  };
  ImportSpec spec;
  spec.add = f.spec("again", "file:driver=loop,filetype=raw", {});
  spec.source = f.settings.export_dir + "/mine";
  auto done = import_instance(f.manager(), spec, false, exchange);
  if (!done) FAIL(done.error().message());
  REQUIRE(exchanged.load());
  CHECK((test::slurp(f.image("again/sda")) == std::string(2 * kMiB, 'A')));
}

TEST_CASE("a dump that is a link, or lies elsewhere, is none") {
  Exports f;
  NEED_FIXTURE(f, "linked dump");
  f.exported("mine", 'A');
  const std::string dump = f.settings.export_dir + "/mine/sda.qcow";
  fs::rename(dump, f.root + "/elsewhere");
  fs::create_symlink(f.root + "/elsewhere", dump);
  ImportSpec spec;
  spec.add = f.spec("again", "file:driver=loop,filetype=raw", {});
  spec.source = f.settings.export_dir + "/mine";
  auto done = import_instance(f.manager(), spec, true);
  REQUIRE(!done.ok());
  CHECK(done.error().is(kDamaged));
}

TEST_CASE("zstd: nothing beyond the declared size is unpacked, and what it holds is told without unpacking") {
  Exports f;
  NEED_FIXTURE(f, "zstd limit");
  const auto plain = scratch_file(f.root + "/plain"), packed = scratch_file(f.root + "/packed");
  const std::vector<unsigned char> ones(kMiB, 1);
  for (const std::uint64_t at : {0ULL, 1ULL, 2ULL, 5ULL})
    REQUIRE(sys::write_at(plain.get(), ones.data(), kMiB, at * kMiB).ok());
  auto source = file_source(plain.get());
  REQUIRE(source.ok());
  REQUIRE(transfer(**source, *zstd_sink(packed.get())).ok());
  CHECK(fs::file_size(f.root + "/packed") < 4096);
  CHECK(*stored_bytes(*zstd_source(packed.get(), 6 * kMiB, "packed")) == 4 * kMiB);
  Counting whole, less;
  CHECK(transfer(*zstd_source(packed.get(), 6 * kMiB, "packed"), whole).ok());
  CHECK(whole.end == 6 * kMiB);
  const auto limited = transfer(*zstd_source(packed.get(), 2 * kMiB, "packed"), less);
  REQUIRE(!limited.ok());
  CHECK(limited.error().is(kDamaged));
  CHECK(less.end <= 2 * kMiB);
}
