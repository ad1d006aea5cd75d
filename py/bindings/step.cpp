// SPDX-License-Identifier: Apache-2.0
// The autograd function of a plain training graph (py/tuyere/step.py) when each of its directions is one engine: what it does between autograd and the
// engines, without Python's interpreter. Calls that ask for more are given to the functions in Python that do the same.
#include <memory>

#include "py/bindings/untraced.h"

namespace tuyere::python {
namespace {

struct Names {
  PyObject* to_save = PyUnicode_InternFromString("to_save");
  PyObject* saved = PyUnicode_InternFromString("saved_tensors");
  PyObject* clear = PyUnicode_InternFromString("maybe_clear_saved_tensors");
  PyObject* constant = PyUnicode_InternFromString("non_differentiable");
  PyObject* materialize = PyUnicode_InternFromString("_materialize_non_diff_grads");
  PyObject* is_view = PyUnicode_InternFromString("_is_view");
  PyObject* detach = PyUnicode_InternFromString("detach");
};

const Names& names() {
  static const Names all;
  return all;
}

void set_attribute(PyObject* object, PyObject* name, PyObject* value) {
  if (PyObject_SetAttr(object, name, value) != 0) throw py::error_already_set();
}

/// Inside of a context manager, if there is one.
class Within {
 public:
  explicit Within(const py::object& make) {
    if (make.is_none()) return;
    manager_ = checked(PyObject_CallNoArgs(make.ptr()));
    manager_.attr("__enter__")();
  }
  ~Within() {
    if (!manager_) return;
    try {
      manager_.attr("__exit__")(py::none(), py::none(), py::none());
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("a training step");
    }
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  py::object manager_;
};

class TrainingStep {
 public:
  /// count: of the results that the caller gets; the others are kept for the backward pass. constant: those of them without a gradient.
  /// differentiable: whose gradients the backward graph takes, after what was kept. within: makes a context manager for the engines, or None.
  /// exceptional: functions that say that the step is not a plain one.
  TrainingStep(const py::object& forward, const py::object& backward, size_t count, std::vector<size_t> constant, std::vector<size_t> differentiable,
               const py::object& tensor, const py::object& within, const py::function& whole_forward, const py::function& whole_backward,
               std::vector<py::object> exceptional)
      : forward_(forward),
        backward_(backward),
        forward_call_(forward.cast<const DirectCall&>()),
        backward_call_(backward.cast<const DirectCall&>()),
        count_(count),
        constant_(std::move(constant)),
        differentiable_(std::move(differentiable)),
        tensor_(tensor),
        within_(within),
        whole_forward_(whole_forward),
        whole_backward_(whole_backward),
        exceptional_(std::move(exceptional)) {}

  /// Whether this is all that there is to do.
  static bool suits(const DirectCall& forward, const DirectCall& backward, size_t count) {
    if (forward.has_watches() || backward.has_watches() || forward.results().size() < count) return false;
    for (size_t i = 0; i < forward.results().size(); ++i) {
      const DirectCall::ResultIndex& index = forward.results()[i];
      if (!index || (i < count && *index < 0)) return false;
    }
    return true;
  }

  /// given: the context, then the arguments.
  py::object forward(PyObject* const* given, size_t number) const {
    if (forward_call_.is_observed()) return checked(PyObject_Vectorcall(whole_forward_.ptr(), given, number, nullptr));
    PyObject* const context = given[0];
    const DirectCall::Arguments arguments = given + 1;
    const py::list made = run(forward_call_, arguments);
    keep(context, arguments, made);
    py::tuple returned(count_);
    for (size_t i = 0; i < count_; ++i) returned[i] = DirectCall::result(forward_call_.results()[i], arguments, made);
    if (!constant_.empty()) {
      py::tuple constant(constant_.size());
      for (size_t i = 0; i < constant_.size(); ++i) constant[i] = returned[constant_[i]];
      set_attribute(context, names().constant, constant.ptr());
      set_attribute(context, names().materialize, Py_False);
    }
    return returned;
  }

