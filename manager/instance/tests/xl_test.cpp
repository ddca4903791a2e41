// SPDX-License-Identifier: MIT
// Instances under the shipped xen profile, with xl played back: what it is asked, word for word, and what a
// real one (4.17) answered. The disks are real.
#include <unistd.h>

#include <algorithm>

#include "fixture.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/rename.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
namespace fs = std::filesystem;

namespace {

// As xl 4.17's list_domains prints them with -v.
constexpr const char *kHeader =
    "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                       "
    "     "
    "Reason-Code\tSecurity Label\n";
constexpr const char *kDomain0 =
    "Domain-0                                     0   896     1     r-----      41.5 "
    "00000000-0000-0000-0000-000000000000        -                -\n";

std::string line(const std::string &name, const std::string &id, const std::string &state,
                 const std::string &uuid) {
  return name + std::string(name.size() < 40 ? 40 - name.size() : 0, ' ') + "     " + id +
         "   128     1     " + state + "       1.3 " + uuid + "        -                -\n";
}

const std::string kOther = "0a0b0c0d-1111-2222-3333-444455556666";

/// As a record has it: run_record.cpp.
std::string word_of(const std::string &text) {
  if (text.empty()) return "\\e";
  std::string out;
  for (const char c : text) {
    constexpr const char *kHex = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\') {
      out += c;
    } else {
      out += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
    }
  }
  return out;
}

/// A host that has a Xen as far as the profile looks: an xl that nobody runs.
class Host : public Fixture {
 public:
  Host() {
    if (!ok) return;
    xl_ = root + "/xl";
    test::spill(xl_, "#!/bin/false\n");
    ::chmod(xl_.c_str(), 0755);
    std::string profile = test::slurp(std::string(VBD_PROFILE_DIR) + "/xen.yaml");
    for (const auto &[from, to] :
         {std::pair<std::string, std::string>{"[xl,", "[" + xl_ + ","}, {"/dev/xen/privcmd", "/dev/null"}}) {
      for (auto at = profile.find(from); at != std::string::npos; at = profile.find(from, at + to.size()))
        profile.replace(at, from.size(), to);
    }
    test::spill(root + "/xen.yaml", profile);
    settings.hypervisor = root + "/xen.yaml";
    real_ = std::move(runner);  // the registry keeps using it
    plays();
  }
  [[nodiscard]] static bool can_attach() { return ::geteuid() == 0 && fs::exists("/dev/loop-control"); }

  Host &asked(const std::string &words, const std::string &output = "", int status = 0,
              const std::string &last_lines = "", const std::string &given = "") {
    record_ += "run " + given + "-- " + xl_ + " " + words + "\n= exit " + std::to_string(status) + " " +
               word_of(output) + " " + word_of(last_lines) + "\n";
    return *this;
  }
  void plays() {
    auto made = sys::make_playback_runner(record_);
    if (!made) FAIL(made.error().message());
    player_ = made->get();
    runner = std::move(*made);
    record_ = "vbdkit-helpers 1\n";
  }
  /// "" when all of it was asked for, and nothing else.
  [[nodiscard]] std::string rest() { return player_->finish() ? "" : player_->finish().error().message(); }

  [[nodiscard]] std::string guest_file(const std::string &name, const std::string &instance = "web1") {
    return settings.run_dir + "/instances/" + find(instance).record.uuid + "/" + name;
  }
  [[nodiscard]] Entry seen() {
    std::vector<Entry> entries{find("web1")};
    asked("list -v", answer_).plays();
    see_live(manager(), entries);
    return entries[0];
  }
  [[nodiscard]] std::string domain(const std::string &state, const std::string &name = "web1",
                                   const std::string &id = "7") {
    return std::string(kHeader) + kDomain0 + line(name, id, state, find(name).record.uuid);
  }
  /// What xl list answers from now on.
  void answers(const std::string &text) { answer_ = text; }

 private:
  std::string xl_, record_ = "vbdkit-helpers 1\n", answer_;
  std::unique_ptr<sys::Runner> real_;
  sys::PlaybackRunner *player_ = nullptr;
};

std::string message(const Result<Plan> &result) {
  return result ? "" : result.error().message();
}

void begin(Host &host) {
  const std::string create = "create " + host.guest_file("config");
  host.asked("list -v", std::string(kHeader) + kDomain0).asked(create, "", 0, "", "fd=3 ").plays();
  REQUIRE(message(start(host.manager(), {"web1", false}, false)) == "");
  REQUIRE(host.rest() == "");
  host.answers(host.domain("-b----"));
}

