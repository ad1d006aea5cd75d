// SPDX-License-Identifier: Apache-2.0
// Lexical helpers of the text form.
#include <charconv>

#include "common/error.h"
#include "core/network/internal.h"
#include "kernels/api/op_reflect.h"

namespace tuyere::scan {
namespace {

bool is_word_char(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  if (first) return letter;
  return letter || (c >= '0' && c <= '9') || std::string_view("./:$-").find(c) != std::string_view::npos;
}

size_t word_length(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && is_word_char(text[n], n == 0)) ++n;
  return n;
}

/// Position after the quoted string that begins at `at`.
size_t skip_quoted(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  USER_CHECK(at < text.size(), "a quoted string does not end");
  return at + 1;
}

}  // namespace

std::string word_text(const std::string& name) {
  const bool keyword = name == "return" || name == "observe" || name == "body" || name == "network";
  return !keyword && !name.empty() && word_length(name) == name.size() ? name : reflect::quoted(name);
}

size_t closing_bracket(std::string_view text, size_t open) {
  const char closer = text[open] == '(' ? ')' : text[open] == '[' ? ']' : '}';
  const size_t close = reflect::find_outside(text, std::string_view(&closer, 1), open + 1);
  USER_CHECK(close < text.size(), "'" << text[open] << "' is not closed");
  return close;
}

bool eat(std::string_view& text, std::string_view token) {
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

std::string eat_word(std::string_view& text) {
  std::string word;
  if (text.starts_with('"')) {
    const size_t end = skip_quoted(text, 0);
    for (size_t at = 1; at + 1 < end; ++at) {
      const bool escape = text[at] == '\\';
      if (escape) ++at;
      word += escape && text[at] == 'n' ? '\n' : text[at];
    }
    text.remove_prefix(end);
    return word;
  }
  word = text.substr(0, word_length(text));
  USER_CHECK(!word.empty(), "expected a name, got '" << text << "'");
  text.remove_prefix(word.size());
  return word;
}

int64_t parse_int(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  USER_CHECK(error == std::errc() && end == text.data() + text.size(), "expected an integer, got '" << text << "'");
  return value;
}

}  // namespace tuyere::scan
