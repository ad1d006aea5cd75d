// SPDX-License-Identifier: Apache-2.0
// Operators as text, by reflection over ops.def and the field lists of ops.h.
#include <cctype>
#include <charconv>
#include <cmath>

#include "common/error.h"
#include "kernels/api/op_reflect.h"

namespace tuyere {
namespace reflect {

std::string number_text(double value) {
  char buffer[40];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

size_t find_outside(std::string_view text, std::string_view stop, size_t begin) {
  int depth = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    if (depth == 0 && text.substr(i, stop.size()) == stop) return i;
    char c = text[i];
    if (c == '"')
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
    else if (c == '(' || c == '[' || c == '{')
      ++depth;
    else if (c == ')' || c == ']' || c == '}')
      --depth;
  }
  return text.size();
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split_outside(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  if (trimmed(text).empty()) return parts;
  for (size_t begin = 0;;) {
    size_t end = find_outside(text, separator, begin);
    parts.push_back(trimmed(text.substr(begin, end - begin)));
    if (end >= text.size()) return parts;
    begin = end + separator.size();
  }
}

}  // namespace reflect

namespace {

using reflect::trimmed;

/// Names of an enum's values in order.
template <class E>
constexpr std::string_view kNames[1] = {};
template <>
constexpr std::string_view kNames<ReduceKind>[] = {"sum", "mean", "max", "min", "prod", "any", "all", "var"};
template <>
constexpr std::string_view kNames<ArgKind>[] = {"argmax", "argmin"};
template <>
constexpr std::string_view kNames<NormKind>[] = {"layer", "rms", "group"};
template <>
constexpr std::string_view kNames<PoolKind>[] = {"max", "avg"};
template <>
constexpr std::string_view kNames<PadMode>[] = {"constant", "reflect", "replicate", "circular"};
template <>
constexpr std::string_view kNames<ScatterKind>[] = {"set", "add", "mul", "max", "min"};
template <>
constexpr std::string_view kNames<CumKind>[] = {"sum", "prod"};
template <>
constexpr std::string_view kNames<RecurrentKind>[] = {"lstm", "gru", "tanh", "relu"};
template <>
constexpr std::string_view kNames<ResizeMode>[] = {"nearest", "linear", "cubic"};

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value ? "true" : "false";
  else if constexpr (std::is_same_v<T, int64_t>)
    return std::to_string(value);
  else if constexpr (std::is_same_v<T, double>)
    return reflect::number_text(value);
  else if constexpr (std::is_same_v<T, std::string>)
    return reflect::quoted(value);
  else if constexpr (std::is_same_v<T, DType>)
    return std::string(name(value));
  else if constexpr (std::is_same_v<T, Dim>)
    return value.str();
  else if constexpr (std::is_same_v<T, Program>)
    return "{" + str(value) + "}";
  else if constexpr (std::is_enum_v<T>)
    return std::string(kNames<T>[static_cast<size_t>(value)]);
  else {
    static_assert(is_vector<T>::value);
    std::string text = "[";
    for (size_t i = 0; i < value.size(); ++i) text += (i ? "," : "") + text_of(value[i]);
    return text + "]";
  }
}

template <class T>
T number_of(std::string_view text) {
  T value{};
  auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  USER_CHECK(end.ec == std::errc() && end.ptr == text.data() + text.size(), "'" << text << "' is no number");
  return value;
}

std::string unquoted(std::string_view text) {
  USER_CHECK(text.size() >= 2 && text.front() == '"' && text.back() == '"', "'" << text << "' is no quoted string");
  std::string out;
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size())
      out += text[++i] == 'n' ? '\n' : text[i];
    else
      out += text[i];
  }
  return out;
}

template <class E>
E enum_of(std::string_view text) {
  for (size_t i = 0; i < std::size(kNames<E>); ++i)
    if (text == kNames<E>[i]) return static_cast<E>(i);
  USER_CHECK(false, "'" << text << "' is none of " << kNames<E>[0] << " ...");
  return {};
}

