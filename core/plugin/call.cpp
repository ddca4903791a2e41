// SPDX-License-Identifier: MIT
#include "core/plugin/call.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "core/base/text.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/file_limit.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kMaxFacts = 16384, kMaxFact = 1u << 20, kMaxKey = 64, kMaxReason = 63;

const char *or_null(const std::string &text) {
  return text.empty() ? nullptr : text.c_str();
}

bool is_key(const char *key) {
  if (key == nullptr || key[0] < 'a' || key[0] > 'z') return false;
  const std::size_t length = ::strnlen(key, kMaxKey + 1);
  return length <= kMaxKey && std::all_of(key, key + length, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
         });
}

bool is_reason(const char *reason) {
  if (reason == nullptr || reason[0] == '\0') return false;
  const std::size_t length = ::strnlen(reason, kMaxReason + 1);
  return length <= kMaxReason && std::all_of(reason, reason + length, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
         });
}

template <class Make>
int32_t put(void *ctx, const char *key, Make &&make) noexcept {
  auto &facts = *static_cast<Facts *>(ctx);
  if (!is_key(key) || facts.all().size() >= kMaxFacts) return VBD_E_INVAL;
  try {
    facts.put(key, make());
    return VBD_OK;
  } catch (...) {  // bad_alloc: the plugin hands the status back
    return VBD_E_INTERNAL;
  }
}

int32_t put_str(void *ctx, const char *key, const char *value) noexcept {
  if (value == nullptr || ::strnlen(value, kMaxFact) == kMaxFact) return VBD_E_INVAL;
  return put(ctx, key, [value] { return Facts::Value(std::string(value)); });
}
int32_t put_u64(void *ctx, const char *key, uint64_t value) noexcept {
  return put(ctx, key, [value] { return Facts::Value(std::uint64_t{value}); });
}
int32_t put_bool(void *ctx, const char *key, int32_t value) noexcept {
  return put(ctx, key, [value] { return Facts::Value(value != 0); });
}

const ErrorKind &kind_of(int32_t status) {
  switch (status) {
    case VBD_E_INVAL:
      return kInvalid;
    case VBD_E_NOTSUP:
      return kNotSupported;
    case VBD_E_NOENT:
      return sys::kNotFound;
    case VBD_E_EXIST:
      return sys::kExists;
    case VBD_E_BUSY:
      return sys::kInUse;
    case VBD_E_PERM:
      return sys::kPermission;
    case VBD_E_IO:
      return sys::kIo;
    case VBD_E_NOSPC:
      return sys::kNoSpace;
    case VBD_E_CORRUPT:
      return kDamaged;
    case VBD_E_MISSING:
      return sys::kHelperMissing;
    case VBD_E_CANCELLED:
      return kCancelled;
    case VBD_E_TIMEOUT:
      return sys::kHelperTimeout;
    case VBD_E_REFERENCE:
      return kNamesReference;
    case VBD_E_REFUSED:
      return kRefused;
    default:
      return kInternal;
  }
}

std::string_view words_of(int32_t status) {
  switch (status) {
    case VBD_E_INVAL:
      return "invalid argument";
    case VBD_E_NOTSUP:
      return "not supported";
    case VBD_E_NOENT:
      return "not there";
    case VBD_E_EXIST:
      return "there already";
    case VBD_E_BUSY:
      return "in use";
    case VBD_E_PERM:
      return "permission refused";
    case VBD_E_IO:
      return "input or output failed";
    case VBD_E_NOSPC:
      return "no space";
    case VBD_E_CORRUPT:
      return "damaged";
    case VBD_E_MISSING:
      return "a helper is missing";
    case VBD_E_CANCELLED:
      return "cancelled";
    case VBD_E_TIMEOUT:
      return "took too long";
    case VBD_E_REFERENCE:
      return "names a second file";
    case VBD_E_REFUSED:
      return "refused";
    default:
      return "internal error";
  }
}

