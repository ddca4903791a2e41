// SPDX-License-Identifier: MIT
#include "manager/hypervisor/profile.hpp"
#include "manager/hypervisor/guest.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace vbd;
using namespace vbd::hypervisor;

namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/vbdkit-test-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string &name, const std::string &text) const {
    std::ofstream(path + "/" + name) << text;
  }
};

Profile shipped(const std::string &name) {
  auto profile = load_profile(name, {VBD_PROFILE_DIR});
  if (!profile) FAIL(profile.error().message());
  return *profile;
}

}  // namespace

TEST_CASE("the shipped xen profile writes a config that xl reads") {
  const Profile xen = shipped("xen");
  auto text = render_config(xen, "web1", {{"memory", "512"}, {"kernel_args", "root='x' \\"}},
                            {{"format=raw,vdev=xvda,access=rw,target=/p/sda"}, {"second"}});
  REQUIRE(text.ok());
  CHECK(*text ==
        "name = 'web1'\ntype = 'pv'\nmemory = 512\nvcpus = 1\nextra = 'root=\\'x\\' \\\\'\n"
        "disk = [ 'format=raw,vdev=xvda,access=rw,target=/p/sda',\n         'second' ]\n");
  CHECK(guest_vdev(xen, "sda1") == "sda1");
  Profile xvd = xen;
  xvd.vdev_prefix = "xvd";
  CHECK(guest_vdev(xvd, "sda1") == "xvda1");
  CHECK(*node_disk(xvd, "/dev/loop3", "sdb", true) ==
        "format=raw,vdev=xvdb,access=ro,backendtype=phy,target=/dev/loop3");
}

TEST_CASE("the shipped qemu profile writes shell words") {
  const Profile qemu = shipped("qemu");
  auto text =
      render_config(qemu, "web1", {{"kernel_args", "it's"}}, {{"file=/dev/loop1,format=raw", "sda", true}});
  REQUIRE(text.ok());
  CHECK(
      *text ==
      "-name web1\n-machine q35,accel=kvm:tcg\n-m 128\n-smp 1\n-append 'it'\\''s'\n-vga std\n-display none\n"
      "-nic none\n-drive file=/dev/loop1,format=raw,if=virtio,id=sda,readonly=on,cache=none,werror=stop\n");
  auto words = split_arguments(*text);
  REQUIRE(words.ok());
  REQUIRE(words->size() > 10);
  CHECK((*words)[9] == "it's");
  CHECK(!split_arguments("-append 'open").ok());
  CHECK(render_config(qemu, "web1", {}, {})->find("-drive") == std::string::npos);
}

TEST_CASE("network cards, as xl-network-configuration(5) and qemu's -nic have them") {
  const NicRecord bridged{"aa:00:00:00:00:01", "192.0.2.1", "bridged", "br0", "", "", ""};
  const NicRecord plain{"aa:00:00:00:00:02", "", "bridged", "", "", "", ""};
  const NicRecord tagged{"aa:00:00:00:00:03", "", "openvswitch", "ovs0", "", "", ".7"};
  const NicRecord user{"aa:00:00:00:00:04", "", "user", "", "", "", ""};
  auto text = render_config(shipped("xen"), "a", {}, {}, {bridged, plain, tagged});
  REQUIRE(text.ok());
  CHECK(text->find(
            "vif = [ 'mac=aa:00:00:00:00:01,bridge=br0,ip=192.0.2.1',\n        'mac=aa:00:00:00:00:02',\n"
            "        'mac=aa:00:00:00:00:03,bridge=ovs0.7,script=vif-openvswitch' ]\n") != std::string::npos);
  CHECK(render_config(shipped("xen"), "a", {}, {})->find("vif") == std::string::npos);
  text = render_config(shipped("qemu"), "a", {}, {}, {bridged, plain, user});
  REQUIRE(text.ok());
  CHECK(text->find("-nic bridge,br=br0,model=virtio-net-pci,mac=aa:00:00:00:00:01\n"
                   "-nic bridge,model=virtio-net-pci,mac=aa:00:00:00:00:02\n"
                   "-nic user,model=virtio-net-pci,mac=aa:00:00:00:00:04\n") != std::string::npos);
  auto refused = render_config(shipped("xen"), "a", {}, {}, {user});
  REQUIRE(!refused.ok());
  CHECK(refused.error().is(kBadParameter));
  CHECK(refused.error().hint() == "it has bridged, openvswitch, routed");
}

TEST_CASE("what can't be quoted is refused") {
  const Profile xen = shipped("xen");
  auto text = render_config(xen, "web1", {{"kernel_args", "a\nextra = 'b'"}}, {});
  REQUIRE(!text.ok());
  CHECK(text.error().is(kCannotQuote));
  CHECK(text.error().message().find('\n') == std::string::npos);
  CHECK(!render_config(xen, "web1", {}, {{"target=/p\nscript=/e"}}).ok());
}

TEST_CASE("parameters are checked by name") {
  const Profile xen = shipped("xen");
  CHECK(check_parameters(xen, {{"memory", "1"}, {"kernel_path", "/k"}}, "-B").ok());
  auto bad = check_parameters(xen, {{"memry", "1"}}, "-B");
  REQUIRE(!bad.ok());
  CHECK(bad.error().is(kBadParameter));
  CHECK(bad.error().hint().find("memory") != std::string::npos);
  CHECK(!parameter_names(xen).contains("disks"));
}

TEST_CASE("an operator's profile, and its mistakes") {
  const Folder folder;
  folder.write("mine.yaml", "dialect: d\nquote: xl\nconfig: |\n  n={name} {not a key} {}\n");
  auto mine = load_profile("mine", {folder.path, VBD_PROFILE_DIR});
  REQUIRE(mine.ok());
  CHECK(*render_config(*mine, "a", {}, {}) == "n='a' {not a key} {}\n");

  folder.write("key.yaml", "dialect: d\nquote: xl\nconfg: x\n");
  CHECK(!load_profile("key", {folder.path}).ok());
  folder.write("quote.yaml", "dialect: d\nquote: sh\nconfig: x\n");
  CHECK(load_profile("quote", {folder.path}).error().is(kBadProfile));
  auto missing = load_profile("xenn", {folder.path, VBD_PROFILE_DIR});
  REQUIRE(!missing.ok());
  CHECK(missing.error().is(kNoProfile));
  CHECK(missing.error().hint().find("xen") != std::string::npos);
  CHECK(load_profile("../xen", {folder.path}).error().is(kNoProfile));
}
