// SPDX-License-Identifier: MIT
// vbd image digest
#include "cli/image_words.hpp"
#include "cli/progress.hpp"
#include "cli/report/report.hpp"
#include "cli/terminal.hpp"
#include "core/base/text.hpp"
#include "core/image/digest.hpp"

namespace vbd::cli {
namespace image_digest_file {
namespace {

constexpr std::size_t kOutputBuffer = std::size_t{1} << 16;

/// --blocks: an image may have more of them than fit into memory, so they are written as they come, in JSON
/// as members of a document that is ended in any case.
class BlockList {
 public:
  BlockList(bool json, const std::string &head) : json_(json), pending_(head) {}

  Result<void> add(std::uint64_t number, const Sha256 &digest) {
    const std::uint64_t offset = number * image::kDigestBlock;
    if (json_) {
      pending_ +=
          text::cat(any_ ? ",\n" : "\n", "    {\"offset\": ", offset, ", \"digest\": \"", hex(digest), "\"}");
    } else {
      pending_ += text::cat(hex(digest), "  ", offset, "\n");
    }
    any_ = true;
    return pending_.size() < kOutputBuffer ? Result<void>{} : flush();
  }
  Result<void> flush() {
    auto written = write_stdout(pending_);
    begun_ = begun_ || !pending_.empty();
    pending_.clear();
    return written;
  }
  /// Is a part of it out already?
  [[nodiscard]] bool begun() const { return begun_; }
  /// What is not, followed by `end`.
  [[nodiscard]] std::string rest(const std::string &end) const { return pending_ + end; }

 private:
  bool json_, any_ = false, begun_ = false;
  std::string pending_;
};

/// `{"schema": …` without the end of the object.
std::string open_ended(json::Value head) {
  std::string text = json::dump(head);
  text.resize(text.find_last_not_of("\n}") + 1);
  return text;
}

json::Value head_of(const Constant &filetype, const image::OpenImage &image) {
  json::Value head;
  head.set("schema", "vbdkit.digest/1").set("path", image.path()).set("filetype", filetype.str());
  return head.set("size", image.size()).set("block_size", image::kDigestBlock);
}

/// The error as the last member of a document that had begun.
Outcome broken_off(const BlockList &list, const Error &error) {
  json::Value value;
  value.set("id", error.id()).set("message", error.message()).set("hint", error.hint());
  return {list.rest(text::cat("\n  ],\n  \"digest\": null,\n  \"error\": ", json::dump(value, 0), "\n}\n")),
          {},
          error.exit()};
}

Result<Outcome> with_blocks(bool json, const Constant &filetype, const image::OpenImage &image,
                            const image::Watch &watch) {
  BlockList list(json, json ? open_ended(head_of(filetype, image)) + ",\n  \"blocks\": [" : "");
  const auto visit = [&](std::uint64_t number, const Sha256 &digest) { return list.add(number, digest); };
  const auto found = image::digest(image, visit, watch);
  if (!found) {
    if (json && list.begun() && !found.error().is(kOutput)) return broken_off(list, found.error());
    return found.error();
  }
  if (!json)
    return Outcome{list.rest(text::cat(hex(found->root), "  ", text::printable(image.path()), "\n")), {}};
  return Outcome{list.rest(text::cat("\n  ],\n  \"data_blocks\": ", found->blocks, ",\n  \"digest\": \"",
                                     hex(found->root), "\"\n}\n")),
                 {}};
}

Result<Outcome> digest(Session &session) {
  const auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  const auto image = open_still(session, *filetype, session.args().value("PATH"));
  if (!image) return image.error();
  Progress progress(session, "digest", session.args().value("PATH"));
  if (session.args().has("blocks")) return with_blocks(session.json(), *filetype, **image, progress.watch());
  const auto found = image::digest(**image, {}, progress.watch());
  if (!found) return found.error();
  json::Value value = head_of(*filetype, **image);
  value.set("data_blocks", found->blocks).set("digest", hex(found->root));
  return Outcome{text::cat(hex(found->root), "  ", text::printable((*image)->path()), "\n"),
                 std::move(value)};
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--blocks", Takes::nothing, "", "list the digest of each block of 64 KiB that is not all zeros, too"},
};
constexpr std::string_view kExamples[] = {"vbd image digest --filetype raw disk.img",
                                          "vbd image digest --filetype qcow disk.qcow2 --output json",
                                          "diff <(vbd image digest --blocks --filetype raw disk.img) "
                                          "<(ssh node2 vbd image digest --blocks --filetype raw disk.img)"};

}  // namespace
}  // namespace image_digest_file

VerbSpec image_digest_verb() {
  return {
      "digest",
      "print a digest of what the guest sees, to compare images on different hosts",
      "The same for every filetype and however much of the image is holes, which are not read: SHA-256 of "
      "blocks of 64 KiB, and of these a tree with one root (docs/digest.md). Prints the root and the path; "
      "with --blocks before it each block's digest and its offset.",
      image_digest_file::kOptions,
      kImagePath,
      image_digest_file::kExamples,
      false,
      false,
      image_digest_file::digest};
}

}  // namespace vbd::cli
