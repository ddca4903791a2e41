// SPDX-License-Identifier: MIT
// Calling a plugin from a test: its struct linked in or loaded from a file, a sink that keeps what it gets,
// an error to look into, a request that owns its strings, an open image. One thread at a time, except that
// calls on one Image may come from several when the filetype declares it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <vbdkit/plugin.h>

namespace vbdkit::testkit {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// A vbd_error with room for its text.
class ErrorBox {
 public:
  ErrorBox() { clear(); }
  ErrorBox(const ErrorBox &) = delete;
  ErrorBox &operator=(const ErrorBox &) = delete;
  /// Cleared, ready for the next call.
  [[nodiscard]] vbd_error *get() {
    clear();
    return &error_;
  }
  [[nodiscard]] std::string text() const { return text_; }
  [[nodiscard]] std::string reason() const { return error_.reason == nullptr ? "" : error_.reason; }
  [[nodiscard]] int sys_errno() const { return error_.sys_errno; }
  /// "reason: text (errno 28)", for failure messages.
  [[nodiscard]] std::string all() const;

 private:
  void clear();
  vbd_error error_ = {};
  char text_[512] = "";
};

/// A sink over an array; a key that repeats replaces its value.
class Results {
 public:
  using Value = std::variant<std::string, std::uint64_t, bool>;
  Results();
  Results(const Results &) = delete;
  Results &operator=(const Results &) = delete;
  [[nodiscard]] vbd_sink *sink() { return &sink_; }
  [[nodiscard]] const std::vector<std::pair<std::string, Value>> &all() const { return entries_; }
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] std::string text(std::string_view key) const;      ///< "" when missing or of another type
  [[nodiscard]] std::uint64_t number(std::string_view key) const;  ///< 0 likewise
  [[nodiscard]] bool flag(std::string_view key) const;             ///< false likewise
  void clear() { entries_.clear(); }
  /// From now on every put answers this.
  void refuse(std::int32_t status) { refusal_ = status; }

 private:
  struct Functions;
  [[nodiscard]] const Value *find(std::string_view key) const;
  std::int32_t put(const char *key, Value value);
  std::vector<std::pair<std::string, Value>> entries_;
  std::int32_t refusal_ = VBD_OK;
  vbd_sink sink_;
};

/// A vbd_request with everything zero but what is set; owns its strings.
class Request {
 public:
  Request();
  explicit Request(const vbd_file *file, std::uint64_t bytes = 0, std::uint32_t must = 0);
  Request(const Request &) = delete;
  Request &operator=(const Request &) = delete;
  vbd_request *operator->() { return &raw_; }
  Request &params(Pairs params);
  Request &properties(Pairs properties);
  Request &references(std::vector<vbd_reference> references);
  /// Ready for a call; valid until this is changed.
  [[nodiscard]] const vbd_request *get() const { return &raw_; }

 private:
  vbd_request raw_ = {};
  Pairs params_, properties_;
  std::vector<vbd_kv> param_list_, property_list_;
  std::vector<vbd_reference> references_;
};

/// The operations of a filetype and the instance to call them on.
struct Filetype {
  const vbd_filetype_ops *ops = nullptr;
  void *self = nullptr;
};

/// An initialised plugin. fini() is called at the end; a loaded file stays loaded.
class Plugin {
 public:
  /// `plugin` as returned by vbd_plugin_v1(), linked in directly. `error` says why there is none.
  [[nodiscard]] static std::unique_ptr<Plugin> linked(const vbd_plugin *plugin, std::string &error,
                                                      const Pairs &config = {},
                                                      const vbd_host *host = nullptr);
  /// From a file, by dlopen.
  [[nodiscard]] static std::unique_ptr<Plugin> load(const std::string &path, std::string &error,
                                                    const Pairs &config = {}, const vbd_host *host = nullptr);
  ~Plugin();
  Plugin(const Plugin &) = delete;
  Plugin &operator=(const Plugin &) = delete;

  [[nodiscard]] const vbd_plugin &description() const { return copy_; }
  [[nodiscard]] void *self() const { return self_; }
  [[nodiscard]] const vbd_driver_ops &driver() const { return driver_; }
  [[nodiscard]] Filetype filetype() const { return {&filetype_, self_}; }
  /// Per-image options of the table with their defaults, replaced or completed by `given`: what a host sends.
  [[nodiscard]] Pairs params(const Pairs &given = {}) const;

 private:
  Plugin() = default;
  vbd_plugin copy_ = {};
  vbd_driver_ops driver_ = {};
  vbd_filetype_ops filetype_ = {};
  vbd_image_ops image_ = {};
  void *self_ = nullptr;
};

/// An open image. Functions return VBD_* and fill error().
class Image {
 public:
  explicit Image(Filetype filetype) : filetype_(filetype) {}
  ~Image() { close(); }
  Image(const Image &) = delete;
  Image &operator=(const Image &) = delete;

  std::int32_t open(const vbd_file *file, std::uint32_t must = 0, const Pairs &params = {});
  /// VBD_OK when it was not open.
  std::int32_t close();
  [[nodiscard]] bool is_open() const { return image_ != nullptr; }
  std::int32_t geometry(Results &results);
  /// Extents of the whole range, however many calls it takes; checks their order, and that there are no gaps.
  std::int32_t map(std::uint64_t offset, std::uint64_t length, std::vector<vbd_extent> &extents);
  std::int32_t read(void *to, std::uint64_t length, std::uint64_t offset);
  std::int32_t write(const void *from, std::uint64_t length, std::uint64_t offset);
  std::int32_t zero(std::uint64_t offset, std::uint64_t length, std::uint32_t flags = VBD_ZERO_MAY_PUNCH);
  std::int32_t flush();
  /// As map.
  std::int32_t reserve(std::uint64_t offset, std::uint64_t length, std::vector<vbd_extent> &extents);
  std::int32_t commit(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] const vbd_image_ops *ops() const { return filetype_.ops->image; }
  [[nodiscard]] void *raw() const { return image_; }
  [[nodiscard]] ErrorBox &error() { return error_; }
  /// From geometry at open.
  [[nodiscard]] std::uint64_t virtual_size() const { return virtual_size_; }
  [[nodiscard]] std::uint64_t unit() const { return unit_; }

 private:
  using MapCall = std::int32_t (*)(void *, std::uint64_t, std::uint64_t, vbd_extent *, std::uint32_t,
                                   std::uint32_t *, vbd_error *) VBD_NOEXCEPT;
  std::int32_t extents(MapCall call, std::uint64_t offset, std::uint64_t length,
                       std::vector<vbd_extent> &list);
  Filetype filetype_;
  void *image_ = nullptr;
  std::uint64_t virtual_size_ = 0, unit_ = 0;
  ErrorBox error_;
};

}  // namespace vbdkit::testkit
