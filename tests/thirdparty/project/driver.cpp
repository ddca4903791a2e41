// SPDX-License-Identifier: MIT
// A third party's driver: losetup makes the device, through the host's helper runner; a dialect of its own.
#include <fcntl.h>
#include <unistd.h>
#include <vbdkit/plugin.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=driver\0constant=" CONSTANT
    "\0name=thirdparty-losetup\0version=0.1\0"
    "summary=loop devices through losetup\0ops=attach,detach,query,render\0need.flat=1\0requires=losetup\0");

namespace {

struct Self {
  const vbd_host *host;
};

int32_t fail(vbd_error *err, int32_t status, const std::string &why) noexcept {
  std::snprintf(err->msg, err->msg_cap, "%s", why.c_str());
  return status;
}

int32_t losetup(void *self, const char *const *argv, int32_t fd, std::string &output, vbd_error *err) {
  const vbd_host *host = static_cast<Self *>(self)->host;
  const auto *run = static_cast<const vbd_ext_run *>(host->get_extension(host->ctx, VBD_EXT_RUN));
  if (run == nullptr) return fail(err, VBD_E_NOTSUP, "the host has no vbd.run/1");
  char text[4096] = "";
  const vbd_fd_map map = {fd, 3};
  vbd_run_args args = {};
  args.size = sizeof args;
  args.argv = argv;
  args.out = text;
  args.out_cap = sizeof text;
  args.fds = &map;
  args.n_fds = fd >= 0 ? 1 : 0;
  const int32_t status = run->run(host->ctx, &args, err);
  if (status != VBD_OK) return status;
  if (args.exit_status != 0) return VBD_E_IO;  // the host has put the last lines of losetup into err
  output = text;
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return VBD_OK;
}

int32_t find_node(void *self, const vbd_request *request, std::string &node, vbd_error *err) {
  const char *const argv[] = {"losetup",  "--associated", request->image, "--noheadings",
                              "--output", "NAME",         nullptr};
  const int32_t status = losetup(self, argv, -1, node, err);
  node = node.substr(0, node.find('\n'));
  return status;
}

int32_t attach(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if ((request->must & ~uint32_t{VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE}) != 0) {
    return fail(err, VBD_E_NOTSUP, "a must bit that this driver does not know");
  }
  std::string node;
  if (const int32_t status = find_node(self, request, node, err)) return status;
  if (node.empty()) {
    const char *const mode = (request->must & VBD_MUST_READONLY) != 0 ? "--read-only" : "--find";
    const char *const argv[] = {"losetup", "--find", mode, "--show", "/proc/self/fd/3", nullptr};
    if (const int32_t status = losetup(self, argv, request->image_fd, node, err)) return status;
  }
  return sink->put_str(sink->ctx, "node", node.c_str());
}

int32_t detach(void *self, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  std::string node;
  if (const int32_t status = find_node(self, request, node, err)) return status;
  if (node.empty()) return VBD_OK;
  const int fd = ::open(node.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);  // losetup would only defer a busy one
  if (fd < 0) return fail(err, errno == EBUSY ? VBD_E_BUSY : VBD_E_IO, node + ": " + std::strerror(errno));
  ::close(fd);
  const char *const argv[] = {"losetup", "--detach", node.c_str(), nullptr};
  std::string left;
  if (const int32_t status = losetup(self, argv, -1, left, err)) return status;
  if (const int32_t status = find_node(self, request, left, err)) return status;
  return left.empty() ? int32_t{VBD_OK} : fail(err, VBD_E_BUSY, left + " is still open somewhere");
}

int32_t query(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  std::string node;
  if (const int32_t status = find_node(self, request, node, err)) return status;
  if (!node.empty()) {
    if (const int32_t status = sink->put_str(sink->ctx, "node", node.c_str())) return status;
  }
  return sink->put_bool(sink->ctx, "attached", node.empty() ? 0 : 1);
}

int32_t render(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (request->dialect == nullptr || std::strcmp(request->dialect, "thirdparty") != 0) {
    return fail(err, VBD_E_NOTSUP, "the one dialect of this driver is thirdparty");
  }
  const char *mode = (request->must & VBD_MUST_READONLY) != 0 ? "r" : "w";
  const std::string disk = std::string("3p:") + request->image + "," + request->vdev + "," + mode;
  return sink->put_str(sink->ctx, "disk", disk.c_str());
}

int32_t init(const vbd_host *host, const vbd_kv *, uint32_t, void **self, vbd_error *err) noexcept {
  *self = new (std::nothrow) Self{host};
  return *self != nullptr ? int32_t{VBD_OK} : fail(err, VBD_E_INTERNAL, "out of memory");
}
void fini(void *self) noexcept {
  delete static_cast<Self *>(self);
}

const vbd_driver_ops kOps = {sizeof kOps, 0, attach, detach, query, nullptr, render, nullptr, nullptr};
const vbd_plugin kPlugin = {sizeof kPlugin,
                            VBD_ABI_MAJOR,
                            VBD_ABI_MINOR,
                            VBD_KIND_DRIVER,
                            0,
                            0,
                            CONSTANT,
                            "thirdparty-losetup",
                            "0.1",
                            "MIT",
                            "loop devices through losetup",
                            "",
                            nullptr,
                            0,
                            0,
                            init,
                            fini,
                            &kOps,
                            nullptr,
                            nullptr};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
