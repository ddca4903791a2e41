// SPDX-License-Identifier: MIT
// A guest at work on anything: the input begins with a script of writes, zeros, reservations, resizes,
// repairs and reopenings, behind it is the image. As long as all calls succeed the guest reads what it wrote,
// and what it did not touch stays as it was; what a writer accepted is accepted again, and a repaired image
// is clean.
#include "fuzz.hpp"

namespace {

using vbdkit::testkit::ErrorBox;
using vbdkit::testkit::Request;
using vbdkit::testkit::Results;

constexpr std::size_t kScript = 64, kStep = 4;
constexpr std::uint64_t kWindow = 96u << 10;

void require(bool good) {
  if (!good) __builtin_trap();
}

/// What the guest should read, in parts of the disk; a byte that a failed call may have touched is not known.
class Model {
 public:
  void place(std::uint64_t size) {
    for (const std::uint64_t at :
         {std::uint64_t{0}, size / 2 / 512 * 512, size > kWindow ? size - kWindow : 0}) {
      const bool apart = windows_.empty() || at >= windows_.back().at + kWindow;
      if (apart) windows_.push_back({at, std::vector<std::int16_t>(kWindow, -1)});
    }
  }
  template <class Each>  // window, byte
  void each(std::uint64_t offset, std::uint64_t length, Each &&each) {
    for (Window &window : windows_) {
      const std::uint64_t from = std::max(offset, window.at);
      const std::uint64_t to = std::min(offset + length, window.at + kWindow);
      for (std::uint64_t at = from; at < to; ++at) each(at, &window.bytes[at - window.at]);
    }
  }
  void set(std::uint64_t offset, std::uint64_t length, std::int16_t value) {
    each(offset, length, [&](std::uint64_t, std::int16_t *byte) { *byte = value; });
  }
  void forget() { set(0, ~std::uint64_t{0} >> 1, -1); }
  [[nodiscard]] std::uint64_t window(std::size_t i) const { return windows_[i % windows_.size()].at; }

 private:
  struct Window {
    std::uint64_t at;
    std::vector<std::int16_t> bytes;
  };
  std::vector<Window> windows_;
};

class Guest {
 public:
  explicit Guest(const vbdkit::testkit::SparseBytes &bytes) : file_(bytes) { file_.limit_space(64u << 20); }
  ~Guest() { close(); }
  Guest(const Guest &) = delete;
  Guest &operator=(const Guest &) = delete;

  void run(const std::uint8_t *script) {
    if (!open()) return;
    model_.place(size_);
    look();
    for (std::size_t i = 0; i < kScript && image_ != nullptr; i += kStep) step(script + i);
    if (image_ != nullptr) look();
    reopen();
    if (image_ != nullptr) look();
  }

 private:
  bool open() {
    Request request(file_.file());
    if (ops_->image->open(nullptr, request.get(), &image_, error_.get()) != VBD_OK) {
      image_ = nullptr;
      return false;
    }
    Results results;
    require(ops_->image->geometry(image_, results.sink(), error_.get()) == VBD_OK);
    size_ = results.number("virtual_size");
    return true;
  }

  /// True: all that was written is in the file.
  bool close() {
    if (image_ == nullptr) return true;
    const bool good = ops_->image->close(image_, error_.get()) == VBD_OK;
    image_ = nullptr;
    return good;
  }

  /// Nothing that a writer accepted may be refused to the next one.
  void reopen() {
    if (image_ == nullptr) return;
    if (!close() || failed_) {
      model_.forget();
      failed_ = false;
      (void)open();
      return;
    }
    require(open());
  }

  void step(const std::uint8_t *step) {
    const std::uint64_t size = std::min<std::uint64_t>(size_, 1ull << 62);
    std::uint64_t offset =
        model_.window(step[1]) + std::uint64_t{step[1]} * 379 + (step[2] & 1 ? 0 : step[2]);
    offset = offset % std::max<std::uint64_t>(size, 1);
    std::uint64_t length = 1 + std::uint64_t{step[3]} * (step[2] & 2 ? 251 : 1);
    length = std::min(length, size_ - std::min(size_, offset));
    switch (step[0] % 8) {
      case 0:
      case 1:
        return write(offset, length, step[2]);
      case 2:
        return zero(offset, length, step[2] & 3);
      case 3:
        return reserve(offset, length, step[2]);
      case 4:
        return resize(step);
      case 5:
        return repair(step[1] & 1 ? VBD_MUST_REPAIR_ALL : VBD_MUST_REPAIR_LEAKS);
      case 6:
        return reopen();
      default:
        return step[1] == 0 ? zero(0, size_, step[2] & 1) : flush();
    }
  }

