// SPDX-License-Identifier: MIT
// Back end tapctl: a tapdisk process made by tap-ctl. Only blktap with its kernel module gives a block
// device; without it (XenServer since 2022) tap-ctl prints the path of a plain file, and this back end is not
// for that host. tapdisk takes no lock on the image. Output formats: tap-ctl(8), tap-ctl-list.c ("pid=N
// minor=N state=N args=TYPE:PATH").
#include <cstdio>

#include "driver.hpp"

namespace blktap {
namespace {

constexpr const char *kArgsKey = "tapctl.args";

struct Tapdisk {
  long pid = -1;
  long minor = -1;
};

/// The tapdisk that has `args` open, from the lines of tap-ctl list.
std::optional<Tapdisk> find_line(const std::string &lines, const std::string &args) {
  std::optional<Tapdisk> found;
  vbdkit::detail::each_line(lines, [&](std::string_view view) {
    const std::string line(view);
    const std::size_t at = line.find("args=");
    Tapdisk disk;
    if (at == std::string::npos || line.substr(at + 5) != args) return;
    if (std::sscanf(line.c_str(), " pid=%ld minor=%ld", &disk.pid, &disk.minor) == 2) found = disk;
  });
  return found;
}

std::int32_t find(const Call &call, const std::string &args, std::optional<Tapdisk> &found) {
  std::string out;
  int exit_status = 0;
  const std::int32_t status = call.run({"tap-ctl", "list"}, out, exit_status);
  if (status != VBD_OK) return status;
  if (exit_status != 0) return call.helper_failed(VBD_E_IO, "tap-ctl list", exit_status);
  found = find_line(out, args);
  return VBD_OK;
}

std::int32_t destroy(const Call &call, const Tapdisk &disk) {
  std::string out;
  int exit_status = 0;
  const std::int32_t status =
      call.run({"tap-ctl", "destroy", "-p", std::to_string(disk.pid), "-m", std::to_string(disk.minor)}, out,
               exit_status);
  if (status != VBD_OK) return status;
  return exit_status == 0 ? VBD_OK : call.helper_failed(VBD_E_IO, "tap-ctl destroy", exit_status);
}

void forget_all(const Call &call) {
  for (const char *key : {kNodeKey, kArgsKey, kModeKey, kBackendKey}) call.forget(key);
}

/// tap-ctl's exit status is an errno: 38 and 2 say that it has no such type (facts of tapdisk's driver
/// table).
std::int32_t status_of_exit(int exit_status) {
  if (exit_status == ENOSYS || exit_status == ENOENT) return VBD_E_NOTSUP;
  return exit_status == EBUSY ? VBD_E_BUSY : VBD_E_IO;
}

std::int32_t record_plan(const Call &call, const std::string &args) {
  for (const auto &[key, value] : {std::pair<const char *, std::string>{kArgsKey, args},
                                   {kModeKey, call.read_only() ? "ro" : "rw"},
                                   {kBackendKey, kTapctl.name}}) {
    const std::int32_t status = call.record(key, value);
    if (status != VBD_OK) return status;
  }
  return VBD_OK;
}

std::int32_t create(const Call &call, const std::string &args, std::string &node) {
  std::vector<std::string> argv = {"tap-ctl", "create", "-a", args};
  if (call.read_only()) argv.emplace_back("-R");
  int exit_status = 0;
  const std::int32_t status = call.run(argv, node, exit_status);
  if (status != VBD_OK) return status;
  if (exit_status != 0) return call.helper_failed(status_of_exit(exit_status), "tap-ctl create", exit_status);
  node = node.substr(0, node.find('\n'));
  return VBD_OK;
}

/// Takes away what create made of it; the first error stays.
std::int32_t undo(const Call &call, const std::string &args, std::int32_t status) {
  const Quiet quiet(call);
  std::optional<Tapdisk> disk;
  if (find(quiet(), args, disk) != VBD_OK || (disk && destroy(quiet(), *disk) != VBD_OK)) return status;
  forget_all(call);
  return status;
}

std::int32_t attach(const Call &call, Condition &made) {
  if (call.tap().empty()) {
    return vbdkit::fail(call.err, VBD_E_NOTSUP, "blktap.format", 0, "%s has no format that tap-ctl knows",
                        call.request->format);
  }
  const std::string args = call.tap() + ":" + call.request->image;
  std::optional<Tapdisk> other;
  std::int32_t status = find(call, args, other);
  if (status == VBD_E_IO) return VBD_E_NOTSUP;  // installed, but without what it needs of the host
  if (status != VBD_OK) return status;
  if (other) {  // tapdisk itself would open it a second time
    return vbdkit::fail(call.err, VBD_E_BUSY, "blktap.foreign", 0,
                        "%s is open in tapdisk process %ld, which is not ours", call.request->image,
                        other->pid);
  }
  status = record_plan(call, args);
  if (status != VBD_OK) return status;
  status = create(call, args, made.node);
  if (status != VBD_OK) return undo(call, args, status);
  if (!is_block_device(made.node)) {
    return undo(
        call, args,
        vbdkit::fail(
            call.err, VBD_E_NOTSUP, "blktap.no_node", 0,
            "tap-ctl gives no block device on this host: its kernel module is not there; say backend=qsd"));
  }
  status = call.record(kNodeKey, made.node);
  if (status != VBD_OK) return undo(call, args, status);
  made.read_only = call.read_only();
  made.is = Condition::Is::whole;
  if (call.tap() == "aio") made.direct_io = true;  // tapdisk opens with O_DIRECT (block-aio.c)
  return VBD_OK;
}

std::string node_of(const Call &call, const Tapdisk &disk) {
  const std::string recorded = call.recall(kNodeKey);
  return recorded.empty() ? "/dev/xen/blktap-2/tapdev" + std::to_string(disk.minor) : recorded;
}

std::int32_t query(const Call &call, Condition &found) {
  std::optional<Tapdisk> disk;
  const std::string args = call.recall(kArgsKey);
  const std::int32_t status = find(call, args, disk);
  if (status != VBD_OK) return status;
  const std::string recorded = call.recall(kNodeKey);
  if (!disk && !is_block_device(recorded)) return VBD_OK;
  found.node = disk ? node_of(call, *disk) : recorded;
  found.read_only = call.recall(kModeKey) == "ro";
  if (args.starts_with("aio:")) found.direct_io = true;
  found.is = Condition::Is::part;
  if (!disk) {
    found.why = "the tapdisk of " + recorded + " is gone";
  } else if (!is_block_device(found.node)) {
    found.why = "tapdisk process " + std::to_string(disk->pid) + " has no block device";
  } else {
    found.is = Condition::Is::whole;
  }
  return VBD_OK;
}

std::int32_t detach(const Call &call) {
  std::optional<Tapdisk> disk;
  const std::string args = call.recall(kArgsKey);
  std::int32_t status = find(call, args, disk);
  if (status != VBD_OK) return status;
  if (disk) {
    const std::string node = node_of(call, *disk);
    status = is_block_device(node) ? refuse_busy(call, node) : VBD_OK;
    if (status != VBD_OK || call.must(VBD_MUST_DRY_RUN)) return status;
    status = destroy(call, *disk);
    if (status == VBD_OK) status = find(call, args, disk);
    if (status != VBD_OK) return status;
    if (disk)
      return vbdkit::fail(call.err, VBD_E_BUSY, nullptr, 0, "tapdisk process %ld is still there", disk->pid);
  }
  if (!call.must(VBD_MUST_DRY_RUN)) forget_all(call);
  return VBD_OK;
}

}  // namespace

const Backend kTapctl = {"tapctl", attach, detach, query, nullptr};

}  // namespace blktap
