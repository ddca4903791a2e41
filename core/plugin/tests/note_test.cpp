// SPDX-License-Identifier: MIT
#include "core/plugin/note.hpp"

#include <doctest/doctest.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

#include "core/plugin/tests/support.hpp"
#include "core/sys/fd.hpp"
#include "tests/support/skip.hpp"

using namespace std::string_literals;
using vbd::plugin::Note;
using vbd::plugin::parse_note;
using vbd::plugin::read_note;

namespace {

const std::string kDriver =
    "abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_X\0name=x\0version=1\0ops=attach,render\0need.flat="
    "1\0"
    "need.tap=aio|qcow\0requires=a,b\0later=thing\0\0\0"s;

/// kDriver with one piece replaced.
std::string with(const std::string &from, const std::string &to) {
  std::string text = kDriver;
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string bad(const std::string &payload) {
  const auto note = parse_note(payload, "/p/fd-x.so");
  REQUIRE_FALSE(note.ok());
  CHECK(note.error().is(vbd::plugin::kBadNote));
  return note.error().message();
}

/// The file's bytes behind a descriptor.
vbd::sys::Fd in_memory(const std::string &bytes) {
  vbd::sys::Fd fd(::memfd_create("plugin", MFD_CLOEXEC));
  REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

std::string id_of(const std::string &bytes) {
  const auto fd = in_memory(bytes);
  const auto note = read_note(fd.get(), "fd-null.so");
  return note ? "ok" : std::string(note.error().id());
}

}  // namespace

TEST_CASE("a note says what a plugin is") {
  const auto note = parse_note(kDriver, "/p/fd-x.so");
  REQUIRE(note.ok());
  CHECK(note->abi_major == 1);
  CHECK(note->kind == vbd::PluginKind::driver);
  CHECK(note->constant == "FD_X");
  CHECK(note->ops == std::set<std::string>{"attach", "render"});
  CHECK(note->needs.at("tap") == std::vector<std::string>{"aio", "qcow"});
  CHECK(note->requires_ == std::vector<std::string>{"a", "b"});
}

TEST_CASE("what a note must have is named") {
  CHECK(bad(with("min_host_minor=0\0"s, "")).find("min_host_minor= is missing") != std::string::npos);
  CHECK(bad(with("abi=1.0", "abi=one")).find("abi=one") != std::string::npos);
  CHECK(bad(with("abi=1.0", "abi=1.99999999999")).find("MAJOR.MINOR") != std::string::npos);
  CHECK(bad(with("kind=driver", "kind=filetype")).find("no constant of a filetype") != std::string::npos);
  CHECK(bad(with("kind=driver", "kind=drive")).find("neither driver nor filetype") != std::string::npos);
  CHECK(bad(with("FD_X", "FD_x")).find("FD_x") != std::string::npos);
  CHECK(bad(with("FD_X", "x")).find("constant=x") != std::string::npos);
  CHECK(bad(with("version=1\0"s, "")).find("version= is missing") != std::string::npos);
  CHECK(bad(with("ops=attach,render\0"s, "")).find("ops= is missing") != std::string::npos);
  CHECK(bad(with("attach,render", "attach,attach")).find("attach twice") != std::string::npos);
  CHECK(bad(with("later=thing", "name=y")).find("name stands twice") != std::string::npos);
  CHECK(bad(with("later=thing", "later")).find("no key=value") != std::string::npos);
  CHECK(bad(with("thing", "th\ning")).find("not text") != std::string::npos);
  CHECK(bad(with("thing", std::string(2000, 'x'))).find("at most") != std::string::npos);
  CHECK(bad(std::string()).find("abi= is missing") != std::string::npos);
}

TEST_CASE("versions are judged from the note alone") {
  const auto check = [](const std::string &payload, const std::string &path) {
    const auto note = parse_note(payload, path);
    REQUIRE(note.ok());
    const auto done = vbd::plugin::check_note(*note, path);
    return done ? "ok" : std::string(done.error().id()) + " " + done.error().message();
  };
  CHECK(check(kDriver, "/p/fd-x.so") == "ok");
  CHECK(check("abi=2.0\0kind=thing\0"s, "/p/fd-x.so") ==
        "plugin.abi_major /p/fd-x.so: a plugin for ABI 2, this vbd has ABI 1");
  CHECK(check(with("minor=0", "minor=7"), "/p/fd-x.so") ==
        "plugin.needs_newer_host /p/fd-x.so: needs a host of ABI 1.7 or later, this vbd has 1.0");
  CHECK(check(with("abi=1.0", "abi=1.9"), "/p/fd-x.so") == "ok");
  CHECK(check(kDriver, "/p/fd-y.so") ==
        "plugin.wrong_constant /p/fd-y.so: the plugin in it is FD_X, which belongs in fd-x.so");
}

TEST_CASE("pairing by property") {
  Note driver, filetype;
  driver.constant = "FD_A";
  filetype.constant = "FT_B";
  driver.needs = {{"flat", {"1"}}};
  CHECK(unmet_need(driver, filetype, {}) == "needs flat=1, FT_B has none");
  CHECK(unmet_need(driver, filetype, {{"flat", "1"}}).empty());
  filetype.properties = {{"flat", "0"}};
  CHECK(unmet_need(driver, filetype, {}) == "needs flat=1, FT_B has flat=0");
  driver.needs = {{"tap", {"aio", "qcow"}}, {"x", {"*"}}};
  filetype.properties = {{"tap", "qcow"}};
  CHECK(unmet_need(driver, filetype, {}) == "needs x, FT_B has none");
  CHECK(unmet_need(driver, filetype, {{"x", "anything"}}).empty());
  // What an image says of itself overrides its filetype's note.
  CHECK(unmet_need(driver, filetype, {{"x", "1"}, {"tap", "vhd"}}) == "needs tap=aio|qcow, FT_B has tap=vhd");
}

TEST_CASE("the note of a real plugin, and of what is none") {
  const std::string whole = read_whole(built("fd-null.so"));
  REQUIRE(whole.size() > 1000);
  CHECK(id_of(whole) == "ok");
  CHECK(id_of("") == "plugin.not_elf");
  CHECK(id_of("#!/bin/sh\n") == "plugin.not_elf");
  CHECK(id_of(whole.substr(0, 40)) == "plugin.truncated");
  CHECK(id_of(whole.substr(0, 100)) == "plugin.truncated");
  CHECK(id_of(whole.substr(0, 4096)) == "plugin.truncated");
  const auto edited = [&](std::size_t at, char value) {
    std::string bytes = whole;
    bytes[at] = value;
    return bytes;
  };
  CHECK(id_of(edited(EI_CLASS, ELFCLASS32)) == "plugin.wrong_machine");
  CHECK(id_of(edited(EI_CLASS, 9)) == "plugin.wrong_machine");
  CHECK(id_of(edited(EI_DATA, whole[EI_DATA] == ELFDATA2LSB ? ELFDATA2MSB : ELFDATA2LSB)) ==
        "plugin.wrong_machine");
  CHECK(id_of(edited(offsetof(Elf64_Ehdr, e_type), ET_EXEC)) == "plugin.not_elf");
  CHECK(id_of(edited(offsetof(Elf64_Ehdr, e_machine), EM_MIPS)) == "plugin.wrong_machine");
  CHECK(id_of(edited(offsetof(Elf64_Ehdr, e_phnum), 65)) == "plugin.bad_note");
  CHECK(id_of(edited(offsetof(Elf64_Ehdr, e_phnum), 0)) == "plugin.not_elf");
  CHECK(id_of(edited(offsetof(Elf64_Ehdr, e_phoff) + 6, 0x7f)) == "plugin.truncated");
  CHECK(id_of(read_whole("/proc/self/exe")) == "plugin.no_note");
  const std::size_t owner = whole.find("VBDP\0"s);
  REQUIRE(owner != std::string::npos);
  CHECK(id_of(edited(owner, 'W')) == "plugin.no_note");
  CHECK(id_of(edited(owner - 4, 'x')) == "plugin.no_note");      // type
  CHECK(id_of(edited(owner - 5, '\x7f')) == "plugin.bad_note");  // descsz, top byte
  CHECK(id_of(edited(owner - 9, '\x7f')) == "plugin.bad_note");  // namesz, top byte
}

TEST_CASE("20000 damaged plugins crash nothing") {
  const std::string whole = read_whole(built("fd-null.so"));
  const std::size_t note = whole.find("VBDP\0"s);
  REQUIRE(note != std::string::npos);
  const auto fd = in_memory(whole);
  std::mt19937 random(20240501);  // the same damage every time
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  unsigned refused = 0;
  for (unsigned i = 0; i < 20000; ++i) {
    // Headers, the note, anywhere; one to four bytes; sometimes the end is cut off.
    std::string bytes = whole;
    for (std::size_t n = 1 + pick(4); n > 0; --n) {
      const std::size_t where = pick(3);
      const std::size_t at = where == 0   ? pick(64 + 12 * 56)
                             : where == 1 ? note - 12 + pick(200)
                                          : pick(whole.size());
      bytes[at % bytes.size()] = static_cast<char>(random());
    }
    if (pick(8) == 0) bytes.resize(pick(bytes.size()));
    REQUIRE(::pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) == 0);
    const auto result = read_note(fd.get(), "fd-null.so");
    if (result) continue;
    ++refused;
    CHECK(result.error().message().find('\n') == std::string::npos);
  }
  CHECK(refused > 5000);
}
