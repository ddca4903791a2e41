// SPDX-License-Identifier: MIT
#include "core/config/documents.hpp"

#include <doctest/doctest.h>

#include <cstdint>

#include "core/base/size.hpp"

using namespace vbd;
using namespace vbd::config;

namespace {

const std::string kUuid = "01234567-89ab-4cde-8f01-23456789abcd";

Constant driver(const char *name) {
  return *Constant::parse(name, PluginKind::driver);
}
Constant filetype(const char *name) {
  return *Constant::parse(name, PluginKind::filetype);
}

InstanceRecord sample() {
  InstanceRecord record;
  record.uuid = kUuid;
  record.name = "instance2";
  record.directory = "/xen/instance2";
  record.node = "node";
  record.created = "2026-01-31T12:00:00Z";
  record.disks.push_back(
      {driver("loop"), filetype("raw"), "sda", 5ull << 30, "sda", DiskMode::rw, true, {}, {}});
  return record;
}

/// A valid document with one line replaced.
std::string with(const std::string &from, const std::string &to) {
  std::string text = write_instance(sample());
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

Error refused(const std::string &text) {
  const auto parsed = parse_instance(text, "i.yaml");
  REQUIRE_FALSE(parsed.ok());
  return parsed.error();
}

void check_equal(const InstanceRecord &a, const InstanceRecord &b) {
  CHECK(write_instance(a) == write_instance(b));
  CHECK(a.backend == b.backend);
  CHECK(a.hypervisor == b.hypervisor);
  CHECK(a.os_parameters == b.os_parameters);
  REQUIRE(a.disks.size() == b.disks.size());
  for (std::size_t i = 0; i < a.disks.size(); ++i) {
    CHECK(a.disks[i].file == b.disks[i].file);
    CHECK(a.disks[i].size == b.disks[i].size);
    CHECK(a.disks[i].mode == b.disks[i].mode);
    CHECK(a.disks[i].created == b.disks[i].created);
    CHECK(a.disks[i].driver_options == b.disks[i].driver_options);
    CHECK(a.disks[i].filetype_options == b.disks[i].filetype_options);
  }
}

}  // namespace

TEST_CASE("instance.yaml as people see it") {
  CHECK(write_instance(sample()) ==
        "# An instance of vbdkit; the disks below are files in this directory. Use vbd to change it.\n"
        "schema: 1\n"
        "uuid: \"01234567-89ab-4cde-8f01-23456789abcd\"\n"
        "name: instance2\n"
        "directory: /xen/instance2\n"
        "node: node\n"
        "created: \"2026-01-31T12:00:00Z\"\n"
        "disks:\n"
        "  - file: sda\n"
        "    driver: FD_LOOP\n"
        "    filetype: FT_RAW\n"
        "    size: 5368709120\n"
        "    vdev: sda\n"
        "    mode: rw\n"
        "    created: true\n");
}

TEST_CASE("network cards, there and back") {
  InstanceRecord record = sample();
  // YAML 1.1 reads digits between colons as one number.
  record.nics = {{"12:22:33:44:55:56", "2001:db8::1", "routed", "100", "lan", "eth0", ""},
                 {"aa:00:00:00:00:01", "", "bridged", "", "", "", ".5"}};
  const std::string text = write_instance(record);
  auto read = parse_instance(text, "i.yaml");
  REQUIRE(read.ok());
  CHECK(read->nics == record.nics);
  CHECK(text.find("nics:\n  - mac: \"12:22:33:44:55:56\"\n    ip: ") != std::string::npos);
  record.nics[0].link = "a,b";
  CHECK(refused(write_instance(record)).message().find("link 'a,b'") != std::string::npos);
  record.nics.assign(9, {"aa:00:00:00:00:01", "", "bridged", "", "", "", ""});
  CHECK(refused(write_instance(record)).message().find("more than 8 network cards") != std::string::npos);
}

TEST_CASE("round trip with nasty strings") {
  InstanceRecord record = sample();
  record.directory = "/srv/caf\xc3\xa9 #1: \"x\" {y}";
  record.secondary = "node-2.example.com";
  record.os = "debootstrap+default";
  const std::vector<std::string> nasty = {
      "",    "null", "no", "1",    "0x1F", "a: b", " lead", "trail ",
      "# x", "- y",  "'",  "\"\\", "a\nb", "\t",   "\x01",  "\xe2\x80\xa8",
      "{a}", "[",    "*x", "&x",   "!x",   "%",    "@",     "`"};
  for (std::size_t i = 0; i < nasty.size(); ++i) {
    record.backend["b" + std::to_string(i)] = nasty[i];
    record.os_parameters[nasty[i] + "key"] = nasty[i];
  }
  record.hypervisor = {{"kernel_args", "ro root=/dev/sda1 console=hvc0"}};
  record.disks.push_back({driver("FD_MY_OWN"),
                          filetype("qcow"),
                          "sdb 'x'",
                          kMaxImageSize,
                          "sdb1",
                          DiskMode::ro,
                          false,
                          {{"direct_io", "true"}},
                          {{"cluster_size", "65536"}, {"label", "a: b"}}});
  record.operation = OperationRecord{"add",
                                     "2026-01-31T12:00:01Z",
                                     {"sda", ".vbd-sdb.1.tmp", "a, b"},
                                     true,
                                     {{"to", "a: b"}, {"size", "512"}}};
  record.operation->node = "node";
  record.operation->boot_id = "0b";
  record.lease = Lease{"node", "0b", "instance:instance2", "2026-01-31T12:00:02Z", 7};
  const std::string text = write_instance(record);
  const auto parsed = parse_instance(text, "i.yaml");
  if (!parsed) MESSAGE(parsed.error().message());
  REQUIRE(parsed.ok());
  check_equal(record, *parsed);
  REQUIRE(parsed->operation.has_value());
  CHECK(parsed->operation->files == record.operation->files);
  CHECK(parsed->operation->made_directory);
  CHECK(parsed->operation->details == record.operation->details);
  CHECK(parsed->operation->node == "node");
  CHECK(parsed->operation->boot_id == "0b");
  CHECK(parsed->lease == record.lease);
  record.lease.free();
  CHECK(parse_instance(write_instance(record), "i.yaml")->lease == Lease{{}, {}, {}, {}, 7});
}

TEST_CASE("the claim that an earlier vbd wrote is a lease, and its operations have no node") {
  InstanceRecord record = sample();
  const std::string old = write_instance(record) +
                          "operation:\n  verb: add\n  started: \"t\"\n  files: []\n"
                          "claim:\n  node: node1\n  boot_id: b\n  holder: \"cli\"\n  time: \"t\"\n";
  const auto parsed = parse_instance(old, "i.yaml");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().message());
  CHECK(parsed->lease == Lease{"node1", "b", "cli", "t", 0});
  CHECK(parsed->operation->node.empty());
  CHECK(write_instance(*parsed).find("claim") == std::string::npos);
  CHECK_FALSE(parse_instance(old + "lease:\n  generation: 1\n", "i.yaml").ok());
  CHECK_FALSE(parse_instance(write_instance(record) + "lease:\n  generation: 1\n  node: x\n", "i.yaml").ok());
}

