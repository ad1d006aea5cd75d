// SPDX-License-Identifier: Apache-2.0
#include "core/builder/emit.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/error.h"
#include "core/builder/weights.h"

namespace tuyere {
namespace {

class Emitter {
 public:
  explicit Emitter(const EmitInput& input) : in_(input), body_(input.network.bodies[input.body]), numbers_(body_.tensors.size(), -1) {}

  PlanBody run() {
    plan_.symbols = bind_symbols(body_, in_.profile);
    for (const PlacedBuffer& buffer : in_.placement.buffers) plan_.buffers.push_back(emit(buffer));
    for (TensorId t : body_.inputs) plan_.inputs.push_back({body_.tensors[t].name, tensor(t)});
    for (size_t s = 0; s < in_.placement.steps.size(); ++s) add_step(static_cast<int>(s));
    for (size_t i = 0; i < body_.outputs.size(); ++i) {
      TensorId t = body_.outputs[i];
      plan_.outputs.push_back({in_.output_names.empty() ? body_.tensors[t].name : in_.output_names[i], tensor(t)});
    }
    for (size_t t = 0; t < body_.tensors.size(); ++t) {
      if (body_.tensors[t].observed && in_.placement.tensors[t].buffer >= 0) tensor(static_cast<TensorId>(t));
    }
    for (const PlanIo* io : all_io()) make_dense(*io);
    return std::move(plan_);
  }

 private:
  PlanBuffer emit(const PlacedBuffer& buffer) const {
    PlanBuffer result{buffer.kind};
    result.bytes = ceildiv(buffer.elements * Dim(bits(buffer.dtype)), Dim(8));
    if (buffer.kind == BufferKind::constant) {
      result.constant = file_name(in_.network.constants[buffer.index]);
    } else {
      result.index = buffer.index;
    }
    return result;
  }

  int tensor(TensorId id) {
    if (numbers_[id] >= 0) return numbers_[id];
    const Tensor& t = body_.tensors[id];
    const PlacedTensor& placed = in_.placement.tensors[id];
    INTERNAL_CHECK(placed.buffer >= 0, "tensor '" << t.name << "' has no memory");
    plan_.tensors.push_back({t.name, t.type.dtype, t.type.shape, placed.strides, placed.buffer, placed.offset, t.observed});
    return numbers_[id] = static_cast<int>(plan_.tensors.size()) - 1;
  }

  std::vector<const PlanIo*> all_io() const {
    std::vector<const PlanIo*> result;
    for (const PlanIo& io : plan_.inputs) result.push_back(&io);
    for (const PlanIo& io : plan_.outputs) result.push_back(&io);
    return result;
  }

  /// Callers see the canonical strides, also of dims of size 1.
  void make_dense(const PlanIo& io) {
    auto id = std::find(numbers_.begin(), numbers_.end(), io.tensor) - numbers_.begin();
    plan_.tensors[io.tensor].strides = layout_strides(body_.tensors[id].type.shape, body_.tensors[id].type.layout);
  }

  void add_step(int s) {
    const Layer& layer = body_.layers[in_.placement.steps[s]];
    const Choice& choice = in_.choices[s];
    PlanStep step;
    step.spec = choice.spec;
    if (const auto* call = std::get_if<HostCall>(&layer.op)) {
      step.spec = host_step(*call);
    } else if (group(layer.op) == OpGroup::control) {
      step.spec.executor = name(layer.op);  // "if", "while", "call"
    }
    for (TensorId t : layer.inputs) step.in.push_back(tensor(t));
    for (TensorId t : layer.outputs) step.out.push_back(tensor(t));
    step.name = step_name(layer.op);
    step.tactic = choice.tactic;
    step.config = choice.config;
    step.problem = key(in_.problems[s]);
    step.origins = origin_lines(layer.origins);
    step.micros = choice.micros;
    plan_.steps.push_back(std::move(step));
  }

  static StepSpec host_step(const HostCall& call) {
    nlohmann::ordered_json args = nlohmann::ordered_json::parse(call.args, nullptr, false);
    USER_CHECK(!args.is_discarded(), "host call " << call.op << ": its arguments are no JSON: " << call.args);
    StepSpec spec{"host"};
    spec.attrs = nlohmann::ordered_json{{"op", call.op}, {"overload", call.overload}, {"args", args}}.dump();
    return spec;
  }

  const EmitInput& in_;
  const Body& body_;
  std::vector<int> numbers_;  // TensorId -> plan tensor
  PlanBody plan_;
};

void append_functions(const Program& program, std::string& name) {
  if (program.is_identity()) return;
  int count = 0;
  std::string last;
  for (const Inst& inst : program.body) {
    if (inst.fn == Fn::constant || inst.fn == Fn::cast) continue;
    std::string fn = info(inst.fn).name;
    if (fn == last) continue;
    if (++count > 6) {
      name += "+...";
      return;
    }
    name += (name.empty() ? "" : "+") + fn;
    last = fn;
  }
}

}  // namespace

PlanBody emit_body(const EmitInput& input) { return Emitter(input).run(); }

std::string step_name(const Op& op) {
  std::string text;
  if (const auto* pointwise = std::get_if<Pointwise>(&op)) {
    append_functions(pointwise->program, text);
    return !text.empty() ? text : is_copy(op) ? "copy" : "cast";
  }
  std::visit(
      [&](const auto& attrs) {
        using A = std::decay_t<decltype(attrs)>;
        if constexpr (requires { attrs.prologue; }) append_functions(attrs.prologue, text);
        if (!text.empty()) text += "+";
        if constexpr (std::is_same_v<A, HostCall>) {
          text += attrs.op;
        } else {
          text += name(op);
        }
        if constexpr (requires { attrs.epilogue; }) append_functions(attrs.epilogue, text);
      },
      op);
  return text;
}

std::vector<std::string> origin_lines(const Origins& origins) {
  std::vector<std::string> lines;
  for (const Origin& origin : origins) {
    std::string where = origin.op;
    if (!origin.source.empty()) where += (where.empty() ? "" : ", ") + origin.source;
    std::string line = origin.module.empty() ? origin.node : origin.module;
    if (!where.empty()) line += (line.empty() ? "(" : " (") + where + ")";
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

Packing arena_at(const PlanBody& body, const Symbols& sizes) {
  std::vector<PackItem> items(body.buffers.size());
  for (size_t b = 0; b < items.size(); ++b) items[b] = {body.buffers[b].kind == BufferKind::arena ? body.buffers[b].bytes.eval(sizes) : 0, INT32_MAX, -1};
  auto touch = [&](int tensor, int step) {
    PackItem& item = items[body.tensors[tensor].buffer];
    item.first = std::min(item.first, step);
    item.last = std::max(item.last, step);
  };
  for (int s = 0; s < static_cast<int>(body.steps.size()); ++s) {
    for (int t : body.steps[s].in) touch(t, s);
    for (int t : body.steps[s].out) touch(t, s);
    items.push_back({body.steps[s].spec.workspace.eval(sizes), s, s});
  }
  for (const PlanTensor& tensor : body.tensors) {
    if (tensor.observed) items[tensor.buffer].last = static_cast<int>(body.steps.size());
  }
  std::erase_if(items, [](const PackItem& item) { return item.bytes == 0 || item.last < 0; });
  return pack_memory(items);
}

}  // namespace tuyere
