// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "core/base/size.hpp"
#include "core/model/logical_id.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/lifecycle.hpp"

using namespace vbd;
using namespace vbd::instance;

namespace {

Error template_error(const std::string &text) {
  AddSpec spec;
  auto parsed = parse_template(text, spec);
  REQUIRE_MESSAGE(!parsed.ok(), text);
  CHECK(parsed.error().message().find('\n') == std::string::npos);
  return parsed.error();
}

}  // namespace

TEST_CASE("the words of -t") {
  AddSpec spec;
  REQUIRE(parse_template("file:path=/xen/instance2,driver=loop,reuse", spec).ok());
  CHECK(spec.path == "/xen/instance2");
  CHECK(spec.driver == "loop");
  CHECK(spec.reuse);
  AddSpec options;
  REQUIRE(parse_template("file:filetype=qcow,cluster_size=64k,driver.direct_io=no", options).ok());
  CHECK(options.filetype == "qcow");
  CHECK(options.options.at("cluster_size") == "64k");
  CHECK(options.options.at("driver.direct_io") == "no");
  AddSpec bare;
  CHECK(parse_template("file:", bare).ok());
  CHECK(parse_template("file", bare).ok());
}

TEST_CASE("what -t refuses") {
  for (const char *text : {"plain:", "", ":path=/p", "file:reuse=yes", "file:path", "file:path=", "file:,",
                           "file:path=/a,,reuse", "file:path=/a,path=/b", "file:=x", "file:resue",
                           "file:path=/p,resue", "file:x\ny"}) {
    CHECK_MESSAGE(template_error(text).is(kGrammar), text);
  }
  CHECK(template_error("file:path=/a,b/c").is(kBadPath));
  CHECK(template_error("file:path=/p,resue").hint().find("reuse") != std::string::npos);
}

TEST_CASE("the words of --disk") {
  auto disk = parse_disk("0:size=5G,mode=ro,filetype=qcow,version=2");
  REQUIRE(disk.ok());
  CHECK(disk->index == 0);
  CHECK(disk->size == std::uint64_t{5} << 30);
  CHECK(disk->mode == "ro");
  CHECK(disk->filetype == "qcow");
  CHECK(disk->options.at("version") == "2");
  CHECK(parse_disk("1:size=10")->size == std::uint64_t{10} << 20);
  CHECK(!parse_disk("3")->size.has_value());
}

TEST_CASE("what --disk refuses") {
  for (const char *text : {"", ":size=1G", "a:size=1G", "-1:size=1G", "0:size", "0:mode=rx",
                           "0:size=1G,size=2G", "702:size=1G", "0 :size=1G", "99999999999999999999:size=1"}) {
    auto disk = parse_disk(text);
    REQUIRE_MESSAGE(!disk.ok(), text);
    CHECK_MESSAGE(disk.error().is(kGrammar), text);
  }
  for (const char *text : {"0:size=0", "0:size=16E", "0:size=-1", "0:size=8388608t", "0:size=1 G"}) {
    auto disk = parse_disk(text);
    REQUIRE_MESSAGE(!disk.ok(), text);
    CHECK_MESSAGE(disk.error().is(kBadSize), text);
  }
}

TEST_CASE("the words of --net") {
  auto nic = parse_net("1:mac=AA:00:00:12:34:56,mode=openvswitch,link=ovs0,vlan=.7,ip=none,network=lan");
  REQUIRE(nic.ok());
  CHECK(nic->index == 1);
  CHECK(nic->nic == NicRecord{"aa:00:00:12:34:56", "", "openvswitch", "ovs0", "lan", "", ".7"});
  CHECK(parse_net("0:mac=generate")->nic == NicRecord{"", "", "bridged", "", "", "", ""});
  CHECK(parse_net("0")->nic.mode == "bridged");
  for (const char *text :
       {"", "x", "8", "-1", "0:mac=1", "0:mac=01:00:00:00:00:00", "0:mode=bridge", "0:ip=1.2.3", "0:link=a b",
        "0:link=a,b", "0:link=a,link=b", "0:lnk=a", "0:link", "0:mode=none", "0:,"}) {
    CHECK_MESSAGE(!parse_net(text).ok(), text);
  }
  CHECK(parse_net("0:lnk=a").error().hint() == "did you mean 'link'?");
}

TEST_CASE("a note of a guest whose pid is a group of processes is refused") {
  const GuestRecord guest{"u", "web1", "qemu", "2026-01-31T12:00:00Z", true, {}};
  std::string text = format_guest(guest, "boot");
  const auto read = parse_guest(text, "u", "boot", "guest.json");
  REQUIRE(read.ok());
  REQUIRE(read->has_value());
  CHECK((*read)->name == "web1");
  CHECK_FALSE(parse_guest(text, "u", "another boot", "guest.json")->has_value());
  const std::string pid = "\"pid\": 0";
  const auto at = text.find(pid);
  REQUIRE(at != std::string::npos);
  for (const char *bad : {"\"pid\": -1", "\"pid\": -4711", "\"pid\": 4294967296"}) {
    std::string changed = text;
    CHECK_FALSE(parse_guest(changed.replace(at, pid.size(), bad), "u", "boot", "guest.json").ok());
  }
}
