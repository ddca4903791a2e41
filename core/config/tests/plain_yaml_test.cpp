// SPDX-License-Identifier: MIT
// The quick reader against the library: whatever it takes means the same.
#include "core/config/plain_yaml.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "core/config/documents.hpp"
#include "core/config/yaml_library.hpp"

using namespace vbd;
using namespace vbd::config;

namespace {

void check_same(const Node &a, const Node &b) {
  CHECK(a.kind == b.kind);
  CHECK(a.mark.str() == b.mark.str());
  CHECK(a.quoted == b.quoted);
  CHECK(a.key == b.key);
  CHECK(a.scalar == b.scalar);
  REQUIRE(a.items.size() == b.items.size());
  for (std::size_t i = 0; i < a.items.size(); ++i) check_same(a.items[i], b.items[i]);
  REQUIRE(a.entries.size() == b.entries.size());
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    check_same(a.entries[i].key, b.entries[i].key);
    check_same(a.entries[i].value, b.entries[i].value);
  }
}

/// True when the quick reader takes it; then the library must, with the same result.
bool takes(const std::string &text) {
  const auto quick = parse_plain_yaml(text, "f.yaml");
  if (!quick) return false;
  CAPTURE(text);
  const auto slow = parse_library_yaml(text, "f.yaml");
  REQUIRE(slow.ok());
  check_same(*quick, *slow);
  return true;
}

InstanceRecord record() {
  InstanceRecord record;
  record.uuid = "bb28078d-4426-4c35-8fdf-d1bb21565c72";
  record.name = "web1.example.com";
  record.directory = "/srv/ganeti/file-storage/web1.example.com";
  record.node = "node1";
  record.secondary = "node2";
  record.os = "debootstrap+default";
  record.wanted_up = true;
  record.created = "2026-01-31T12:00:00Z";
  record.backend = {{"memory", "512"}, {"vcpus", "2"}};
  record.hypervisor = {{"kernel", "/boot/vmlinuz"}, {"root_path", "/dev/sda1"}, {"args", "ro quiet"}};
  for (const char *file : {"sda", "sdb"}) {
    record.disks.push_back({*Constant::parse("FD_LOOP", PluginKind::driver),
                            *Constant::parse("FT_RAW", PluginKind::filetype),
                            file,
                            1u << 20,
                            file,
                            DiskMode::rw,
                            true,
                            {{"direct_io", "auto"}},
                            {}});
  }
  record.nics.push_back({});
  record.nics.back().mac = "aa:00:00:12:34:56";
  record.nics.back().mode = "bridged";
  record.lease =
      Lease{"node1", "d2b5b1b4-4a9e-4f14-9c6d-1f0b4a3b0d11", "instance:web1", "2026-01-31T12:00:00Z", 1};
  return record;
}

}  // namespace

TEST_CASE("the quick reader takes what vbd writes") {
  CHECK(takes(write_instance(record())));
  CHECK(takes(write_pointer({"web1", "bb28078d-4426-4c35-8fdf-d1bb21565c72", "/srv/web1"})));
  const auto read = parse_instance(write_instance(record()), "f.yaml");
  REQUIRE(read.ok());
  CHECK(write_instance(*read) == write_instance(record()));
}

TEST_CASE("the quick reader leaves what is not plain to the library") {
  for (const char *text : {"",
                           "\n",
                           "# only words\n",
                           "---\n",
                           "a",
                           "a: b",
                           "a:\n",
                           "a: \n",
                           "a: b\na: c\n",
                           "a: b\n  c\n",
                           "a: b\n c: d\n",
                           "a: ~\n",
                           "a: null\n",
                           "a: &x b\n",
                           "a: *x\n",
                           "a: !t b\n",
                           "a: [b]\n",
                           "a: {b: c}\n",
                           "a: |\n  b\n",
                           "a: >\n  b\n",
                           "a: 'b'\n",
                           "a: \"b\\n\"\n",
                           "a: \"b\n",
                           "a: b # c\n",
                           "a: b c\n",
                           "a: b:\n",
                           "a: -\n",
                           "a: ? b\n",
                           "? a\n",
                           "a:\n- b\n",
                           "- a\n",
                           "a:\n  b: c\n d: e\n",
                           "a:\n    b: c\n  d: e\n",
                           "a:\tb\n",
                           "\ta: b\n",
                           "a: b\r\n",
                           "a: b\n---\nc: d\n",
                           "a: b\n...\n",
                           "%YAML 1.2\n",
                           "a: \xc3\xbc\n",
                           "\xef\xbb\xbf"
                           "a: b\n",
                           "a:b\n",
                           "a : b\n",
                           "a:  b\n",
                           "a: b \n",
                           "a:\n  -  b\n",
                           "a:\n  - - b\n",
                           "a:\n  - b: c\n    - d\n",
                           "a:\n  - b\n   c\n",
                           "<<: b\n",
                           "a: \"b\" c\n",
                           "a:\n  # c\n  b: c\n",
                           "a: b\n\nc: d\n"}) {
    CAPTURE(text);
    CHECK_FALSE(takes(text));
  }
}

TEST_CASE("keys of over 1,024 bytes are the library's to refuse") {
  for (std::size_t length = 1000; length < 1050; ++length) {
    CAPTURE(length);
    const std::string key(length, 'k');
    const bool taken = takes(key + ": b\n");
    CHECK(takes("a:\n  " + key + ": b\n") == taken);
    CHECK(takes("a:\n  - " + key + ": b\n    c: d\n") == taken);
    CHECK(parse_library_yaml(key + ": b\n", "f.yaml").ok() == taken);
  }
}

TEST_CASE("the quick reader and the library agree on changed texts") {
  const std::string seed = write_instance(record());
  const std::string bytes = " \n:-#\"'[]{},&*!|>%@`~?\\/ab0\t\r.\xc3";
  std::mt19937 chance(1);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(chance);
  };
  int taken = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string text = round % 2 == 0 ? seed.substr(seed.find('\n') + 1)
                                      : std::string("a:\n  - b: c\n    d: e\n  - f\ng: h\n");
    for (std::size_t n = below(3) + 1; n > 0; --n) {
      const std::size_t at = below(text.size());
      const std::string piece(1, bytes[below(bytes.size())]);
      switch (below(4)) {
        case 0:
          text.insert(at, piece);
          break;
        case 1:
          text.replace(at, 1, piece);
          break;
        case 2:
          text.erase(at, below(8) + 1);
          break;
        default:
          text.insert(at, text.substr(below(text.size()), below(24)));
          break;
      }
    }
    taken += takes(text) ? 1 : 0;
  }
  CHECK(taken > 300);
}
