// SPDX-License-Identifier: Apache-2.0
// "cublaslt" steps: one matrix product, then what its epilogue could not say as a kernel of our own.
#ifdef TUYERE_WITH_CUDA
#include <algorithm>
#include <cstring>

#include "kernels/run/cublaslt_matmul.h"
#include "kernels/run/cuda_driver.h"
#include "kernels/run/executors.h"
#include "kernels/run/plan_cache.h"

namespace tuyere {
namespace {

constexpr int64_t kMatmulWorkspace = int64_t{32} << 20;
constexpr size_t kAlgoBytes = sizeof(cublasLtMatmulAlgo_t);

std::string hex_of(const cublasLtMatmulAlgo_t& algo) {
  unsigned char raw[kAlgoBytes];
  std::memcpy(raw, &algo, kAlgoBytes);
  std::string text;
  for (unsigned char byte : raw) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

bool algo_of(const std::string& text, cublasLtMatmulAlgo_t* algo) {
  if (text.size() != 2 * kAlgoBytes) return false;
  unsigned char raw[kAlgoBytes];
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    raw[i / 2] = static_cast<unsigned char>(i % 2 ? raw[i / 2] | digit : digit << 4);
  }
  std::memcpy(algo, raw, kAlgoBytes);
  return true;
}

struct Algo {
  cublasLtMatmulAlgo_t algo{};
  int64_t workspace = 0;
};

/// The tuned algorithm when it was made for these sizes by this library, otherwise the heuristic's first.
Result<Algo> choose(const CublasLt& lt, cublasLtHandle_t handle, const LtStep& step, const LtSizes& sizes, const LtMatmul& matmul) {
  Algo chosen;
  if (step.version == lt.number && step.tuned == sizes.tuned() && algo_of(step.algo, &chosen.algo)) {
    const Result<int64_t> workspace = matmul.check_algo(handle, chosen.algo);
    if (workspace.is_ok()) {
      chosen.workspace = workspace.value();
      return chosen;
    }
  }
  TRY_ASSIGN(const auto found, matmul.heuristic(handle, kMatmulWorkspace, 1));
  chosen.algo = found[0].algo;
  chosen.workspace = static_cast<int64_t>(found[0].workspaceSize);
  return chosen;
}

class LtExecutable final : public Executable {
 public:
  LtExecutable(cublasLtHandle_t handle, std::unique_ptr<LtMatmul> matmul, const Algo& algo, const LtStep& step, size_t workspace_at,
               std::unique_ptr<Executable> then)
      : handle_(handle),
        matmul_(std::move(matmul)),
        algo_(algo),
        a_(step.a.position),
        b_(step.b.position),
        c_(step.c.position),
        d_(step.d.position),
        bias_(step.bias),
        workspace_at_(workspace_at),
        then_(std::move(then)) {}

  Status run(void* const* pointers, void* stream) noexcept override {
    if (matmul_) {
      if (bias_ >= 0) TRY(matmul_->set_bias(pointers[bias_]));
      void* workspace = algo_.workspace > 0 ? pointers[workspace_at_] : nullptr;
      TRY(matmul_->run(handle_, algo_.algo, pointers[a_], pointers[b_], c_ >= 0 ? pointers[c_] : nullptr, pointers[d_], workspace,
                       static_cast<size_t>(algo_.workspace), static_cast<cudaStream_t>(stream)));
    }
    return then_ ? then_->run(pointers, stream) : Status::ok();
  }

