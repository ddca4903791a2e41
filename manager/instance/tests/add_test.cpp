// SPDX-License-Identifier: MIT
#include <sys/wait.h>

#include "fixture.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/os/definition.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

TEST_CASE("add, list, info, config and remove") {
  Fixture f;
  NEED_FIXTURE(f, "instance add");
  const auto before = f.snapshot();
  const auto spec = f.spec("web1", "file:driver=loop", {"1:size=2,mode=ro", "0:size=1"});
  CHECK(f.add(spec, true) == "");
  CHECK(f.snapshot() == before);
  REQUIRE(f.add(spec) == "");

  const auto entry = f.find("web1");
  CHECK(entry.state == State::stopped);
  CHECK(entry.record.directory == f.image("web1"));
  REQUIRE(entry.record.disks.size() == 2);
  CHECK(entry.record.disks[0].file == "sda");
  CHECK(entry.record.disks[0].size == kMiB);
  CHECK(entry.record.disks[1].vdev == "sdb");
  CHECK(entry.record.disks[1].mode == DiskMode::ro);
  CHECK(fs::file_size(f.image("web1/sdb")) == 2 * kMiB);
  CHECK((fs::status(f.image("web1/sda")).permissions() & fs::perms::all) == fs::perms(0600));
  CHECK(fs::exists(f.image("web1/.vbdkit.lock")));
  CHECK(Catalog(f.settings).list()->size() == 1);
  CHECK(instance::verify(f.manager(), {false, false}, false)->empty());

  auto config = config_file(f.manager(), "web1");
  if (!config) FAIL(config.error().message());
  CHECK(config->text.find("vdev=sdb,access=ro") != std::string::npos);
  CHECK(config->text.find(f.image("web1/sda")) != std::string::npos);

  auto plan = instance::remove(f.manager(), {"web1", false, false}, true);
  REQUIRE(plan.ok());
  CHECK(plan->front().find(f.image("web1/sda")) != std::string::npos);
  CHECK(fs::exists(f.image("web1/sda")));
  REQUIRE(f.remove("web1") == "");
  CHECK(!fs::exists(f.image("web1")));
  CHECK(!f.knows("web1"));
  CHECK(fs::is_empty(f.images()));
  CHECK(instance::remove(f.manager(), {"web1", false, false}, false).error().is(kInstanceNotFound));
}

TEST_CASE("everything is checked before the first change") {
  Fixture f;
  NEED_FIXTURE(f, "add checks");
  REQUIRE(f.add(f.spec("taken", "file:", {"0:size=1"})) == "");
  f.settings.nodes["node2"] = {};
  const auto before = f.snapshot();
  const auto refused = [&](AddSpec spec, const ErrorKind &kind) {
    auto done = instance::add(f.manager(), spec, false);
    REQUIRE(!done.ok());
    CHECK_MESSAGE(done.error().is(kind), (std::string(done.error().id()) + ": " + done.error().message()));
    CHECK(done.error().message().find('\n') == std::string::npos);
    CHECK(f.snapshot() == before);
  };
  const auto with = [&](auto change) {
    auto spec = f.spec("new", "file:", {"0:size=1"});
    change(spec);
    return spec;
  };
  refused(f.spec("taken", "file:", {"0:size=1"}), kInstanceExists);
  refused(f.spec("taken", "file:path=" + f.image("other"), {"0:size=1"}), kInstanceExists);
  refused(f.spec("new", "file:path=" + f.image("taken"), {"0:size=1"}), kInstanceExists);
  refused(f.spec("new", "file:path=" + f.image("taken/inner"), {"0:size=1"}), kInstanceExists);
  refused(f.spec("new", "file:", {}), kGrammar);
  refused(f.spec("new", "file:", {"1:size=1"}), kGrammar);
  refused(f.spec("new", "file:", {"0:size=1", "0:size=1"}), kGrammar);
  refused(f.spec("new", "file:", {"0:mode=ro"}), kGrammar);
  refused(f.spec("new", "file:nosuch=1", {"0:size=1"}), plugin::kUnknownOption);
  refused(f.spec("new", "file:", {"0:size=1,direct_oi=no"}), plugin::kUnknownOption);
  refused(f.spec("new", "file:direct_io=perhaps", {"0:size=1"}), plugin::kBadOption);
  refused(f.spec("new", "file:driver=nosuch", {"0:size=1"}), plugin::kPluginNotFound);
  refused(f.spec("new", "file:path=/etc/nowhere", {"0:size=1"}), sys::kOutside);
  refused(f.spec("new", "file:path=" + f.image("no/parent"), {"0:size=1"}), sys::kNotFound);
  refused(f.spec("new", "file:path=" + f.images(), {"0:size=1"}), kGrammar);
  refused(f.spec("new", "file:path=" + f.image("a\nb"), {"0:size=1"}), kBadPath);
  refused(f.spec("a/b", "file:", {"0:size=1"}), kBadName);
  refused(f.spec(std::string(230, 'x'), "file:", {"0:size=1"}), kGrammar);
  refused(with([](AddSpec &s) { s.os = "debian-etch"; }), vbd::os::kOsNotFound);
  refused(with([](AddSpec &s) { s.node = "node3"; }), kNoNode);
  refused(with([](AddSpec &s) { s.node = "node2"; }), kOtherNode);
  refused(with([](AddSpec &s) { s.secondary = "node1"; }), kGrammar);
  refused(with([](AddSpec &s) { s.backend["memry"] = "1"; }), hypervisor::kBadParameter);
  REQUIRE(f.add(with([](AddSpec &s) {
    s.os = "debian-etch";
    s.no_install = true;
    s.secondary = "node2";
  })) == "");
  CHECK(f.find("new").record.os == "debian-etch");
}

