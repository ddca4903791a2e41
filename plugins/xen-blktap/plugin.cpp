// SPDX-License-Identifier: MIT
// FD_BLKTAP: an image of any format that blktap names, as a block device served from user space. See
// driver.hpp.
#include "driver.hpp"

#include <linux/fs.h>
#include <sys/ioctl.h>

namespace blktap {
namespace {

constexpr std::uint32_t kMust = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN | VBD_MUST_SHARED;

const Backend *backend_named(std::string_view name) {
  for (const Backend *backend : {&kTapctl, &kXl, &kQsd}) {
    if (name == backend->name) return backend;
  }
  return nullptr;
}

/// What the record says; null: never begun, or undone.
const Backend *recorded(const Call &call) {
  return backend_named(call.recall(kBackendKey));
}

std::int32_t put(const Call &call, const char *backend, const Condition &condition) {
  vbdkit::Sink out(call.sink);
  out.text("node", condition.node.c_str());
  out.flag("read_only", condition.read_only);
  if (condition.direct_io) out.flag("direct_io", *condition.direct_io);
  out.text("backend", backend);
  out.flag("locked", condition.locked);
  const vbdkit::UniqueFd fd(::open(condition.node.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  int block_size = 0;
  if (fd && ::ioctl(fd.get(), BLKSSZGET, &block_size) == 0)
    out.number("block_size", static_cast<std::uint64_t>(block_size));
  return out.status();
}

/// Takes a broken one away. Data that was lost with it is no reason to keep what is left from the user.
std::int32_t clear(const Call &call, const Backend &backend) {
  const Quiet quiet(call);
  const std::int32_t status = backend.detach(quiet());
  if (status == VBD_OK) return status;
  if (call.recall(kBackendKey).empty()) {
    call.warn(std::string(call.request->image) + ": " + quiet.text());
    return VBD_OK;
  }
  return vbdkit::fail(call.err, status, nullptr, 0, "%s", quiet.text());
}

/// Sees to what an earlier attach left. `done`: it is there already and fits.
std::int32_t settle(const Call &call, bool &done) {
  const Backend *backend = recorded(call);
  if (backend == nullptr) return VBD_OK;
  Condition found;
  std::int32_t status = backend->query(call, found);
  if (status != VBD_OK) return status;
  if (found.is != Condition::Is::whole) return call.must(VBD_MUST_DRY_RUN) ? VBD_OK : clear(call, *backend);
  if (found.read_only != call.read_only()) {
    return vbdkit::fail(call.err, VBD_E_BUSY, "blktap.other_mode", 0,
                        "%s is attached %s as %s; detach it first", call.request->image,
                        found.read_only ? "read-only" : "writable", found.node.c_str());
  }
  if (backend->again != nullptr && !call.must(VBD_MUST_DRY_RUN)) {
    status = backend->again(call);
    if (status != VBD_OK) return status;
  }
  done = true;
  return put(call, backend->name, found);
}

/// Not usable here: another back end may be.
bool passes_on(std::int32_t status) {
  return status == VBD_E_MISSING || status == VBD_E_NOTSUP;
}

/// auto: the first back end that this host has for this image. Its error is the last one's, for that one
/// should always do.
std::int32_t attach_auto(const Call &call, Condition &made, const char *&name) {
  for (const Backend *backend : {&kTapctl, &kXl}) {
    if (backend == &kXl && !host_runs_xen()) continue;
    name = backend->name;
    const std::int32_t status = backend->attach(call, made);
    if (!passes_on(status)) return status;
    made = Condition{};
  }
  name = kQsd.name;
  return kQsd.attach(call, made);
}

std::int32_t attach_new(const Call &call) {
  const std::string wanted = vbdkit::param(call.request, "backend", call.driver.backend.c_str());
  const Backend *backend = backend_named(wanted);
  Condition made;
  const char *name = wanted.c_str();
  const std::int32_t status =
      backend != nullptr ? backend->attach(call, made) : attach_auto(call, made, name);
  return status == VBD_OK ? put(call, name, made) : status;
}

std::int32_t attach_body(const Call &call) {
  const vbd_request *request = call.request;
  if (const std::int32_t bad = vbdkit::check_must(request, kMust, call.err); bad != VBD_OK) return bad;
  vbdkit::loop::FileKey file;
  if (request->image_fd < 0 || !vbdkit::loop::key_of(request->image_fd, file)) {
    return vbdkit::fail(call.err, VBD_E_INVAL, nullptr, 0, "%s: attach needs an open descriptor of the image",
                        request->image);
  }
  if (request->tag == nullptr || *request->tag == '\0')
    return vbdkit::fail(call.err, VBD_E_INVAL, nullptr, 0, "attach needs a tag");
  if (vbdkit::property(request, "tap") == nullptr) {
    return vbdkit::fail(call.err, VBD_E_NOTSUP, "blktap.format", 0,
                        "%s has no property tap, so FD_BLKTAP can't serve it", request->format);
  }
  bool done = false;
  std::int32_t status = settle(call, done);
  if (status != VBD_OK || done) return status;
  status = vbdkit::loop::refuse_foreign(vbdkit::loop::on_file(file), file, "", call.read_only(), call.err);
  if (status != VBD_OK || call.must(VBD_MUST_DRY_RUN)) return status;
  return attach_new(call);
}

std::int32_t detach_body(const Call &call) {
  if (const std::int32_t bad = vbdkit::check_must(call.request, kMust, call.err); bad != VBD_OK) return bad;
  const Backend *backend = recorded(call);
  return backend == nullptr ? VBD_OK : backend->detach(call);
}

std::int32_t query_body(const Call &call) {
  Condition found;
  vbdkit::Sink out(call.sink);
  const Backend *backend = recorded(call);
  if (backend == nullptr) {
    out.flag("attached", false);
    return out.status();
  }
  const std::int32_t status = backend->query(call, found);
  if (status != VBD_OK) return status;
  out.flag("attached", found.is == Condition::Is::whole);
  if (found.is == Condition::Is::part) {
    out.text("broken", found.why.c_str());
    out.text("backend", backend->name);
    if (!found.node.empty()) out.text("node", found.node.c_str());
  }
  if (out.status() != VBD_OK || found.is != Condition::Is::whole) return out.status();
  return put(call, backend->name, found);
}

std::int32_t render_body(const Call &call) {
  const std::int32_t bad = vbdkit::check_must(call.request, kMust, call.err);
  return bad != VBD_OK ? bad : render(call);
}

template <std::int32_t (*Body)(const Call &)>
std::int32_t entry(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] {
    return Body(Call{*static_cast<const Driver *>(self), request, sink, err});
  });
}

std::int32_t init(const vbd_host *host, const vbd_kv *config, std::uint32_t n_config, void **self,
                  vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&] {
    *self = new Driver{host,
                       vbdkit::extension<vbd_ext_run>(host, VBD_EXT_RUN),
                       vbdkit::extension<vbd_ext_spawn>(host, VBD_EXT_SPAWN),
                       vbdkit::extension<vbd_ext_state>(host, VBD_EXT_STATE),
                       vbdkit::extension<vbd_ext_lock>(host, VBD_EXT_LOCK),
                       vbdkit::value_of(config, n_config, "backend", "auto"),
                       std::string_view(vbdkit::value_of(config, n_config, "direct_io", "true")) == "true"};
    return VBD_OK;
  });
}
void fini(void *self) noexcept {
  delete static_cast<Driver *>(self);
}

