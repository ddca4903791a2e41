// SPDX-License-Identifier: MIT
// vbd image digest
#include "cli/image_words.hpp"
#include "cli/progress.hpp"
#include "cli/report/piecewise.hpp"
#include "cli/terminal.hpp"
#include "core/base/text.hpp"
#include "core/image/digest.hpp"

namespace vbd::cli {
namespace image_digest_file {
namespace {

constexpr std::size_t kOutputBuffer = std::size_t{1} << 16;

json::Value head_of(const Constant &filetype, const image::OpenImage &image, const std::string &in_use) {
  json::Value head;
  head.set("schema", "vbdkit.digest/1").set("path", image.path()).set("filetype", filetype.str());
  head.set("in_use", in_use_json(in_use));
  return head.set("size", image.size()).set("block_size", image::kDigestBlock);
}

/// --blocks: an image may have more of them than fit into memory, so they are printed as they come.
Result<Outcome> json_blocks(const Constant &filetype, const image::OpenImage &image,
                            const std::string &in_use, const image::Watch &watch) {
  report::Piecewise document(head_of(filetype, image, in_use), "blocks");
  const auto visit = [&](std::uint64_t number, const Sha256 &digest) {
    return document.add(
        text::cat("{\"offset\": ", number * image::kDigestBlock, ", \"digest\": \"", hex(digest), "\"}"));
  };
  const auto found = image::digest(image, visit, watch);
  json::Value tail;
  if (!found) return document.end(std::move(tail.set("digest", nullptr)), found.error());
  return document.end(tail.set("data_blocks", found->blocks).set("digest", hex(found->root)));
}

Result<Outcome> text_blocks(const image::OpenImage &image, const image::Watch &watch) {
  std::string pending;
  const auto visit = [&](std::uint64_t number, const Sha256 &digest) -> Result<void> {
    pending += text::cat(hex(digest), "  ", number * image::kDigestBlock, "\n");
    if (pending.size() < kOutputBuffer) return {};
    auto written = write_stdout(pending);
    pending.clear();
    return written;
  };
  VBD_TRY_ASSIGN(const auto found, image::digest(image, visit, watch));
  return Outcome{pending + text::cat(hex(found.root), "  ", text::printable(image.path()), "\n"), {}};
}

Result<Outcome> digest(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  std::string in_use;
  const auto image = open_still(session, filetype, session.args().value("PATH"), in_use);
  if (!image) return image.error();
  Progress progress(session, "digest", session.args().value("PATH"));
  if (session.args().has("blocks")) {
    if (session.json()) return json_blocks(filetype, **image, in_use, progress.watch());
    auto blocks = text_blocks(**image, progress.watch());
    return blocks ? marked(false, *std::move(blocks), in_use) : blocks;
  }
  VBD_TRY_ASSIGN(const auto found, image::digest(**image, {}, progress.watch()));
  json::Value value = head_of(filetype, **image, in_use);
  value.set("data_blocks", found.blocks).set("digest", hex(found.root));
  Outcome outcome{text::cat(hex(found.root), "  ", text::printable((*image)->path()), "\n"),
                  std::move(value)};
  return marked(session.json(), std::move(outcome), in_use);
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--blocks", Takes::nothing, "", "list the digest of each block of 64 KiB that is not all zeros, too"},
    kAllowInUse,
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