TEST_CASE("a pairing that can't work, through a link, in a used directory") {
  Fixture f;
  NEED_FIXTURE(f, "add places");
  if (fs::exists(f.root + "/plugins/ft-qcow.so")) {
    auto done =
        instance::add(f.manager(), f.spec("new", "file:driver=loop,filetype=qcow", {"0:size=1"}), false);
    REQUIRE(!done.ok());
    CHECK(done.error().is(plugin::kNotPaired));
  }
  fs::create_directory(f.image("real"));
  fs::create_directory_symlink("real", f.image("link"));
  CHECK(instance::add(f.manager(), f.spec("new", "file:path=" + f.image("link"), {"0:size=1"}), false)
            .error()
            .is(sys::kSymlink));
  f.make_raw("real/sda", kMiB);
  const auto before = f.snapshot();
  auto used = instance::add(f.manager(), f.spec("new", "file:path=" + f.image("real"), {"0:size=1"}), false);
  CHECK(used.error().is(sys::kExists));
  CHECK(used.error().hint().find("reuse") != std::string::npos);
  CHECK(f.snapshot() == before);
}

TEST_CASE("a directory that was there stays, and so does what we did not make") {
  Fixture f;
  NEED_FIXTURE(f, "existing directory");
  fs::create_directory(f.image("dir"));
  test::spill(f.image("dir/notes.txt"), "keep me");
  REQUIRE(f.add(f.spec("web1", "file:path=" + f.image("dir"), {"0:size=1"})) == "");
  REQUIRE(f.remove("web1") == "");
  CHECK(test::slurp(f.image("dir/notes.txt")) == "keep me");
  CHECK(Fixture::files_below(f.image("dir")).size() == 1);
}

TEST_CASE("keep-files leaves the images") {
  Fixture f;
  NEED_FIXTURE(f, "keep files");
  REQUIRE(f.add(f.spec("web1", "file:", {"0:size=1"})) == "");
  REQUIRE(f.remove("web1", true) == "");
  CHECK(Fixture::files_below(f.images()) == std::vector<std::string>{f.image("web1/sda")});
  CHECK(!f.knows("web1"));
}

TEST_CASE("two adds of one name at once: exactly one wins") {
  Fixture f;
  NEED_FIXTURE(f, "concurrent adds");
  for (int round = 0; round < 10; ++round) {
    pid_t pids[4];
    for (int i = 0; i < 4; ++i) {
      pids[i] = ::fork();
      if (pids[i] != 0) continue;
      const std::string path = round % 2 == 0 ? f.image("same") : f.image("d" + std::to_string(i));
      auto done = instance::add(f.manager(), f.spec("twin", "file:path=" + path, {"0:size=1"}), false);
      ::_exit(done ? 0 : static_cast<int>(done.error().exit()));
    }
    int won = 0, busy = 0;
    for (const pid_t pid : pids) {
      int status = 0;
      ::waitpid(pid, &status, 0);
      won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
      busy += WIFEXITED(status) && WEXITSTATUS(status) == 4;
    }
    CHECK(won == 1);
    CHECK(busy == 3);
    CHECK(f.find("twin").state == State::stopped);
    REQUIRE(f.remove("twin") == "");
    CHECK(fs::is_empty(f.images()));
  }
}
