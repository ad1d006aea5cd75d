// SPDX-License-Identifier: Apache-2.0
// The short way into an engine: no FX, no dispatcher, and one step from Python to C++ with all that a call must look at.
#pragma once
#include <optional>
#include <vector>

#include "py/bindings/objects.h"

namespace tuyere::python {

/// What a call of Python's C interface returned.
py::object checked(PyObject* result);

/// Whether one of these functions returns something true.
bool any_true(const std::vector<py::object>& functions);

/// Calls an engine with tensors. They cross as capsules of AtenTensorHandles, as torch._C._aoti makes and takes them.
class DirectCall {
 public:
  /// What a result is: an output of the engine from 0 on, argument i as -1 - i, or None.
  using ResultIndex = std::optional<int64_t>;
  using Arguments = PyObject* const*;

  DirectCall(PyEngine engine, std::vector<size_t> inputs, std::vector<ResultIndex> results, const py::object& to_handles, const py::object& from_handles,
             std::vector<py::object> observers);

  /// The same for calls whose arguments stand elsewhere. positions: of each argument, or -1 where a call lacks it. None: the engine or a result needs one of
  /// those.
  std::optional<DirectCall> at(const std::vector<int64_t>& positions) const;
  /// Weights that are looked at before each call.
  void watch(std::vector<py::object> watches);
  /// Lists of tensors. None: something wants to see the operators that are called, or weights have changed.
  py::object operator()(const py::list& arguments) const;

  /// Whether something wants to see the operators that are called.
  bool is_observed() const { return any_true(observers_); }
  bool has_watches() const { return !natives_.empty(); }
  const std::vector<ResultIndex>& results() const { return results_; }
  /// All results.
  py::list all(Arguments arguments) const;
  /// The engine's outputs.
  py::list outputs(Arguments arguments) const;
  static py::object result(const ResultIndex& index, Arguments arguments, const py::list& outputs);

 private:
  py::list run(const py::list& inputs) const;

  PyEngine engine_;
  std::vector<size_t> inputs_;
  std::vector<ResultIndex> results_;
  bool in_order_ = true;  // results_ are 0, 1, ...
  py::object to_handles_, from_handles_;
  std::vector<py::object> observers_, watches_;
  std::vector<const WeightWatch*> natives_;  // of watches_
};

}  // namespace tuyere::python
