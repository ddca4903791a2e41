// SPDX-License-Identifier: MIT
// Optional C++20 help for plugin authors, on top of plugin.h: header only, no promise of a stable ABI (it is
// compiled into the plugin), needs no exceptions. Everything is for the thread of the call.
#pragma once

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include <vbdkit/plugin.h>

namespace vbdkit {

/// Fills `err` with a message, a reason code (static string or null) and an errno value (0: none); returns
/// `status`, so that a callback can end with `return fail(...)`.
__attribute__((format(printf, 5, 6))) inline int32_t fail(vbd_error *err, int32_t status, const char *reason,
                                                          int sys_errno, const char *format, ...) noexcept {
  if (err == nullptr) return status;
  err->sys_errno = sys_errno;
  err->reason = reason;
  if (err->msg == nullptr || err->msg_cap == 0) return status;
  va_list args;
  va_start(args, format);
  std::vsnprintf(err->msg, err->msg_cap, format, args);
  va_end(args);
  for (char *c = err->msg; *c != '\0'; ++c) {
    if (static_cast<unsigned char>(*c) < 0x20 || *c == 0x7f) *c = '?';
  }
  return status;
}

/// The status that fits an errno value (positive).
inline int32_t status_of_errno(int error) noexcept {
  switch (error) {
    case 0:
      return VBD_OK;
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return VBD_E_NOENT;
    case EEXIST:
      return VBD_E_EXIST;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY:
      return VBD_E_BUSY;
    case EPERM:
    case EACCES:
    case EBADF:
      return VBD_E_PERM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return VBD_E_NOSPC;
    case EINVAL:
      return VBD_E_INVAL;
    case EOPNOTSUPP:
    case ENOSYS:
      return VBD_E_NOTSUP;
    case ETIMEDOUT:
      return VBD_E_TIMEOUT;
    default:
      return VBD_E_IO;
  }
}

/// fail() for a system call: "what: text of errno".
inline int32_t fail_errno(vbd_error *err, int error, const char *what) noexcept {
  char text[128] = "";
  const char *shown = strerror_r(error, text, sizeof text);  // the GNU form: may return a static string
  return fail(err, status_of_errno(error), nullptr, error, "%s: %s", what, shown);
}

/// A field of a request that an older host may not have sent: `field` lies within request->size.
template <class Struct, class Field>
[[nodiscard]] bool has_field(const Struct *object, const Field &field) noexcept {
  const auto *begin = reinterpret_cast<const char *>(object);
  const auto *end = reinterpret_cast<const char *>(&field) + sizeof(Field);
  return static_cast<std::size_t>(end - begin) <= object->size;
}

/// Refuses must bits outside `known`; VBD_OK otherwise.
inline int32_t check_must(const vbd_request *request, uint32_t known, vbd_error *err) noexcept {
  const uint32_t unknown = request->must & ~known;
  if (unknown == 0) return VBD_OK;
  return fail(err, VBD_E_NOTSUP, nullptr, 0, "must bits 0x%x are not supported", unknown);
}

/// The value of a parameter, or `fallback` (which may be null).
[[nodiscard]] inline const char *value_of(const vbd_kv *list, uint32_t n, std::string_view key,
                                          const char *fallback = nullptr) noexcept {
  for (uint32_t i = 0; i < n; ++i) {
    if (key == list[i].key) return list[i].value;
  }
  return fallback;
}
[[nodiscard]] inline const char *param(const vbd_request *request, std::string_view key,
                                       const char *fallback = nullptr) noexcept {
  return value_of(request->params, request->n_params, key, fallback);
}
[[nodiscard]] inline const char *property(const vbd_request *request, std::string_view key,
                                          const char *fallback = nullptr) noexcept {
  return value_of(request->properties, request->n_properties, key, fallback);
}

/// An extension of the host, or null. `T` is its struct.
template <class T>
[[nodiscard]] const T *extension(const vbd_host *host, const char *id) noexcept {
  if (host == nullptr || host->get_extension == nullptr) return nullptr;
  return static_cast<const T *>(host->get_extension(host->ctx, id));
}

/// Puts results until one fails; status() is the first failure.
class Sink {
 public:
  explicit Sink(vbd_sink *sink) noexcept : sink_(sink) {}
  void text(const char *key, const char *value) noexcept {
    if (status_ == VBD_OK) status_ = sink_->put_str(sink_->ctx, key, value);
  }
  void number(const char *key, uint64_t value) noexcept {
    if (status_ == VBD_OK) status_ = sink_->put_u64(sink_->ctx, key, value);
  }
  void flag(const char *key, bool value) noexcept {
    if (status_ == VBD_OK) status_ = sink_->put_bool(sink_->ctx, key, value ? 1 : 0);
  }
  [[nodiscard]] int32_t status() const noexcept { return status_; }

 private:
  vbd_sink *sink_;
  int32_t status_ = VBD_OK;
};

/// Runs the body of a callback; an exception (of a library, or bad_alloc) becomes a status.
template <class Body>
[[nodiscard]] int32_t guarded(vbd_error *err, Body &&body) noexcept {
#if defined(__cpp_exceptions)
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
  } catch (...) {
    return fail(err, VBD_E_INTERNAL, nullptr, 0, "unexpected exception");
  }
#else
  return body();
#endif
}

/// Reads exactly `len` bytes or fails: a short read is `reason`.
inline int32_t read_exactly(const vbd_file *file, void *buf, uint64_t len, uint64_t off, const char *reason,
                            vbd_error *err) noexcept {
  auto *to = static_cast<char *>(buf);
  while (len > 0) {
    const int64_t n = file->read(file->ctx, to, len, off);
    if (n < 0) return fail_errno(err, static_cast<int>(-n), "read");
    if (n == 0)
      return fail(err, VBD_E_CORRUPT, reason, 0, "the file ends at %llu",
                  static_cast<unsigned long long>(off));
    to += n;
    off += static_cast<uint64_t>(n);
    len -= static_cast<uint64_t>(n);
  }
  return VBD_OK;
}
inline int32_t write_all(const vbd_file *file, const void *buf, uint64_t len, uint64_t off,
                         vbd_error *err) noexcept {
  const int64_t n = file->write(file->ctx, buf, len, off);
  if (n < 0) return fail_errno(err, static_cast<int>(-n), "write");
  if (static_cast<uint64_t>(n) != len) return fail(err, VBD_E_IO, nullptr, 0, "short write");
  return VBD_OK;
}

}  // namespace vbdkit

#include <vbdkit/detail/loop.hpp>      // loop devices and who uses a node: for drivers
#include <vbdkit/detail/xen_disk.hpp>  // what a Xen disk string can carry: for drivers
