// SPDX-License-Identifier: Apache-2.0
// Convert: reading arguments by schema name, with errors that name the argument, and adding layers with the node's origin.
#include "converters/convert.h"

#include <algorithm>
#include <numeric>

#include "common/error.h"

namespace tuyere {
namespace {

std::string kind_of(const Arg& arg) {
  static constexpr const char* kNames[] = {"None", "a value", "a bool", "an int", "a float", "a text", "a dtype", "a size", "a list"};
  return kNames[arg.v.index()];
}

[[noreturn]] void wrong_kind(std::string_view name, const char* wanted, const Arg& arg) {
  std::ostringstream text;
  text << "argument '" << name << "' is " << kind_of(arg) << ", expected " << wanted;
  throw_error(Fault::User, __FILE__, __LINE__, text.str());
}

bool names_value(const Arg& arg, ValueId value) {
  if (auto* v = std::get_if<Arg::Value>(&arg.v)) return v->id == value;
  if (auto* list = std::get_if<ArgList>(&arg.v)) return std::any_of(list->begin(), list->end(), [&](const Arg& a) { return names_value(a, value); });
  return false;
}

constexpr int64_t kExactDouble = int64_t{1} << 53;

}  // namespace

bool is_used(const SourceGraph& graph, ValueId value) {
  if (std::find(graph.outputs.begin(), graph.outputs.end(), value) != graph.outputs.end()) return true;
  for (const SourceNode& node : graph.nodes) {
    for (const auto& [name, arg] : node.args) {
      if (names_value(arg, value)) return true;
    }
  }
  return false;
}

bool same_shape(const Shape& a, const Shape& b) {
  if (a == b) return true;
  if (a.size() != b.size()) return false;
  std::vector<std::string> names;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    if (a[i].is_const() && b[i].is_const()) return false;
    a[i].collect(names);
    b[i].collect(names);
  }
  for (int64_t sample : {7, 16, 61, 224, 1000}) {
    Symbols symbols;
    for (size_t k = 0; k < names.size(); ++k) symbols.set(names[k], sample + 13 * static_cast<int64_t>(k));
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i] != b[i] && a[i].eval(symbols) != b[i].eval(symbols)) return false;
    }
  }
  return true;
}

const Arg* Convert::find(std::string_view arg) const {
  for (const auto& [name, value] : node.args) {
    if (name == arg) return &value;
  }
  return nullptr;
}

const Arg& Convert::need(std::string_view arg) const {
  const Arg* found = find(arg);
  USER_CHECK(found, "argument '" << arg << "' is missing");
  return *found;
}

bool Convert::has(std::string_view arg) const {
  const Arg* found = find(arg);
  return found && !found->is_none();
}

bool Convert::is_tensor(std::string_view arg) const {
  const Arg* found = find(arg);
  auto* value = found ? std::get_if<Arg::Value>(&found->v) : nullptr;
  return value && !graph.values.at(value->id).is_dim;
}

bool Convert::is_number(std::string_view arg) const {
  const Arg* found = find(arg);
  if (!found) return false;
  return is_integral(arg) || std::holds_alternative<bool>(found->v) || std::holds_alternative<double>(found->v);
}

bool Convert::is_bool(std::string_view arg) const {
  const Arg* found = find(arg);
  return found && std::holds_alternative<bool>(found->v);
}

bool Convert::is_integral(std::string_view arg) const {
  const Arg* found = find(arg);
  if (!found) return false;
  auto* value = std::get_if<Arg::Value>(&found->v);
  return (value && graph.values.at(value->id).is_dim) || std::holds_alternative<int64_t>(found->v) || std::holds_alternative<Dim>(found->v);
}

TensorId Convert::tensor_at(const Arg& arg, std::string_view name) const {
  auto* value = std::get_if<Arg::Value>(&arg.v);
  if (!value) wrong_kind(name, "a tensor", arg);
  USER_CHECK(value->id >= 0 && value->id < static_cast<ValueId>(tensors_.size()) && tensors_[value->id] != kNone,
             "argument '" << name << "' (value '" << graph.values.at(value->id).name << "') is not a tensor of this network");
  return tensors_[value->id];
}

