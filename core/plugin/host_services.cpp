// SPDX-License-Identifier: MIT
#include "core/plugin/host_services.hpp"

#include <string_view>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/plugin/call.hpp"
#include "core/plugin/trust.hpp"
#include "core/sys/components.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kMaxStateValue = 4095;

HostServices &services(void *ctx) {
  return *static_cast<HostServices *>(ctx);
}

log::Level level_of(uint32_t level) {
  switch (level) {
    case VBD_LOG_ERROR:
      return log::Level::error;
    case VBD_LOG_WARN:
      return log::Level::warn;
    case VBD_LOG_INFO:
      return log::Level::info;
    default:
      return log::Level::debug;
  }
}

void host_log(void *ctx, uint32_t level, const char *text) noexcept {
  try {
    if (text == nullptr || !log::enabled(level_of(level))) return;
    log::write(level_of(level), text::cat(services(ctx).constant(), ": ", text::printable(text)));
  } catch (...) {  // a lost line of the log is no reason to fail
  }
}

int32_t host_progress(void *ctx, uint64_t done, uint64_t total) noexcept {
  try {
    const CallContext *context = services(ctx).context();
    return context != nullptr && context->progress && context->progress(done, total) ? 1 : 0;
  } catch (...) {
    return 0;
  }
}

const void *host_get_extension(void *ctx, const char *id) noexcept {
  return id == nullptr ? nullptr : services(ctx).extension(id);
}

int32_t answer(const Result<void> &result, vbd_error *err) {
  return result ? static_cast<int32_t>(VBD_OK) : give_error(result.error(), err);
}

int32_t state_put(void *ctx, const char *key, const char *value, vbd_error *err) noexcept {
  return shielded(err, [&] {
    const CallContext *context = services(ctx).context();
    if (context == nullptr || !context->put_state)
      return give_text(VBD_E_NOTSUP, "no record is kept of this call", err);
    Facts probe;  // the same rules for keys as in the sink
    const vbd_sink sink = make_sink(probe);
    if (sink.put_bool(sink.ctx, key, 1) != VBD_OK)
      return give_text(VBD_E_INVAL, "a bad key for the record", err);
    if (value == nullptr) return answer(context->put_state(key, nullptr), err);
    const std::string text(value);
    if (text.size() > kMaxStateValue || text.find('\n') != std::string::npos) {
      return give_text(VBD_E_INVAL, "a value for the record is one line of at most 4095 bytes", err);
    }
    return answer(context->put_state(key, &text), err);
  });
}

const char *state_get(void *ctx, const char *key) noexcept {
  try {
    const CallContext *context = services(ctx).context();
    if (context == nullptr || !context->get_state || key == nullptr) return nullptr;
    const std::string *value = context->get_state(key);
    return value == nullptr ? nullptr : value->c_str();
  } catch (...) {
    return nullptr;
  }
}

const char *state_directory(void *ctx) noexcept {
  const CallContext *context = services(ctx).context();
  return context == nullptr || context->state_directory.empty() ? nullptr : context->state_directory.c_str();
}

int32_t lock_call(void *ctx, std::function<Result<void>()> CallContext::*member, vbd_error *err) noexcept {
  return shielded(err, [&] {
    const CallContext *context = services(ctx).context();
    if (context == nullptr || !(context->*member))
      return give_text(VBD_E_NOTSUP, "this call holds no lock to hand over", err);
    return answer((context->*member)(), err);
  });
}
int32_t lock_release(void *ctx, vbd_error *err) noexcept {
  return lock_call(ctx, &CallContext::release_lock, err);
}
int32_t lock_restore(void *ctx, vbd_error *err) noexcept {
  return lock_call(ctx, &CallContext::restore_lock, err);
}

int32_t lock_held_by(void *ctx, int64_t pid, vbd_error *err) noexcept {
  return shielded(err, [&] {
    const CallContext *context = services(ctx).context();
    if (context == nullptr || !context->lock_held_by) {
      return give_text(VBD_E_NOTSUP, "this call holds no lock to hand over", err);
    }
    const auto held = context->lock_held_by(pid);
    if (!held) return give_error(held.error(), err);
    return *held ? static_cast<int32_t>(VBD_OK)
                 : give_text(VBD_E_NOENT, text::cat("process ", pid, " holds no lock on the image"), err);
  });
}

constexpr vbd_ext_state kState{sizeof(vbd_ext_state), 0, state_put, state_get, state_directory};
constexpr vbd_ext_lock kLock{sizeof(vbd_ext_lock), 0, lock_release, lock_held_by, lock_restore};

}  // namespace

const vbd_ext_state *state_extension() {
  return &kState;
}
const vbd_ext_lock *lock_extension() {
  return &kLock;
}

HostServices::HostServices(std::string constant, PluginKind kind, std::string directory, sys::Runner &runner)
    : constant_(std::move(constant)), kind_(kind), directory_(std::move(directory)), runner_(runner) {
  host_.size = sizeof host_;
  host_.abi_major = VBD_ABI_MAJOR;
  host_.abi_minor = VBD_ABI_MINOR;
  host_.ctx = this;
  host_.log = host_log;
  host_.progress = host_progress;
  host_.get_extension = host_get_extension;
}

Result<std::string> HostServices::program(const std::string &name) const {
  std::string path = text::cat(directory_, "/", name);
  if (!sys::path_exists(path)) return name;
  const auto trusted =
      sys::open_trusted_file(path, {kUntrusted, "program of a plugin", "not run", false, false});
  return trusted ? Result<std::string>(std::move(path)) : trusted.error();
}

const void *HostServices::extension(const char *id) const {
  const std::string_view name(id);
  if (name == VBD_EXT_RUN) return run_extension();
  if (name == VBD_EXT_SPAWN) return spawn_extension();
  if (kind_ != PluginKind::driver) return nullptr;
  if (name == VBD_EXT_STATE && (!calling_ || (context_ != nullptr && context_->put_state)))
    return state_extension();
  if (name == VBD_EXT_LOCK && (!calling_ || (context_ != nullptr && context_->release_lock)))
    return lock_extension();
  return nullptr;
}

HostServices::Call::Call(HostServices &services, CallContext *context)
    : services_(services), outer_(services.context_), outer_calling_(services.calling_) {
  services_.context_ = context;
  services_.calling_ = true;
}

HostServices::Call::~Call() {
  services_.context_ = outer_;
  services_.calling_ = outer_calling_;
}

}  // namespace vbd::plugin