 private:
  cublasLtHandle_t handle_;
  std::unique_ptr<LtMatmul> matmul_;  // nullptr: an empty result
  Algo algo_;
  int a_, b_, c_, d_, bias_;
  size_t workspace_at_;
  std::unique_ptr<Executable> then_;
};

/// What a step needs at one set of sizes: made for workspace() and prepare() alike.
struct Ready {
  LtStep step;
  LtSizes sizes;
  cublasLtHandle_t handle = nullptr;
  std::unique_ptr<LtMatmul> matmul;
  Algo algo;
};

std::string matmul_key(const StepSpec& spec, const LtSizes& s, int device) {
  std::string key = std::to_string(device);
  for (int64_t size :
       {s.m, s.n, s.k, s.batch, s.a.row, s.a.column, s.a.batch, s.b.row, s.b.column, s.b.batch, s.c.row, s.c.column, s.c.batch, s.d.row, s.d.column, s.d.batch})
    key += "," + std::to_string(size);
  return key + spec.attrs;
}

class LtExecutor final : public Executor {
 public:
  Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) override {
    CudaContextScope scope(args.device);
    TRY(scope.status());
    TRY_ASSIGN(Ready ready, make_ready(spec, args));
    for (int position : {ready.step.a.position, ready.step.b.position, ready.step.c.position, ready.step.d.position, ready.step.bias})
      if (position >= static_cast<int>(args.in.size() + args.out.size()))
        return Status(Code::DataLoss, "a cublaslt step names tensor " + std::to_string(position));
    std::unique_ptr<Executable> then;
    if (!ready.step.then.empty()) {
      const StepSpec kernels{"cuda", ready.step.then, spec.blobs, 0};
      TRY_ASSIGN(then, cuda_executor()->prepare(kernels, args));
    }
    const size_t workspace_at = args.in.size() + args.out.size();
    return std::unique_ptr<Executable>(new LtExecutable(ready.handle, std::move(ready.matmul), ready.algo, ready.step, workspace_at, std::move(then)));
  }

  Result<int64_t> workspace(const StepSpec& spec, const PrepareArgs& args) override {
    CudaContextScope scope(args.device);
    TRY(scope.status());
    TRY_ASSIGN(const Ready ready, make_ready(spec, args));
    return ready.algo.workspace;
  }

 private:
  Result<Ready> make_ready(const StepSpec& spec, const PrepareArgs& args) {
    Ready ready;
    TRY_ASSIGN(ready.step, parse_lt_step(spec.attrs));
    TRY_ASSIGN(ready.sizes, lt_sizes(ready.step, args.known_symbols()));
    if (ready.sizes.empty()) return ready;
    TRY_ASSIGN(const CublasLt* lt, cublaslt());
    TRY_ASSIGN(ready.handle, lt->handle(args.device));
    TRY_ASSIGN(ready.matmul, LtMatmul::make(*lt, ready.step, ready.sizes));
    const std::string key = matmul_key(spec, ready.sizes, args.device);
    if (std::shared_ptr<const Algo> known = chosen_.find(key)) {
      ready.algo = *known;
      return ready;
    }
    TRY_ASSIGN(ready.algo, choose(*lt, ready.handle, ready.step, ready.sizes, *ready.matmul));
    chosen_.add(key, std::make_shared<const Algo>(ready.algo));
    return ready;
  }

  PlanCache<const Algo> chosen_{4096};
};

}  // namespace

Status lt_available(int device) {
  CudaContextScope scope(device);
  TRY(scope.status());
  return cublaslt().status();
}

Result<std::vector<LtAlgorithm>> lt_algorithms(const LtStep& step, const Symbols& symbols, int device, int count) {
  CudaContextScope scope(device);
  TRY(scope.status());
  TRY_ASSIGN(const CublasLt* lt, cublaslt());
  TRY_ASSIGN(cublasLtHandle_t handle, lt->handle(device));
  TRY_ASSIGN(const LtSizes sizes, lt_sizes(step, symbols));
  if (sizes.empty()) return std::vector<LtAlgorithm>{};
  TRY_ASSIGN(std::unique_ptr<LtMatmul> matmul, LtMatmul::make(*lt, step, sizes));
  TRY_ASSIGN(const auto found, matmul->heuristic(handle, kMatmulWorkspace, count));
  std::vector<LtAlgorithm> algorithms;
  for (const cublasLtMatmulHeuristicResult_t& result : found)
    algorithms.push_back({hex_of(result.algo), static_cast<int64_t>(result.workspaceSize), lt->number});
  return algorithms;
}

Executor* cublaslt_executor() {
  static LtExecutor executor;
  return &executor;
}

}  // namespace tuyere
#endif
