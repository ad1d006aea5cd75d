// SPDX-License-Identifier: Apache-2.0
// tuyere-bench: every tactic of every problem, checked against the reference kernels and timed.
//   tuyere-bench [--target cpu|cuda] [--configs N] [--level N] [--tactic substring] [--no-time] [--no-check] [--seed N] FILE...  a problem per line
//   tuyere-bench --compile --target sm_80 [--configs N] [--tactic substring] FILE...  only compiles own kernels: no GPU is needed
// Problem lines are what the timing cache and the reports print, so a slow or wrong layer can be pasted here.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>

#include "common/error.h"
#include "core/builder/builder.h"
#include "core/builder/timing.h"
#include "core/builder/timing_memory.h"
#include "kernels/api/tactics.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

struct Arguments {
  std::string target = "cpu", tactic;
  int configs = 3, level = 3;
  bool time = true, check = true, compile = false;
  unsigned seed = 1;
  std::vector<std::string> files;
};

struct HostTensor {
  TensorView view;
  std::vector<std::byte> data;
};

/// Elements per step of the indices when the last of two writers to one place would decide, else 0. Such indices must differ.
int64_t stride_of_distinct(const Problem& problem, const TensorView& indices) {
  if (const auto* put = std::get_if<IndexPut>(&problem.op)) return put->accumulate ? 0 : 1;
  const auto* scatter = std::get_if<ScatterElements>(&problem.op);
  if (!scatter || scatter->kind != ScatterKind::set || indices.shape.empty()) return 0;
  int64_t stride = 1;
  const size_t axis = static_cast<size_t>(scatter->axis < 0 ? scatter->axis + static_cast<int64_t>(indices.shape.size()) : scatter->axis);
  for (size_t d = axis + 1; d < indices.shape.size(); ++d) stride *= indices.shape[d];
  return stride;
}

/// Random values; integers index any dimension of input 0.
HostTensor random_tensor(const Problem& problem, const TensorDesc& desc, std::mt19937& rng) {
  HostTensor t{view_at_hints(problem, desc), {}};
  const int64_t bytes = span_bytes(t.view);
  t.data.resize(static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  const int64_t count = bytes * 8 / bits(desc.dtype), bound = std::max<int64_t>(index_bound(problem), 1);
  std::uniform_real_distribution<double> real(-1, 1);
  std::uniform_int_distribution<int64_t> integer(0, bound - 1);
  const int64_t distinct = stride_of_distinct(problem, t.view);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t whole = distinct ? i / distinct % bound : integer(rng);
    store_from_double(desc.dtype, t.data.data(), i, is_float(desc.dtype) ? real(rng) : static_cast<double>(desc.dtype == DType::Bool ? rng() & 1 : whole));
  }
  return t;
}

/// Where the maxima of a pooling came from: the last pixel of each window that is inside.
void place_maxima(const PoolGradient& op, const Symbols& hints, HostTensor& places) {
  const std::vector<int64_t> size = eval(op.size, hints), &shape = places.view.shape;
  const size_t lead = shape.size() - size.size();
  for (int64_t i = 0; i < places.view.numel(); ++i) {
    int64_t flat = 0, offset = 0, stride = places.view.numel();
    for (size_t d = 0; d < shape.size(); ++d) {
      stride /= shape[d];
      const int64_t o = i / stride % shape[d];
      offset += o * places.view.strides[d];
      if (d < lead) continue;
      const size_t k = d - lead;
      const int64_t end = op.kernel.empty() ? ((o + 1) * size[k] + shape[d] - 1) / shape[d] : o * op.stride[k] - op.pad[k] + op.kernel[k];
      flat = flat * size[k] + std::min(end, size[k]) - 1;
    }
    store_from_double(places.view.dtype, places.data.data(), offset, static_cast<double>(flat));
  }
}