TensorId Convert::tensor(std::string_view arg) { return tensor_at(need(arg), arg); }

std::optional<TensorId> Convert::maybe_tensor(std::string_view arg) {
  if (!has(arg)) return std::nullopt;
  return tensor(arg);
}

std::vector<TensorId> Convert::tensors(std::string_view arg) {
  std::vector<TensorId> out;
  for (const Arg& item : list(arg)) out.push_back(tensor_at(item, arg));
  return out;
}

Dim Convert::dim_of(const Arg& arg, std::string_view name) const {
  if (auto* v = std::get_if<int64_t>(&arg.v)) return *v;
  if (auto* v = std::get_if<Dim>(&arg.v)) return *v;
  auto* value = std::get_if<Arg::Value>(&arg.v);
  if (!value || !graph.values.at(value->id).is_dim) wrong_kind(name, "a size", arg);
  return graph.values[value->id].dim;
}

int64_t Convert::integer_of(const Arg& arg, std::string_view name) const {
  if (auto* v = std::get_if<bool>(&arg.v)) return *v;
  if (auto* v = std::get_if<double>(&arg.v); v && *v == static_cast<double>(static_cast<int64_t>(*v))) return static_cast<int64_t>(*v);
  if (std::holds_alternative<double>(arg.v)) wrong_kind(name, "an int", arg);
  Dim dim = dim_of(arg, name);
  USER_CHECK(dim.is_const(), "argument '" << name << "' is symbolic (" << dim << "), a constant is needed");
  return dim.value();
}

int64_t Convert::integer(std::string_view arg) const { return integer_of(need(arg), arg); }

double Convert::number(std::string_view arg) const {
  const Arg& value = need(arg);
  if (auto* v = std::get_if<double>(&value.v)) return *v;
  return static_cast<double>(integer_of(value, arg));
}

bool Convert::boolean(std::string_view arg) const {
  const Arg& value = need(arg);
  if (auto* v = std::get_if<bool>(&value.v)) return *v;
  if (auto* v = std::get_if<int64_t>(&value.v)) return *v != 0;
  wrong_kind(arg, "a bool", value);
}

std::string Convert::text(std::string_view arg) const {
  const Arg& value = need(arg);
  auto* v = std::get_if<std::string>(&value.v);
  if (!v) wrong_kind(arg, "a text", value);
  return *v;
}

std::optional<DType> Convert::dtype(std::string_view arg) const {
  if (!has(arg)) return std::nullopt;
  const Arg& value = need(arg);
  auto* v = std::get_if<DType>(&value.v);
  if (!v) wrong_kind(arg, "a dtype tuyere knows", value);
  return *v;
}

ArgList Convert::list(std::string_view arg) const {
  const Arg& value = need(arg);
  if (value.is_none()) return {};
  if (auto* v = std::get_if<ArgList>(&value.v)) return *v;
  return {value};
}

std::vector<int64_t> Convert::integers(std::string_view arg) const {
  std::vector<int64_t> out;
  for (const Arg& item : list(arg)) out.push_back(integer_of(item, arg));
  return out;
}

Dim Convert::dim(std::string_view arg) const { return dim_of(need(arg), arg); }

Shape Convert::dims(std::string_view arg) const {
  Shape out;
  for (const Arg& item : list(arg)) out.push_back(dim_of(item, arg));
  return out;
}

int64_t Convert::normalized(int64_t axis, size_t rank, std::string_view name) const {
  int64_t n = std::max<int64_t>(static_cast<int64_t>(rank), 1);  // PyTorch takes axis 0 and -1 of a scalar
  USER_CHECK(axis >= -n && axis < n, "argument '" << name << "' is " << axis << ", out of range for rank " << rank);
  return axis < 0 ? axis + n : axis;
}

