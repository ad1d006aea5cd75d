// SPDX-License-Identifier: Apache-2.0
// Private to core/network: what inference functions demand of their inputs. Every failure is an Error{User}; infer() and Network::add push the
// frame that names the op and the layer, so that messages need not.
#pragma once
#include <string>
#include <vector>

#include "common/error.h"
#include "core/network/infer/infer.h"

namespace tuyere::inference {

/// Fluent checks of the inputs' number, dtypes and ranks: Check(in).inputs(2).same_dtype().rank_at_least(2).
class Check {
 public:
  explicit Check(Inputs in) : in_(in) {}
  const Check& inputs(size_t count) const;
  const Check& inputs_at_least(size_t count) const;
  const Check& same_dtype() const { return same_dtype(in_.size()); }
  /// Of the first `count` inputs.
  const Check& same_dtype(size_t count) const;
  const Check& rank(int rank, size_t input = 0) const;
  const Check& rank_at_least(int rank, size_t input = 0) const;
  const Check& same_rank(size_t a, size_t b) const;
  /// i32 or i64.
  const Check& index(size_t input) const;

 private:
  Inputs in_;
};

inline int rank_of(const TensorType& type) { return static_cast<int>(type.shape.size()); }
/// The axis counted from the front; negative ones count from the end.
int64_t checked_axis(int64_t axis, int rank);
/// The same for a list without repetitions.
std::vector<int64_t> checked_axes(const std::vector<int64_t>& axes, int rank);
/// False only when both sizes are known and different: symbolic sizes are compared where they get values.
bool may_equal(const Dim& a, const Dim& b);
/// a - b may be negative or zero only when unknown.
bool may_be_at_least(const Dim& a, int64_t b);
void check_same_shape(const Shape& a, const Shape& b, const std::string& what);
/// `from` broadcasts to exactly `to`.
void check_broadcasts_to(const Shape& from, const Shape& to, const std::string& what);

/// SSA order, arity and types. `what` begins the messages: "epilogue".
void check_program(const Program& program, const std::string& what);
/// check_program, and the program's inputs from `first` on are the compute types of `in`.
void check_program(const Program& program, const std::string& what, size_t first, Inputs in);
/// Number of layer inputs that a prologue reads.
inline size_t prologue_inputs(const Program& p) { return p.empty() ? 1 : p.inputs.size(); }
/// Number of layer inputs that an epilogue reads beyond its input 0.
inline size_t epilogue_inputs(const Program& p) { return p.inputs.empty() ? 0 : p.inputs.size() - 1; }
/// Checks a prologue with `outputs` outputs over the first inputs; returns the broadcast shape it produces.
Shape check_prologue(const Program& prologue, Inputs in, size_t outputs = 1);
/// Checks a one-output epilogue whose further inputs are `extra`, each broadcast against `out`.
void check_epilogue(const Program& epilogue, Inputs extra, const Shape& out);

inline TensorType plain(DType dtype, Shape shape) { return {dtype, std::move(shape), {}}; }

}  // namespace tuyere::inference
