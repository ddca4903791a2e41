// SPDX-License-Identifier: MIT
// Calls into a loaded plugin: options, the host's services, errors.
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/plugin/call.hpp"
#include "core/plugin/registry.hpp"
#include "core/plugin/tests/support.hpp"
#include "core/sys/errors.hpp"
#include "tests/support/skip.hpp"

using namespace vbd;
using namespace vbd::plugin;

namespace {

/// FD_SERVICES loaded with the given configuration.
struct Services {
  explicit Services(std::map<std::string, std::string> options = {}) {
    if (!dir.ok) return;
    install("fd-services.so", dir.path);
    settings.plugin_dirs = {dir.path};
    for (const auto &[name, value] : options) {
      settings.plugins["FD_SERVICES"][name] = {value, {"/etc/vbdkit/vbdkit.yaml", 7, 3}};
    }
    registry = std::make_unique<Registry>(settings, std::vector<std::string>{}, "", *runner);
    loaded = registry->load(Constant::parse("FD_SERVICES", PluginKind::driver).value());
  }
  Result<Facts> ask(const std::string &what, CallContext *context = nullptr) {
    Plugin &plugin = *loaded.value();
    Request request;
    request.image = "/img/sda";
    request.params = {{"ask", what}};
    request.properties = {{"flat", "1"}};
    return plugin.call(plugin.driver()->query, "query", request, context);
  }

  TrustedDir dir;
  config::Settings settings;
  std::unique_ptr<sys::Runner> runner = sys::make_real_runner();
  std::unique_ptr<Registry> registry;
  Result<Plugin *> loaded = Error(kInternal, "not loaded");
};

#define REQUIRE_SERVICES(services)                                                                 \
  VBD_REQUIRE_OR_SKIP((services).dir.ok, "call", "no directory with a trusted chain can be made"); \
  REQUIRE_MESSAGE((services).loaded.ok(), (services).loaded.error().message())

std::string load_error(std::map<std::string, std::string> options) {
  Services services(std::move(options));
  if (!services.dir.ok) return {};
  REQUIRE_FALSE(services.loaded.ok());
  return std::string(services.loaded.error().id()) + " " + services.loaded.error().message();
}

}  // namespace

TEST_CASE("configured options are checked with their place, and reach init and calls") {
  Services services({{"flag", "on"}, {"count", "9"}, {"amount", "2K"}});
  REQUIRE_SERVICES(services);
  const auto facts = services.ask("config");
  REQUIRE(facts.ok());
  CHECK(facts->text("config") == "amount=2048 count=9 flag=true ");
  CHECK(facts->text("params") == "ask=config ");
  CHECK(facts->text("properties") == "flat=1 ");
  CHECK(facts->flag("state_at_init"));
  const Plugin &plugin = *services.loaded.value();
  CHECK(plugin.image_params({{"place", "/p"}}, "--disk 0")->at("amount") == "2048");
  CHECK(plugin.image_params({{"amount", "1K"}}, "--disk 0")->at("amount") == "1024");
  CHECK(plugin.image_params({}, "--disk 0")->at("mode") == "a");
  CHECK_FALSE(plugin.image_params({}, "--disk 0", false)->contains("mode"));
  CHECK(plugin.image_params({{"flag", "on"}}, "--disk 0").error().message() ==
        "--disk 0: option flag of FD_SERVICES is for the whole host, not for one image");
  CHECK(plugin.image_params({{"mod", "a"}}, "--disk 0").error().hint() == "did you mean mode?");
}

TEST_CASE("defaults reach init") {
  Services services;
  REQUIRE_SERVICES(services);
  CHECK(services.ask("config")->text("config") == "flag=false ");
}

TEST_CASE("a wrong configured option is refused before init") {
  VBD_REQUIRE_OR_SKIP(TrustedDir().ok, "call", "no directory with a trusted chain can be made");
  const std::string where = "/etc/vbdkit/vbdkit.yaml:7:3: plugins.FD_SERVICES: ";
  CHECK(load_error({{"count", "10"}}) ==
        "option.value " + where + "option count: expected number 1..9, found '10'");
  CHECK(load_error({{"cuont", "1"}})
            .starts_with("option.unknown " + where + "unknown option cuont; there are count"));
  CHECK(load_error({{"key", "77"}}).find("77") == std::string::npos);
}

