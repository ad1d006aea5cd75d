// SPDX-License-Identifier: Apache-2.0
#include "py/bindings/direct.h"

#include <algorithm>

namespace tuyere::python {

py::object checked(PyObject* result) {
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

bool any_true(const std::vector<py::object>& functions) {
  return std::any_of(functions.begin(), functions.end(),
                     [](const py::object& function) { return PyObject_IsTrue(checked(PyObject_CallNoArgs(function.ptr())).ptr()) != 0; });
}

DirectCall::DirectCall(PyEngine engine, std::vector<size_t> inputs, std::vector<ResultIndex> results, const py::object& to_handles,
                       const py::object& from_handles, std::vector<py::object> observers)
    : engine_(std::move(engine)),
      inputs_(std::move(inputs)),
      results_(std::move(results)),
      to_handles_(to_handles),
      from_handles_(from_handles),
      observers_(std::move(observers)) {
  for (size_t i = 0; i < results_.size(); ++i) in_order_ = in_order_ && results_[i] == static_cast<int64_t>(i);
}

std::optional<DirectCall> DirectCall::at(const std::vector<int64_t>& positions) const {
  DirectCall moved = *this;
  moved.watches_.clear();
  moved.natives_.clear();
  for (size_t& input : moved.inputs_) {
    if (positions.at(input) < 0) return std::nullopt;
    input = static_cast<size_t>(positions[input]);
  }
  for (ResultIndex& result : moved.results_) {
    if (!result || *result >= 0) continue;
    const int64_t position = positions.at(static_cast<size_t>(-1 - *result));
    if (position < 0) return std::nullopt;
    result = -1 - position;
  }
  return moved;
}

void DirectCall::watch(std::vector<py::object> watches) {
  for (const py::object& each : watches) natives_.push_back(each.cast<const WeightWatch*>());
  watches_ = std::move(watches);
}

py::object DirectCall::operator()(const py::list& arguments) const {
  if (is_observed()) return py::none();
  if (!std::all_of(natives_.begin(), natives_.end(), [&](const WeightWatch* watch) { return watch->unchanged(arguments); })) return py::none();
  return all(PySequence_Fast_ITEMS(arguments.ptr()));
}

py::list DirectCall::all(Arguments arguments) const {
  py::list made = outputs(arguments);
  if (in_order_ && results_.size() == made.size()) return made;
  py::list out(results_.size());
  for (size_t i = 0; i < results_.size(); ++i) out[i] = result(results_[i], arguments, made);
  return out;
}

py::list DirectCall::outputs(Arguments arguments) const {
  py::list given(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) PyList_SET_ITEM(given.ptr(), static_cast<Py_ssize_t>(i), Py_NewRef(arguments[inputs_[i]]));
  return checked(PyObject_CallOneArg(from_handles_.ptr(), run(checked(PyObject_CallOneArg(to_handles_.ptr(), given.ptr()))).ptr()));
}

py::object DirectCall::result(const ResultIndex& index, Arguments arguments, const py::list& outputs) {
  if (!index) return py::none();
  if (*index >= 0) return outputs[static_cast<size_t>(*index)];
  return py::reinterpret_borrow<py::object>(arguments[-1 - *index]);
}

py::list DirectCall::run(const py::list& inputs) const {
  std::vector<void*> handles;
  handles.reserve(inputs.size());
  for (const auto& input : inputs) handles.push_back(py::reinterpret_borrow<py::capsule>(input).get_pointer());
  std::vector<void*> outputs;
  {
    py::gil_scoped_release release;
    outputs = tensor_call()(engine_.handle(), handles);
  }
  py::list out(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), py::capsule(outputs[i]).release().ptr());
  return out;
}

void bind_direct(py::module_& m) {
  py::class_<DirectCall>(m, "DirectCall")
      .def(py::init<PyEngine, std::vector<size_t>, std::vector<DirectCall::ResultIndex>, const py::object&, const py::object&, std::vector<py::object>>(),
           py::arg("engine"), py::arg("inputs"), py::arg("results"), py::arg("to_handles"), py::arg("from_handles"), py::arg("observers"))
      .def("watch", &DirectCall::watch, py::arg("watches"))
      .def("__call__", &DirectCall::operator());
}

}  // namespace tuyere::python
