// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "py/bindings/direct.h"

namespace tuyere::python {

/// While one lives, Dynamo looks at no frame of this thread.
class Untraced {
 public:
  explicit Untraced(const py::object& set_eval_frame) : set_eval_frame_(set_eval_frame), prior_(set(Py_None)) {}
  ~Untraced() {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyObject* now = PyObject_CallOneArg(set_eval_frame_.ptr(), prior_.ptr())) {
      Py_DECREF(now);
    } else {
      PyErr_WriteUnraisable(set_eval_frame_.ptr());
    }
    PyErr_Restore(type, value, trace);
  }
  Untraced(const Untraced&) = delete;
  Untraced& operator=(const Untraced&) = delete;

 private:
  py::object set(PyObject* callback) const { return checked(PyObject_CallOneArg(set_eval_frame_.ptr(), callback)); }

  const py::object& set_eval_frame_;
  const py::object prior_;
};

/// What body(object in the capsule) returns, as CPython calls a C function.
template <class T, class F>
PyObject* guarded(PyObject* capsule, const char* kind, F body) {
  try {
    auto* object = static_cast<T*>(PyCapsule_GetPointer(capsule, kind));
    return object ? body(*object).release().ptr() : nullptr;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

}  // namespace tuyere::python