/// The status for an error of ours that goes to a plugin.
int32_t status_of(const Error &error) {
  if (error.is(sys::kHelperMissing)) return VBD_E_MISSING;
  if (error.is(sys::kHelperTimeout)) return VBD_E_TIMEOUT;
  if (error.is(sys::kNoSpace) || error.is(sys::kFileTooLarge)) return VBD_E_NOSPC;
  if (error.is(sys::kPermission)) return VBD_E_PERM;
  if (error.is(sys::kExists)) return VBD_E_EXIST;
  switch (error.exit()) {
    case Exit::usage:
      return VBD_E_INVAL;
    case Exit::not_found:
      return VBD_E_NOENT;
    case Exit::busy:
      return VBD_E_BUSY;
    case Exit::refused:
      return VBD_E_REFUSED;
    case Exit::damaged:
      return VBD_E_CORRUPT;
    default:
      return VBD_E_IO;
  }
}

}  // namespace

std::vector<vbd_kv> as_kv(const std::map<std::string, std::string> &values) {
  std::vector<vbd_kv> list;
  list.reserve(values.size());
  for (const auto &[key, value] : values) list.push_back({key.c_str(), value.c_str()});
  return list;
}

RawRequest::RawRequest(const Request &request)
    : params_(as_kv(request.params)), properties_(as_kv(request.properties)) {
  raw_.size = sizeof raw_;
  raw_.must = request.must;
  raw_.hint = request.hint;
  raw_.params = params_.data();
  raw_.n_params = static_cast<uint32_t>(params_.size());
  raw_.image = request.image.c_str();
  raw_.image_fd = request.image_fd;
  raw_.properties = properties_.data();
  raw_.n_properties = static_cast<uint32_t>(properties_.size());
  raw_.format = or_null(request.format);
  raw_.file = request.file;
  raw_.references = request.references.data();
  raw_.n_references = static_cast<uint32_t>(request.references.size());
  raw_.block_size = request.block_size;
  raw_.bytes = request.bytes;
  raw_.tag = or_null(request.tag);
  raw_.dialect = or_null(request.dialect);
  raw_.vdev = or_null(request.vdev);
  raw_.node = or_null(request.node);
  raw_.snapshot = or_null(request.snapshot);
}

ErrorBuffer::ErrorBuffer() {
  error_.size = sizeof error_;
  error_.msg = text_.data();
  error_.msg_cap = static_cast<uint32_t>(text_.size());
}

const vbd_error &ErrorBuffer::read() {
  error_.msg = text_.data();  // whatever the plugin made of the pointer
  text_.back() = '\0';
  return error_;
}

vbd_sink make_sink(Facts &facts) {
  vbd_sink sink{};
  sink.size = sizeof sink;
  sink.ctx = &facts;
  sink.put_str = put_str;
  sink.put_u64 = put_u64;
  sink.put_bool = put_bool;
  return sink;
}

int32_t give_text(int32_t status, std::string_view text, vbd_error *to) noexcept {
  if (to == nullptr || to->size < offsetof(vbd_error, reserved) || to->msg == nullptr || to->msg_cap == 0)
    return status;
  const std::size_t n = std::min<std::size_t>(text.size(), to->msg_cap - 1);
  std::memcpy(to->msg, text.data(), n);
  to->msg[n] = '\0';
  return status;
}

int32_t give_error(const Error &error, vbd_error *to) noexcept {
  return give_text(status_of(error), error.message(), to);
}

Error status_error(int32_t status, const vbd_error &error, const std::string &plugin,
                   const std::string &what) {
  std::string why = error.msg == nullptr ? std::string() : text::printable(error.msg);
  if (why.empty()) why = words_of(status);
  if (error.sys_errno > 0) {
    const std::string system = std::generic_category().message(error.sys_errno);
    if (why.find(system) == std::string::npos) why += text::cat(": ", system);
  }
  if (status >= 0 || status < VBD_E_REFUSED) why += text::cat(" (status ", status, ")");
  const ErrorKind &kind = error.sys_errno == EFBIG ? sys::kFileTooLarge : kind_of(status);
  const std::string_view id = is_reason(error.reason) ? std::string_view(error.reason) : kind.id;
  return Error(ErrorKind{id, kind.exit}, text::cat(plugin, ": ", text::printable(what), ": ", why));
}

}  // namespace vbd::plugin
