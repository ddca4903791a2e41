// SPDX-License-Identifier: MIT
// FD_LOOP: a flat image as a loop device. The device keeps the open file that the host locked, so the lock
// lives as long as the device. No helper program is run. Callbacks are on the call thread; see plugin.h.
#include <cinttypes>

#include <vbdkit/plugin.hpp>

namespace {

using vbdkit::fail;
using vbdkit::loop::Device;
using vbdkit::loop::FileKey;

constexpr const char *kFileKey = "loop.file";  ///< state: DEVICE:INODE of what is about to be bound
constexpr uint32_t kMust = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN | VBD_MUST_SHARED;

struct Driver {
  const vbd_host *host;
  const vbd_ext_state *state;  ///< null: the host keeps none
  bool direct_io;              ///< as configured

  void warn(const std::string &text) const {
    if (host->log != nullptr) host->log(host->ctx, VBD_LOG_WARN, text.c_str());
  }
};

/// The file that the request is about: as it is now, and as it was when it was attached (a rename over it
/// since then must not hide the device).
struct Target {
  std::optional<FileKey> current, recorded;
  std::string node, path;  ///< as recorded

  /// Its storage is gone or does not answer, so the kernel can't tell what is behind it: then the record and
  /// the name in sysfs do.
  [[nodiscard]] bool cut_off(const Device &device) const {
    const bool silent = vbdkit::loop::is_dead(device.error) || device.error == ETIMEDOUT;
    // After a lazy unmount the name is that below the mount.
    return silent && recorded && device.node == node &&
           (device.backing_path == path || path.ends_with(device.backing_path));
  }
  [[nodiscard]] bool ours(const Device &device, std::string_view tag) const {
    return cut_off(device) || (current && vbdkit::loop::is_ours(device, *current, tag)) ||
           (recorded && vbdkit::loop::is_ours(device, *recorded, tag));
  }
  /// Also one that has the name of the request, seen or not.
  [[nodiscard]] std::vector<Device> devices(const vbd_request *request) const {
    vbdkit::loop::Search search;
    if (current) search.files.push_back(*current);
    if (recorded && recorded != current) search.files.push_back(*recorded);
    if (request->image != nullptr) search.paths.emplace_back(request->image);
    if (request->node != nullptr) search.nodes.emplace_back(request->node);
    return vbdkit::loop::find(search);
  }
};

Target find_target(const Driver &driver, const vbd_request *request) {
  Target target;
  FileKey key;
  struct stat st = {};
  const char *text = driver.state == nullptr ? nullptr : driver.state->get(driver.host->ctx, kFileKey);
  if (vbdkit::loop::from_text(text, key)) target.recorded = key;
  if (request->node != nullptr) target.node = request->node;
  if (request->image != nullptr) target.path = request->image;
  if (request->image_fd >= 0) {
    if (vbdkit::loop::key_of(request->image_fd, key)) target.current = key;
  } else if (!target.path.empty() && !(target.recorded && vbdkit::loop::may_hang(target.path)) &&
             ::lstat(request->image, &st) == 0) {
    target.current = FileKey{st.st_dev, st.st_ino};
  }
  return target;
}

int32_t put_device(const Device &device, vbd_sink *sink) {
  vbdkit::Sink out(sink);
  out.text("node", device.node.c_str());
  out.flag("read_only", device.read_only);
  out.flag("direct_io", device.direct_io);
  out.number("block_size", device.block_size);
  out.text("backend", "loop");
  return out.status();
}

bool wants_direct_io(const Driver &driver, const vbd_request *request) {
  return std::string_view(vbdkit::param(request, "direct_io", driver.direct_io ? "true" : "false")) == "true";
}

int32_t refuse_shared(const vbd_request *request, vbd_error *err) {
  return fail(
      err, VBD_E_REFUSED, "loop.shared_without_direct_io", 0,
      "%s: on storage that other hosts share, the loop device needs direct I/O (else each host caches for "
      "itself), and "
      "its filesystem can't do it at this block size; say direct_io=false when no other host uses the image",
      request->image);
}

/// A device of ours is there already: report it when it fits.
int32_t take_over(const Driver &driver, Device device, const vbd_request *request, vbd_sink *sink,
                  vbd_error *err) {
  const bool read_only = (request->must & VBD_MUST_READONLY) != 0;
  if (device.read_only != read_only) {
    return fail(err, VBD_E_BUSY, "loop.other_mode", 0, "%s is attached %s as %s; detach it first",
                request->image, device.read_only ? "read-only" : "writable", device.node.c_str());
  }
  if ((request->must & VBD_MUST_DRY_RUN) == 0) {
    if (device.autoclear) {  // somebody's `losetup -d` while it was in use: it would vanish under us
      const vbdkit::UniqueFd fd(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC));
      if (fd) vbdkit::loop::keep_bound(fd.get(), device);
    }
    if (wants_direct_io(driver, request) && !device.direct_io && !vbdkit::loop::try_direct_io(device) &&
        (request->must & VBD_MUST_SHARED) != 0) {
      return refuse_shared(request, err);
    }
  }
  return put_device(device, sink);
}

