// SPDX-License-Identifier: MIT
// FD_EXAMPLE: a driver in C++. A helper program, example-ctl, makes the device and prints its node:
//   example-ctl attach PATH [ro]    example-ctl detach NODE
#include <array>
#include <cstring>

#include <vbdkit/plugin.hpp>

VBD_PLUGIN_NOTE(
    "abi=1.0\0"
    "min_host_minor=0\0"
    "kind=driver\0"
    "constant=FD_EXAMPLE\0"
    "name=example\0"
    "version=0.1\0"
    "summary=devices made by example-ctl\0"
    "ops=attach,detach,query,render\0"
    "need.flat=1\0"
    "requires=example-ctl\0");

namespace {

using vbdkit::fail;

struct Driver {
  const vbd_host *host;
  const vbd_ext_run *run;
  const vbd_ext_state *state;

  [[nodiscard]] const char *node() const noexcept { return state->get(host->ctx, "node"); }

  /// Runs example-ctl; its first line of output comes back in `out`.
  int32_t ctl(const char *const *argv, std::array<char, 256> &out, vbd_error *err) const noexcept {
    vbd_run_args args = {};
    args.size = sizeof args;
    args.argv = argv;
    args.out = out.data();
    args.out_cap = static_cast<uint32_t>(out.size());
    if (const int32_t status = run->run(host->ctx, &args, err); status != VBD_OK) return status;
    if (args.exit_status != 0) {
      return fail(err, VBD_E_IO, "example.ctl_failed", 0, "example-ctl ended with status %d",
                  args.exit_status);
    }
    out[std::strcspn(out.data(), "\n")] = '\0';
    return VBD_OK;
  }
};

const Driver &driver(void *self) noexcept {
  return *static_cast<const Driver *>(self);
}

int32_t attach(void *ctx, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  const Driver &self = driver(ctx);
  const uint32_t known = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN;
  if (const int32_t status = vbdkit::check_must(request, known, err); status != VBD_OK) return status;
  vbdkit::Sink out(sink);
  if (const char *node = self.node(); node != nullptr) {  // attached already: reported, not made anew
    out.text("node", node);
    return out.status();
  }
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  const char *mode = (request->must & VBD_MUST_READONLY) != 0 ? "ro" : nullptr;
  const char *argv[] = {"example-ctl", "attach", request->image, mode, nullptr};
  std::array<char, 256> node{};
  int32_t status = self.ctl(argv, node, err);
  if (status == VBD_OK) status = self.state->put(self.host->ctx, "node", node.data(), err);
  if (status != VBD_OK) return status;
  out.text("node", node.data());
  return out.status();
}

int32_t detach(void *ctx, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  const Driver &self = driver(ctx);
  if (const int32_t status = vbdkit::check_must(request, VBD_MUST_DRY_RUN, err); status != VBD_OK)
    return status;
  if (self.node() == nullptr || (request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  const char *argv[] = {"example-ctl", "detach", self.node(), nullptr};
  std::array<char, 256> out{};
  return self.ctl(argv, out, err);
}

int32_t query(void *ctx, const vbd_request *, vbd_sink *sink, vbd_error *) noexcept {
  const char *node = driver(ctx).node();
  vbdkit::Sink out(sink);
  out.flag("attached", node != nullptr);
  if (node != nullptr) out.text("node", node);
  return out.status();
}

int32_t render(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (request->dialect == nullptr || std::strcmp(request->dialect, "example") != 0) {
    return fail(err, VBD_E_NOTSUP, "example.dialect", 0, "the one dialect of this driver is example");
  }
  // A string in which a path can't be quoted must refuse what would change its meaning.
  if (std::strpbrk(request->image, ",\n\\\"") != nullptr) {
    return fail(err, VBD_E_REFUSED, "example.path", 0,
                "the path has a character that the string can't carry");
  }
  std::array<char, 4200> text{};
  const int length = std::snprintf(text.data(), text.size(), "example:%s", request->image);
  if (length < 0 || static_cast<std::size_t>(length) >= text.size()) {
    return fail(err, VBD_E_INVAL, "example.path", 0, "the path is too long");
  }
  vbdkit::Sink out(sink);
  out.text("disk", text.data());
  return out.status();
}

int32_t init(const vbd_host *host, const vbd_kv *, uint32_t, void **self, vbd_error *err) noexcept {
  const auto *run = vbdkit::extension<vbd_ext_run>(host, VBD_EXT_RUN);
  const auto *state = vbdkit::extension<vbd_ext_state>(host, VBD_EXT_STATE);
  if (run == nullptr || state == nullptr) {
    return fail(err, VBD_E_NOTSUP, "example.host", 0, "the host can't run helpers or keep state");
  }
  *self = new (std::nothrow) Driver{host, run, state};
  return *self != nullptr ? VBD_OK : fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
}

void fini(void *self) noexcept {
  delete static_cast<Driver *>(self);
}

const vbd_driver_ops kOps = {
    sizeof(vbd_driver_ops), 0, attach, detach, query, nullptr, render, nullptr, nullptr,
};

const vbd_plugin kPlugin = {
    sizeof(vbd_plugin),
    VBD_ABI_MAJOR,
    VBD_ABI_MINOR,
    VBD_KIND_DRIVER,
    0,
    0,
    "FD_EXAMPLE",
    "example",
    "0.1",
    "MIT",
    "devices made by example-ctl",
    "",
    nullptr,
    0,
    0,
    init,
    fini,
    &kOps,
    nullptr,
    nullptr,
};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