/// Masks that are added forbid some keys, and all keys of their last row.
void forbid_some(HostTensor& mask) {
  const int64_t count = static_cast<int64_t>(mask.data.size()) * 8 / bits(mask.view.dtype);
  const int64_t last_row = count - mask.view.shape.back();
  for (int64_t i = 0; i < count; ++i)
    if (i % 7 == 3 || i >= last_row) store_from_double(mask.view.dtype, mask.data.data(), i, -INFINITY);
}

struct Case {
  Problem problem;
  std::vector<HostTensor> in, want;
};

PrepareArgs prepare_args(const Case& c, TimingConstants& store, int device) {
  PrepareArgs args;
  for (size_t k = 0; k < c.in.size(); ++k) {
    args.in.push_back(c.in[k].view);
    args.constants.push_back(nullptr);
    args.constant_keys.emplace_back();
  }
  for (const TensorDesc& out : c.problem.out) args.out.push_back(view_at_hints(c.problem, out));
  args.symbols = &c.problem.hints;
  args.store = &store;
  args.device = device;
  return args;
}

/// Runs a step on copies of the inputs; outputs are poisoned first.
Result<std::vector<HostTensor>> run(const Case& c, const StepSpec& spec, DeviceApi* api, int device) {
  TimingConstants store;
  const PrepareArgs args = prepare_args(c, store, device);
  TRY_ASSIGN(Executor * executor, find_executor(spec.executor));
  TimingMemory memory(api, device);
  std::vector<void*> pointers;
  for (const HostTensor& t : c.in) {
    TRY_ASSIGN(void* p, memory.add(static_cast<int64_t>(t.data.size()), t.data));
    pointers.push_back(p);
  }
  std::vector<HostTensor> outputs;
  for (const TensorView& view : args.out) {
    outputs.push_back({view, std::vector<std::byte>(static_cast<size_t>(std::max<int64_t>(span_bytes(view), 1)), std::byte{0x7f})});
    TRY_ASSIGN(void* p, memory.add(static_cast<int64_t>(outputs.back().data.size()), outputs.back().data));
    pointers.push_back(p);
  }
  PrepareArgs with_constants = args;
  if (!api) {  // constants may be packed on the host
    for (size_t k = 0; k < c.in.size(); ++k) {
      if (!c.problem.in[k].constant) continue;
      with_constants.constants[k] = pointers[k];
      with_constants.constant_keys[k] = "c" + std::to_string(k);
    }
  }
  TRY_ASSIGN(int64_t workspace, executor->workspace(spec, with_constants));
  if (workspace > 0) {
    TRY_ASSIGN(void* p, memory.add(workspace, {}));
    pointers.push_back(p);
  }
  TRY_ASSIGN(std::unique_ptr<Executable> step, executor->prepare(spec, with_constants));
  void* stream = nullptr;
  if (api) {
    TRY_ASSIGN(stream, api->create_stream(device));
  }
  Status status = step->run(pointers.data(), stream);
  if (api) {
    const Status synced = api->synchronize(stream);
    api->destroy_stream(stream);
    if (status.is_ok()) status = synced;
  }
  TRY(status);
  for (size_t k = 0; k < outputs.size(); ++k) {
    void* from = pointers[c.in.size() + k];
    if (api) {
      TRY(api->copy_now(device, outputs[k].data.data(), from, static_cast<int64_t>(outputs[k].data.size())));
    } else {
      std::memcpy(outputs[k].data.data(), from, outputs[k].data.size());
    }
  }
  return outputs;
}

/// Relative L2 error over the elements of the view; infinity when a NaN or infinity differs.
double error_of(const HostTensor& got, const HostTensor& want) {
  double difference = 0, norm = 0;
  std::vector<int64_t> index(want.view.shape.size(), 0);
  for (int64_t n = want.view.numel(); n > 0; --n) {
    int64_t offset = 0;
    for (size_t d = 0; d < index.size(); ++d) offset += index[d] * want.view.strides[d];
    const double a = load_as_double(got.view.dtype, got.data.data(), offset), b = load_as_double(want.view.dtype, want.data.data(), offset);
    if (std::isfinite(b)) {
      if (!std::isfinite(a)) return INFINITY;
      difference += (a - b) * (a - b);
      norm += b * b;
    } else if (!(std::isnan(a) && std::isnan(b)) && a != b) {
      return INFINITY;
    }
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < want.view.shape[d]) break;
      index[d] = 0;
    }
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

