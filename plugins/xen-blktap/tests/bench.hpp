// SPDX-License-Identifier: MIT
// A scratch image and FD_BLKTAP over any host, for the tests of its back ends.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "sdk/testkit/plugin.hpp"

#include <vbdkit/plugin.hpp>

namespace blktap_test {

using vbdkit::UniqueFd;
using vbdkit::testkit::ErrorBox;
using vbdkit::testkit::Pairs;
using vbdkit::testkit::Plugin;
using vbdkit::testkit::Request;
using vbdkit::testkit::Results;

/// A directory that goes at the end, with the plain files in it.
struct Scratch {
  Scratch() {
    std::string pattern = "/var/tmp/vbdkit-blktap-XXXXXX";
    const char *made = ::mkdtemp(pattern.data());
    REQUIRE(made != nullptr);
    path = made;
  }
  ~Scratch() { remove_all(path); }
  static void remove_all(const std::string &directory) {
    for (const std::string &name : vbdkit::detail::names_in(directory)) {
      const std::string entry = directory + "/" + name;
      if (::unlink(entry.c_str()) != 0 && errno == EISDIR) remove_all(entry);
    }
    ::rmdir(directory.c_str());
  }
  std::string path;
};

/// Calls the plugin with one image.
struct Caller {
  Caller(const vbd_host *host, std::string image_path, Pairs image_properties, const std::string &image_tag)
      : image(std::move(image_path)), tag(image_tag), properties(std::move(image_properties)) {
    fd = UniqueFd(::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    std::string problem;
    plugin = Plugin::linked(vbd_plugin_v1(), problem, {}, host);
    REQUIRE_MESSAGE(plugin != nullptr, problem);
  }
  std::int32_t call(vbd_op op, std::uint32_t must, const Pairs &params) {
    Request request;
    request->image = image.c_str();
    request->image_fd = fd.get();
    request->tag = tag.c_str();
    request->format = "FT_TEST";
    request->must = must;
    request.params(plugin->params(params)).properties(properties);
    results.clear();
    return op(plugin->self(), request.get(), results.sink(), error.get());
  }
  std::int32_t attach(const Pairs &params, std::uint32_t must = 0) {
    return call(plugin->driver().attach, must, params);
  }
  std::int32_t detach(std::uint32_t must = 0) { return call(plugin->driver().detach, must, {}); }
  std::int32_t query() { return call(plugin->driver().query, 0, {}); }
  [[nodiscard]] std::string node() const { return results.text("node"); }

  std::string image, tag;
  Pairs properties;
  UniqueFd fd;
  std::unique_ptr<Plugin> plugin;
  Results results;
  ErrorBox error;
};

}  // namespace blktap_test
