// SPDX-License-Identifier: MIT
// Into an image of any filetype, through its plugin.
#include "core/base/text.hpp"
#include "core/plugin/call.hpp"
#include "core/sys/host_file.hpp"
#include "manager/backup/transfer.hpp"

namespace vbd::backup {
namespace {

using text::cat;
using Bytes = std::vector<unsigned char>;

constexpr ErrorKind kCannotWrite{"backup.filetype", Exit::refused};

class ImageSink final : public Sink {
 public:
  ImageSink(plugin::Plugin &plugin, int fd, std::string path)
      : plugin_(plugin), ops_(*plugin.filetype()->image), file_(fd), path_(std::move(path)) {}
  ImageSink(const ImageSink &) = delete;
  ImageSink &operator=(const ImageSink &) = delete;
  ~ImageSink() override { (void)close(); }

  Result<void> open() {
    plugin::Request request;
    request.image = path_;
    request.file = file_.file();
    const plugin::RawRequest raw(request);
    return call("open", [&](bool &thrown, vbd_error *error) {
      return plugin::call_out(thrown, ops_.open, plugin_.self(), raw.get(), &image_, error);
    });
  }

  Result<Bytes> encode(const Part &part, const unsigned char *bytes, const Pages &) override {
    return Bytes(bytes, bytes + part.length);
  }
  Result<void> take(std::uint64_t offset, std::size_t length, Bytes encoded) override {
    // What is zeros stays unwritten, in pieces that no format divides.
    for (std::size_t at = 0; at < length; at += kPiece) {
      const std::size_t size = std::min(kPiece, length - at);
      if (image::all_zero(encoded.data() + at, size)) continue;
      VBD_TRY(call("write", [&](bool &thrown, vbd_error *error) {
        return plugin::call_out(thrown, ops_.write, image_, encoded.data() + at, size, offset + at, error);
      }));
    }
    return {};
  }
  Result<void> finish(std::uint64_t) override {
    auto flushed = call("flush", [&](bool &thrown, vbd_error *error) {
      return plugin::call_out(thrown, ops_.flush, image_, error);
    });
    auto closed = close();
    return flushed ? closed : flushed;
  }

 private:
  static constexpr std::size_t kPiece = 65536;  // bytes

  template <class Call>
  Result<void> call(const char *what, const Call &make) {
    plugin::ErrorBuffer error;
    bool thrown = false;
    const auto pass = plugin_.gate().enter(true);
    const std::int32_t status = make(thrown, error.get());
    if (!thrown && status == VBD_OK) return {};
    return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(),
                                plugin_.note().constant, cat(what, " ", text::printable(path_)));
  }
  Result<void> close() {
    if (image_ == nullptr) return {};
    void *image = std::exchange(image_, nullptr);
    return call("close", [&](bool &thrown, vbd_error *error) {
      return plugin::call_out(thrown, ops_.close, image, error);
    });
  }

  plugin::Plugin &plugin_;
  const vbd_image_ops &ops_;
  sys::HostFile file_;
  std::string path_;
  void *image_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Sink>> image_sink(plugin::Plugin &plugin, int fd, const std::string &path) {
  const vbd_image_ops *ops = plugin.filetype() == nullptr ? nullptr : plugin.filetype()->image;
  if (ops == nullptr || ops->open == nullptr || ops->write == nullptr || ops->flush == nullptr) {
    return Error(kCannotWrite, cat(path, ": ", plugin.note().constant, " can't write the bytes of a disk"),
                 "import with another filetype: -t file:filetype=raw");
  }
  auto sink = std::make_unique<ImageSink>(plugin, fd, path);
  VBD_TRY(sink->open());
  return std::unique_ptr<Sink>(std::move(sink));
}

}  // namespace vbd::backup
