// SPDX-License-Identifier: Apache-2.0
// A generated kernel: source text, parameters and launch geometry; and the tactic base class that compiles and wraps it as a step.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/api/cuda_step.h"
#include "kernels/api/tactic.h"

namespace tuyere::codegen {

using Vars = std::vector<std::pair<std::string, std::string>>;
/// `text` with every $name replaced. INTERNAL_CHECKs that each name is given.
std::string fill(std::string_view text, const Vars& vars);

/// One __global__ function under construction. Constants are printed as literals, symbolic values become parameters.
class Kernel {
 public:
  /// The function is called tuyere_<name>. `wide`: idx is 64-bit.
  Kernel(const std::string& name, bool wide) : name_("tuyere_" + name), wide_(wide) {}

  /// A pointer parameter to tensor `position` of the step's list, moved by `byte_offset`; returns its name. The same arguments give the same parameter.
  std::string pointer(int position, const std::string& ctype, bool writes, const Dim& byte_offset = 0);
  /// "64", or the name of a parameter that holds the value at prepare.
  std::string value(const Dim& dim);
  /// Adds text with $name replaced to the body, or to the functions before the kernel.
  void add(std::string_view text, const Vars& vars = {}) { body += fill(text, vars); }
  void define(std::string_view text, const Vars& vars = {}) { preamble += fill(text, vars); }
  std::string source() const;
  KernelLaunch launch(int blob) const;
  const std::string& name() const { return name_; }
  bool wide() const { return wide_; }

  std::string body, preamble;
  std::array<Dim, 3> grid{1, 1, 1};
  int threads = 256;
  int min_blocks = 0;    // per multiprocessor, 0: left to the compiler
  int shared_bytes = 0;  // dynamic
  int cluster = 1;       // blocks along x

 private:
  std::string name_;
  bool wide_;
  std::string params_;
  std::vector<std::pair<std::string, std::string>> names_;  // what a parameter stands for -> its name
  std::vector<KernelArg> args_;
};

/// A sequence of launches that share one source.
struct Generated {
  std::vector<Kernel> kernels;
  Dim workspace = 0;  // bytes
};
std::string source(const Generated& generated);
CudaStep cuda_step(const Generated& generated);

/// Base of the tactics of this project: generate() gives the source, the rest is common.
class CudaTactic : public Tactic {
 public:
  std::string_view source() const final { return "own"; }
  Support supports(const Problem& problem, const Target& target) const final;
  StepSpec make(const Problem& problem, const Target& target, const Config& config) const final;
  /// The kernels for a problem that is supported and not empty.
  virtual Generated generate(const Problem& problem, const Target& target, const Config& config) const = 0;

 protected:
  /// What supports() asks beyond the target and whole-byte types.
  virtual Support accepts(const Problem& problem, const Target& target) const = 0;
};

/// The integer after "key=" in "vec=8 unroll=2", or `fallback`.
int config_int(const Config& config, std::string_view key, int fallback);
/// True when every output has a dim that is 0 whatever the symbols.
bool is_empty(const Problem& problem);

}  // namespace tuyere::codegen

/// A tactic that stands in one file with its generator. There: DEFINE_TACTIC(T), in namespace tuyere; in the family's list: ADD_TACTIC(list, T).
#define DEFINE_TACTIC(T) \
  std::unique_ptr<const Tactic> make_##T() { return std::make_unique<T>(); }
#define ADD_TACTIC(list, T)                          \
  do {                                               \
    extern std::unique_ptr<const Tactic> make_##T(); \
    list.push_back(make_##T());                      \
  } while (0)
