// SPDX-License-Identifier: MIT
// One loaded plugin: its operations in C++ words. Every call turns the status into an Error whose message
// names the plugin, and the sink into Facts. Calls are made from one thread at a time, except those of an
// image table that declares itself parallel.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <vbdkit/plugin.h>

#include "core/base/result.hpp"
#include "core/plugin/gate.hpp"
#include "core/plugin/note.hpp"
#include "core/plugin/options.hpp"
#include "core/sys/fd.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kLoadFailed{"plugin.load_failed", Exit::refused};
inline constexpr ErrorKind kNoSymbol{"plugin.no_symbol", Exit::refused};
inline constexpr ErrorKind kNullStruct{"plugin.null_struct", Exit::refused};
inline constexpr ErrorKind kBadSize{"plugin.bad_struct_size", Exit::refused};
inline constexpr ErrorKind kBadStruct{"plugin.bad_struct", Exit::refused};
inline constexpr ErrorKind kBadOptionTable{"plugin.bad_option_table", Exit::refused};
inline constexpr ErrorKind kMismatch{"plugin.note_mismatch", Exit::refused};
inline constexpr ErrorKind kInitFailed{"plugin.init_failed", Exit::refused};
inline constexpr ErrorKind kNoOperation{"plugin.no_operation", Exit::refused};
inline constexpr ErrorKind kInternal{"plugin.internal", Exit::failed};
// What a status becomes where sys has no kind for it: see status_error.
inline constexpr ErrorKind kInvalid{"plugin.invalid_argument", Exit::usage};
inline constexpr ErrorKind kNotSupported{"plugin.not_supported", Exit::refused};
inline constexpr ErrorKind kDamaged{"image.damaged", Exit::damaged};
inline constexpr ErrorKind kNamesReference{"image.reference", Exit::refused};
inline constexpr ErrorKind kRefused{"image.refused", Exit::refused};
inline constexpr ErrorKind kCancelled{"operation.cancelled", Exit::failed};

/// What an operation put into its sink.
class Facts {
 public:
  using Value = std::variant<std::string, std::uint64_t, bool>;
  void put(std::string key, Value value);
  [[nodiscard]] const Value *find(std::string_view key) const;
  [[nodiscard]] std::string text(std::string_view key) const;      ///< "" when missing; numbers printed
  [[nodiscard]] std::uint64_t number(std::string_view key) const;  ///< 0 when missing
  [[nodiscard]] bool flag(std::string_view key) const;             ///< false when missing
  [[nodiscard]] const std::vector<std::pair<std::string, Value>> &all() const { return facts_; }
  /// prop.NAME -> NAME: value
  [[nodiscard]] std::map<std::string, std::string> properties() const;

 private:
  std::vector<std::pair<std::string, Value>> facts_;
};

/// A request in C++ words; turned into a vbd_request for the time of one call.
struct Request {
  std::uint32_t must = 0, hint = 0;
  std::string image;
  int image_fd = -1;
  Values params;
  std::map<std::string, std::string> properties;
  std::string format, tag, dialect, vdev, node, snapshot;
  const vbd_file *file = nullptr;
  std::vector<vbd_reference> references;
  std::uint32_t block_size = 0;
  std::uint64_t bytes = 0;
};

/// The status and error of a call as an Error; kind from the status, the plugin's reason code as id when
/// given.
[[nodiscard]] Error status_error(int32_t status, const vbd_error &error, const std::string &plugin,
                                 const std::string &what);

/// What a driver's record and lock extensions work on during one call; null members: extension not offered.
struct CallContext {
  std::function<Result<void>(const std::string &key, const std::string *value)> put_state;
  std::function<const std::string *(const std::string &key)> get_state;
  std::string state_directory;
  std::function<Result<void>()> release_lock, restore_lock;
  std::function<Result<bool>(std::int64_t pid)> lock_held_by;             ///< false: nobody
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;  ///< true: stop
  std::int32_t status = VBD_OK;  ///< filled in: what the operation returned
  Facts told;                    ///< filled in when it failed: what it had put before
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  [[nodiscard]] virtual const Note &note() const = 0;
  [[nodiscard]] virtual const std::string &path() const = 0;
  [[nodiscard]] virtual const std::vector<OptionInfo> &options() const = 0;
  /// Null by kind.
  [[nodiscard]] virtual const vbd_driver_ops *driver() const = 0;
  [[nodiscard]] virtual const vbd_filetype_ops *filetype() const = 0;
  [[nodiscard]] virtual void *self() const = 0;

  /// Calls one control operation: op is a member of the (copied) ops table; null: kNoOperation naming `name`.
  [[nodiscard]] virtual Result<Facts> call(vbd_op op, std::string_view name, const Request &request,
                                           CallContext *context = nullptr) = 0;
  /// Per-image values checked and completed with configured and built-in defaults, ready for Request.params.
  /// `creating` false leaves out the defaults of options that have a meaning at create only.
  [[nodiscard]] virtual Result<Values> image_params(const Values &given, const std::string &where,
                                                    bool creating = true) const = 0;

  /// For calls of the image table.
  [[nodiscard]] Gate &gate() { return gate_; }

 private:
  Gate gate_;
};

}  // namespace vbd::plugin
