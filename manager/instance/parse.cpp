// SPDX-License-Identifier: MIT
// The grammar of -t and --disk. Only words are split here; whether a plugin has an option is found out by the
// plan.
#include <algorithm>
#include <charconv>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {
namespace {

using text::cat;

struct Word {
  std::string key, value;
  bool has_value = false;
};

Error bad(const std::string &where, std::string_view why, std::string hint = {}) {
  return {kGrammar, cat(where, ": ", why), std::move(hint)};
}

Result<std::vector<Word>> words_of(const std::string &text, const std::string &where) {
  std::vector<Word> words;
  if (text.empty()) return words;
  for (const auto &piece : text::split(text, ',')) {
    const auto equals = piece.find('=');
    Word word{piece.substr(0, equals), "", equals != std::string::npos};
    if (word.has_value) word.value = piece.substr(equals + 1);
    if (word.key.empty()) return bad(where, "an empty word between commas");
    const bool twice =
        std::any_of(words.begin(), words.end(), [&](const Word &w) { return w.key == word.key; });
    if (twice) return bad(where, cat("'", text::printable(word.key), "' stands twice"));
    words.push_back(std::move(word));
  }
  return words;
}

Result<void> need_value(const Word &word, const std::string &where) {
  if (word.has_value && !word.value.empty()) return {};
  return bad(where,
             cat("'", text::printable(word.key), "' needs a value: ", text::printable(word.key), "=..."));
}

/// A word without a value is a flag's misspelling, or what a comma cut off a path.
Error unknown_flag(const Word &word, const std::string &path, const std::string &where) {
  const std::vector<std::string> known = {"reuse", "path", "driver", "filetype"};
  const std::string near = text::did_you_mean(word.key, known);
  if (near.empty() && !path.empty()) {
    return {kBadPath,
            cat(where, ": path '", text::printable(path), ",", text::printable(word.key),
                "': a comma can't be carried by a hypervisor's disk string"),
            "choose a directory without a comma in its name"};
  }
  return bad(where, cat("unknown word '", text::printable(word.key), "'"),
             near.empty() ? "options are written NAME=VALUE" : cat("did you mean '", near, "'?"));
}

Result<void> take_template_word(const Word &word, bool after_path, const std::string &where, AddSpec &spec) {
  if (word.key == "reuse") {
    if (word.has_value) return bad(where, "'reuse' takes no value");
    spec.reuse = true;
    return {};
  }
  if (!word.has_value) return unknown_flag(word, after_path ? spec.path : "", where);
  VBD_TRY(need_value(word, where));
  if (word.key == "path") {
    spec.path = word.value;
  } else if (word.key == "driver") {
    spec.driver = word.value;
  } else if (word.key == "filetype") {
    spec.filetype = word.value;
  } else {
    spec.options[word.key] = word.value;
  }
  return {};
}

Result<void> take_disk_word(const Word &word, const std::string &where, DiskSpec &disk) {
  VBD_TRY(need_value(word, where));
  if (word.key == "size") {
    auto size = parse_image_size(word.value, SizeStyle::instance);
    if (!size) return size.error().at(where);
    disk.size = *size;
  } else if (word.key == "mode") {
    if (word.value != "ro" && word.value != "rw") {
      return bad(where, cat("mode: expected ro or rw, found '", text::printable(word.value), "'"));
    }
    disk.mode = word.value;
  } else if (word.key == "filetype") {
    disk.filetype = word.value;
  } else if (word.key == "driver") {
    disk.driver = word.value;
  } else if (word.key == "adopt") {
    disk.adopt = word.value;
  } else {
    disk.options[word.key] = word.value;
  }
  return {};
}

}  // namespace

Result<void> parse_template(const std::string &text, AddSpec &spec) {
  const std::string where = "-t";
  const auto colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  if (kind != "file") {
    return bad(where, cat("unknown disk template '", text::printable(kind), "'"),
               "write file:[path=DIR][,driver=D][,filetype=F][,reuse][,OPTION=VALUE...]");
  }
  VBD_TRY_ASSIGN(auto words, words_of(colon == std::string::npos ? "" : text.substr(colon + 1), where));
  bool after_path = false;
  for (const auto &word : words) {
    VBD_TRY(take_template_word(word, after_path, where, spec));
    after_path = word.key == "path";
  }
  return {};
}

Result<DiskSpec> parse_disk(const std::string &text) {
  const std::string where = cat("--disk ", text::printable(text));
  const auto colon = text.find(':');
  const std::string number = text.substr(0, colon);
  DiskSpec disk;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), disk.index);
  if (error != std::errc{} || end != number.data() + number.size()) {
    return bad(where, "expected a disk's number first", "write --disk 0:size=5G");
  }
  if (disk.index > 701) return bad(where, "disks are numbered 0 to 701 (sda to sdzz)");
  VBD_TRY(parse_disk_words(colon == std::string::npos ? "" : text.substr(colon + 1), where, disk));
  return disk;
}

Result<void> parse_disk_words(const std::string &text, const std::string &where, DiskSpec &disk) {
  VBD_TRY_ASSIGN(auto words, words_of(text, where));
  for (const auto &word : words) {
    if (auto taken = take_disk_word(word, where, disk); !taken) return taken.error();
  }
  return {};
}

bool takes_images(const AddSpec &spec) {
  return spec.reuse || std::any_of(spec.disks.begin(), spec.disks.end(),
                                   [](const DiskSpec &disk) { return disk.adopt.has_value(); });
}

}  // namespace vbd::instance
