// SPDX-License-Identifier: Apache-2.0
// Problems as text, and what tensors look like in memory.
#include "kernels/api/problem.h"

#include <algorithm>
#include <charconv>

#include "common/error.h"
#include "kernels/api/op_reflect.h"

namespace tuyere {
namespace {

/// Dense when dims are laid out in `order` (outermost first). Dims of size 1 may have any stride; a tensor of no elements is dense.
bool dense_in_order(const TensorDesc& t, const std::vector<size_t>& order) {
  if (t.strides.size() != t.shape.size()) return false;
  if (std::any_of(t.shape.begin(), t.shape.end(), [](const Dim& d) { return d.is_const(0); })) return true;
  Dim step = 1;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    if (t.shape[*i].is_const(1)) continue;
    if (!(t.strides[*i] == step)) return false;
    step *= t.shape[*i];
  }
  return true;
}

std::string strides_text(const std::vector<Dim>& strides) {
  std::string text = str(strides);
  text.front() = '{';
  text.back() = '}';
  return text;
}

std::string desc_text(const TensorDesc& t) {
  std::string text = t.constant ? "const " : "";
  text += std::string(name(t.dtype)) + str(t.shape);
  if (t.strides != contiguous_strides(t.shape)) text += strides_text(t.strides);
  if (t.alignment != 256) text += "@" + std::to_string(t.alignment);
  return text;
}

std::string descs_text(const std::vector<TensorDesc>& list) {
  std::string text;
  for (size_t i = 0; i < list.size(); ++i) text += (i ? ", " : "") + desc_text(list[i]);
  return text;
}

int64_t integer(std::string_view text) {
  int64_t value = 0;
  auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  USER_CHECK(end.ec == std::errc() && end.ptr == text.data() + text.size(), "'" << text << "' is no integer");
  return value;
}

TensorDesc parse_desc(std::string_view text) {
  TensorDesc t;
  std::string_view rest = text;
  if (rest.substr(0, 6) == "const ") {
    t.constant = true;
    rest = reflect::trimmed(rest.substr(6));
  }
  size_t open = rest.find('['), close = rest.find(']');
  USER_CHECK(open != std::string_view::npos && close != std::string_view::npos && open < close, "tensor '" << text << "' is not of the form f32[2,3]");
  std::optional<DType> type = parse_dtype(rest.substr(0, open));
  USER_CHECK(type.has_value(), "tensor '" << text << "': unknown type");
  t.dtype = *type;
  t.shape = parse_shape(rest.substr(open, close + 1 - open));
  t.strides = contiguous_strides(t.shape);
  rest.remove_prefix(close + 1);
  if (!rest.empty() && rest.front() == '{') {
    size_t end = rest.find('}');
    USER_CHECK(end != std::string_view::npos, "tensor '" << text << "': '}' expected");
    t.strides = parse_shape("[" + std::string(rest.substr(1, end - 1)) + "]");
    USER_CHECK(t.strides.size() == t.shape.size(), "tensor '" << text << "': one stride per dim expected");
    rest.remove_prefix(end + 1);
  }
  if (!rest.empty() && rest.front() == '@') {
    t.alignment = static_cast<int>(integer(rest.substr(1)));
    rest = {};
  }
  USER_CHECK(rest.empty(), "tensor '" << text << "': unexpected '" << rest << "'");
  return t;
}

std::vector<TensorDesc> parse_descs(std::string_view text) {
  std::vector<TensorDesc> list;
  for (std::string_view part : reflect::split_outside(text, ",")) list.push_back(parse_desc(part));
  return list;
}

/// The sizes of the symbols that the tensors use: tuning depends on them.
std::string hints_text(const Problem& problem) {
  std::vector<std::string> names;
  for (const auto* list : {&problem.in, &problem.out})
    for (const TensorDesc& t : *list) {
      for (const Dim& dim : t.shape) dim.collect(names);
      for (const Dim& dim : t.strides) dim.collect(names);
    }
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names)
    if (const int64_t* value = problem.hints.find(name)) text += (text.empty() ? "" : " ") + name + "=" + std::to_string(*value);
  return text;
}

void parse_notes(Problem& problem, std::string_view text) {
  for (std::string_view note : reflect::split_outside(text, " ")) {
    size_t equal = note.find('=');
    if (note == "nondeterministic")
      problem.deterministic = false;
    else if (equal != std::string_view::npos)
      problem.hints.set(note.substr(0, equal), integer(note.substr(equal + 1)));
    else
      USER_CHECK(note.empty(), "problem: unknown note '" << note << "'");
  }
}

}  // namespace

std::string Target::arch() const {
  if (kind == Kind::Cpu) return "cpu";
  return "sm_" + std::to_string(sm) + (sm >= 90 ? "a" : "");
}

bool TensorDesc::is_contiguous() const {
  std::vector<size_t> order;
  for (size_t i = 0; i < shape.size(); ++i) order.push_back(i);
  return dense_in_order(*this, order);
}

bool TensorDesc::is_channels_last() const {
  if (shape.size() < 3) return false;
  std::vector<size_t> order{0};
  for (size_t i = 2; i < shape.size(); ++i) order.push_back(i);
  order.push_back(1);
  return dense_in_order(*this, order);
}

TensorDesc desc(DType dtype, Shape shape) {
  std::vector<Dim> strides = contiguous_strides(shape);
  return {dtype, std::move(shape), std::move(strides)};
}

bool Problem::is_static() const {
  auto fixed = [](const TensorDesc& t) { return tuyere::is_static(t.shape) && tuyere::is_static(t.strides); };
  return std::all_of(in.begin(), in.end(), fixed) && std::all_of(out.begin(), out.end(), fixed);
}

std::string key(const Problem& problem) {
  std::string notes = hints_text(problem);
  if (!problem.deterministic) notes += notes.empty() ? "nondeterministic" : " nondeterministic";
  return str(problem.op) + " | " + descs_text(problem.in) + " -> " + descs_text(problem.out) + (notes.empty() ? "" : " | " + notes);
}

Problem parse_problem(std::string_view text) {
  std::vector<std::string_view> parts = reflect::split_outside(text, "|");
  USER_CHECK(parts.size() == 2 || parts.size() == 3, "problem '" << text << "' is not of the form <op> | <inputs> -> <outputs>");
  size_t arrow = reflect::find_outside(parts[1], "->");
  USER_CHECK(arrow < parts[1].size(), "problem '" << text << "' has no '->'");
  Problem problem;
  problem.op = parse_op(parts[0]);
  problem.in = parse_descs(parts[1].substr(0, arrow));
  problem.out = parse_descs(parts[1].substr(arrow + 2));
  if (parts.size() == 3) parse_notes(problem, parts[2]);
  return problem;
}

}  // namespace tuyere
