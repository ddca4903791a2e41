// SPDX-License-Identifier: MIT
// The two sides of one call across the ABI: a Request as a vbd_request, a buffer for the plugin's error,
// Facts as a vbd_sink, and the meaning of a status. Objects live on the caller's stack for one call.
// [call-thread]
#pragma once

#include <array>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include <vbdkit/plugin.h>

#include "core/plugin/plugin.hpp"

namespace vbd::plugin {

/// `request` must outlive it.
class RawRequest {
 public:
  explicit RawRequest(const Request &request);
  RawRequest(const RawRequest &) = delete;
  RawRequest &operator=(const RawRequest &) = delete;
  [[nodiscard]] const vbd_request *get() const { return &raw_; }

 private:
  std::vector<vbd_kv> params_, properties_;
  vbd_request raw_{};
};

class ErrorBuffer {
 public:
  ErrorBuffer();
  ErrorBuffer(const ErrorBuffer &) = delete;
  ErrorBuffer &operator=(const ErrorBuffer &) = delete;
  [[nodiscard]] vbd_error *get() { return &error_; }
  /// After the call; ends the message even when the plugin did not.
  [[nodiscard]] const vbd_error &read();

 private:
  std::array<char, 1024> text_{};
  vbd_error error_{};
};

/// Puts into `facts`, which must outlive it. Keys that are not [a-z][a-z0-9_.]{0,63}, NULL strings, values
/// over a MiB and more than 16384 keys are VBD_E_INVAL.
[[nodiscard]] vbd_sink make_sink(Facts &facts);

/// For functions that the host offers to plugins: the error into the plugin's struct; returns the status for
/// it. Where the plugin hands both on, status_error gives the very error again, with its id and its hint.
[[nodiscard]] int32_t give_error(const Error &error, vbd_error *to) noexcept;
int32_t give_text(int32_t status, std::string_view text, vbd_error *to) noexcept;

/// The body of a function that the host offers: an exception becomes a status that says which.
template <class Body>
int32_t shielded(vbd_error *err, Body &&body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return give_text(VBD_E_INTERNAL, "the host is out of memory", err);
  } catch (const std::exception &caught) {
    return give_text(VBD_E_INTERNAL, caught.what(), err);
  } catch (...) {
    return give_text(VBD_E_INTERNAL, "the host threw an exception", err);
  }
}

/// A list as the ABI wants it; the map must outlive it.
[[nodiscard]] std::vector<vbd_kv> as_kv(const std::map<std::string, std::string> &values);

/// Calls a plugin's function. Callbacks compiled as C or as C++11 may throw all the same: then `thrown` is
/// set.
template <class R, class... Params, class... Args>
R call_out(bool &thrown, R (*function)(Params...) noexcept, Args... args) {
  R (*may_throw)(Params...) = function;  // through the noexcept type the compiler would drop the handler
  try {
    return may_throw(args...);
  } catch (...) {
    thrown = true;
    return R();
  }
}

}  // namespace vbd::plugin
