// SPDX-License-Identifier: MIT
// Disk strings of FD_BLKTAP. The xl strings were read back by libxlutil 4.17 ("oracle") to the same path,
// vdev, format, mode and back end.
#include <doctest/doctest.h>

#include "sdk/testkit/host.hpp"
#include "sdk/testkit/plugin.hpp"

namespace {

using namespace vbdkit::testkit;

struct Rendered {
  std::int32_t status;
  std::string disk, error;
  std::size_t warnings;
};

Rendered render(const char *dialect, const char *tap, const char *path, const char *vdev,
                bool read_only = false, const char *node = nullptr) {
  ScriptedHost host;
  std::string problem;
  const auto plugin = Plugin::linked(vbd_plugin_v1(), problem, {}, host.host());
  REQUIRE_MESSAGE(plugin != nullptr, problem);
  Request request;
  request->image = path;
  request->dialect = dialect;
  request->vdev = vdev;
  request->node = node;
  request->format = "FT_TEST";
  request->must = read_only ? std::uint32_t{VBD_MUST_READONLY} : 0u;
  request.properties({{"tap", tap}});
  Results results;
  ErrorBox error;
  const std::int32_t status =
      plugin->driver().render(plugin->self(), request.get(), results.sink(), error.get());
  return {status, results.text("disk"), error.text(), host.log().size()};
}

}  // namespace

TEST_CASE("xm: the tap: strings") {
  CHECK(render("xm", "aio", "/srv/i/sda", "sda1").disk == "tap:aio:/srv/i/sda,sda1,w");
  CHECK(render("xm", "qcow", "/srv/i/sda", "sda1").disk == "tap:qcow:/srv/i/sda,sda1,w");
  CHECK(render("xm", "qcow2", "/srv/i/sda", "xvda", true).disk == "tap:qcow2:/srv/i/sda,xvda,r");
}

TEST_CASE("xl: qdisk by name, the target last (oracle)") {
  CHECK(render("xl", "aio", "/p", "xvda").disk ==
        "format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=/p");
  CHECK(render("xl", "qcow2", "/p", "xvda").disk ==
        "format=qcow2,vdev=xvda,access=rw,backendtype=qdisk,target=/p");
  CHECK(render("xl", "qcow2", "/p", "sda1", true).disk ==
        "format=qcow2,vdev=sda1,access=ro,backendtype=qdisk,target=/p");
  CHECK(render("xl", "vhd", "/p", "xvda").disk ==
        "format=vhd,vdev=xvda,access=rw,backendtype=qdisk,target=/p");
  CHECK(render("xl", "qcow2", "/p,script=/x", "xvda").disk ==
        "format=qcow2,vdev=xvda,access=rw,backendtype=qdisk,target=/p,script=/x");
  CHECK(render("xl", "qcow2", "/a\\b\xc3\xa9", "xvda").disk ==
        "format=qcow2,vdev=xvda,access=rw,backendtype=qdisk,target=/a\\b\xc3\xa9");
}

TEST_CASE("xl: version 1 qcow is written as Xen takes it, with a warning") {
  const Rendered rendered = render("xl", "qcow", "/p", "xvda");
  CHECK(rendered.disk == "format=qcow,vdev=xvda,access=rw,backendtype=qdisk,target=/p");
  CHECK(rendered.warnings == 1);
}

TEST_CASE("xl: an attached image is open already, so the guest gets the node (oracle)") {
  CHECK(render("xl", "qcow2", "/p q", "xvda", false, "/dev/loop3").disk ==
        "format=raw,vdev=xvda,access=rw,backendtype=phy,target=/dev/loop3");
}

TEST_CASE("paths that a string can't carry are refused, by who reads it") {
  for (const char *tap : {"aio", "qcow", "qcow2"}) {
    for (const char *path : {"/a\nscript=/x", "/a\tb", "/a b", "/a,", "relative", "/a\x1b"}) {
      CHECK_MESSAGE(render("xl", tap, path, "xvda").status == VBD_E_REFUSED, tap << path);
    }
    for (const char *path : {"/p,script=/x,xvda,w", "/a=b", "/a\nb"}) {
      CHECK_MESSAGE(render("xm", tap, path, "xvda").status == VBD_E_REFUSED, tap << path);
    }
  }
  // tap:aio: becomes the block script's loop device, the others QEMU's (Xen 4.17).
  CHECK(render("xm", "aio", "/a b", "xvda").disk == "tap:aio:/a b,xvda,w");
  CHECK(render("xm", "aio", "/a\\b", "xvda").status == VBD_E_REFUSED);
  CHECK(render("xm", "aio", "/a\xc3\xa9", "xvda").status == VBD_E_REFUSED);
  CHECK(render("xm", "qcow2", "/a b", "xvda").status == VBD_E_REFUSED);
  CHECK(render("xm", "qcow2", "/a\\b", "xvda").disk == "tap:qcow2:/a\\b,xvda,w");
}

TEST_CASE("QEMU opens the file itself, with explicit drivers") {
  CHECK(render("qemu", "qcow2", "/p/a b", "sda").disk ==
        "driver=qcow2,file.driver=file,file.locking=on,file.filename=/p/a b");
  CHECK(render("qemu", "aio", "/p/sda", "sda").disk ==
        "driver=raw,file.driver=file,file.locking=on,file.filename=/p/sda");
  CHECK(render("qemu", "qcow2", "/p,backing=/etc/shadow", "sda").status == VBD_E_REFUSED);
  CHECK(render("qemu", "toy", "/p", "sda").status == VBD_E_NOTSUP);
}

TEST_CASE("disk names, dialects and formats that nobody knows") {
  for (const char *vdev : {"", "vda", "sdq", "sda16", "xvda01", "/dev/xvda1", "xvda,w"}) {
    CHECK_MESSAGE(render("xl", "aio", "/p", vdev).status == VBD_E_INVAL, vdev);
    CHECK_MESSAGE(render("xm", "aio", "/p", vdev).status == VBD_E_INVAL, vdev);
  }
  CHECK(render("vmx", "aio", "/p", "xvda").status == VBD_E_NOTSUP);
  CHECK(render("xl", "toy", "/p", "xvda").status == VBD_E_NOTSUP);
  CHECK(render("xm", "toy", "/p", "xvda").disk == "tap:toy:/p,xvda,w");
  CHECK(render("xm", "a,script=/x", "/p", "xvda").status == VBD_E_NOTSUP);
}