int64_t Convert::axis(std::string_view arg, TensorId x) const { return normalized(integer(arg), type(x).shape.size(), arg); }

std::vector<int64_t> Convert::axes(std::string_view arg, TensorId x) const {
  size_t rank = type(x).shape.size();
  std::vector<int64_t> out;
  for (int64_t axis : integers(arg)) {
    if (rank > 0) out.push_back(normalized(axis, rank, arg));
  }
  if (out.empty()) {
    out.resize(rank);
    std::iota(out.begin(), out.end(), 0);
  }
  std::sort(out.begin(), out.end());
  return out;
}

TensorId Convert::literal(int64_t value, DType type) {
  if (type != DType::I64 || (value >= -kExactDouble && value <= kExactDouble)) return net.add_scalar(type, static_cast<double>(value));
  auto data = std::make_shared<std::vector<std::byte>>(sizeof value);
  std::copy_n(reinterpret_cast<const std::byte*>(&value), sizeof value, data->data());
  return net.add_constant(DType::I64, {}, {"int_" + std::to_string(value), false, std::move(data)});
}

TensorId Convert::operand(std::string_view arg, DType type) {
  if (is_tensor(arg)) return tensor(arg);
  if (!is_integral(arg)) return net.add_scalar(type, number(arg));
  Dim value = dim(arg);
  if (value.is_const()) return literal(value.value(), type);
  return add(Fill{.type = type, .shape = {}, .use_dim = true, .dim = value}, {});
}

const TensorType& Convert::out_type(int k) const {
  USER_CHECK(k >= 0 && k < static_cast<int>(node.outputs.size()), "the node has " << node.outputs.size() << " outputs, output " << k << " is needed");
  const SourceValue& value = graph.values.at(node.outputs[k]);
  USER_CHECK(value.has_type, "output " << k << " has no type tuyere knows");
  return value.type;
}

bool Convert::used(int k) const { return k < static_cast<int>(node.outputs.size()) && is_used(graph, node.outputs[k]); }

std::vector<TensorId> Convert::add_n(Op op, std::vector<TensorId> inputs) { return net.add(std::move(op), std::move(inputs), origins()); }

TensorId Convert::add(Op op, std::vector<TensorId> inputs) { return add_n(std::move(op), std::move(inputs))[0]; }

TensorId Convert::pointwise(Fn fn, std::vector<TensorId> inputs, DType type) { return net.pointwise(fn, std::move(inputs), type, origins()); }

TensorId Convert::cast(TensorId x, DType to) {
  if (type(x).dtype == to) return x;
  Program program{.inputs = {compute_type(type(x).dtype)}};
  int value = compute_type(to) == program.inputs[0] ? 0 : program.cast(0, compute_type(to));
  program.outputs = {static_cast<int16_t>(value)};
  return add(Pointwise{std::move(program), {to}}, {x});
}

TensorId Convert::reshape(TensorId x, Shape shape) { return type(x).shape == shape ? x : add(Reshape{std::move(shape)}, {x}); }

TensorId Convert::permute(TensorId x, std::vector<int64_t> perm) { return std::is_sorted(perm.begin(), perm.end()) ? x : add(Permute{std::move(perm)}, {x}); }

TensorId Convert::expand(TensorId x, Shape shape) { return type(x).shape == shape ? x : add(Expand{std::move(shape)}, {x}); }

TensorId Convert::slice(TensorId x, int64_t axis, Dim start, Dim end, int64_t step) {
  if (step == 1 && start.is_const(0) && end == type(x).shape[axis]) return x;
  return add(Slice{axis, std::move(start), std::move(end), step}, {x});
}

void Convert::out(TensorId id, int k) {
  const TensorType& wanted = out_type(k);
  const TensorType made = type(id);
  INTERNAL_CHECK(made.dtype == wanted.dtype && same_shape(made.shape, wanted.shape),
                 "output " << k << " was recorded as " << str(wanted) << " but converts to " << str(made));
  tensors_.at(node.outputs[k]) = id;
}

}  // namespace tuyere
