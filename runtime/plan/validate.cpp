// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/validate.h"

#include <algorithm>
#include <set>

#include "kernels/api/cuda_step.h"
#include "runtime/plan/sizes.h"

namespace tuyere {
namespace {

constexpr int kMaxRank = 16, kMaxStreams = 16, kMaxEvents = 65536;

Status bad_plan(const std::string& where, const std::string& what) { return {Code::DataLoss, "engine file: " + where + ": " + what}; }

template <class T>
bool in_range(int index, const std::vector<T>& items) {
  return index >= 0 && index < static_cast<int>(items.size());
}

class BodyCheck {
 public:
  BodyCheck(const Plan& plan, int number, const PlanConstants* constants)
      : plan_(plan), number_(number), body_(plan.bodies[number]), constants_(constants), where_("body " + std::to_string(number)) {}

  Status run() {
    for (const PlanSymbol& symbol : body_.symbols)
      if (symbol.name.empty() || !symbols_.insert(symbol.name).second) return fail("symbol '" + symbol.name + "'", "empty or repeated name");
    for (size_t i = 0; i < body_.buffers.size(); ++i) TRY(buffer(body_.buffers[i], "buffer " + std::to_string(i)));
    for (size_t i = 0; i < body_.tensors.size(); ++i) TRY(tensor(body_.tensors[i], "tensor " + std::to_string(i) + " '" + body_.tensors[i].name + "'"));
    for (size_t i = 0; i < body_.inputs.size(); ++i) TRY(input(static_cast<int>(i)));
    for (size_t i = 0; i < body_.outputs.size(); ++i) TRY(output(static_cast<int>(i)));
    for (const PlanSymbol& symbol : body_.symbols) TRY(symbol_source(symbol));
    for (size_t i = 0; i < body_.steps.size(); ++i) TRY(step(body_.steps[i], "step " + std::to_string(i) + " '" + body_.steps[i].name + "'"));
    if (!body_.symbols.empty()) return Status::ok();
    Result<BodySizes> sizes = eval_sizes(body_, {});
    return sizes.is_ok() ? Status::ok() : fail("sizes", sizes.status().message());
  }

 private:
  Status fail(const std::string& item, const std::string& what) const { return bad_plan(where_ + " " + item, what); }

  Status known_symbols(const std::string& item, const Dim& dim) const {
    std::vector<std::string> names;
    dim.collect(names);
    for (const std::string& name : names)
      if (!symbols_.count(name)) return fail(item, "unknown symbol '" + name + "'");
    return Status::ok();
  }

  Status buffer(const PlanBuffer& buffer, const std::string& item) const {
    TRY(known_symbols(item, buffer.bytes));
    if (buffer.kind == BufferKind::input && !in_range(buffer.index, body_.inputs)) return fail(item, "no such input");
    if (buffer.kind == BufferKind::output && !in_range(buffer.index, body_.outputs)) return fail(item, "no such output");
    if (buffer.kind != BufferKind::constant) return Status::ok();
    if (!buffer.bytes.is_const()) return fail(item, "the size of a constant must be known");
    if (!constants_) return Status::ok();
    auto constant = constants_->find(buffer.constant);
    if (constant == constants_->end()) return fail(item, "constant '" + buffer.constant + "' is missing");
    if (buffer.bytes.value() > constant->second.bytes) return fail(item, "constant '" + buffer.constant + "' is smaller than its buffer");
    return Status::ok();
  }

  Status tensor(const PlanTensor& tensor, const std::string& item) const {
    if (!in_range(tensor.buffer, body_.buffers)) return fail(item, "no such buffer");
    if (tensor.shape.size() != tensor.strides.size()) return fail(item, "shape and strides differ in rank");
    if (tensor.shape.size() > kMaxRank) return fail(item, "more than 16 dimensions");
    for (const Dim& dim : tensor.shape) TRY(known_symbols(item, dim));
    for (const Dim& dim : tensor.strides) TRY(known_symbols(item, dim));
    return known_symbols(item, tensor.offset);
  }

  Status io_tensor(const PlanIo& io, const std::string& item, BufferKind kind, int index, bool whole) const {
    if (!in_range(io.tensor, body_.tensors)) return fail(item, "no such tensor");
    const PlanTensor& tensor = body_.tensors[io.tensor];
    const PlanBuffer& buffer = body_.buffers[tensor.buffer];
    if (buffer.kind != kind || buffer.index != index) return fail(item, "its tensor lies in another buffer");
    if (whole && !tensor.offset.is_const(0)) return fail(item, "its tensor must start at its buffer");
    for (const Dim& stride : tensor.strides)
      if (stride.is_const() && stride.value() < 0) return fail(item, "negative stride");
    return Status::ok();
  }

  Status input(int index) const {
    const PlanIo& io = body_.inputs[index];
    return io_tensor(io, "input '" + io.name + "'", BufferKind::input, index, true);
  }

