// SPDX-License-Identifier: Apache-2.0
// The plan: what an engine file holds. Format, versions and the compatibility promise: runtime/plan/FORMAT.md.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"
#include "common/status.h"
#include "kernels/api/step.h"

namespace tuyere {

enum class BufferKind : uint8_t { input, output, constant, arena };

/// A piece of memory. Arena buffers are placed by the packer (prepare, and the builder's report).
struct PlanBuffer {
  BufferKind kind = BufferKind::arena;
  int index = -1;        // input or output number
  std::string constant;  // name in the file
  Dim bytes;
};

/// A tensor is a strided view of a buffer. Several tensors may share one (views, concat slices, in-place results).
struct PlanTensor {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
  std::vector<Dim> strides;  // elements
  int buffer = 0;
  Dim offset;  // elements
  bool observed = false;
};

struct PlanStep {
  StepSpec spec;
  std::vector<int> in, out;          // tensors
  std::string name;                  // for profiles: "conv+add+relu"
  std::string tactic, config;        // as in the timing cache
  std::string problem;               // the tuning key: a library step is re-planned from it
  std::vector<std::string> origins;  // "module (aten op, file:line)"
  double micros = 0;                 // measured at build, 0 when not
  int stream = 0;                    // parallel branches; 0 = the caller's
  std::vector<int> wait_events;      // events (recorded by steps) to wait for
  int record_event = -1;
  int stage = 0;            // cut where a size is read back from the device
  std::vector<int> bodies;  // what "call", "if" and "while" run
};

/// Whether the step runs other bodies of the plan ("call", "if", "while": FORMAT.md).
bool is_control(const PlanStep& step);

/// One input or output of a body.
struct PlanIo {
  std::string name;
  int tensor = 0;
  bool mutated = false;    // an input that is written
  int aliases_input = -1;  // an output that shares input i's memory
  bool data_dependent = false;
};

/// Where a symbol's value comes from: dim `dim` of input `input` equals `expr` (a linear expression of this symbol).
struct PlanSymbol {
  std::string name;
  int input = 0, dim = 0;
  Dim expr;
  int64_t min = 0, max = INT64_MAX, opt = 0;
};

struct PlanBody {
  std::vector<PlanBuffer> buffers;
  std::vector<PlanTensor> tensors;
  std::vector<PlanStep> steps;
  std::vector<PlanIo> inputs, outputs;
  std::vector<PlanSymbol> symbols;
};

/// bodies[0] is the program. weight_body >= 0: the weight program, a CPU body whose inputs are parameters (by name) and whose outputs are the
/// constants of the program (output name = constant name). profiles: bodies that are the program again, tuned for other ranges of its symbols; the
/// first of bodies[0] and these whose ranges hold the sizes of a call runs it. All other bodies belong to "call", "if" and "while" steps.
struct Plan {
  int version = 1;
  std::string target = "cpu";  // "cpu", "sm_90a", ...
  std::string device_name;     // built and tuned on
  std::vector<PlanBody> bodies{1};
  int weight_body = -1;
  std::vector<int> profiles;
  std::map<std::string, std::string> meta;  // tuyere version, library versions, options, report (JSON), network text
};

/// A constant in the file or in memory. Without data (and with bytes): its value is elsewhere, in a weights file or in the caller's memory.
struct PlanConstant {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const void* data = nullptr;
  int64_t bytes = 0;
  std::shared_ptr<const void> keep;  // owner of data
  bool is_elsewhere() const { return bytes > 0 && !data; }
};
using PlanConstants = std::map<std::string, PlanConstant>;

/// A whole engine file in memory: plan, constants, and (for weight programs) the parameters stored under "param/<name>".
struct EngineFile {
  Plan plan;
  PlanConstants constants;
};

/// Serializes to safetensors bytes: the same input gives the same bytes. Tensors are 64-byte aligned by padding; blobs are u8 tensors "blob/<hash>".
std::vector<std::byte> write_engine(const EngineFile& file);
/// Reads without copying: constants point into `bytes`, which `keep` owns. DataLoss on anything malformed, FailedPrecondition on a newer version.
Result<EngineFile> read_engine(std::span<const std::byte> bytes, std::shared_ptr<const void> keep);
/// mmap and read_engine.
Result<EngineFile> open_engine(const std::string& path);
/// The values of `constants` as a file of its own, and back: open_weights() maps the file and fills in the constants that are elsewhere. `id` pairs
/// it with its engine file (meta "weights_id"). FailedPrecondition: it belongs to another engine. DataLoss: damaged, or a value of another type.
std::vector<std::byte> write_weights(const PlanConstants& constants, const std::string& id);
Status open_weights(const std::string& path, const std::string& id, PlanConstants& constants);
/// A text that differs when names, types or values differ.
std::string weights_id(const PlanConstants& constants);
/// Where the weights of the engine file `path` are when they have a file of their own.
std::string weights_path(const std::string& path);
/// Header-only check: can this file run here, and if not why (version, target, missing library).
Status check_engine(std::span<const std::byte> bytes);

/// 16-byte content id of an engine file as 32 hex digits (over the bytes).
std::string content_id(std::span<const std::byte> bytes);

// -- memory packer: pure
struct PackItem {
  int64_t bytes;
  int first, last;  // steps, inclusive
};
struct Packing {
  std::vector<int64_t> offsets;
  int64_t total = 0;        // bytes of the arena
  int64_t lower_bound = 0;  // largest sum of live bytes at any step
};
/// Offsets (aligned to `alignment`) such that items with overlapping lifetimes do not overlap. Deterministic; total is within 1.1x of the lower
/// bound on the graphs of the tests (best of several greedy orders, then a bounded local search).
Packing pack_memory(const std::vector<PackItem>& items, int64_t alignment = 256);

}  // namespace tuyere
