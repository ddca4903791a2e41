// SPDX-License-Identifier: MIT
#include "manager/hypervisor/profile.hpp"
#include "manager/hypervisor/guest.hpp"
#include "manager/hypervisor/outside.hpp"

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

TEST_CASE("an export's parameters bring no word into a privileged argument") {
  const Parameters foreign = {{"bootloader_path", "/tmp/evil"}, {"kernel_path", "/etc/shadow"},
                              {"firmware", "/tmp/fw"},          {"memory", "512"},
                              {"vcpus", "2,maxcpus=9"},         {"on_crash", "coredump-destroy"},
                              {"kernel_args", "ro, quiet"},     {"acpi", "True"}};
  Brought brought;
  const Profile xen = shipped("xen");
  const Parameters taken = Outside{xen, false, brought}.take("-H", foreign, {{"firmware", "/mine"}});
  CHECK(taken == Parameters{{"firmware", "/mine"}, {"kernel_args", "ro, quiet"}, {"memory", "512"}});
  std::map<std::string, std::string> reasons;
  for (const auto &one : brought.left_out) reasons[one.name] = one.reason;
  CHECK(reasons == Parameters{{"acpi", "unknown"},
                              {"bootloader_path", "host"},
                              {"kernel_path", "host"},
                              {"on_crash", "host"},
                              {"vcpus", "host"}});
  const auto lines = describe(brought);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "parameters taken: -H 'kernel_args=ro\\, quiet,memory=512'");
  CHECK(lines[1].find("-H 'bootloader_path=/tmp/evil,kernel_path=/etc/shadow,") != std::string::npos);

  Brought all;
  CHECK(Outside{xen, true, all}.take("-H", foreign, {}).size() == foreign.size() - 1);
  Brought qemus;
  const Profile qemu = shipped("qemu");
  const Parameters serial = Outside{qemu, false, qemus}.take("-H",
                                                             {{"serial", "file:/root/x"},
                                                              {"vnc", ":0"},
                                                              {"machine", "q35,dumpdtb=/root/x"},
                                                              {"cpu", "host"},
                                                              {"memory", "128,slots=9"},
                                                              {"vga", "std"},
                                                              {"accel", "tcg"}},
                                                             {});
  CHECK(serial == Parameters{{"accel", "tcg"}, {"vga", "std"}});
}

TEST_CASE("a foreign network card gets no bridge of this host, and no script") {
  Brought brought;
  const Profile xen = shipped("xen");
  const NicRecord card{"aa:00:00:00:00:01", "192.0.2.1", "routed", "br-secret", "", "lan", ".7"};
  const auto nics = Outside{xen, false, brought}.take({card});
  REQUIRE(nics.size() == 1);
  CHECK(nics[0] == NicRecord{"aa:00:00:00:00:01", "192.0.2.1", "bridged", "", "", "lan", ""});
  CHECK(describe(brought)[1].find("--net 0:mode=routed,link=br-secret,vlan=.7") != std::string::npos);
  CHECK(Outside{xen, true, brought}.take({card})[0] == card);
}

TEST_CASE("what a profile does not classify names something of the host") {
  const Folder folder;
  const std::string head = "dialect: d\nquote: xl\nconfig: |\n  n={name} {size} {path}\n";
  folder.write("none.yaml", head);
  folder.write("one.yaml", head + "portable: {size: number}\n");
  Brought brought;
  CHECK(
      Outside{*load_profile("none", {folder.path}), false, brought}.take("-H", {{"size", "1"}}, {}).empty());
  CHECK(Outside{*load_profile("one", {folder.path}), false, brought}.take(
            "-H", {{"size", "1"}, {"path", "/p"}}, {}) == Parameters{{"size", "1"}});
  for (const char *bad : {"portable: {sise: number}\n", "portable: {size: any}\n",
                          "portable: {size: 'a||b'}\n", "portable_nics: [bridge]\n"}) {
    folder.write("bad.yaml", head + bad);
    CHECK(load_profile("bad", {folder.path}).error().is(kBadProfile));
  }
}

TEST_CASE("a guest OS's parameter with a slash may name a file of the host") {
  Brought brought;
  const Profile xen = shipped("xen");
  const auto taken = Outside{xen, false, brought}.take_os(
      {{"image", "file:///etc/shadow"}, {"release", "bookworm"}, {"size", "2"}}, {{"size", "3"}});
  CHECK(taken == Parameters{{"release", "bookworm"}, {"size", "3"}});
}

TEST_CASE("what Ganeti calls the configured hypervisor") {
  CHECK(outside_name("xen", {}) == "xen-pvm");
  CHECK(outside_name("xen", {{"type", "hvm"}}) == "xen-hvm");
  CHECK(outside_name("/etc/vbdkit/hypervisors/qemu.yaml", {}) == "kvm");
  CHECK(outside_name("bhyve", {}) == "bhyve");
}

TEST_CASE("the words for a guest's state, and no others") {
  for (const auto &[word, state] : GuestStatus::kWords) CHECK(GuestStatus::of_word(word) == state);
  CHECK_FALSE(GuestStatus::of_word("absent"));
  CHECK_FALSE(GuestStatus::of_word(""));
}
