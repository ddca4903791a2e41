// SPDX-License-Identifier: MIT
// Disk strings of FD_LOOP. The xl strings marked "oracle" were read back by libxlutil 4.17 to the same path,
// vdev, mode and back end.
#include <doctest/doctest.h>

#include "sdk/testkit/plugin.hpp"

namespace {

using vbdkit::testkit::ErrorBox;
using vbdkit::testkit::Plugin;
using vbdkit::testkit::Request;
using vbdkit::testkit::Results;

struct Rendered {
  std::int32_t status;
  std::string disk, error;
};

Rendered render(const char *dialect, const char *path, const char *vdev, bool read_only = false,
                const char *node = nullptr) {
  std::string problem;
  const auto plugin = Plugin::linked(vbd_plugin_v1(), problem);
  REQUIRE_MESSAGE(plugin != nullptr, problem);
  Request request;
  request->image = path;
  request->dialect = dialect;
  request->vdev = vdev;
  request->node = node;
  request->format = "FT_RAW";
  request->must = read_only ? std::uint32_t{VBD_MUST_READONLY} : 0u;
  request.properties({{"flat", "1"}});
  Results results;
  ErrorBox error;
  const std::int32_t status =
      plugin->driver().render(plugin->self(), request.get(), results.sink(), error.get());
  return {status, results.text("disk"), error.text()};
}

}  // namespace

TEST_CASE("xm: the file: string") {
  CHECK(render("xm", "/srv/i/sda", "sda1").disk == "file:/srv/i/sda,sda1,w");
  CHECK(render("xm", "/srv/i/sda", "xvda", true).disk == "file:/srv/i/sda,xvda,r");
  CHECK(render("xm", "/a b:c'\"$x", "hda").disk == "file:/a b:c'\"$x,hda,w");
}

TEST_CASE("xl: phy, the target last (oracle)") {
  CHECK(render("xl", "/p", "xvda").disk == "format=raw,vdev=xvda,access=rw,backendtype=phy,target=/p");
  CHECK(render("xl", "/p", "xvda", true).disk == "format=raw,vdev=xvda,access=ro,backendtype=phy,target=/p");
  CHECK(render("xl", "/p q", "xvdb1").disk == "format=raw,vdev=xvdb1,access=rw,backendtype=phy,target=/p q");
  CHECK(render("xl", "/p,script=/x", "sda1").disk ==
        "format=raw,vdev=sda1,access=rw,backendtype=phy,target=/p,script=/x");
}

TEST_CASE("xl: the node of an attached disk is the target, whatever the path is") {
  CHECK(render("xl", "/p\\q", "xvda", false, "/dev/loop3").disk ==
        "format=raw,vdev=xvda,access=rw,backendtype=phy,target=/dev/loop3");
}

TEST_CASE("paths that a string can't carry are refused") {
  for (const char *path : {"/a\nscript=/x", "/a\tb", "/a\x7f", "/a\\b", "/a\xc3\xa9", "/a,"}) {
    CHECK(render("xl", path, "xvda").status == VBD_E_REFUSED);
    CHECK(render("xm", path, "xvda").status == VBD_E_REFUSED);
  }
  for (const char *path : {"/p,script=/x,xvda,w", "/a=b"})
    CHECK(render("xm", path, "xvda").status == VBD_E_REFUSED);
  CHECK(render("xl", "relative", "xvda").status == VBD_E_REFUSED);
  CHECK(render("xm", "/a,b", "xvda").error.find("a comma would begin another parameter") !=
        std::string::npos);
}

TEST_CASE("names of disks: those that libxl takes, and no other") {
  for (const char *vdev : {"xvda", "xvda1", "xvdq", "xvdaa", "xvda16", "xvda255", "d0p1", "sda", "sdp15",
                           "hdd63", "51712", "0"}) {
    CHECK_MESSAGE(render("xl", "/p", vdev).status == VBD_OK, vdev);
  }
  for (const char *vdev : {"",        "/dev/xvda1", "vda",     "sdq", "sdaa", "sda16",    "xvda01",
                           "xvda256", "xvda0",      "nvme0n1", "xvd", "hde",  "hda64",    "sda1,w",
                           "xvda\n",  "2147483648", "-1",      "d0",  "Xvda", "xvdzzzzzz"}) {
    CHECK_MESSAGE(render("xl", "/p", vdev).status == VBD_E_INVAL, vdev);
    CHECK_MESSAGE(render("xm", "/p", vdev).status == VBD_E_INVAL, vdev);
  }
}

TEST_CASE("an unknown dialect is not supported") {
  const Rendered rendered = render("qemu", "/p", "xvda");
  CHECK(rendered.status == VBD_E_NOTSUP);
  CHECK(rendered.error.find("qemu") != std::string::npos);
}