int32_t make_device(const Driver &driver, const FileKey &file, const vbd_request *request, vbd_sink *sink,
                    vbd_error *err) {
  const vbdkit::loop::Wanted wanted{
      request->image_fd, request->tag, request->block_size == 0 ? 512 : request->block_size,
      (request->must & VBD_MUST_READONLY) != 0, wants_direct_io(driver, request)};
  if (const int32_t bad = vbdkit::loop::check_file(wanted, err); bad != VBD_OK) return bad;
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  if (driver.state != nullptr) {
    const std::string text = vbdkit::loop::to_text(file);
    const int32_t put = driver.state->put(driver.host->ctx, kFileKey, text.c_str(), err);
    if (put != VBD_OK) return put;
  }
  Device device;
  if (const int32_t made = vbdkit::loop::attach(wanted, device, err); made != VBD_OK) return made;
  int32_t status = VBD_OK;
  if (device.read_only != wanted.read_only) {
    status = fail(err, VBD_E_PERM, "loop.mode", 0, "%s: the kernel made %s %s", request->image,
                  device.node.c_str(), device.read_only ? "read-only" : "writable");
  } else if (wanted.direct_io && !device.direct_io) {
    if ((request->must & VBD_MUST_SHARED) != 0) {
      status = refuse_shared(request, err);
    } else {
      driver.warn(std::string(request->image) +
                  ": its filesystem can't do direct I/O, so the host caches what the guest caches already");
    }
  }
  if (status == VBD_OK) status = put_device(device, sink);
  if (status != VBD_OK) {
    int lost = 0;  // nobody has written to it yet
    vbdkit::loop::clear(device, lost, nullptr);
  }
  return status;
}

int32_t attach_body(const Driver &driver, const vbd_request *request, vbd_sink *sink, vbd_error *err) {
  if (const int32_t bad = vbdkit::check_must(request, kMust, err); bad != VBD_OK) return bad;
  FileKey file;
  if (request->image_fd < 0 || !vbdkit::loop::key_of(request->image_fd, file)) {
    return fail(err, VBD_E_INVAL, nullptr, 0, "%s: attach needs an open descriptor of the image",
                request->image);
  }
  if (request->tag == nullptr || *request->tag == '\0')
    return fail(err, VBD_E_INVAL, nullptr, 0, "attach needs a tag");
  const std::vector<Device> devices = vbdkit::loop::on_file(file);
  const bool read_only = (request->must & VBD_MUST_READONLY) != 0;
  if (const int32_t busy = vbdkit::loop::refuse_foreign(devices, file, request->tag, read_only, err);
      busy != VBD_OK)
    return busy;
  for (const Device &device : devices) {
    if (vbdkit::loop::is_ours(device, file, request->tag))
      return take_over(driver, device, request, sink, err);
  }
  return make_device(driver, file, request, sink, err);
}