std::string_view between(std::string_view text, char open, char close) {
  USER_CHECK(text.size() >= 2 && text.front() == open && text.back() == close, "'" << text << "' is not of the form " << open << "..." << close);
  return text.substr(1, text.size() - 2);
}

template <class T>
T value_of(std::string_view text) {
  if constexpr (std::is_same_v<T, bool>) {
    USER_CHECK(text == "true" || text == "false", "'" << text << "' is neither true nor false");
    return text == "true";
  } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double>) {
    return number_of<T>(text);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return unquoted(text);
  } else if constexpr (std::is_same_v<T, DType>) {
    std::optional<DType> type = parse_dtype(text);
    USER_CHECK(type.has_value(), "unknown type '" << text << "'");
    return *type;
  } else if constexpr (std::is_same_v<T, Dim>) {
    return Dim::parse(text);
  } else if constexpr (std::is_same_v<T, Program>) {
    return parse_program(between(text, '{', '}'));
  } else if constexpr (std::is_enum_v<T>) {
    return enum_of<T>(text);
  } else {
    static_assert(is_vector<T>::value);
    T values;
    for (std::string_view part : reflect::split_outside(between(text, '[', ']'), ",")) values.push_back(value_of<typename T::value_type>(part));
    return values;
  }
}

/// Equal in the text too: the zeros are two numbers.
template <class T>
bool same(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>) return a == b && std::signbit(a) == std::signbit(b);
  return a == b;
}

template <reflect::Reflected S>
std::string fields_text(const S& op) {
  static const S defaults{};
  std::string text;
  auto add = [&](const auto& f) {
    if (!same(op.*(f.member), defaults.*(f.member))) text += std::string(" ") + f.name + "=" + text_of(op.*(f.member));
  };
  std::apply([&](const auto&... f) { (add(f), ...); }, S::fields());
  return text;
}

template <reflect::Reflected S>
void set_field(S& op, std::string_view op_name, std::string_view field_name, std::string_view value) {
  bool known = false;
  reflect::for_each_field(op, [&](std::string_view name, auto& member) {
    if (name != field_name) return;
    known = true;
    member = value_of<std::remove_reference_t<decltype(member)>>(value);
  });
  USER_CHECK(known, "operator " << op_name << " has no field '" << field_name << "'");
}

template <reflect::Reflected S>
Op parse_as(std::string_view name, std::string_view fields) {
  S op;
  for (std::string_view part : reflect::split_outside(fields, " ")) {
    if (part.empty()) continue;
    size_t equal = part.find('=');
    USER_CHECK(equal != std::string_view::npos, "operator " << name << ": '" << part << "' is not of the form field=value");
    set_field(op, name, trimmed(part.substr(0, equal)), trimmed(part.substr(equal + 1)));
  }
  return op;
}

struct OpRow {
  std::string_view text;
  OpGroup group;
  Op (*parse)(std::string_view name, std::string_view fields);
};

/// In the order of the alternatives of Op.
constexpr OpRow kOps[] = {
#define OP(S, text, group) {#text, OpGroup::group, parse_as<S>},
#include "kernels/api/ops.def"
#undef OP
    {"none", OpGroup::control, [](std::string_view, std::string_view) { return Op(std::monostate{}); }},
};

}  // namespace

std::string_view name(const Op& op) { return kOps[op.index()].text; }
OpGroup group(const Op& op) { return kOps[op.index()].group; }

std::string str(const Op& op) {
  return std::visit(
      [&](const auto& s) {
        std::string text(name(op));
        if constexpr (reflect::Reflected<std::decay_t<decltype(s)>>) text += fields_text(s);
        return text;
      },
      op);
}

Op parse_op(std::string_view text) {
  std::string_view all = trimmed(text), word = all.substr(0, all.find(' '));
  for (const OpRow& row : kOps)
    if (row.text == word) return row.parse(row.text, all.substr(word.size()));
  USER_CHECK(false, "unknown operator '" << word << "'");
  return {};
}

}  // namespace tuyere
