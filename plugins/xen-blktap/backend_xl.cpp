// SPDX-License-Identifier: MIT
// Back end xl: the disk as a virtual block device of Dom0 itself (xl block-attach 0). xl waits for a phy
// disk, but returns at once for one that QEMU serves, whether it comes or not: so the node is waited for. No
// backendtype= is given: libxl refuses qdisk for Dom0 where the init script did not record Dom0's QEMU.
// Nobody locks the image: Xen's QEMU turns its locking off (hw/block/xen-block.c).
#include "driver.hpp"

namespace blktap {
namespace {

constexpr const char *kVdevKey = "xl.vdev";
constexpr int kWaitMs = 15000, kStepMs = 50;

/// The word of format= for the filetype; null: Xen has none.
const char *format_of(const std::string &tap) {
  for (const auto &[name, format] :
       {std::pair{"aio", "raw"}, {"qcow", "qcow"}, {"qcow2", "qcow2"}, {"vhd", "vhd"}, {"qed", "qed"}}) {
    if (tap == name) return format;
  }
  return nullptr;
}

std::string node_of(const std::string &vdev) {
  return "/dev/" + vdev;
}

/// A name that is free in Dom0: no such node, and no such row in xl's list (number in the first column).
std::int32_t choose_vdev(const Call &call, std::string &vdev) {
  std::string rows;
  int exit_status = 0;
  const std::int32_t status = call.run({"xl", "block-list", "0"}, rows, exit_status);
  if (status != VBD_OK) return status;
  if (exit_status != 0) return call.helper_failed(VBD_E_IO, "xl block-list 0", exit_status);
  for (char letter = 'p'; letter >= 'a'; --letter) {
    vdev = std::string("xvd") + letter;
    const std::string number = std::to_string(*vbdkit::xen::vdev_number(vdev));
    bool taken =
        ::access(node_of(vdev).c_str(), F_OK) == 0 || ::access(("/sys/block/" + vdev).c_str(), F_OK) == 0;
    vbdkit::detail::each_line(
        rows, [&](std::string_view row) { taken = taken || vbdkit::detail::word(row, 0) == number; });
    if (!taken) return VBD_OK;
  }
  return vbdkit::fail(call.err, VBD_E_BUSY, "blktap.no_vdev", 0,
                      "xvda to xvdp are all in use in this domain");
}

enum class Owner { nobody, us, other, unknown };

/// Whose disk `vdev` is, from xenstore: the name may have been given to another disk since it was recorded.
Owner owner_of(const Call &call, const std::string &vdev) {
  const Quiet quiet(call);
  const auto number = vbdkit::xen::vdev_number(vdev);
  std::string out;
  int exit_status = 0;
  if (!number) return Owner::nobody;
  const std::string key = "/local/domain/0/device/vbd/" + std::to_string(*number) + "/backend";
  if (quiet().run({"xenstore-read", key}, out, exit_status) != VBD_OK) return Owner::unknown;
  if (exit_status != 0) return Owner::nobody;
  const std::string params = out.substr(0, out.find('\n')) + "/params";
  if (quiet().run({"xenstore-read", params}, out, exit_status) != VBD_OK || exit_status != 0)
    return Owner::unknown;
  const std::string path = call.request->image;
  for (const char c : path) {  // xenstore-read escapes these: nothing to compare
    if (c == '\\' || static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f)
      return Owner::unknown;
  }
  const std::string value = out.substr(0, out.find('\n'));
  return value == path || value.ends_with(":" + path) ? Owner::us : Owner::other;
}

void forget_all(const Call &call) {
  for (const char *key : {kVdevKey, kModeKey, kBackendKey}) call.forget(key);
}

std::int32_t block_detach(const Call &call, const std::string &vdev) {
  std::string out;
  int exit_status = 0;
  const std::int32_t status = call.run({"xl", "block-detach", "0", vdev}, out, exit_status);
  if (status != VBD_OK) return status;
  return exit_status == 0 ? VBD_OK : call.helper_failed(VBD_E_IO, "xl block-detach", exit_status);
}

/// Waits until the node is there (or gone).
std::int32_t await_node(const Call &call, const std::string &node, bool there) {
  for (int waited = 0; waited < kWaitMs; waited += kStepMs) {
    if (is_block_device(node) == there) return VBD_OK;
    if (call.cancelled())
      return vbdkit::fail(call.err, VBD_E_CANCELLED, nullptr, 0, "cancelled while waiting for %s",
                          node.c_str());
    vbdkit::loop::pause_ms(kStepMs);
  }
  return vbdkit::fail(call.err, VBD_E_TIMEOUT, "blktap.xl_wait", 0,
                      "%s did not %s within %d s of xl's success; is xen-blkfront loaded, and for "
                      "formats other than raw Dom0's QEMU running?",
                      node.c_str(), there ? "appear" : "go", kWaitMs / 1000);
}

/// Takes away what a failed attach left; the first error stays.
std::int32_t undo(const Call &call, const std::string &vdev, std::int32_t status) {
  const Quiet quiet(call);
  if (block_detach(quiet(), vdev) == VBD_OK || owner_of(call, vdev) == Owner::nobody) forget_all(call);
  return status;
}

std::int32_t check_image(const Call &call, const char *format) {
  using Xen = vbdkit::xen::Backend;
  if (format == nullptr) {
    return vbdkit::fail(call.err, VBD_E_NOTSUP, "blktap.format", 0, "%s has no format that Xen knows",
                        call.request->format);
  }
  if (call.must(VBD_MUST_SHARED) && call.direct_io()) {
    return vbdkit::fail(
        call.err, VBD_E_NOTSUP, "blktap.shared_without_direct_io", 0,
        "%s: xl gives no direct I/O, which storage that other hosts share needs; say backend=qsd, or "
        "direct_io=false when no other host uses the image",
        call.request->image);
  }
  const bool raw = std::string_view(format) == "raw";
  const char *why =
      vbdkit::xen::refuse_path(call.request->image, vbdkit::xen::Form::target, raw ? Xen::phy : Xen::qdisk);
  if (why == nullptr) return VBD_OK;
  return vbdkit::fail(call.err, VBD_E_REFUSED, "xen.path", 0, "%s: xl can't be given this path: %s",
                      call.request->image, why);
}

std::int32_t attach(const Call &call, Condition &made) {
  const char *format = format_of(call.tap());
  std::int32_t status = check_image(call, format);
  std::string vdev, out;
  if (status == VBD_OK) status = choose_vdev(call, vdev);
  if (status == VBD_OK) status = call.record(kVdevKey, vdev);
  if (status == VBD_OK) status = call.record(kModeKey, call.read_only() ? "ro" : "rw");
  if (status == VBD_OK) status = call.record(kBackendKey, kXl.name);
  if (status != VBD_OK) return status;
  int exit_status = 0;
  status = call.run({"xl", "block-attach", "0",
                     std::string("format=") + format + ",vdev=" + vdev +
                         (call.read_only() ? ",access=ro" : ",access=rw") + ",target=" + call.request->image},
                    out, exit_status);
  if (status == VBD_OK && exit_status != 0)
    status = call.helper_failed(VBD_E_IO, "xl block-attach 0", exit_status);
  if (status == VBD_OK) status = await_node(call, node_of(vdev), true);
  if (status != VBD_OK) return undo(call, vdev, status);
  made.node = node_of(vdev);
  made.read_only = call.read_only();
  made.is = Condition::Is::whole;
  return VBD_OK;
}

std::int32_t query(const Call &call, Condition &found) {
  const std::string vdev = call.recall(kVdevKey), node = node_of(vdev);
  const Owner owner = owner_of(call, vdev);
  const bool there = is_block_device(node);
  if (owner == Owner::other || (owner != Owner::us && !there)) return VBD_OK;
  found.node = node;
  found.read_only = call.recall(kModeKey) == "ro";
  found.is = Condition::Is::whole;
  if (!there) found.why = "Xen has the disk as " + vdev + ", but this domain never got it";
  if (owner == Owner::nobody) found.why = node + " is there, but Xen no longer has the disk";
  if (!found.why.empty()) found.is = Condition::Is::part;
  return VBD_OK;
}

std::int32_t detach(const Call &call) {
  const std::string vdev = call.recall(kVdevKey), node = node_of(vdev);
  const Owner owner = owner_of(call, vdev);
  if (owner == Owner::us || (owner == Owner::unknown && is_block_device(node))) {
    std::int32_t status = is_block_device(node) ? refuse_busy(call, node) : VBD_OK;
    if (status != VBD_OK || call.must(VBD_MUST_DRY_RUN)) return status;
    status = block_detach(call, vdev);
    if (status == VBD_OK) status = await_node(call, node, false);
    if (status != VBD_OK) return status;
  }
  if (!call.must(VBD_MUST_DRY_RUN)) forget_all(call);
  return VBD_OK;
}

}  // namespace

const Backend kXl = {"xl", attach, detach, query, nullptr};

}  // namespace blktap
