// SPDX-License-Identifier: MIT
// What one plugin gets from the host: vbd_host with log, progress and the extensions vbd.run/1, vbd.spawn/1
// and, for drivers, vbd.state/1 and vbd.lock/1, which work on the context of the call that is under way. Must
// outlive the plugin's self. log is for any thread, the rest for the thread of the call.
#pragma once

#include <string>

#include <vbdkit/plugin.h>

#include "core/plugin/plugin.hpp"
#include "core/sys/run.hpp"

namespace vbd::plugin {

class HostServices {
 public:
  /// `directory`: where the plugin lies, and programs of its own.
  HostServices(std::string constant, PluginKind kind, std::string directory, sys::Runner &runner);
  HostServices(const HostServices &) = delete;
  HostServices &operator=(const HostServices &) = delete;

  [[nodiscard]] const vbd_host *host() const { return &host_; }

  /// The context for the time of one call; null: none of its services is offered.
  class Call {
   public:
    Call(HostServices &services, CallContext *context);
    ~Call();
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

   private:
    HostServices &services_;
    CallContext *outer_;
    bool outer_calling_;
  };

  // For the functions behind the ABI.
  [[nodiscard]] const std::string &constant() const { return constant_; }
  [[nodiscard]] sys::Runner &runner() const { return runner_; }
  /// A program that lies beside the plugin, trusted as the plugin is, by its path; any other as it is.
  [[nodiscard]] Result<std::string> program(const std::string &name) const;
  [[nodiscard]] const CallContext *context() const { return context_; }
  [[nodiscard]] const void *extension(const char *id) const;

 private:
  std::string constant_;
  PluginKind kind_;
  std::string directory_;
  sys::Runner &runner_;
  CallContext *context_ = nullptr;
  bool calling_ = false;  ///< between init and the first call the host answers for what it could offer
  vbd_host host_{};
};

// The extensions' tables; their host_ctx is a HostServices.
[[nodiscard]] const vbd_ext_run *run_extension();
[[nodiscard]] const vbd_ext_spawn *spawn_extension();
[[nodiscard]] const vbd_ext_state *state_extension();
[[nodiscard]] const vbd_ext_lock *lock_extension();

}  // namespace vbd::plugin
