// SPDX-License-Identifier: MIT
#include "core/plugin/call.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
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

/// What a status of the ABI means on our side.
struct Meaning {
  std::int32_t status;
  const ErrorKind &kind;
  std::string_view words;
};

/// Of several rows with one status, the first tells what it means; of several kinds with one exit code, the
/// first is the status of all others that have no row. An error with `failed` and no row is VBD_E_IO.
constexpr std::array kMeanings{
    Meaning{VBD_E_INVAL, kInvalid, "invalid argument"},
    Meaning{VBD_E_NOENT, sys::kNotFound, "not there"},
    Meaning{VBD_E_BUSY, sys::kInUse, "in use"},
    Meaning{VBD_E_EXIST, sys::kExists, "there already"},
    Meaning{VBD_E_REFUSED, kRefused, "refused"},
    Meaning{VBD_E_NOTSUP, kNotSupported, "not supported"},
    Meaning{VBD_E_REFERENCE, kNamesReference, "names a second file"},
    Meaning{VBD_E_CORRUPT, kDamaged, "damaged"},
    Meaning{VBD_E_IO, sys::kIo, "input or output failed"},
    Meaning{VBD_E_PERM, sys::kPermission, "permission refused"},
    Meaning{VBD_E_NOSPC, sys::kNoSpace, "no space"},
    Meaning{VBD_E_NOSPC, sys::kFileTooLarge, "no space"},
    Meaning{VBD_E_MISSING, sys::kHelperMissing, "a helper is missing"},
    Meaning{VBD_E_TIMEOUT, sys::kHelperTimeout, "took too long"},
    Meaning{VBD_E_CANCELLED, kCancelled, "cancelled"},
    Meaning{VBD_E_INTERNAL, kInternal, "internal error"},
};

/// A status that no header of ours has is an internal error of its plugin.
const Meaning &meaning_of(std::int32_t status) {
  const auto same = [status](const Meaning &row) { return row.status == status; };
  const auto *found = std::find_if(kMeanings.begin(), kMeanings.end(), same);
  return found == kMeanings.end() ? kMeanings.back() : *found;
}

/// The status for an error of ours that goes to a plugin.
std::int32_t status_of(const Error &error) {
  const auto same = [&](const Meaning &row) { return error.is(row.kind); };
  const auto like = [&](const Meaning &row) { return error.exit() == row.kind.exit; };
  const auto *found = std::find_if(kMeanings.begin(), kMeanings.end(), same);
  if (found == kMeanings.end()) found = std::find_if(kMeanings.begin(), kMeanings.end(), like);
  return found == kMeanings.end() ? std::int32_t{VBD_E_IO} : found->status;
}

/// The last error of the host's that a plugin was given on this thread, and where: what comes back is most
/// often that one, and the ABI has no room for its id and its hint.
struct Given {
  const vbd_error *to = nullptr;
  std::optional<Error> error;
};
thread_local Given last_given;

void remember(const Error &error, const vbd_error *to) noexcept {
  last_given.to = nullptr;
  try {
    last_given.error = error;
    last_given.to = to;
  } catch (...) {  // then the plugin's words have to do
  }
}

/// The host's own error, when `error` is that one on its way back: untouched but for words in front.
const Error *own_error(std::int32_t status, const vbd_error &error) {
  if (last_given.to != &error || !last_given.error || error.msg == nullptr || error.reason != nullptr)
    return nullptr;
  if (status != status_of(*last_given.error)) return nullptr;
  const std::string_view words = last_given.error->message();
  if (words.empty() || words.size() >= error.msg_cap) return nullptr;
  return std::string_view(error.msg).ends_with(words) ? &*last_given.error : nullptr;
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
  if (last_given.to == &error_) last_given.to = nullptr;  // of an earlier call, whose buffer lay here
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
  remember(error, to);
  return give_text(status_of(error), error.message(), to);
}

Error status_error(int32_t status, const vbd_error &error, const std::string &plugin,
                   const std::string &what) {
  std::string why = error.msg == nullptr ? std::string() : text::printable(error.msg);
  if (why.empty()) why = meaning_of(status).words;
  if (error.sys_errno > 0) {
    const std::string system = std::generic_category().message(error.sys_errno);
    if (why.find(system) == std::string::npos) why += text::cat(": ", system);
  }
  if (status >= 0 || status < VBD_E_REFUSED) why += text::cat(" (status ", status, ")");
  const std::string message = text::cat(plugin, ": ", text::printable(what), ": ", why);
  if (const Error *own = own_error(status, error)) return own->rephrase(message);
  const bool too_large = error.sys_errno == EFBIG;
  const ErrorKind &kind = too_large ? sys::kFileTooLarge : meaning_of(status).kind;
  const std::string_view id = is_reason(error.reason) ? std::string_view(error.reason) : kind.id;
  return Error(ErrorKind{id, kind.exit}, message, too_large ? sys::errno_error({}, EFBIG).hint() : "");
}

}  // namespace vbd::plugin
