// SPDX-License-Identifier: MIT
#include "core/config/yaml.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace vbd;
using namespace vbd::config;

namespace {

std::string error_of(const std::string &text) {
  const auto parsed = parse_yaml(text, "f.yaml");
  return parsed ? "no error" : parsed.error().message();
}

Node parsed(const std::string &text) {
  auto root = parse_yaml(text, "f.yaml");
  REQUIRE(root.ok());
  return *std::move(root);
}

}  // namespace

TEST_CASE("every node knows its place and its key") {
  const Node root = parsed("a: 1\nb:\n  c: [x, \"y\"]\n");
  CHECK(root.kind == Node::Kind::map);
  const Node *c = root.find("b")->find("c");
  REQUIRE(c != nullptr);
  CHECK(c->mark.str() == "f.yaml:3:6");
  CHECK(c->key == "b.c");
  REQUIRE(c->items.size() == 2);
  CHECK(c->items[1].key == "b.c[1]");
  CHECK(c->items[1].mark.str() == "f.yaml:3:10");
  CHECK(c->items[1].quoted);
  CHECK_FALSE(c->items[0].quoted);
  CHECK(root.find("z") == nullptr);
}

TEST_CASE("an empty document is an empty map") {
  for (const char *text : {"", "\n", "# only words\n", "---\n", "~"}) {
    CAPTURE(std::string(text));
    const Node root = parsed(text);
    CHECK(root.kind == Node::Kind::map);
    CHECK(root.entries.empty());
  }
}

TEST_CASE("what strict means, with positions") {
  CHECK(error_of("a: 1\nb: 2\na: 3\n") == "f.yaml:3:1: the key 'a' is there twice");
  CHECK(error_of("x: {k: 1, k: 2}") == "f.yaml:1:11: the key 'k' is there twice");
  CHECK(error_of("a: &x 1\nb: *x\n") == "f.yaml:1:4: anchors (&name) are not allowed");
  CHECK(error_of("a: !!int 1\n").find("tags (!name) are not allowed") != std::string::npos);
  CHECK(error_of("a: !foo {b: 1}\n").find("f.yaml:1:4: tags") == 0);
  CHECK(error_of("a: 1\n---\nb: 2\n").find("f.yaml:2:1: a second document") == 0);
  CHECK(error_of("[a]: 1\n").find("a key must be a word") != std::string::npos);
  CHECK(error_of("~: 1\n").find("a key must be a word") != std::string::npos);
  CHECK(error_of("a: [1\n").find("f.yaml:") == 0);
  CHECK(error_of("[loop, raw").find("a key") == std::string::npos);
  CHECK(error_of("[loop, raw").find("f.yaml:") == 0);
  CHECK(error_of("a: b: c\n").find("f.yaml:1:") == 0);
  CHECK(error_of("a: \"\x01\"\n") == "f.yaml:1:5: a control character, or text that is not UTF-8");
  CHECK(error_of("a: 1\n\x04: 2\n").find("f.yaml:2:1: ") == 0);
  CHECK(error_of("a: \xff\n").find("f.yaml:1:") == 0);
  CHECK(error_of(std::string("a: 1\0b: 2", 9)).find("f.yaml:1:5") == 0);
}

TEST_CASE("bombs are refused, not walked") {
  CHECK(parse_yaml(std::string(16, '[') + std::string(16, ']'), "f").ok());
  CHECK(error_of(std::string(17, '[') + std::string(17, ']')) == "f.yaml:1:17: more than 16 levels");
  CHECK_FALSE(parse_yaml(std::string(100000, '['), "f").ok());
  CHECK_FALSE(parse_yaml(std::string((1u << 20) + 1, ' '), "f").ok());
  std::string laughs = "a0: &a0 [x]\n";
  for (int i = 1; i < 9; ++i) {
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  }
  CHECK(error_of(laughs).find("f.yaml:1:") == 0);
}

TEST_CASE("typed readers") {
  const Node root =
      parsed("n: 12\nneg: -1\nt: 'no'\nl: [a, b]\nm: {k: v}\nbig: 99999999999999999999\nhex: 0x1\nnil:\n");
  CHECK(*as_u64(*root.find("n")) == 12);
  CHECK(*as_bool(*root.find("t")) == false);
  CHECK(as_text_list(*root.find("l"))->size() == 2);
  CHECK(as_text_map(*root.find("m"))->at("k") == "v");
  CHECK(as_u64(*root.find("neg")).error().message() ==
        "f.yaml:2:6: neg: expected a whole number, found '-1'");
  CHECK_FALSE(as_u64(*root.find("big")).ok());
  CHECK_FALSE(as_u64(*root.find("hex")).ok());
  CHECK_FALSE(as_u64(*root.find("l")).ok());
  CHECK_FALSE(as_text(*root.find("nil")).ok());
  CHECK(as_text(*root.find("l")).error().message() == "f.yaml:4:4: l: expected text, found a list");
  CHECK_FALSE(as_bool(*root.find("n")).ok());
}

TEST_CASE("unknown keys name the nearest") {
  const Node root = parsed("allowed_dirs: []\nstate_dri: /x\n");
  const auto checked = check_keys(root, {"allowed_dirs", "state_dir"});
  REQUIRE_FALSE(checked.ok());
  CHECK(checked.error().is(kUnknownKey));
  CHECK(checked.error().message() == "f.yaml:2:1: unknown key 'state_dri'; the nearest is 'state_dir'");
  CHECK_FALSE(check_keys(parsed("[a]"), {"a"}).ok());
}

TEST_CASE("what is emitted is read back as the same text") {
  for (const std::string text : {"",
                                 "a",
                                 "null",
                                 "No",
                                 "~",
                                 "1",
                                 "0x1",
                                 "010",
                                 "1:30",
                                 ".5",
                                 "-",
                                 "- a",
                                 "a: b",
                                 "a #b",
                                 "#",
                                 "*a",
                                 "&a",
                                 "!a",
                                 "%a",
                                 "@a",
                                 "`",
                                 "'",
                                 "\"",
                                 "\\",
                                 " a ",
                                 "a\nb",
                                 "a\tb",
                                 "\r\n",
                                 "\x01\x7f",
                                 "{}",
                                 "[]",
                                 ",",
                                 "a,b",
                                 "? ",
                                 "---",
                                 "...",
                                 "caf\xc3\xa9",
                                 "\xc2\x85",
                                 "\xe2\x80\xa8x",
                                 "\xef\xbb\xbf",
                                 "\xf0\x9f\x98\x80",
                                 "2026-01-31T12:00:00Z",
                                 "/srv/a b/sda",
                                 "y",
                                 "<<",
                                 "="}) {
    CAPTURE(text);
    CHECK(*as_text(*parsed("k: " + yaml_scalar(text)).find("k")) == text);
    CHECK(parsed("[" + yaml_scalar(text) + "]").items.at(0).scalar == text);
  }
  CHECK(yaml_scalar("/srv/ganeti") == "/srv/ganeti");
  CHECK(yaml_scalar("a\xff") == "\"a\xef\xbf\xbd\"");
}

TEST_CASE("a scalar that turns a line is written so that it is read again") {
  for (const char *point : {"\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xae", "\xe2\x81\xa6",
                            "\xe2\x81\xa9", "\xef\xbb\xbf", "\x7f", "\xc2\x85", "\x01"}) {
    const std::string value = std::string("a") + point + "b";
    CAPTURE(value);
    const auto read = parse_yaml("k: " + yaml_scalar(value) + "\n", "f.yaml");
    REQUIRE(read.ok());
    CHECK(read->entries.front().value.scalar == value);
  }
}
