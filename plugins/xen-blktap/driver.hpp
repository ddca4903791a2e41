// SPDX-License-Identifier: MIT
// FD_BLKTAP inside: what all its back ends share. One back end makes the block device of one attachment;
// which one, and what it was about to make, is in the host's record before it is made, so that whatever a
// killed run left can be found and taken away. Everything is for the thread of the call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <vbdkit/plugin.hpp>

namespace blktap {

/// From init to fini.
struct Driver {
  const vbd_host *host = nullptr;
  const vbd_ext_run *run = nullptr;  ///< these four: null when the host does not offer them
  const vbd_ext_spawn *spawn = nullptr;
  const vbd_ext_state *state = nullptr;
  const vbd_ext_lock *lock = nullptr;
  std::string backend = "auto";  ///< options as configured
  bool direct_io = true;
};

/// One call of the host.
struct Call {
  const Driver &driver;
  const vbd_request *request;
  vbd_sink *sink;
  vbd_error *err;

  [[nodiscard]] bool must(std::uint32_t bit) const { return (request->must & bit) != 0; }
  [[nodiscard]] bool read_only() const { return must(VBD_MUST_READONLY); }
  [[nodiscard]] bool direct_io() const;
  /// The filetype's name for blktap ("aio", "qcow2", "vhd"); empty when it has none that is a plain word.
  [[nodiscard]] std::string tap() const { return plain_property("tap"); }
  [[nodiscard]] std::string qemu() const { return plain_property("qemu"); }
  /// The record: empty when there is none.
  [[nodiscard]] std::string recall(const char *key) const;
  [[nodiscard]] std::int32_t record(const char *key, const std::string &value) const;
  void forget(const char *key) const;
  void warn(const std::string &text) const;
  /// True when the user wants to stop.
  [[nodiscard]] bool cancelled() const;
  /// Runs a helper; a non-zero exit is in `exit_status`, and what it said in the error's text.
  [[nodiscard]] std::int32_t run(const std::vector<std::string> &argv, std::string &out,
                                 int &exit_status) const;
  /// "what: what the helper said".
  [[nodiscard]] std::int32_t helper_failed(std::int32_t status, const char *what, int exit_status) const;

 private:
  [[nodiscard]] std::string plain_property(const char *name) const;
};

/// For steps whose failure must not replace the first error.
class Quiet {
 public:
  explicit Quiet(const Call &call) : call_{call.driver, call.request, call.sink, &error_} {}
  Quiet(const Quiet &) = delete;
  Quiet &operator=(const Quiet &) = delete;
  [[nodiscard]] const Call &operator()() const { return call_; }
  [[nodiscard]] const char *text() const { return text_; }

 private:
  char text_[512] = "";
  vbd_error error_ = {sizeof(vbd_error), 0, text_, sizeof text_, 0, nullptr};
  Call call_;
};

/// What is there of an attachment.
struct Condition {
  enum class Is { nothing, part, whole };
  Is is = Is::nothing;
  std::string why;  ///< part: what is wrong
  std::string node;
  bool read_only = false;
  std::optional<bool> direct_io;
  bool locked = false;  ///< somebody alive holds the lock on the image's bytes
};

/// A back end. attach finds nothing of it there. It returns VBD_E_MISSING or VBD_E_NOTSUP, with nothing made,
/// when this host or this image is not for it.
struct Backend {
  const char *name;
  std::int32_t (*attach)(const Call &call, Condition &made);
  std::int32_t (*detach)(const Call &call);
  std::int32_t (*query)(const Call &call, Condition &found);
  std::int32_t (*again)(const Call &call);  ///< an attach that finds it whole; null: nothing to do
};

extern const Backend kTapctl, kXl, kQsd;

inline constexpr const char *kBackendKey = "blktap.backend", *kModeKey = "blktap.mode",
                            *kNodeKey = "blktap.node";

/// True when `path` is a block device.
[[nodiscard]] bool is_block_device(const std::string &path);
/// VBD_E_BUSY naming the user of the node, when there is one.
[[nodiscard]] std::int32_t refuse_busy(const Call &call, const std::string &node);
/// True in the domain that runs Xen's toolstack.
[[nodiscard]] bool host_runs_xen();

[[nodiscard]] std::int32_t render(const Call &call);

}  // namespace blktap