TEST_CASE("leases beside images survive a round trip, and what is wrong is refused") {
  const Leases leases = {{"disk.img", {"node1", "b", "cli", "2026-01-31T12:00:00Z", 3}},
                         {"a: b", {{}, {}, {}, {}, 18446744073709551615u}}};
  const auto parsed = parse_leases(write_leases(leases), "l");
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().message());
  CHECK(*parsed == leases);
  CHECK(parse_leases("schema: 1\n", "l")->empty());
  CHECK(parse_leases("schema: 2\n", "l").error().is(kNewerSchema));
  for (const char *bad : {"", "schema: 1\nimages: []\n", "schema: 1\nimages:\n  a/b:\n    generation: 1\n",
                          "schema: 1\nimages:\n  a:\n    node: x\n", "schema: 1\nother: 1\n",
                          "schema: 1\nimages:\n  a:\n    generation: -1\n"}) {
    CHECK_FALSE_MESSAGE(parse_leases(bad, "l").ok(), bad);
  }
}

TEST_CASE("the largest number of disks, and one more") {
  InstanceRecord record = sample();
  record.disks.clear();
  for (std::size_t i = 0; i < kMaxDisks; ++i) {
    record.disks.push_back(
        {driver("loop"), filetype("raw"), disk_name(i), 512, disk_name(i), DiskMode::rw, true, {}, {}});
  }
  CHECK(parse_instance(write_instance(record), "i.yaml").ok());
  record.disks.push_back({driver("loop"), filetype("raw"), "x", 512, "x", DiskMode::rw, true, {}, {}});
  CHECK(refused(write_instance(record)).message().find("more than 702 disks") != std::string::npos);
}