  Status output(int index) const {
    const PlanIo& io = body_.outputs[index];
    const std::string item = "output '" + io.name + "'";
    if (io.aliases_input < 0) return io_tensor(io, item, BufferKind::output, index, true);
    if (!in_range(io.aliases_input, body_.inputs)) return fail(item, "aliases no input");
    return io_tensor(io, item, BufferKind::input, io.aliases_input, false);
  }

  /// dim = a * symbol + b with a != 0: three points show that it is linear.
  Status symbol_source(const PlanSymbol& symbol) const {
    const std::string item = "symbol '" + symbol.name + "'";
    if (!in_range(symbol.input, body_.inputs)) return fail(item, "no such input");
    if (!in_range(symbol.dim, body_.tensors[body_.inputs[symbol.input].tensor].shape)) return fail(item, "no such dimension");
    if (symbol.min < 0 || symbol.max < symbol.min) return fail(item, "bad range");
    int64_t at[3];
    for (int i = 0; i < 3; ++i) {
      Symbols values;
      values.set(symbol.name, i);
      if (!symbol.expr.try_eval(values, &at[i])) return fail(item, "'" + symbol.expr.str() + "' uses another symbol");
      if (at[i] < -(int64_t{1} << 48) || at[i] > int64_t{1} << 48) return fail(item, "'" + symbol.expr.str() + "' is out of range");
    }
    if (at[1] == at[0] || at[2] - at[1] != at[1] - at[0]) return fail(item, "'" + symbol.expr.str() + "' is not linear in it");
    return Status::ok();
  }

  Status step(const PlanStep& step, const std::string& item) {
    if (step.spec.executor.empty()) return fail(item, "no executor");
    TRY(known_symbols(item, step.spec.workspace));
    for (int id : step.in)
      if (!in_range(id, body_.tensors)) return fail(item, "no such tensor");
    for (int id : step.out) {
      if (!in_range(id, body_.tensors)) return fail(item, "no such tensor");
      const PlanBuffer& buffer = body_.buffers[body_.tensors[id].buffer];
      if (buffer.kind == BufferKind::constant) return fail(item, "writes a constant");
      if (buffer.kind == BufferKind::input && !body_.inputs[buffer.index].mutated)
        return fail(item, "writes input '" + body_.inputs[buffer.index].name + "', which is not marked mutated");
    }
    TRY(schedule(step, item));
    TRY(control(step, item));
    return step.spec.executor == "cuda" ? cuda(step, item) : Status::ok();
  }

  /// Bodies come after the bodies that run them, so that none runs itself.
  Status control(const PlanStep& step, const std::string& item) const {
    const std::string& kind = step.spec.executor;
    const size_t wanted = kind == "call" ? 1 : kind == "if" || kind == "while" ? 2 : 0;
    if (step.bodies.size() != wanted) return fail(item, "needs " + std::to_string(wanted) + " bodies");
    for (size_t k = 0; k < wanted; ++k) {
      const int id = step.bodies[k];
      if (!in_range(id, plan_.bodies) || id <= number_ || id == plan_.weight_body) return fail(item, "no such body");
      const PlanBody& body = plan_.bodies[id];
      const bool condition = kind == "while" && k == 0;
      if (body.inputs.size() + (kind == "if") != step.in.size() || body.outputs.size() != (condition ? 1 : step.out.size()))
        return fail(item, "its inputs or outputs differ from those of body " + std::to_string(id));
    }
    if (kind != "if") return Status::ok();
    const PlanTensor& condition = body_.tensors[step.in[0]];
    return condition.dtype == DType::Bool && condition.shape.empty() ? Status::ok() : fail(item, "its condition is not one bool");
  }

  Status schedule(const PlanStep& step, const std::string& item) {
    if (step.stream < 0 || step.stream >= kMaxStreams) return fail(item, "stream out of range");
    if (step.stage < stage_) return fail(item, "stages are out of order");
    stage_ = step.stage;
    for (int event : step.wait_events)
      if (!events_.count(event)) return fail(item, "waits for event " + std::to_string(event) + ", which no earlier step records");
    if (step.record_event < -1 || step.record_event >= kMaxEvents) return fail(item, "event out of range");
    if (step.record_event >= 0 && !events_.insert(step.record_event).second) return fail(item, "records an event twice");
    return Status::ok();
  }