const vbd_option kOptions[] = {
    {"backend", "What makes the block device; auto takes the first that this host has.", "auto",
     "auto|tapctl|xl|qsd", 0, 0, VBD_T_ENUM, VBD_OPT_PER_IMAGE},
    {"direct_io",
     "Bypass the host's page cache (backend qsd); on shared storage false must be said where it can't be "
     "had.",
     "true", nullptr, 0, 0, VBD_T_BOOL, VBD_OPT_PER_IMAGE},
};
const vbd_driver_ops kOps = {sizeof(vbd_driver_ops),
                             0,
                             entry<attach_body>,
                             entry<detach_body>,
                             entry<query_body>,
                             nullptr,
                             entry<render_body>,
                             nullptr,
                             nullptr};
const vbd_plugin kPlugin = {sizeof(vbd_plugin),
                            VBD_ABI_MAJOR,
                            VBD_ABI_MINOR,
                            VBD_KIND_DRIVER,
                            0,
                            0,
                            "FD_BLKTAP",
                            "xen-blktap",
                            "1.0.0",
                            "MIT",
                            "images of any format served from user space; tap: strings for Xen",
                            "",
                            kOptions,
                            2,
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
    "constant=FD_BLKTAP\0"
    "name=xen-blktap\0"
    "version=1.0.0\0"
    "summary=images of any format served from user space; tap: strings for Xen\0"
    "ops=attach,detach,query,render\0"
    "need.tap=*\0");

}  // namespace
}  // namespace blktap

const vbd_plugin *vbd_plugin_v1() noexcept {
  return &blktap::kPlugin;
}
