// SPDX-License-Identifier: MIT
#include "core/device/record_json.hpp"

#include "core/base/text.hpp"
#include "core/json/json.hpp"

namespace vbd::device {
namespace {

constexpr std::string_view kSchema = "vbdkit.attachment/1";

const char *phase_text(Record::Phase phase) {
  switch (phase) {
    case Record::Phase::attaching:
      return "attaching";
    case Record::Phase::attached:
      return "attached";
    case Record::Phase::detaching:
      break;
  }
  return "detaching";
}

json::Value map_value(const std::map<std::string, std::string> &map) {
  json::Object object;
  for (const auto &[key, value] : map) object.emplace_back(key, value);
  return object;
}

/// Reads members of one object; the first that is missing or of a wrong type is remembered.
class Reader {
 public:
  explicit Reader(const json::Value &value) : value_(value) {}
  [[nodiscard]] const std::string &bad() const { return bad_; }

  std::string text(std::string_view key) {
    const json::Value *found = value_.find(key);
    if (found != nullptr && found->as_string() != nullptr) return *found->as_string();
    return note(key, std::string());
  }
  std::uint64_t number(std::string_view key) {
    const json::Value *found = value_.find(key);
    std::uint64_t n = 0;
    if (found != nullptr && found->get_u64(n)) return n;
    return note(key, std::uint64_t{0});
  }
  bool flag(std::string_view key) {
    const json::Value *found = value_.find(key);
    if (found != nullptr && found->as_bool() != nullptr) return *found->as_bool();
    return note(key, false);
  }
  std::vector<std::string> list(std::string_view key) {
    const json::Value *found = value_.find(key);
    std::vector<std::string> out;
    if (found == nullptr || found->as_array() == nullptr) return note(key, out);
    for (const json::Value &item : *found->as_array()) {
      if (item.as_string() == nullptr) return note(key, std::vector<std::string>());
      out.push_back(*item.as_string());
    }
    return out;
  }
  std::map<std::string, std::string> map(std::string_view key) {
    const json::Value *found = value_.find(key);
    std::map<std::string, std::string> out;
    if (found == nullptr || found->as_object() == nullptr) return note(key, out);
    for (const auto &[name, item] : *found->as_object()) {
      if (item.as_string() == nullptr) return note(key, std::map<std::string, std::string>());
      out[name] = *item.as_string();
    }
    return out;
  }
  template <class T>
  T note(std::string_view key, T fallback) {
    if (bad_.empty()) bad_ = key;
    return fallback;
  }

 private:
  const json::Value &value_;
  std::string bad_;
};

Record::Phase read_phase(Reader &reader) {
  const std::string text = reader.text("phase");
  for (const auto phase : {Record::Phase::attaching, Record::Phase::attached, Record::Phase::detaching}) {
    if (text == phase_text(phase)) return phase;
  }
  return reader.note("phase", Record::Phase::attaching);
}

/// As block devices have them: a power of two from a sector to a page of any kernel.
std::uint32_t read_block_size(Reader &reader) {
  const std::uint64_t size = reader.number("block_size");
  if (size >= 512 && size <= 65536 && (size & (size - 1)) == 0) return static_cast<std::uint32_t>(size);
  return reader.note("block_size", std::uint32_t{512});
}

}  // namespace

std::string write_record_json(const Record &record) {
  json::Array holders;
  for (const std::string &holder : record.holders) holders.emplace_back(holder);
  json::Value value;
  value.set("schema", kSchema);
  value.set("image", record.image);
  value.set("device", record.file.device);
  value.set("inode", record.file.inode);
  value.set("driver", record.driver);
  value.set("filetype", record.filetype);
  value.set("read_only", record.read_only);
  value.set("phase", phase_text(record.phase));
  value.set("node", record.node);
  value.set("holders", std::move(holders));
  value.set("block_size", std::uint64_t{record.block_size});
  value.set("options", map_value(record.options));
  value.set("properties", map_value(record.properties));
  value.set("state", map_value(record.state));
  value.set("leased", record.leased);
  value.set("boot_id", record.boot_id);
  if (record.birth != 0) value.set("birth", record.birth);
  if (record.lent) value.set("lent", true);
  return json::dump(value) + "\n";
}

Result<Record> parse_record_json(std::string_view text, const std::string &file) {
  auto value = json::parse(text);
  if (!value) return Error(kBadRecord, text::cat(text::printable(file), ": ", value.error().message()));
  Reader reader(*value);
  Record record;
  if (reader.text("schema") != kSchema) reader.note("schema", 0);
  record.image = reader.text("image");
  record.file.device = reader.number("device");
  record.file.inode = reader.number("inode");
  record.driver = reader.text("driver");
  record.filetype = reader.text("filetype");
  record.read_only = reader.flag("read_only");
  record.phase = read_phase(reader);
  record.node = reader.text("node");
  record.holders = reader.list("holders");
  record.block_size = read_block_size(reader);
  record.options = reader.map("options");
  record.properties = reader.map("properties");
  record.state = reader.map("state");
  record.leased = reader.flag(value->find("claimed") != nullptr ? "claimed" : "leased");  // of an earlier vbd
  record.boot_id = reader.text("boot_id");
  if (value->find("birth") != nullptr) record.birth = reader.number("birth");
  record.lent = value->find("lent") != nullptr && reader.flag("lent");
  if (reader.bad().empty()) return record;
  return Error(kBadRecord,
               text::cat(text::printable(file), ": \"", reader.bad(), "\" is missing or of a wrong kind"),
               "remove the file; what is attached is found again by asking the drivers");
}

}  // namespace vbd::device