/// What a detach would meet, without doing it.
int32_t check_free(const Device &device, vbd_error *err) {
  std::vector<std::string> who = vbdkit::node_use::claims(device.node);
  if (who.empty()) who = vbdkit::node_use::openers(device.node, -1);
  if (who.empty()) return VBD_OK;
  return fail(err, VBD_E_BUSY, "loop.in_use", 0, "%s is in use: %s", device.node.c_str(),
              vbdkit::detail::join(who).c_str());
}

int32_t detach_body(const Driver &driver, const vbd_request *request, vbd_error *err) {
  if (const int32_t bad = vbdkit::check_must(request, kMust, err); bad != VBD_OK) return bad;
  const Target target = find_target(driver, request);
  int32_t answer = VBD_OK;
  for (const Device &device : target.devices(request)) {
    if (!target.ours(device, request->tag == nullptr ? "" : request->tag)) continue;
    int lost = 0;
    const bool dry_run = (request->must & VBD_MUST_DRY_RUN) != 0;
    const int32_t status = dry_run ? check_free(device, err) : vbdkit::loop::clear(device, lost, err);
    if (status != VBD_OK) return status;
    if (lost != 0) answer = vbdkit::loop::lost_writes(err, lost, device.node.c_str());
  }
  return answer;
}

int32_t query_body(const Driver &driver, const vbd_request *request, vbd_sink *sink, vbd_error *err) {
  const Target target = find_target(driver, request);
  const std::string_view tag = request->tag == nullptr ? "" : request->tag;
  vbdkit::Sink out(sink);
  for (const Device &device : target.devices(request)) {
    if (target.current && vbdkit::loop::is_ours(device, *target.current, tag)) {
      out.flag("attached", true);
      if (device.autoclear)
        out.text("broken", (device.node +
                            " will vanish at its last close: somebody else detached it while it was in use")
                               .c_str());
      return out.status() == VBD_OK ? put_device(device, sink) : out.status();
    }
    if (target.cut_off(device)) {
      out.flag("attached", false);
      out.text("node", device.node.c_str());
      out.text("broken",
               (device.node + ": its storage does not answer: " + std::strerror(device.error)).c_str());
      return out.status();
    }
    if (target.ours(device, tag)) {
      out.flag("attached", false);
      out.text("broken", (device.node + " is still bound to a file that is no longer at this path").c_str());
      return out.status();
    }
    if (device.error != 0 && request->image != nullptr && device.backing_path == request->image) {
      return fail(err, vbdkit::status_of_errno(device.error), nullptr, device.error,
                  "%s may be this disk's, but can't be looked at: %s", device.node.c_str(),
                  std::strerror(device.error));
    }
  }
  out.flag("attached", false);
  return out.status();
}

int32_t refresh_body(const Driver &driver, const vbd_request *request, vbd_sink *sink, vbd_error *err) {
  const Target target = find_target(driver, request);
  for (const Device &device : target.devices(request)) {
    if (!target.ours(device, request->tag == nullptr ? "" : request->tag)) continue;
    if (request->node != nullptr && device.node != request->node) continue;
    if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
    const vbdkit::UniqueFd fd(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC));
    uint64_t bytes = 0;
    if (!fd || ::ioctl(fd.get(), LOOP_SET_CAPACITY, 0UL) != 0 ||
        ::ioctl(fd.get(), BLKGETSIZE64, &bytes) != 0) {
      return vbdkit::fail_errno(err, errno, device.node.c_str());
    }
    vbdkit::Sink out(sink);
    out.text("node", device.node.c_str());
    out.number("size", bytes);
    return out.status();
  }
  return fail(err, VBD_E_NOENT, nullptr, 0, "%s is not attached", request->image);
}