  /// given: the context, then the gradients of all results.
  py::object backward(PyObject* const* given, size_t number) const {
    for (size_t index : differentiable_)
      if (index + 1 >= number || given[index + 1]->ob_type != type_of(tensor_)) return whole_backward(given, number);
    if (backward_call_.is_observed() || any_true(exceptional_)) return whole_backward(given, number);
    const py::tuple saved = checked(PyObject_GetAttr(given[0], names().saved));
    std::vector<PyObject*> arguments;  // those saved stay alive through `saved`, the gradients through the caller
    arguments.reserve(saved.size() + differentiable_.size());
    for (const auto& each : saved) arguments.push_back(each.ptr());
    for (size_t index : differentiable_) arguments.push_back(given[index + 1]);
    checked(PyObject_CallMethodNoArgs(given[0], names().clear));
    const py::list made = run(backward_call_, arguments.data());
    py::tuple out(backward_call_.results().size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = DirectCall::result(backward_call_.results()[i], arguments.data(), made);
    return out;
  }

 private:
  static PyTypeObject* type_of(const py::object& type) { return reinterpret_cast<PyTypeObject*>(type.ptr()); }
  py::object whole_backward(PyObject* const* given, size_t number) const { return checked(PyObject_Vectorcall(whole_backward_.ptr(), given, number, nullptr)); }

  py::list run(const DirectCall& call, DirectCall::Arguments arguments) const {
    const Within scope(within_);
    return call.outputs(arguments);
  }

  /// Saves what the backward pass reads; a view as what it shows, as its base would be kept with its history.
  void keep(PyObject* context, DirectCall::Arguments arguments, const py::list& made) const {
    const auto& results = forward_call_.results();
    py::tuple kept(results.size() - count_);
    for (size_t i = count_; i < results.size(); ++i) {
      py::object value = DirectCall::result(results[i], arguments, made);
      const bool may_be_view = *results[i] < 0;
      if (may_be_view && PyObject_IsTrue(checked(PyObject_CallMethodNoArgs(value.ptr(), names().is_view)).ptr()) != 0)
        value = checked(PyObject_CallMethodNoArgs(value.ptr(), names().detach));
      kept[i - count_] = std::move(value);
    }
    set_attribute(context, names().to_save, kept.ptr());
  }

  const py::object forward_, backward_;
  const DirectCall &forward_call_, &backward_call_;
  const size_t count_;
  const std::vector<size_t> constant_, differentiable_;
  const py::object tensor_, within_, whole_forward_, whole_backward_;
  const std::vector<py::object> exceptional_;
};

constexpr const char *kCapsule = "tuyere.TrainingStep", *kCallCapsule = "tuyere.StepCall";

/// A direction of the step.
template <auto direction>
PyObject* entry(PyObject* self, PyObject* const* given, Py_ssize_t number) {
  return guarded<const TrainingStep>(self, kCapsule, [&](const TrainingStep& step) { return (step.*direction)(given, static_cast<size_t>(number)); });
}

template <auto direction>
py::object function(const char* name, const py::capsule& step) {
  static PyMethodDef definition{name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&entry<direction>)), METH_FASTCALL, nullptr};
  return checked(PyCFunction_New(&definition, step.ptr()));
}

/// (forward, backward) for an autograd function, the second as a method of the context; or None.
py::object training_step(const py::object& forward, const py::object& backward, size_t count, std::vector<size_t> constant, std::vector<size_t> differentiable,
                         const py::object& tensor, const py::object& within, const py::function& whole_forward, const py::function& whole_backward,
                         std::vector<py::object> exceptional) {
  if (!TrainingStep::suits(forward.cast<const DirectCall&>(), backward.cast<const DirectCall&>(), count)) return py::none();
  auto step = std::make_unique<TrainingStep>(forward, backward, count, std::move(constant), std::move(differentiable), tensor, within, whole_forward,
                                             whole_backward, std::move(exceptional));
  const py::capsule owner(step.release(), kCapsule, [](PyObject* capsule) { delete static_cast<TrainingStep*>(PyCapsule_GetPointer(capsule, kCapsule)); });
  const py::object method = checked(PyInstanceMethod_New(function<&TrainingStep::backward>("backward", owner).ptr()));
  return py::make_tuple(function<&TrainingStep::forward>("forward", owner), method);
}

/// A step as Dynamo's code calls it, with what torch._dynamo.disable does around functions.
class StepCall {
 public:
  /// whole: takes the calls that are no plain steps. make: the function of a plain step, or None as long as there is none.
  StepCall(const py::function& whole, const py::function& make, const py::function& has_gradients, const py::function& is_transformed,
           const py::function& set_eval_frame)
      : whole_(whole), make_(make), has_gradients_(has_gradients), is_transformed_(is_transformed), set_eval_frame_(set_eval_frame) {}

  py::object operator()(PyObject* arguments) {
    const Untraced scope(set_eval_frame_);
    if (plain_.is_none()) plain_ = make_();
    const bool plain = !plain_.is_none() && is_true(has_gradients_) && !is_true(is_transformed_);
    return checked(PyObject_Call(plain ? plain_.ptr() : whole_.ptr(), arguments, nullptr));
  }

 private:
  static bool is_true(const py::function& function) { return PyObject_IsTrue(checked(PyObject_CallNoArgs(function.ptr())).ptr()) != 0; }

  const py::function whole_, make_, has_gradients_, is_transformed_, set_eval_frame_;
  py::object plain_ = py::none();
};

PyObject* call_step(PyObject* self, PyObject* arguments) {
  return guarded<StepCall>(self, kCallCapsule, [&](StepCall& call) { return call(arguments); });
}
PyMethodDef step_definition{"tuyere_step", &call_step, METH_VARARGS, "A training step."};

py::object step_call(const py::function& whole, const py::function& make, const py::function& has_gradients, const py::function& is_transformed,
                     const py::function& set_eval_frame) {
  auto call = std::make_unique<StepCall>(whole, make, has_gradients, is_transformed, set_eval_frame);
  const py::capsule owner(call.release(), kCallCapsule, [](PyObject* capsule) { delete static_cast<StepCall*>(PyCapsule_GetPointer(capsule, kCallCapsule)); });
  return checked(PyCFunction_New(&step_definition, owner.ptr()));
}

bool is_step_call(const py::object& function) {
  return PyCFunction_Check(function.ptr()) && PyCFunction_GetFunction(function.ptr()) == reinterpret_cast<PyCFunction>(&call_step);
}

}  // namespace

void bind_step(py::module_& m) {
  m.def("training_step", &training_step, py::arg("forward"), py::arg("backward"), py::arg("count"), py::arg("constant"), py::arg("differentiable"),
        py::arg("tensor"), py::arg("within"), py::arg("whole_forward"), py::arg("whole_backward"), py::arg("exceptional"));
  m.def("step_call", &step_call, py::arg("whole"), py::arg("make"), py::arg("has_gradients"), py::arg("is_transformed"), py::arg("set_eval_frame"));
  m.def("is_step_call", &is_step_call, py::arg("function"));
}

}  // namespace tuyere::python