TEST_CASE("errors of a plugin: kind from the status, id from its reason, one printable line") {
  Services services;
  REQUIRE_SERVICES(services);
  const auto torn = services.ask("fail");
  REQUIRE_FALSE(torn.ok());
  CHECK(torn.error().id() == "services.torn");
  CHECK(torn.error().exit() == Exit::damaged);
  CHECK(torn.error().message() ==
        "FD_SERVICES: query /img/sda: torn ?[31m and?two lines: Input/output error");
  const auto bare = services.ask("bare");
  CHECK(bare.error().is(sys::kInUse));
  CHECK(bare.error().message() == "FD_SERVICES: query /img/sda: in use");
  CHECK(services.ask("odd").error().message() == "FD_SERVICES: query /img/sda: internal error (status 77)");
  CHECK(services.ask("key").error().exit() == Exit::usage);
  Plugin &plugin = *services.loaded.value();
  const auto thrown = plugin.call(plugin.driver()->render, "render", {});
  REQUIRE_FALSE(thrown.ok());
  CHECK(thrown.error().is(kInternal));
  CHECK(thrown.error().message() == "FD_SERVICES: render: threw an exception");
}

TEST_CASE("every status has its exit code") {
  const std::map<int32_t, Exit> exits{
      {VBD_E_INTERNAL, Exit::failed}, {VBD_E_INVAL, Exit::usage},       {VBD_E_NOTSUP, Exit::refused},
      {VBD_E_NOENT, Exit::not_found}, {VBD_E_EXIST, Exit::busy},        {VBD_E_BUSY, Exit::busy},
      {VBD_E_PERM, Exit::failed},     {VBD_E_IO, Exit::failed},         {VBD_E_NOSPC, Exit::failed},
      {VBD_E_CORRUPT, Exit::damaged}, {VBD_E_MISSING, Exit::failed},    {VBD_E_CANCELLED, Exit::failed},
      {VBD_E_TIMEOUT, Exit::failed},  {VBD_E_REFERENCE, Exit::refused}, {VBD_E_REFUSED, Exit::refused}};
  vbd_error error{};
  for (const auto &[status, exit] : exits) {
    const Error made = status_error(status, error, "FT_X", "info");
    CAPTURE(made.message());
    CHECK(made.exit() == exit);
    CHECK(made.message().find("status") == std::string::npos);
  }
  error.reason = "Not A Reason";
  CHECK(status_error(VBD_E_IO, error, "FT_X", "info").is(sys::kIo));
}

TEST_CASE("helper programs run through the host") {
  Services services;
  REQUIRE_SERVICES(services);
  const auto cat = services.ask("cat");  // of two files that are not there
  REQUIRE_MESSAGE(cat.ok(), cat.error().message());
  CHECK(cat->number("exit_status") == 1);
  CHECK(cat->text("said") ==
        "cat: cat: one: No such file or directory; cat: 'two words': No such file or directory");
  const auto echo = services.ask("echo");
  CHECK(echo->text("out") == "one two words\n");
  const auto missing = services.ask("no-such-helper");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().is(sys::kHelperMissing));
  CHECK(missing.error().message().find("no-such-helper") != std::string::npos);
  CHECK(services.ask("/bin/echo").error().exit() == Exit::usage);
}

TEST_CASE("a spawned process lives until it is stopped") {
  Services services;
  REQUIRE_SERVICES(services);
  const auto facts = services.ask("spawn");
  REQUIRE_MESSAGE(facts.ok(), facts.error().message());
  CHECK(facts->flag("alive"));
  CHECK_FALSE(facts->flag("alive_after"));
}