void add_web1(Host &host) {
  auto spec = host.spec("web1", "file:driver=loop", {"0:size=1", "1:size=1,mode=ro"});
  spec.hypervisor = {{"kernel_path", "/boot/vmlinuz"}};
  REQUIRE(host.add(spec) == "");
}

}  // namespace

#define NEED_HOST(host, name) \
  NEED_FIXTURE(host, name);   \
  VBD_REQUIRE_OR_SKIP(Host::can_attach(), name, "needs root and loop devices")

TEST_CASE("xl: start, list, stop") {
  Host host;
  NEED_HOST(host, "xl start");
  add_web1(host);
  begin(host);
  std::string nodes[2];
  for (std::size_t i = 0; i < 2; ++i) {
    auto status = device::query({host.settings, *host.registry},
                                logical_id(host.find("web1").record, host.find("web1").record.disks[i]));
    REQUIRE(status.ok());
    nodes[i] = status->attachment.node;
  }
  CHECK(test::slurp(host.guest_file("config")) ==
        "name = 'web1'\nuuid = '" + host.find("web1").record.uuid +
            "'\ntype = 'pv'\nmemory = 128\nvcpus = 1\nkernel = '/boot/vmlinuz'\n"
            "disk = [ 'format=raw,vdev=sda,access=rw,backendtype=phy,target=" +
            nodes[0] +
            "',\n"
            "         'format=raw,vdev=sdb,access=ro,backendtype=phy,target=" +
            nodes[1] + "' ]\n");
  CHECK(host.seen().state == State::running);
  host.asked("list -v", host.domain("r-----")).plays();
  auto again = start(host.manager(), {"web1", false}, false);
  CHECK((again.ok() && again->empty()));

  host.asked("list -v", host.domain("-b----"))
      .asked("list -v", host.domain("-b----"))
      .asked("shutdown 7")
      .asked("list -v", host.domain("---s--"));
  host.asked("list -v", host.domain("---s--"))
      .asked("destroy 7")
      .asked("list -v", std::string(kHeader) + kDomain0)
      .plays();
  CHECK(message(stop(host.manager(), {"web1", false}, false)) == "");
  CHECK(host.rest() == "");
  CHECK_FALSE(host.find("web1").record.lease.held());
  CHECK(fs::is_empty(host.settings.run_dir + "/instances"));
}

TEST_CASE("xl: what it says of a guest") {
  Host host;
  NEED_HOST(host, "xl states");
  add_web1(host);
  begin(host);
  const std::pair<const char *, std::pair<State, const char *>> said[] = {
      {"r-----", {State::running, ""}},
      {"------", {State::running, ""}},
      {"--p---", {State::running, "paused"}},
      {"---s--", {State::stopped, "the guest powered itself off"}},
      {"----c-", {State::error, "the guest crashed"}},
      // A word that the profile doesn't know was taken for running.
      {"-----d",
       {State::error, "the hypervisor calls its state '-----d', which the profile's states don't name"}}};
  for (const auto &[word, meaning] : said) {
    host.answers(host.domain(word));
    const Entry entry = host.seen();
    CHECK(entry.state == meaning.first);
    CHECK(entry.reason == meaning.second);
  }
  host.answers(std::string(kHeader) + kDomain0);
  CHECK(host.seen().reason == "should run, but has ended");
  // A paused one goes on; a toolstack that can't be asked is no reason to start a second one.
  host.asked("list -v", host.domain("--p---"))
      .asked("list -v", host.domain("--p---"))
      .asked("unpause 7")
      .plays();
  CHECK(message(start(host.manager(), {"web1", false}, false)) == "");
  CHECK(host.rest() == "");
  host.asked("list -v", "", 1, "xencall: error: Could not obtain handle on privileged command interface")
      .plays();
  CHECK(message(start(host.manager(), {"web1", false}, false)).find("Could not obtain handle") !=
        std::string::npos);
  CHECK(host.rest() == "");
  host.asked("list -v", host.domain("r-----"))
      .asked("list -v", host.domain("r-----"))
      .asked("reboot 7")
      .plays();
  CHECK(message(reboot(host.manager(), {"web1", false}, false)) == "");
  CHECK(host.rest() == "");
  host.asked("list -v", host.domain("r-----")).asked("list -v", host.domain("r-----")).asked("destroy 7");
  host.asked("list -v", std::string(kHeader) + kDomain0).plays();
  CHECK(message(stop(host.manager(), {"web1", true, std::chrono::seconds(0)}, false)) == "");
  CHECK(host.rest() == "");
}

