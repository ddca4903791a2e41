// SPDX-License-Identifier: MIT
// Disk strings of FD_BLKTAP. Today's Xen ignores the prefixes tap: and aio: (xl-disk-configuration(5)): a raw
// tap:aio: becomes the block script's loop device, everything else goes to QEMU. So that the image is really
// served from user space, dialect xl names the back end. Dialect qemu is the first words of a -drive.
#include "driver.hpp"

namespace blktap {
namespace {

using vbdkit::xen::check_disk, vbdkit::xen::Form;
using Xen = vbdkit::xen::Backend;

std::int32_t unsupported(const Call &call) {
  return vbdkit::fail(call.err, VBD_E_NOTSUP, "blktap.format", 0,
                      "%s has no name for this image's format in dialect %s", call.request->format,
                      call.request->dialect);
}

std::int32_t xm(const Call &call, std::string &disk) {
  const std::string tap = call.tap();
  if (tap.empty()) return unsupported(call);
  const Xen backend = tap == "aio" ? Xen::phy : Xen::qdisk;
  const std::int32_t bad = check_disk(call.request, call.request->image, Form::positional, backend, call.err);
  if (bad != VBD_OK) return bad;
  disk =
      "tap:" + tap + ":" + call.request->image + "," + call.request->vdev + (call.read_only() ? ",r" : ",w");
  return VBD_OK;
}

/// The words of format= in Xen 4.17 but "empty"; "aio" is raw.
const char *format_of(const std::string &tap) {
  for (const char *format : {"qcow", "qcow2", "vhd", "qed"}) {
    if (tap == format) return format;
  }
  return tap == "aio" ? "raw" : nullptr;
}

std::int32_t xl(const Call &call, std::string &disk) {
  // An attached image is open already, and QEMU's Xen disk takes no lock: the guest gets the node.
  const char *node = call.request->node;
  const char *format = node != nullptr ? "raw" : format_of(call.tap());
  if (format == nullptr) return unsupported(call);
  const char *path = node != nullptr ? node : call.request->image;
  const std::int32_t bad =
      check_disk(call.request, path, Form::target, node != nullptr ? Xen::phy : Xen::qdisk, call.err);
  if (bad != VBD_OK) return bad;
  if (std::string_view(format) == "qcow") {
    call.warn(std::string(call.request->image) +
              ": Debian's Xen QEMU has no driver for version 1 qcow images; copy it to version 3 if the "
              "guest's disk never comes");
  }
  disk = std::string("format=") + format + ",vdev=" + call.request->vdev +
         (call.read_only() ? ",access=ro" : ",access=rw") +
         (node != nullptr ? ",backendtype=phy,target=" : ",backendtype=qdisk,target=") + path;
  return VBD_OK;
}

/// QEMU opens the file itself, with explicit drivers, so that no part of the path can mean a protocol; a
/// comma is written twice in such a string, which is refused rather than tried.
std::int32_t qemu(const Call &call, std::string &disk) {
  if (call.request->node != nullptr) {
    disk = std::string("file=") + call.request->node + ",format=raw";
    return VBD_OK;
  }
  const std::string tap = call.tap(), path = call.request->image;
  const std::string format = tap == "aio" ? "raw" : tap;
  if (format != "raw" && format != "qcow" && format != "qcow2") return unsupported(call);
  for (const char c : path) {
    if (c == ',' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return vbdkit::fail(call.err, VBD_E_REFUSED, "blktap.path", 0,
                          "%s: QEMU's -drive can't carry this path", path.c_str());
    }
  }
  disk = "driver=" + format + ",file.driver=file,file.locking=on,file.filename=" + path;
  return VBD_OK;
}

}  // namespace

std::int32_t render(const Call &call) {
  const std::string_view dialect = call.request->dialect == nullptr ? "" : call.request->dialect;
  std::string disk;
  std::int32_t status = VBD_OK;
  if (dialect == "xm") {
    status = xm(call, disk);
  } else if (dialect == "xl") {
    status = xl(call, disk);
  } else if (dialect == "qemu") {
    status = qemu(call, disk);
  } else {
    return vbdkit::fail(call.err, VBD_E_NOTSUP, "blktap.dialect", 0,
                        "dialect \"%s\" is unknown to FD_BLKTAP; it writes xm, xl and qemu", dialect.data());
  }
  if (status != VBD_OK) return status;
  vbdkit::Sink out(call.sink);
  out.text("disk", disk.c_str());
  return out.status();
}

}  // namespace blktap
