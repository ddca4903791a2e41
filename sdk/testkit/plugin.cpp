// SPDX-License-Identifier: MIT
#include "plugin.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

namespace vbdkit::testkit {
namespace {

/// The part of a struct that its maker knew, the rest zero, as a host reads it.
template <class T>
T sized_copy(const T *from) {
  T to = {};
  if (from != nullptr) std::memcpy(&to, from, std::min<std::size_t>(from->size, sizeof to));
  return to;
}

std::vector<vbd_kv> list_of(const Pairs &pairs) {
  std::vector<vbd_kv> list;
  list.reserve(pairs.size());
  for (const auto &[key, value] : pairs) list.push_back({key.c_str(), value.c_str()});
  return list;
}

const vbd_host *silent_host() {
  static const vbd_host host = {
      sizeof(vbd_host),
      VBD_ABI_MAJOR,
      VBD_ABI_MINOR,
      nullptr,
      [](void *, std::uint32_t, const char *) noexcept {},
      [](void *, std::uint64_t, std::uint64_t) noexcept -> std::int32_t { return 0; },
      [](void *, const char *) noexcept -> const void * { return nullptr; },
  };
  return &host;
}

}  // namespace

std::unique_ptr<Plugin> Plugin::linked(const vbd_plugin *plugin, std::string &error, const Pairs &config,
                                       const vbd_host *host) {
  std::unique_ptr<Plugin> made(new Plugin);
  made->copy_ = sized_copy(plugin);
  made->driver_ = sized_copy(made->copy_.driver);
  made->filetype_ = sized_copy(made->copy_.filetype);
  if (made->filetype_.image != nullptr) {
    made->image_ = sized_copy(made->filetype_.image);
    made->filetype_.image = &made->image_;
  }
  if (made->copy_.init != nullptr) {
    ErrorBox box;
    const std::vector<vbd_kv> list = list_of(config);
    const std::int32_t status =
        made->copy_.init(host == nullptr ? silent_host() : host, list.data(),
                         static_cast<std::uint32_t>(list.size()), &made->self_, box.get());
    if (status != VBD_OK) {
      error = "init failed with " + std::to_string(status) + ": " + box.all();
      made->copy_.fini = nullptr;
      return nullptr;
    }
  }
  return made;
}

std::unique_ptr<Plugin> Plugin::load(const std::string &path, std::string &error, const Pairs &config,
                                     const vbd_host *host) {
  void *library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    error = ::dlerror();
    return nullptr;
  }
  using Entry = const vbd_plugin *(*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "vbd_plugin_v1"));
  if (entry == nullptr) {
    error = path + " does not export vbd_plugin_v1";
    return nullptr;
  }
  return linked(entry(), error, config, host);
}

Plugin::~Plugin() {
  if (copy_.fini != nullptr) copy_.fini(self_);
}

Pairs Plugin::params(const Pairs &given) const {
  Pairs all = given;
  const auto *bytes = reinterpret_cast<const char *>(copy_.options);
  for (std::uint32_t i = 0; i < copy_.n_options; ++i) {
    vbd_option option = {};
    std::memcpy(&option, bytes + std::size_t{i} * copy_.option_stride,
                std::min<std::size_t>(copy_.option_stride, sizeof option));
    const bool is_given =
        std::any_of(given.begin(), given.end(), [&](const auto &pair) { return pair.first == option.name; });
    if ((option.flags & VBD_OPT_PER_IMAGE) == 0 || option.dflt == nullptr || is_given) continue;
    all.emplace_back(option.name, option.dflt);
  }
  return all;
}

Request::Request() {
  raw_.size = sizeof raw_;
  raw_.image = "/test/image";
  raw_.image_fd = -1;
}

Request::Request(const vbd_file *file, std::uint64_t bytes, std::uint32_t must) : Request() {
  raw_.file = file;
  raw_.bytes = bytes;
  raw_.must = must;
}

Request &Request::params(Pairs params) {
  params_ = std::move(params);
  param_list_ = list_of(params_);
  raw_.params = param_list_.data();
  raw_.n_params = static_cast<std::uint32_t>(param_list_.size());
  return *this;
}

Request &Request::properties(Pairs properties) {
  properties_ = std::move(properties);
  property_list_ = list_of(properties_);
  raw_.properties = property_list_.data();
  raw_.n_properties = static_cast<std::uint32_t>(property_list_.size());
  return *this;
}

Request &Request::references(std::vector<vbd_reference> references) {
  references_ = std::move(references);
  raw_.references = references_.data();
  raw_.n_references = static_cast<std::uint32_t>(references_.size());
  return *this;
}

}  // namespace vbdkit::testkit
