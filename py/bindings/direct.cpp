// SPDX-License-Identifier: Apache-2.0
// The short way into an engine: no FX, no dispatcher, and one step from Python to C++ with all that a call must look at.
#include <algorithm>
#include <optional>

#include "py/bindings/objects.h"

namespace tuyere::python {
namespace {

/// What a call of Python's C interface returned.
py::object checked(PyObject* result) {
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

/// What a result is: an output of the engine from 0 on, argument i as -1 - i, or None.
using ResultIndex = std::optional<int64_t>;

/// Tensors cross as capsules of AtenTensorHandles, as torch._C._aoti makes and takes them.
class DirectCall {
 public:
  DirectCall(PyEngine engine, std::vector<size_t> inputs, std::vector<ResultIndex> results, const py::object& to_handles, const py::object& from_handles,
             std::vector<py::object> observers)
      : engine_(std::move(engine)),
        inputs_(std::move(inputs)),
        results_(std::move(results)),
        to_handles_(to_handles),
        from_handles_(from_handles),
        observers_(std::move(observers)) {
    for (size_t i = 0; i < results_.size(); ++i) in_order_ = in_order_ && results_[i] == static_cast<int64_t>(i);
  }

  /// Weights that are looked at before each call.
  void watch(std::vector<py::object> watches) {
    for (const py::object& each : watches) natives_.push_back(each.cast<const WeightWatch*>());
    watches_ = std::move(watches);
  }

  /// Lists of tensors. None: something wants to see the operators that are called, or weights have changed.
  py::object operator()(const py::list& arguments) const {
    const auto active = [](const py::object& observer) { return PyObject_IsTrue(checked(PyObject_CallNoArgs(observer.ptr())).ptr()) != 0; };
    if (std::any_of(observers_.begin(), observers_.end(), active)) return py::none();
    if (!std::all_of(natives_.begin(), natives_.end(), [&](const WeightWatch* watch) { return watch->unchanged(arguments); })) return py::none();
    py::list given(inputs_.size());
    for (size_t i = 0; i < inputs_.size(); ++i) given[i] = arguments[inputs_[i]];
    py::list outputs = checked(PyObject_CallOneArg(from_handles_.ptr(), run(checked(PyObject_CallOneArg(to_handles_.ptr(), given.ptr()))).ptr()));
    if (in_order_ && results_.size() == outputs.size()) return outputs;
    py::list out(results_.size());
    for (size_t i = 0; i < results_.size(); ++i) out[i] = result(results_[i], arguments, outputs);
    return out;
  }

 private:
  static py::object result(const ResultIndex& index, const py::list& arguments, const py::list& outputs) {
    if (!index) return py::none();
    return *index >= 0 ? outputs[static_cast<size_t>(*index)] : arguments[static_cast<size_t>(-1 - *index)];
  }

  py::list run(const py::list& inputs) const {
    std::vector<void*> handles;
    handles.reserve(inputs.size());
    for (const auto& input : inputs) handles.push_back(py::reinterpret_borrow<py::capsule>(input).get_pointer());
    std::vector<void*> outputs;
    {
      py::gil_scoped_release release;
      outputs = tensor_call()(engine_.handle(), handles);
    }
    py::list out(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) out[i] = py::capsule(outputs[i]);
    return out;
  }

  PyEngine engine_;
  std::vector<size_t> inputs_;
  std::vector<ResultIndex> results_;
  bool in_order_ = true;  // results_ are 0, 1, ...
  py::object to_handles_, from_handles_;
  std::vector<py::object> observers_, watches_;
  std::vector<const WeightWatch*> natives_;  // of watches_
};

}  // namespace

void bind_direct(py::module_& m) {
  py::class_<DirectCall>(m, "DirectCall")
      .def(py::init<PyEngine, std::vector<size_t>, std::vector<ResultIndex>, const py::object&, const py::object&, std::vector<py::object>>(),
           py::arg("engine"), py::arg("inputs"), py::arg("results"), py::arg("to_handles"), py::arg("from_handles"), py::arg("observers"))
      .def("watch", &DirectCall::watch, py::arg("watches"))
      .def("__call__", &DirectCall::operator());
}

}  // namespace tuyere::python