double bound_of(const Problem& problem) {
  double worst = 0;
  for (const auto* list : {&problem.in, &problem.out})
    for (const TensorDesc& t : *list)
      if (is_float(t.dtype)) worst = std::max(worst, epsilon(t.dtype));
  bool tf32 = false;
  if (const auto* conv = std::get_if<Conv>(&problem.op)) tf32 = conv->tf32;
  if (const auto* matmul = std::get_if<MatMul>(&problem.op)) tf32 = matmul->tf32;
  return std::max(tf32 ? 2e-3 : 0.0, 16 * worst);
}

struct Totals {
  int checked = 0, wrong = 0, failed = 0, unsupported = 0;
};

void run_candidate(const Case& c, const Tactic& tactic, const Config& config, const Target& target, DeviceApi* api, const Arguments& args, Totals& totals) {
  char line[256];
  try {
    const StepSpec spec = tactic.make(c.problem, target, config);
    double error = 0;
    if (args.check) {
      auto got = run(c, spec, api, target.device);
      if (!got.is_ok()) throw std::runtime_error(got.status().message());
      for (size_t k = 0; k < got->size(); ++k) error = std::max(error, error_of((*got)[k], c.want[k]));
      totals.checked += 1;
    }
    const bool good = error <= bound_of(c.problem);
    totals.wrong += good ? 0 : 1;
    double micros = 0;
    if (args.time && good) {
      const StepSpec* specs[] = {&spec};
      micros = time_steps(c.problem, specs, target)[0].micros;
    }
    const double gbps = micros > 0 ? static_cast<double>(traffic_bytes(c.problem)) / micros * 1e-3 : 0,
                 tflops = micros > 0 ? flops(c.problem) / micros * 1e-6 : 0;
    std::snprintf(line, sizeof line, "  %s %-34s %9.2f us %7.0f GB/s %7.1f TFLOP/s  err %.1e  ", good ? "ok   " : "WRONG", std::string(tactic.name()).c_str(),
                  micros, gbps, tflops, error);
    std::cout << line << config << std::endl;
  } catch (const std::exception& e) {
    totals.failed += 1;
    std::cout << "  FAIL  " << tactic.name() << " [" << config << "]: " << std::string(e.what()).substr(0, 600) << std::endl;
  }
}

/// Results of the slowest and simplest tactic: the CPU's reference, or for heavy problems the last own kernel of the device, which is checked on small ones.
std::vector<HostTensor> reference(const Case& c, const Target& target, DeviceApi* api) {
  const bool heavy = api && flops(c.problem) > 2e8;
  const Target where = heavy ? target : find_target("cpu");
  const TacticList& list = tactics(c.problem.op, where);
  for (auto it = list.rbegin(); it != list.rend(); ++it) {
    if (!(*it)->supports(c.problem, where)) continue;
    auto want = run(c, (*it)->make(c.problem, where, (*it)->configs(c.problem, where, 0)[0]), heavy ? api : nullptr, heavy ? target.device : -1);
    if (!want.is_ok()) throw std::runtime_error("reference: " + want.status().message());
    return std::move(*want);
  }
  throw std::runtime_error("no reference for this operator");
}

std::vector<Config> best_configs(const Tactic& tactic, const Problem& problem, const Target& target, const Arguments& args) {
  std::vector<Config> configs = tactic.configs(problem, target, args.level);
  if (static_cast<int>(configs.size()) > args.configs) configs.resize(static_cast<size_t>(args.configs));
  return configs;
}

