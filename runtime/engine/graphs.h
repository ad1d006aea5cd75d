// SPDX-License-Identifier: Apache-2.0
// CUDA graphs of one prepared shape. A graph holds callers' addresses; caching allocators repeat them, so graphs are kept per set of addresses.
// Callers whose addresses keep changing get one graph over fixed staging memory, with copies at the border.
// Steps that cannot be captured (host operators, conditions) cut the graph: the parts between them are graphs, and run in turn with these steps.
#pragma once
#include <string>
#include <vector>

#include "runtime/engine/memory.h"
#include "runtime/engine/runner.h"

namespace tuyere {

class GraphCache {
 public:
  GraphCache(DeviceApi* api, int device) : api_(api), device_(device) {}
  ~GraphCache() { clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  /// Runs `prepared` (whose pointer table this changes) for these addresses. The first call runs plain steps, so that libraries load their code
  /// outside of a capture. capture_stream: a stream of our own.
  Status run(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, void* capture_stream);
  /// Forgets all graphs: the arena or the constants moved.
  void clear() noexcept;
  const char* mode() const { return mode_; }
  /// Why steps, or where graphs are cut; may be empty.
  const std::string& why() const { return why_; }

 private:
  /// A graph over a range of steps; without a graph the steps are run.
  struct Part {
    Runner::Range range;
    void* graph = nullptr;
  };
  using Parts = std::vector<Part>;
  struct Captured {
    std::vector<void*> addresses;  // inputs, then outputs
    Parts parts;
    uint64_t used = 0;
  };

  Captured* find(const Prepared& prepared, void* const* inputs, void* const* outputs) noexcept;
  Status run_steps(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, const char* why);
  Status run_new(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, void* capture_stream);
  Status run_staged(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream) noexcept;
  Result<Parts> capture(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* capture_stream);
  Status capture(Prepared& prepared, Runner& runner, Part& part, void* capture_stream);
  Status launch(Prepared& prepared, Runner& runner, const Parts& parts, void* stream) noexcept;
  void destroy(Parts& parts) noexcept;
  Status stage(Prepared& prepared, Runner& runner, void* stream, void* capture_stream);

  DeviceApi* api_;
  int device_;
  std::vector<Captured> captured_;
  uint64_t clock_ = 0;
  int misses_ = 0;  // in a row
  bool warm_ = false, disabled_ = false;
  Memory staging_;
  std::vector<void*> staged_inputs_, staged_outputs_;
  Parts staged_;
  const char* mode_ = "steps";
  std::string why_, cuts_;
};

}  // namespace tuyere