TEST_CASE("the record, the lock and progress belong to the call that brings them") {
  Services services;
  REQUIRE_SERVICES(services);
  CHECK(services.ask("state").error().exit() == Exit::refused);
  CHECK(services.ask("lock").error().exit() == Exit::refused);
  CHECK_FALSE(services.ask("progress")->flag("stop"));

  std::map<std::string, std::string> record;
  std::vector<std::string> locks;
  CallContext context;
  context.put_state = [&](const std::string &key, const std::string *value) -> Result<void> {
    record[key] = value == nullptr ? "" : *value;
    return {};
  };
  context.get_state = [&](const std::string &key) { return record.contains(key) ? &record[key] : nullptr; };
  context.state_directory = "/run/x";
  context.release_lock = [&]() -> Result<void> { return locks.emplace_back("release"), Result<void>(); };
  context.restore_lock = [&]() -> Result<void> { return locks.emplace_back("restore"), Result<void>(); };
  context.lock_held_by = [&](std::int64_t pid) -> Result<bool> { return pid == 1; };
  context.progress = [](std::uint64_t done, std::uint64_t total) { return done == 3 && total == 10; };
  const auto state = services.ask("state", &context);
  REQUIRE_MESSAGE(state.ok(), state.error().message());
  CHECK(state->text("pid") == "17");
  CHECK(state->text("directory") == "/run/x");
  CHECK(record == std::map<std::string, std::string>{{"pid", "17"}});
  const auto lock = services.ask("lock", &context);
  REQUIRE(lock.ok());
  CHECK(lock->number("held_by_1") == 0);
  CHECK(lock->number("held_by_2") == -VBD_E_NOENT);
  CHECK(locks == std::vector<std::string>{"release", "restore"});
  CHECK(services.ask("progress", &context)->flag("stop"));
  CHECK_FALSE(services.ask("progress")->flag("stop"));  // the context is gone with its call
  context.put_state = [](const std::string &, const std::string *) -> Result<void> {
    return Error(sys::kNoSpace, "the record can't be written");
  };
  CHECK(services.ask("state", &context).error().is(sys::kNoSpace));
}

TEST_CASE("a message that a plugin did not end, ends all the same") {
  ErrorBuffer buffer;
  vbd_error &error = *buffer.get();
  std::memset(error.msg, 'x', error.msg_cap);
  error.msg = nullptr;  // a plugin may have made anything of it
  const vbd_error &read = buffer.read();
  REQUIRE(read.msg != nullptr);
  CHECK(::strnlen(read.msg, read.msg_cap) == read.msg_cap - 1);
}

TEST_CASE("a message of ours is cut to the plugin's room, and ended") {
  std::array<char, 8> room{};
  room.fill('x');
  vbd_error error{};
  error.size = sizeof error;
  error.msg = room.data();
  error.msg_cap = 5;
  CHECK(give_text(VBD_E_BUSY, "somebody has it", &error) == VBD_E_BUSY);
  CHECK(std::string_view(room.data(), room.size()) == std::string_view("some\0xxx", 8));
  CHECK(give_text(VBD_E_IO, "no", &error) == VBD_E_IO);
  CHECK(std::string(room.data()) == "no");
  error.msg_cap = 0;
  CHECK(give_text(VBD_E_IO, "nothing", &error) == VBD_E_IO);
  CHECK(std::string(room.data()) == "no");
  CHECK(give_text(VBD_E_IO, "nowhere", nullptr) == VBD_E_IO);
}

TEST_CASE("an error of the host's that passes through a plugin keeps its id and its hint") {
  Services services;
  REQUIRE_SERVICES(services);
  constexpr ErrorKind kOwn{"record.full", Exit::busy};
  CallContext context;
  context.put_state = [&](const std::string &, const std::string *) -> Result<void> {
    return Error(kOwn, "the record can't be written", "make room");
  };
  const auto passed = services.ask("state", &context);
  REQUIRE_FALSE(passed.ok());
  CHECK(passed.error().is(kOwn));
  CHECK(passed.error().exit() == Exit::busy);
  CHECK(passed.error().hint() == "make room");
  CHECK(passed.error().message() == "FD_SERVICES: query /img/sda: the record can't be written");
  const auto own = services.ask("bare", &context);  // the next call's error is the plugin's own
  CHECK(own.error().is(sys::kInUse));
  CHECK(own.error().hint().empty());
}

TEST_CASE("an exception in the host is named as what it is") {
  Services services;
  REQUIRE_SERVICES(services);
  CallContext context;
  context.put_state = [](const std::string &, const std::string *) -> Result<void> {
    throw std::runtime_error("no such thing");
  };
  CHECK(services.ask("state", &context).error().message() == "FD_SERVICES: query /img/sda: no such thing");
  context.put_state = [](const std::string &, const std::string *) -> Result<void> {
    throw std::bad_alloc();
  };
  CHECK(services.ask("state", &context).error().message() ==
        "FD_SERVICES: query /img/sda: the host is out of memory");
}

TEST_CASE("a file that would be too large is told so, with a hint") {
  vbd_error error{};
  error.sys_errno = EFBIG;
  const Error made = status_error(VBD_E_NOSPC, error, "FT_X", "create");
  CHECK(made.id() == "io.file_size_limit");
  CHECK(made.hint().find("ulimit -f") != std::string::npos);
}