/// Compiles the best configurations of every own tactic; a problem without one fails.
void compile_problem(const std::string& text, const Target& target, const Arguments& args, Totals& totals) {
  std::cout << text << std::endl;
  int supporting = 0;
  try {
    const Problem problem = parse_problem(text);
    for (const auto& tactic : tactics(problem.op, target)) {
      if (tactic->source() != "own" || tactic->name().find(args.tactic) == std::string_view::npos || !tactic->supports(problem, target)) continue;
      ++supporting;
      for (const Config& config : best_configs(*tactic, problem, target, args)) {
        std::cout << "  " << tactic->name() << " " << config << std::endl;
        (void)tactic->make(problem, target, config);
        totals.checked += 1;
      }
    }
    if (supporting == 0 && args.tactic.empty()) throw std::runtime_error("no own tactic supports it");
  } catch (const std::exception& e) {
    totals.failed += 1;
    std::cout << "  FAIL  " << e.what() << std::endl;
  }
}

void run_problem(const std::string& text, const Target& target, DeviceApi* api, const Arguments& args, Totals& totals) {
  std::cout << text << std::endl;
  Case c;
  try {
    c.problem = parse_problem(text);
    std::mt19937 rng(args.seed);
    for (const TensorDesc& in : c.problem.in) c.in.push_back(random_tensor(c.problem, in, rng));
    if (std::holds_alternative<Attention>(c.problem.op) && c.in.size() > 3 && is_float(c.in[3].view.dtype)) forbid_some(c.in[3]);
    if (const auto* pool = std::get_if<PoolGradient>(&c.problem.op); pool && c.in.size() > 1) place_maxima(*pool, c.problem.hints, c.in[1]);
    if (args.check) c.want = reference(c, target, api);
  } catch (const std::exception& e) {
    totals.failed += 1;
    std::cout << "  FAIL  " << e.what() << std::endl;
    return;
  }
  for (const auto& tactic : tactics(c.problem.op, target)) {
    if (!args.tactic.empty() && tactic->name().find(args.tactic) == std::string_view::npos) continue;
    if (const Support support = tactic->supports(c.problem, target); !support) {
      totals.unsupported += 1;
      std::cout << "  no    " << tactic->name() << ": " << support.reason() << "\n";
      continue;
    }
    for (const Config& config : best_configs(*tactic, c.problem, target, args)) run_candidate(c, *tactic, config, target, api, args, totals);
  }
}

Arguments parse(int argc, char** argv) {
  Arguments args;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string(); };
    if (a == "--target")
      args.target = value();
    else if (a == "--tactic")
      args.tactic = value();
    else if (a == "--configs")
      args.configs = std::stoi(value());
    else if (a == "--level")
      args.level = std::stoi(value());
    else if (a == "--seed")
      args.seed = static_cast<unsigned>(std::stoul(value()));
    else if (a == "--no-time")
      args.time = false;
    else if (a == "--no-check")
      args.check = false;
    else if (a == "--compile")
      args.compile = true;
    else
      args.files.push_back(a);
  }
  return args;
}

int main_of(int argc, char** argv) {
  const Arguments args = parse(argc, argv);
  const Target target = find_target(args.target);
  DeviceApi* api = nullptr;
  if (target.is_cuda() && !args.compile) {
    auto device = cuda_device();
    if (!device.is_ok()) {
      std::cerr << device.status().message() << "\n";
      return 2;
    }
    api = *device;
  }
  Totals totals;
  for (const std::string& file : args.files) {
    std::ifstream in(file);
    if (!in) std::cerr << "cannot read " << file << "\n";
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("* ")) line = line.substr(2);  // the quick sample of a problem list
      if (line.empty() || line[0] == '#') continue;
      args.compile ? compile_problem(line, target, args, totals) : run_problem(line, target, api, args, totals);
    }
  }
  std::cout << totals.checked << " checked, " << totals.wrong << " wrong, " << totals.failed << " failed, " << totals.unsupported << " unsupported\n";
  return totals.wrong || totals.failed ? 1 : 0;
}

}  // namespace
}  // namespace tuyere

int main(int argc, char** argv) {
  try {
    return tuyere::main_of(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
}