TEST_CASE("xl: a create that fails is undone, and another's domain left alone") {
  Host host;
  NEED_HOST(host, "xl create fails");
  add_web1(host);
  const std::string create = "create " + host.guest_file("config");
  const std::string none = std::string(kHeader) + kDomain0;
  host.asked("list -v", none)
      .asked(
          create, "", 3,
          "libxl: error: libxl_create.c:1640:domcreate_rebuild_done: Domain 1:cannot (re-)build domain: -3",
          "fd=3 ");
  host.asked("list -v", none).plays();
  CHECK(message(start(host.manager(), {"web1", false}, false)).find("cannot (re-)build domain") !=
        std::string::npos);
  CHECK(host.rest() == "");
  CHECK(host.find("web1").state == State::stopped);
  CHECK_FALSE(host.find("web1").record.lease.held());
  CHECK(fs::is_empty(host.settings.run_dir + "/instances"));

  host.asked("list -v", host.domain("-b----")).plays();
  auto refused = start(host.manager(), {"web1", false}, false);
  CHECK((!refused.ok() && refused.error().is(kRunning)));
  CHECK(host.rest() == "");
}

TEST_CASE("xl: a name of digits is no other domain's id") {
  Host host;
  NEED_HOST(host, "xl digits");
  auto spec = host.spec("5", "file:driver=loop", {"0:size=1"});
  REQUIRE(host.add(spec) == "");
  const std::string none = std::string(kHeader) + kDomain0 + line("other", "5", "r-----", kOther);
  host.asked("list -v", none).asked("create " + host.guest_file("config", "5"), "", 0, "", "fd=3 ").plays();
  REQUIRE(message(start(host.manager(), {"5", false}, false)) == "");
  const std::string both = none + line("5", "9", "-b----", host.find("5").record.uuid);
  host.asked("list -v", both).asked("list -v", both).asked("destroy 9").asked("list -v", none).plays();
  CHECK(message(stop(host.manager(), {"5", true, std::chrono::seconds(0)}, false)) == "");
  CHECK(host.rest() == "");
}

TEST_CASE("xl: a domain of the same name with another UUID is never told anything") {
  Host host;
  NEED_HOST(host, "xl impostor");
  add_web1(host);
  begin(host);
  // Ours is gone; somebody made one of its name, and one whose name only looks like it.
  const std::string others = std::string(kHeader) + kDomain0 + line("web1", "8", "r-----", kOther) +
                             line("web1 9", "10", "r-----", kOther);
  host.answers(others);
  CHECK(host.seen().reason == "should run, but has ended");
  host.asked("list -v", others).plays();
  CHECK(message(stop(host.manager(), {"web1", true, std::chrono::seconds(0)}, false)) == "");
  CHECK(host.rest() == "");
  // One with its UUID and another name has its disks.
  const std::string renamed =
      std::string(kHeader) + kDomain0 + line("was-web1", "8", "r-----", host.find("web1").record.uuid);
  host.asked("list -v", renamed).plays();
  auto refused = start(host.manager(), {"web1", false}, false);
  REQUIRE((!refused.ok() && refused.error().is(kRunning)));
  CHECK(refused.error().message().find("was-web1") != std::string::npos);
  CHECK(host.rest() == "");
}

TEST_CASE("a tool that is told names gets none that it takes for an id") {
  Host host;
  NEED_HOST(host, "names for ids");
  std::string profile = test::slurp(host.settings.hypervisor);
  for (auto at = profile.find("{id}"); at != std::string::npos; at = profile.find("{id}", at))
    profile.replace(at, 4, "{name}");
  test::spill(host.settings.hypervisor, profile);
  for (const char *name : {"0", "5", "00", "0a0b0c0d-1111-2222-3333-444455556666"}) {
    auto refused = add(host.manager(), host.spec(name, "file:driver=loop", {"0:size=1"}), false);
    REQUIRE(!refused.ok());
    CHECK(refused.error().is(hypervisor::kBadGuestName));
    CHECK(refused.error().exit() == Exit::refused);
  }
  CHECK(host.add(host.spec("5a", "file:driver=loop", {"0:size=1"})) == "");
  auto renamed = rename(host.manager(), {"5a", "6", true}, false);
  REQUIRE(!renamed.ok());
  CHECK(renamed.error().is(hypervisor::kBadGuestName));
}