  Status cuda(const PlanStep& step, const std::string& item) const {
    const Result<CudaStep> parsed = parse_cuda_step(step.spec.attrs);
    if (!parsed.is_ok()) return fail(item, parsed.status().message());
    const int pointers = static_cast<int>(step.in.size() + step.out.size()) + !step.spec.workspace.is_const(0);
    for (const KernelLaunch& launch : parsed.value().launches) {
      if (!launch.kernel.empty() && !in_range(launch.blob, step.spec.blobs)) return fail(item, "no such blob");
      if (launch.kernel.empty() && launch.args.size() != 2) return fail(item, "a fill needs two arguments");
      for (const KernelArg& arg : launch.args) {
        const bool addressed = arg.kind == KernelArg::Kind::pointer || arg.kind == KernelArg::Kind::tensor_map;
        if (addressed && (arg.pointer < 0 || arg.pointer >= pointers)) return fail(item, "no such pointer");
        TRY(known_symbols(item, arg.value));
        for (const Dim& dim : arg.dims) TRY(known_symbols(item, dim));
        for (const Dim& dim : arg.strides) TRY(known_symbols(item, dim));
      }
      for (const Dim& dim : launch.grid) TRY(known_symbols(item, dim));
    }
    return Status::ok();
  }

  const Plan& plan_;
  const int number_;
  const PlanBody& body_;
  const PlanConstants* constants_;
  std::string where_;
  std::set<std::string> symbols_;
  std::set<int> events_;
  int stage_ = 0;
};

/// A profile has the inputs and outputs of the program.
Status check_profile(const Plan& plan, int number) {
  if (number < 1 || !in_range(number, plan.bodies) || number == plan.weight_body) return bad_plan("plan", "no such profile");
  const PlanBody &program = plan.bodies[0], &profile = plan.bodies[number];
  const auto same = [&](const std::vector<PlanIo>& a, const std::vector<PlanIo>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const PlanIo& x, const PlanIo& y) {
      const PlanTensor &s = program.tensors[x.tensor], &t = profile.tensors[y.tensor];
      return x.mutated == y.mutated && x.aliases_input == y.aliases_input && s.dtype == t.dtype && str(s.shape) == str(t.shape) &&
             str(s.strides) == str(t.strides);
    });
  };
  if (same(program.inputs, profile.inputs) && same(program.outputs, profile.outputs)) return Status::ok();
  return bad_plan("profile body " + std::to_string(number), "its inputs or outputs differ from the program's");
}

Status check_weight_io(const PlanBody& body, const PlanIo& io, const std::string& constant, const PlanConstants& constants) {
  const std::string where = "weight program '" + io.name + "'";
  auto found = constants.find(constant);
  if (found == constants.end()) return bad_plan(where, "'" + constant + "' is missing");
  const PlanTensor& tensor = body.tensors[io.tensor];
  if (tensor.dtype != found->second.dtype || to_ints(tensor.shape) != found->second.shape) return bad_plan(where, "its type differs from '" + constant + "'");
  if (to_ints(tensor.strides) != contiguous_strides(found->second.shape)) return bad_plan(where, "must be row-major");
  return Status::ok();
}

Status check_weight_body(const Plan& plan, const PlanConstants& constants) {
  const PlanBody& body = plan.bodies[plan.weight_body];
  if (!body.symbols.empty()) return bad_plan("weight program", "has symbolic sizes");
  for (const PlanIo& io : body.inputs) TRY(check_weight_io(body, io, "param/" + io.name, constants));
  for (const PlanIo& io : body.outputs) TRY(check_weight_io(body, io, io.name, constants));
  for (const PlanStep& step : body.steps)
    if (step.spec.executor != "cpu" && step.spec.executor != "copy") return bad_plan("weight program", "step '" + step.name + "' does not run on the CPU");
  return Status::ok();
}

}  // namespace

bool is_control(const PlanStep& step) { return step.spec.executor == "call" || step.spec.executor == "if" || step.spec.executor == "while"; }

bool view_fits(DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides, int64_t offset, int64_t buffer_bytes) {
  __int128 low = offset, high = offset;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) return false;
    if (shape[i] == 0) return true;
    (strides[i] < 0 ? low : high) += static_cast<__int128>(shape[i] - 1) * strides[i];
  }
  if (static_cast<__int128>(offset) * bits(dtype) % 8) return false;
  return low >= 0 && (high + 1) * bits(dtype) <= static_cast<__int128>(buffer_bytes) * 8;
}

int64_t view_extent(DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides) {
  __int128 high = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    if (shape[i] < 0 || strides[i] < 0) return -1;
    high += static_cast<__int128>(shape[i] - 1) * strides[i];
  }
  const __int128 bytes = (high * bits(dtype) + 7) / 8;
  return bytes > INT64_MAX ? -1 : static_cast<int64_t>(bytes);
}

Status validate_plan(const Plan& plan, const PlanConstants* constants) {
  if (plan.bodies.empty()) return bad_plan("plan", "no body");
  if (plan.weight_body != -1 && (plan.weight_body < 1 || !in_range(plan.weight_body, plan.bodies))) return bad_plan("plan", "no such weight program");
  for (size_t i = 0; i < plan.bodies.size(); ++i) TRY(BodyCheck(plan, static_cast<int>(i), constants).run());
  for (int profile : plan.profiles) TRY(check_profile(plan, profile));
  if (plan.weight_body >= 0 && constants) TRY(check_weight_body(plan, *constants));
  return Status::ok();
}

}  // namespace tuyere