int32_t render_body(const vbd_request *request, vbd_sink *sink, vbd_error *err) {
  using namespace vbdkit::xen;
  const std::string_view dialect = request->dialect == nullptr ? "" : request->dialect;
  const bool read_only = (request->must & VBD_MUST_READONLY) != 0;
  vbdkit::Sink out(sink);
  std::string disk;
  if (dialect == "xm") {
    const int32_t bad = check_disk(request, request->image, Form::positional, Backend::phy, err);
    if (bad != VBD_OK) return bad;
    disk = std::string("file:") + request->image + "," + request->vdev + (read_only ? ",r" : ",w");
  } else if (dialect == "xl") {
    // The attached node where there is one: the block script would make a second, unlocked loop device of the
    // file.
    const char *path = request->node == nullptr ? request->image : request->node;
    const int32_t bad = check_disk(request, path, Form::target, Backend::phy, err);
    if (bad != VBD_OK) return bad;
    disk = std::string("format=raw,vdev=") + request->vdev + (read_only ? ",access=ro" : ",access=rw") +
           ",backendtype=phy,target=" + path;
  } else {
    return fail(err, VBD_E_NOTSUP, "loop.dialect", 0,
                "dialect \"%s\" is unknown to FD_LOOP; it writes xm and xl", request->dialect);
  }
  out.text("disk", disk.c_str());
  return out.status();
}

const Driver &driver_of(void *self) {
  return *static_cast<const Driver *>(self);
}

int32_t attach(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] { return attach_body(driver_of(self), request, sink, err); });
}
int32_t detach(void *self, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] { return detach_body(driver_of(self), request, err); });
}
int32_t query(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] { return query_body(driver_of(self), request, sink, err); });
}
int32_t refresh(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] {
    const int32_t bad = vbdkit::check_must(request, kMust, err);
    return bad != VBD_OK ? bad : refresh_body(driver_of(self), request, sink, err);
  });
}
int32_t render(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] {
    const int32_t bad = vbdkit::check_must(request, kMust, err);
    return bad != VBD_OK ? bad : render_body(request, sink, err);
  });
}

int32_t init(const vbd_host *host, const vbd_kv *config, uint32_t n_config, void **self,
             vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] {
    *self = new Driver{host, vbdkit::extension<vbd_ext_state>(host, VBD_EXT_STATE),
                       std::string_view(vbdkit::value_of(config, n_config, "direct_io", "true")) == "true"};
    return VBD_OK;
  });
}
void fini(void *self) noexcept {
  delete static_cast<Driver *>(self);
}

const vbd_option kOptions[] = {
    {"direct_io", "Bypass the host's page cache; on shared storage false must be said where it can't be had.",
     "true", nullptr, 0, 0, VBD_T_BOOL, VBD_OPT_PER_IMAGE},
};
const vbd_driver_ops kOps = {
    sizeof(vbd_driver_ops), 0, attach, detach, query, refresh, render, nullptr, nullptr};
const vbd_plugin kPlugin = {sizeof(vbd_plugin),
                            VBD_ABI_MAJOR,
                            VBD_ABI_MINOR,
                            VBD_KIND_DRIVER,
                            0,
                            0,
                            "FD_LOOP",
                            "xen-loop",
                            "1.0.0",
                            "MIT",
                            "flat images as loop devices; file: strings for Xen",
                            "",
                            kOptions,
                            1,
                            sizeof(vbd_option),
                            init,
                            fini,
                            &kOps,
                            nullptr,
                            nullptr};

VBD_PLUGIN_NOTE(
    "abi=1.0\0"
    "min_host_minor=0\0"
    "kind=driver\0"
    "constant=FD_LOOP\0"
    "name=xen-loop\0"
    "version=1.0.0\0"
    "summary=flat images as loop devices; file: strings for Xen\0"
    "ops=attach,detach,query,refresh,render\0"
    "need.flat=1\0");

}  // namespace

const vbd_plugin *vbd_plugin_v1() noexcept {
  return &kPlugin;
}
