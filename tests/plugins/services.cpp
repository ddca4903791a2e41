// SPDX-License-Identifier: MIT
// FD_SERVICES: a driver for tests that uses every service of the host. query reads the parameter "ask"; each
// answer becomes a key. Its option table has every type.
#include <cstdio>
#include <cstring>
#include <string>
#include <vbdkit/plugin.hpp>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_SERVICES\0name=services\0version=1.0\0"
    "ops=attach,query,render\0need.flat=1\0need.colour=*\0");

namespace {

struct Self {
  const vbd_host *host;
  std::string config;
  bool had_state_at_init;
};

std::string list(const vbd_kv *values, uint32_t n) {
  std::string text;
  for (uint32_t i = 0; i < n; ++i) text += std::string(values[i].key) + "=" + values[i].value + " ";
  return text;
}

int32_t ask_run(const Self &self, const char *program, vbdkit::Sink &out, vbd_error *err) {
  const auto *run = vbdkit::extension<vbd_ext_run>(self.host, VBD_EXT_RUN);
  if (run == nullptr) return vbdkit::fail(err, VBD_E_NOTSUP, nullptr, 0, "no vbd.run/1");
  char text[64] = "";
  const char *argv[] = {program, "one", "two words", nullptr};
  vbd_run_args args{};
  args.size = sizeof args;
  args.argv = argv;
  args.stdin_text = "input";
  args.out = text;
  args.out_cap = sizeof text;
  if (const int32_t status = run->run(self.host->ctx, &args, err)) return status;
  out.text("out", text);
  out.number("exit_status", static_cast<uint64_t>(args.exit_status));
  out.text("said", err->msg);
  return out.status();
}

int32_t ask_spawn(const Self &self, vbdkit::Sink &out, vbd_error *err) {
  const auto *spawn = vbdkit::extension<vbd_ext_spawn>(self.host, VBD_EXT_SPAWN);
  if (spawn == nullptr) return vbdkit::fail(err, VBD_E_NOTSUP, nullptr, 0, "no vbd.spawn/1");
  const char *argv[] = {"sleep", "60", nullptr};
  vbd_spawn_args args{};
  args.size = sizeof args;
  args.argv = argv;
  args.unit = "vbdkit-test";
  if (const int32_t status = spawn->spawn(self.host->ctx, &args, err)) return status;
  out.flag("alive", spawn->alive(self.host->ctx, args.pid, args.start_time) == VBD_OK);
  if (const int32_t status = spawn->stop(self.host->ctx, args.pid, args.start_time, 1000, err)) return status;
  out.flag("alive_after", spawn->alive(self.host->ctx, args.pid, args.start_time) == VBD_OK);
  return out.status();
}

int32_t ask_state(const Self &self, vbdkit::Sink &out, vbd_error *err) {
  const auto *state = vbdkit::extension<vbd_ext_state>(self.host, VBD_EXT_STATE);
  if (state == nullptr) return vbdkit::fail(err, VBD_E_NOTSUP, nullptr, 0, "no vbd.state/1");
  if (state->put(self.host->ctx, "Bad Key", "x", err) != VBD_E_INVAL) return VBD_E_INTERNAL;
  if (state->put(self.host->ctx, "line", "a\nb", err) != VBD_E_INVAL) return VBD_E_INTERNAL;
  if (const int32_t status = state->put(self.host->ctx, "pid", "17", err)) return status;
  const char *value = state->get(self.host->ctx, "pid");
  const char *directory = state->directory(self.host->ctx);
  out.text("pid", value == nullptr ? "none" : value);
  out.text("directory", directory == nullptr ? "none" : directory);
  return out.status();
}

int32_t ask_lock(const Self &self, vbdkit::Sink &out, vbd_error *err) {
  const auto *lock = vbdkit::extension<vbd_ext_lock>(self.host, VBD_EXT_LOCK);
  if (lock == nullptr) return vbdkit::fail(err, VBD_E_NOTSUP, nullptr, 0, "no vbd.lock/1");
  if (const int32_t status = lock->release(self.host->ctx, err)) return status;
  out.number("held_by_1", static_cast<uint64_t>(-lock->held_by(self.host->ctx, 1, err)));
  out.number("held_by_2", static_cast<uint64_t>(-lock->held_by(self.host->ctx, 2, err)));
  return lock->restore(self.host->ctx, err);
}

int32_t query(void *self_, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return vbdkit::guarded(err, [&]() -> int32_t {
    const Self &self = *static_cast<Self *>(self_);
    vbdkit::Sink out(sink);
    const std::string ask = vbdkit::param(request, "ask", "");
    self.host->log(self.host->ctx, VBD_LOG_DEBUG, ask.c_str());
    if (ask == "config") {
      out.text("config", self.config.c_str());
      out.flag("state_at_init", self.had_state_at_init);
      out.text("params", list(request->params, request->n_params).c_str());
      out.text("properties", list(request->properties, request->n_properties).c_str());
      return out.status();
    }
    if (ask == "progress") {
      out.flag("stop", self.host->progress(self.host->ctx, 3, 10) != 0);
      return out.status();
    }
    if (ask == "state") return ask_state(self, out, err);
    if (ask == "lock") return ask_lock(self, out, err);
    if (ask == "spawn") return ask_spawn(self, out, err);
    if (ask == "fail")
      return vbdkit::fail(err, VBD_E_CORRUPT, "services.torn", EIO, "torn \x1b[31m and\ntwo lines");
    if (ask == "bare") return VBD_E_BUSY;
    if (ask == "odd") return 77;
    if (ask == "key") return sink->put_str(sink->ctx, "Not A Key", "x");
    return ask_run(self, ask.c_str(), out, err);
  });
}

int32_t attach(void *, const vbd_request *, vbd_sink *, vbd_error *) noexcept {
  return VBD_OK;
}

/// Through a type without noexcept an exception can leave all the same: what a plugin built as C++11 does.
int32_t thrower(void *, const vbd_request *, vbd_sink *, vbd_error *) {
  throw 17;
}

int32_t init(const vbd_host *host, const vbd_kv *config, uint32_t n, void **self, vbd_error *) noexcept {
  *self = new Self{host, list(config, n), vbdkit::extension<vbd_ext_state>(host, VBD_EXT_STATE) != nullptr};
  return VBD_OK;
}
void fini(void *self) noexcept {
  delete static_cast<Self *>(self);
}

constexpr vbd_option kOptions[] = {
    {"flag", "A bool.", "no", nullptr, 0, 0, VBD_T_BOOL, 0},
    {"count", "A number.", nullptr, nullptr, 1, 9, VBD_T_U64, 0},
    {"amount", "A size.", "1M", nullptr, 512, 1 << 30, VBD_T_SIZE, VBD_OPT_PER_IMAGE},
    {"word", "Any text.", nullptr, nullptr, 0, 0, VBD_T_STRING, 0},
    {"place", "A path.", nullptr, nullptr, 0, 0, VBD_T_PATH, VBD_OPT_PER_IMAGE},
    {"mode", "One of three.", "a", "a|b|c", 0, 0, VBD_T_ENUM, VBD_OPT_PER_IMAGE | VBD_OPT_CREATE},
    {"key", "A secret.", nullptr, nullptr, 1, 5, VBD_T_U64, VBD_OPT_SECRET},
    {"ask", "What query does.", nullptr, nullptr, 0, 0, VBD_T_STRING, VBD_OPT_PER_IMAGE},
};

vbd_driver_ops driver_ops() noexcept {
  vbd_driver_ops ops{};
  ops.size = sizeof ops;
  ops.attach = attach;
  ops.query = query;
  ops.render = reinterpret_cast<vbd_op>(&thrower);
  return ops;
}
const vbd_driver_ops kOps = driver_ops();

constexpr vbd_plugin kPlugin{sizeof(vbd_plugin),
                             VBD_ABI_MAJOR,
                             VBD_ABI_MINOR,
                             VBD_KIND_DRIVER,
                             0,
                             0,
                             "FD_SERVICES",
                             "services",
                             "1.0",
                             "MIT",
                             "",
                             "",
                             kOptions,
                             8,
                             sizeof(vbd_option),
                             init,
                             fini,
                             &kOps,
                             nullptr,
                             nullptr};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
