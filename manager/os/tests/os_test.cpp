// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "manager/os/definition.hpp"
#include "manager/os/environment.hpp"

using namespace vbd;
using namespace vbd::os;

TEST_CASE("names of guest OS definitions") {
  CHECK(parse_os_name("debootstrap+default")->name == "debootstrap");
  CHECK(parse_os_name("debootstrap+default")->variant == "default");
  CHECK(parse_os_name("debian-etch")->variant.empty());
  for (const char *bad : {"", "+x", "x+", "a/b", "../x", ".x", "-x", "a b", "a+b+c", "a\n", "\xc3\xa4"}) {
    CAPTURE(std::string(bad));
    const auto parsed = parse_os_name(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().is(kBadOsName));
  }
}

TEST_CASE("variants are mandatory where there are some") {
  Definition plain{"noop", "/x/noop", 10, {}, {}};
  CHECK(check_variant(plain, {"noop", ""}).ok());
  CHECK(check_variant(plain, {"noop", "v"}).error().is(kVariantNotFound));
  Definition with{"debootstrap", "/x/debootstrap", 20, {"default", "minimal"}, {}};
  CHECK(check_variant(with, {"debootstrap", "minimal"}).ok());
  const auto missing = check_variant(with, {"debootstrap", ""});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().is(kNoVariant));
  CHECK(missing.error().message() ==
        "guest OS definition debootstrap: needs a variant; its variants are default, minimal");
  const auto wrong = check_variant(with, {"debootstrap", "minmal"});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().is(kVariantNotFound));
  CHECK(wrong.error().hint() == "did you mean debootstrap+minimal?");
}

TEST_CASE("parameters are those of parameters.list, from version 20 on") {
  Definition with{"debootstrap", "/x/debootstrap", 20, {}, {{"filesystem", "its type"}}};
  CHECK(check_parameter_names(with, {{"filesystem", "ext4"}}).ok());
  const auto wrong = check_parameter_names(with, {{"filesytem", "ext4"}});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().is(kOsParameter));
  CHECK(wrong.error().hint() == "it takes filesystem");
  Definition old{"noop", "/x/noop", 10, {}, {}};
  CHECK(check_parameter_names(old, {}).ok());
  CHECK(check_parameter_names(old, {{"a", "b"}}).error().is(kOsParameter));
}

TEST_CASE("the environment is ganeti-os-interface(7)'s") {
  InstanceRecord record;
  record.uuid = "0b2d9a3e-1111-4222-8333-444455556666";
  record.name = "web1";
  record.os = "debootstrap+default";
  record.node = "node1";
  record.secondary = "node2";
  record.created = "2026-01-31T12:00:00Z";
  record.os_parameters = {{"file-system", "ext4 x"}};
  record.disks.push_back({*Constant::parse("FD_LOOP", PluginKind::driver),
                          *Constant::parse("FT_RAW", PluginKind::filetype),
                          "sda",
                          (5u << 20) + 512,
                          "sda",
                          DiskMode::rw,
                          true,
                          {},
                          {}});
  record.disks.push_back({*Constant::parse("FD_BLKTAP", PluginKind::driver),
                          *Constant::parse("FT_QCOW", PluginKind::filetype),
                          "sdb",
                          1u << 20,
                          "sdb",
                          DiskMode::ro,
                          true,
                          {},
                          {}});
  record.nics.resize(2);
  record.nics[0].mac = "aa:00:00:00:00:02";
  record.nics[0].mode = "bridged";
  record.nics[0].link = "br0";
  record.nics[0].ip = "192.0.2.10";
  record.nics[1].mac = "aa:00:00:00:00:04";
  record.nics[1].mode = "routed";
  record.nics[1].link = "100";
  const Definition definition{"debootstrap", "/x/debootstrap", 20, {"default"}, {}};
  const Guest guest{
      record, "xen-pvm", {{"memory", "128"}}, {{"kernel_path", "/k"}}, {"/dev/loop0", "/dev/loop1"}};
  // `date -ud 2026-01-31T12:00:00Z +%s` says 1769860800.
  const std::vector<std::string> expected{"DEBUG_LEVEL=0",
                                          "DISK_0_ACCESS=rw",
                                          "DISK_0_BACKEND_TYPE=file:loop",
                                          "DISK_0_PATH=/dev/loop0",
                                          "DISK_0_SIZE=6",
                                          "DISK_0_UUID=" + disk_uuid(record, record.disks[0]),
                                          "DISK_1_ACCESS=ro",
                                          "DISK_1_BACKEND_TYPE=file:blktap",
                                          "DISK_1_PATH=/dev/loop1",
                                          "DISK_1_SIZE=1",
                                          "DISK_1_UUID=" + disk_uuid(record, record.disks[1]),
                                          "DISK_COUNT=2",
                                          "HYPERVISOR=xen-pvm",
                                          "INSTANCE_BE_memory=128",
                                          "INSTANCE_CTIME=1769860800",
                                          "INSTANCE_HV_kernel_path=/k",
                                          "INSTANCE_MTIME=1769860800",
                                          "INSTANCE_NAME=web1",
                                          "INSTANCE_OS=debootstrap+default",
                                          "INSTANCE_PRIMARY_NODE=node1",
                                          "INSTANCE_REINSTALL=1",
                                          "INSTANCE_SECONDARY_NODES=node2",
                                          "INSTANCE_UUID=0b2d9a3e-1111-4222-8333-444455556666",
                                          "NIC_0_BRIDGE=br0",
                                          "NIC_0_IP=192.0.2.10",
                                          "NIC_0_LINK=br0",
                                          "NIC_0_MAC=aa:00:00:00:00:02",
                                          "NIC_0_MODE=bridged",
                                          "NIC_0_UUID=" + nic_uuid(record, record.nics[0]),
                                          "NIC_1_LINK=100",
                                          "NIC_1_MAC=aa:00:00:00:00:04",
                                          "NIC_1_MODE=routed",
                                          "NIC_1_UUID=" + nic_uuid(record, record.nics[1]),
                                          "NIC_COUNT=2",
                                          "OSP_FILE_SYSTEM=ext4 x",
                                          "OS_API_VERSION=20",
                                          "OS_NAME=debootstrap",
                                          "OS_VARIANT=default",
                                          "PATH=/sbin:/bin:/usr/sbin:/usr/bin"};
  CHECK(instance_environment(definition, "default", guest, {{"INSTANCE_REINSTALL", "1"}}) == expected);
  CHECK(core_environment(definition, "default", {}) ==
        std::vector<std::string>{"DEBUG_LEVEL=0", "OS_API_VERSION=20", "OS_NAME=debootstrap",
                                 "OS_VARIANT=default", "PATH=/sbin:/bin:/usr/sbin:/usr/bin"});
  const std::string uuid = disk_uuid(record, record.disks[0]);
  CHECK(uuid.size() == 36);
  CHECK(uuid.substr(0, 15) == "0b2d9a3e-1111-8");
  CHECK(uuid != disk_uuid(record, record.disks[1]));
}