TEST_CASE("every value is bounded, every error placed") {
  CHECK(refused(with("size: 5368709120", "size: 0")).message().find("i.yaml:12:11: disks[0].size: ") == 0);
  CHECK(refused(with("size: 5368709120", "size: 513")).message().find("i.yaml:12:11: ") == 0);
  CHECK(refused(with("size: 5368709120", "size: 9223372036854775808")).message().find("disks[0].size") !=
        std::string::npos);
  CHECK(parse_instance(with("size: 5368709120", "size: 9223372036854775296"), "i").ok());
  CHECK(refused(with("size: 5368709120", "size: 5G")).message().find("expected a whole number") !=
        std::string::npos);
  CHECK(refused(with("file: sda", "file: ../sda")).message().find("disks[0].file") != std::string::npos);
  CHECK(refused(with("file: sda", "file: .hidden")).message().find("disks[0].file") != std::string::npos);
  CHECK(refused(with("file: sda", "file: ..")).message().find("disks[0].file") != std::string::npos);
  CHECK(refused(with("vdev: sda", "vdev: \"sda,w\"")).message().find("disks[0].vdev") != std::string::npos);
  CHECK(refused(with("mode: rw", "mode: rx")).message().find("disks[0].mode") != std::string::npos);
  CHECK(refused(with("created: true", "created: 1")).message().find("disks[0].created") != std::string::npos);
  CHECK(refused(with("driver: FD_LOOP", "driver: loop")).message().find("disks[0].driver") !=
        std::string::npos);
  CHECK(refused(with("    mode: rw\n", "")).message().find("'mode' is missing") != std::string::npos);
  CHECK(refused(with("uuid: \"0", "uuid: \"X")).message().find("uuid") != std::string::npos);
  CHECK(refused(with("directory: /xen", "directory: xen")).message().find("i.yaml:5:12: directory: ") == 0);
  CHECK(refused(with("name: instance2", "name: ../x")).message().find("i.yaml:4:7: name: ") == 0);
  CHECK(refused(with("node: node", "nod: node")).message().find("the nearest is 'node'") !=
        std::string::npos);
  CHECK(refused(with("schema: 1", "schema: 0")).message().find("i.yaml:2:9: schema: ") == 0);
  CHECK(refused(with("schema: 1\n", "")).message().find("'schema' is missing") != std::string::npos);
  CHECK(refused("").message().find("'schema' is missing") != std::string::npos);
  CHECK(refused("[]").exit() == Exit::usage);
  CHECK(refused(with("disks:\n", "operation: {verb: add, started: x, files: [a/b]}\ndisks:\n"))
            .message()
            .find("operation.files") != std::string::npos);
}

TEST_CASE("two disks in one file") {
  InstanceRecord record = sample();
  record.disks.push_back(record.disks[0]);
  CHECK(refused(write_instance(record)).message().find("a second disk in the file sda") != std::string::npos);
  record.disks[1].file = "sdb";
  CHECK(refused(write_instance(record)).message().find("a second disk with vdev sda") != std::string::npos);
}

TEST_CASE("a newer schema still tells who it is") {
  const std::string text = with("schema: 1", "schema: 2\nsomething_new: {a: b}");
  const Error error = refused(text);
  CHECK(error.is(kNewerSchema));
  CHECK(error.message().find("i.yaml:2:9: schema 2 is newer") == 0);
  const auto head = parse_instance_head(text, "i.yaml");
  REQUIRE(head.ok());
  CHECK(head->schema == 2);
  CHECK(head->name == "instance2");
  CHECK(head->directory == "/xen/instance2");
}

TEST_CASE("pointers") {
  const Pointer pointer{"i.x", kUuid, "/srv/a \"b\": c"};
  const auto parsed = parse_pointer(write_pointer(pointer), "p.yaml");
  REQUIRE(parsed.ok());
  CHECK(parsed->name == pointer.name);
  CHECK(parsed->uuid == pointer.uuid);
  CHECK(parsed->directory == pointer.directory);
  CHECK_FALSE(parse_pointer("name: a\n", "p.yaml").ok());
  CHECK_FALSE(parse_pointer(write_pointer(pointer) + "extra: 1\n", "p.yaml").ok());
}

TEST_CASE("logical_ids as arguments") {
  Settings settings;
  settings.default_filetype = "FT_RAW";
  const auto full = parse_logical_id(R"([FD_LOOP, FT_RAW, "/p/sda"])", settings);
  REQUIRE(full.ok());
  CHECK(full->str() == R"([FD_LOOP, FT_RAW, "/p/sda"])");
  CHECK(parse_logical_id("[loop,qcow,/p/a b]", settings)->str() == R"([FD_LOOP, FT_QCOW, "/p/a b"])");
  CHECK(parse_logical_id(R"(["loop", "/p/sda"])", settings)->filetype.str() == "FT_RAW");
  CHECK(parse_logical_id(full->str(), settings)->path == "/p/sda");
  const LogicalId odd{driver("loop"), filetype("raw"), "/p/a\"b\\c'd#"};
  CHECK(*parse_logical_id(odd.str(), settings) == odd);
}

TEST_CASE("logical_ids that are refused") {
  Settings settings;
  settings.default_filetype = "FT_RAW";
  for (const char *bad :
       {"", "/p/sda", "[]", "[loop]", "[loop, raw, /p, x]", "[loop, raw, [/p]]", "{a: b}", "[loop, raw, /p",
        "[FT_RAW, FD_LOOP, /p]", "[lo op, raw, /p]", "[loop, raw, ~]", "[&a loop, raw, /p]"}) {
    CAPTURE(std::string(bad));
    const auto parsed = parse_logical_id(bad, settings);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().exit() == Exit::usage);
  }
  for (const char *bad : {"[loop, raw, relative]", "[loop, raw, /a/../b]", "[loop, raw, \"/a\\nb\"]"}) {
    CAPTURE(std::string(bad));
    const auto parsed = parse_logical_id(bad, settings);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().is(kBadPath));
  }
}
