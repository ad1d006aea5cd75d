// SPDX-License-Identifier: Apache-2.0
// Origins as text: "module (aten::op, file:line) %node", separated by "; ". A backslash keeps the characters that separate.
#include "core/network/internal.h"

namespace tuyere {
namespace {

using scan::eat;

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (std::string_view("\\(),;%").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

/// Reads up to one of `stops` (not consumed), undoing escapes.
std::string read_until(std::string_view& text, std::string_view stops) {
  std::string out;
  while (!text.empty() && stops.find(text[0]) == std::string_view::npos) {
    if (text[0] == '\\' && text.size() > 1) {
      text.remove_prefix(1);
      out += text[0] == 'n' ? '\n' : text[0];
    } else {
      out += text[0];
    }
    text.remove_prefix(1);
  }
  return out;
}

void skip_spaces(std::string_view& text) { text.remove_prefix(std::min(text.find_first_not_of(' '), text.size())); }

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

bool parse_origin(std::string_view& text, Origin& origin) {
  skip_spaces(text);
  origin.module = trimmed(read_until(text, "(;"));
  if (!eat(text, "(")) return false;
  origin.op = read_until(text, ",)");
  if (eat(text, ",")) {
    skip_spaces(text);
    origin.source = read_until(text, ")");
  }
  if (!eat(text, ")")) return false;
  skip_spaces(text);
  if (eat(text, "%")) origin.node = trimmed(read_until(text, ";"));
  skip_spaces(text);
  return text.empty() || eat(text, ";");
}

}  // namespace

std::string origin_text(const Origin& origin, bool node) {
  std::string text = escaped(origin.module);
  if (!text.empty()) text += ' ';
  text += "(" + escaped(origin.op);
  if (!origin.source.empty()) text += ", " + escaped(origin.source);
  text += ")";
  if (node && !origin.node.empty()) text += " %" + escaped(origin.node);
  return text;
}

std::optional<Origins> parse_origins(std::string_view text) {
  Origins origins;
  skip_spaces(text);
  while (!text.empty()) {
    Origin origin;
    if (!parse_origin(text, origin)) return std::nullopt;
    origins.insert(std::move(origin));
    skip_spaces(text);
  }
  return origins;
}

std::string str(const Origins& origins) {
  std::string text;
  for (const Origin& origin : origins) text += (text.empty() ? "" : "; ") + origin_text(origin, false);
  return text;
}

}  // namespace tuyere