  void done(std::int32_t status, std::uint64_t offset, std::uint64_t length, std::int16_t value) {
    model_.set(offset, length, status == VBD_OK ? value : std::int16_t{-1});
    failed_ |= status != VBD_OK;
  }

  void write(std::uint64_t offset, std::uint64_t length, std::uint8_t value) {
    const std::vector<unsigned char> buffer(length, value);
    done(ops_->image->write(image_, buffer.data(), length, offset, error_.get()), offset, length, value);
  }
  void zero(std::uint64_t offset, std::uint64_t length, std::uint32_t flags) {
    done(ops_->image->zero(image_, offset, length, flags, error_.get()), offset, length, 0);
  }
  void flush() { failed_ |= ops_->image->flush(image_, error_.get()) != VBD_OK; }

  void reserve(std::uint64_t offset, std::uint64_t length, std::uint8_t value) {
    vbd_extent extents[8];
    std::uint32_t n = 0;
    const std::int32_t status = ops_->image->reserve(image_, offset, length, extents, 8, &n, error_.get());
    if (status == VBD_E_NOTSUP || status == VBD_E_INVAL || length == 0) return;
    if (status != VBD_OK) return done(status, offset, length, -1);
    std::uint64_t at = offset;
    for (std::uint32_t i = 0; i < n; ++i) {
      require(extents[i].offset == at && extents[i].length > 0);
      const std::vector<unsigned char> buffer(extents[i].length, value);
      const vbd_file *file = file_.file();
      if (file->write(file->ctx, buffer.data(), buffer.size(), extents[i].host_offset) !=
          static_cast<std::int64_t>(buffer.size()))
        return;  // never committed
      at += extents[i].length;
    }
    if ((value & 7) == 7) return;  // given up
    done(ops_->image->commit(image_, offset, at - offset, error_.get()), offset, at - offset, value);
  }

  void resize(const std::uint8_t *step) {
    const std::uint64_t by = (std::uint64_t{step[2]} << (9 + step[3] % 12)) / 512 * 512;
    const bool shrink = (step[1] & 1) != 0;
    if (shrink && by >= size_) return;
    const std::uint64_t from = size_, to = shrink ? size_ - by : size_ + by;
    reopen_for_control();
    Request request(file_.file(), to, shrink ? std::uint32_t{VBD_MUST_SHRINK} : 0u);
    Results results;
    const std::int32_t status = ops_->resize(nullptr, request.get(), results.sink(), error_.get());
    if (status != VBD_OK) model_.forget();
    const bool again = open();
    if (status == VBD_OK) require(again && size_ == to);
    if (!again) return;
    // What is cut off is gone, and what is added reads as zeros.
    model_.set(std::min(from, to), ~std::uint64_t{0} >> 2, to > from ? 0 : -1);
  }

  void repair(std::uint32_t must) {
    reopen_for_control();
    const std::int32_t status = qcow_fuzz::control(ops_->check, file_.file(), must);
    if (status == VBD_OK) require(qcow_fuzz::control(ops_->check, file_.file(), 0) == VBD_OK);
    if (status != VBD_OK) model_.forget();
    (void)open();
  }

  /// Closed as far as it goes; after a failure nothing is known of the content.
  void reopen_for_control() {
    if (!close() || failed_) model_.forget();
    failed_ = false;
  }

  /// Everything that the windows hold, against the model; what was not known is from now on.
  void look() {
    std::vector<unsigned char> buffer(kWindow);
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t at = model_.window(i);
      if (at >= size_) continue;
      const std::uint64_t length = std::min(kWindow, size_ - at);
      const bool good = ops_->image->read(image_, buffer.data(), length, at, error_.get()) == VBD_OK;
      model_.each(at, length, [&](std::uint64_t byte, std::int16_t *known) {
        if (!good) {
          *known = -1;
        } else if (*known < 0 || failed_) {
          *known = buffer[byte - at];
        } else {
          require(*known == buffer[byte - at]);
        }
      });
    }
  }

  const vbd_filetype_ops *ops_ = qcow_fuzz::filetype().ops;
  vbdkit::testkit::MemoryFile file_;
  ErrorBox error_;
  void *image_ = nullptr;
  std::uint64_t size_ = 0;
  bool failed_ = false;
  Model model_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  if (size < kScript) return 0;
  Guest guest(qcow_fuzz::image(data + kScript, size - kScript));
  guest.run(data);
  return 0;
}
