// SPDX-License-Identifier: MIT
#include "manager/backup/transfer.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "core/base/text.hpp"
#include "core/image/buffer.hpp"
#include "core/image/digest_tree.hpp"
#include "core/image/in_order.hpp"

namespace vbd::backup {
namespace {

constexpr std::size_t kLeaves = kPart / image::kDigestBlock;

struct Done {
  std::uint64_t offset = 0;
  std::size_t length = 0;
  bool any = false;  ///< holds anything but zeros
  std::array<Sha256, kLeaves> leaves{};
  std::uint32_t present = 0;
  std::vector<unsigned char> encoded;
};

Pages pages_of(const unsigned char *bytes, std::size_t length) {
  Pages pages((length + kPage - 1) / kPage);
  for (std::size_t i = 0; i < pages.size(); ++i)
    pages[i] = !image::all_zero(bytes + i * kPage, std::min(kPage, length - i * kPage));
  return pages;
}

class Transfer final : public image::InOrder<Part, Done> {
 public:
  Transfer(Source &source, Sink &sink, const Watch &watch) : source_(source), sink_(sink), watch_(watch) {}

  Result<Moved> move() {
    VBD_TRY(run(image::all_processors()));
    VBD_TRY(sink_.finish(source_.length()));
    return Moved{source_.length(), hex(tree_.root(source_.length()))};
  }

 private:
  class Mover final : public Worker {
   public:
    Mover(Source &source, Sink &sink) : source_(source), sink_(sink), bytes_(kPart) {}

    Result<Done> work(const Part &part) override {
      VBD_TRY(source_.load(part, bytes_.data()));
      std::memset(bytes_.data() + part.length, 0, kPart - part.length);  // the last block is filled up
      const Pages pages = pages_of(bytes_.data(), part.length);
      Done done;
      done.offset = part.offset;
      done.length = part.length;
      done.any = std::find(pages.begin(), pages.end(), true) != pages.end();
      if (!done.any) return done;
      hash(pages, done);
      auto encoded = sink_.encode(part, bytes_.data(), pages);
      if (!encoded) return encoded.error();
      done.encoded = *std::move(encoded);
      return done;
    }

   private:
    void hash(const Pages &pages, Done &done) {
      constexpr std::size_t kPagesOfLeaf = image::kDigestBlock / kPage;
      for (std::size_t i = 0; i < kLeaves && i * kPagesOfLeaf < pages.size(); ++i) {
        const auto first = pages.begin() + static_cast<std::ptrdiff_t>(i * kPagesOfLeaf);
        const auto last =
            pages.begin() + static_cast<std::ptrdiff_t>(std::min(pages.size(), (i + 1) * kPagesOfLeaf));
        if (std::find(first, last, true) == last) continue;
        done.leaves[i] = sha256(bytes_.data() + i * image::kDigestBlock, image::kDigestBlock);
        done.present |= 1u << i;
      }
    }

    Source &source_;
    Sink &sink_;
    image::Buffer bytes_;
  };

  Result<std::optional<Part>> next() override { return source_.next(); }
  std::unique_ptr<Worker> worker() override { return std::make_unique<Mover>(source_, sink_); }

  Result<void> take(Done done) override {
    for (std::size_t i = 0; i < kLeaves; ++i) {
      if ((done.present >> i & 1) != 0) tree_.add(done.offset / image::kDigestBlock + i, done.leaves[i]);
    }
    if (watch_ && watch_(done.offset + done.length, source_.expected()))
      return Error(plugin::kCancelled, "stopped");
    if (!done.any) return {};
    return sink_.take(done.offset, done.length, std::move(done.encoded));
  }

  Source &source_;
  Sink &sink_;
  const Watch &watch_;
  image::DigestTree tree_;
};

}  // namespace

Result<Moved> transfer(Source &source, Sink &sink, const Watch &watch) {
  return Transfer(source, sink, watch).move();
}

}  // namespace vbd::backup
