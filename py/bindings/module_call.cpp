// SPDX-License-Identifier: Apache-2.0
// Calls of the modules that torch.compile returns. PyTorch's go through five frames of Python and a context manager on a generator to find out that no hooks
// are there, 0.1 ms in cold caches; here that is a look at the dictionaries of hooks. Calls that are not plain ones take PyTorch's way.
#include <array>
#include <memory>

#include "py/bindings/untraced.h"

namespace tuyere::python {
namespace {

struct ModuleNames {
  std::array<PyObject*, 4> hooks{PyUnicode_InternFromString("_backward_hooks"), PyUnicode_InternFromString("_backward_pre_hooks"),
                                 PyUnicode_InternFromString("_forward_hooks"), PyUnicode_InternFromString("_forward_pre_hooks")};
  PyObject* compiled = PyUnicode_InternFromString("_compiled_call_impl");
  PyObject* forward = PyUnicode_InternFromString("forward");
  PyObject* within = PyUnicode_InternFromString("_in_optimized_module");
};

const ModuleNames& module_names() {
  static const ModuleNames all;
  return all;
}

class ModuleCall {
 public:
  /// type: whose calls these are. whole: its __call__. global_hooks: dictionaries of hooks for all modules. scope: holds the flag that says that such a call is
  /// under way.
  ModuleCall(const py::object& type, const py::object& whole, const py::object& base, const std::vector<py::str>& methods, std::vector<py::dict> global_hooks,
             const py::dict& scope, const py::function& tracing_state)
      : type_(type), whole_(whole), base_(base), global_hooks_(std::move(global_hooks)), scope_(scope), tracing_state_(tracing_state) {
    for (const py::str& name : methods) methods_.emplace_back(name, base.attr(name));
  }

  py::object operator()(PyObject* const* given, size_t count, PyObject* names) const {
    const py::object forward = count > 0 ? plain_forward(given[0]) : py::object();
    if (!forward) return checked(PyObject_Vectorcall(whole_.ptr(), given, count, names));
    const Flag flag(scope_);
    return checked(PyObject_Vectorcall(forward.ptr(), given + 1, count - 1, names));
  }

 private:
  /// While one lives, PyTorch knows of the call.
  class Flag {
   public:
    explicit Flag(const py::dict& scope) : scope_(scope), prior_(py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(scope.ptr(), name()))) {
      if (!prior_) throw py::key_error(py::cast<std::string>(name()));
      set(Py_True);
    }
    ~Flag() {
      PyObject *type, *value, *trace;
      PyErr_Fetch(&type, &value, &trace);
      if (PyDict_SetItem(scope_.ptr(), name(), prior_.ptr()) != 0) PyErr_WriteUnraisable(scope_.ptr());
      PyErr_Restore(type, value, trace);
    }
    Flag(const Flag&) = delete;
    Flag& operator=(const Flag&) = delete;

   private:
    static PyObject* name() { return module_names().within; }
    void set(PyObject* value) {
      if (PyDict_SetItem(scope_.ptr(), name(), value) != 0) throw py::error_already_set();
    }

    const py::dict& scope_;
    const py::object prior_;
  };

  /// What PyTorch would call after all; null when there is more to do.
  py::object plain_forward(PyObject* module) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(module)) != type_.ptr()) return {};
    for (const auto& [name, method] : methods_)
      if (!checked(PyObject_GetAttr(base_.ptr(), name.ptr())).is(method)) return {};
    for (const py::dict& hooks : global_hooks_)
      if (PyDict_GET_SIZE(hooks.ptr()) != 0) return {};
    const py::object own = checked(PyObject_GenericGetDict(module, nullptr));
    for (PyObject* name : module_names().hooks) {
      PyObject* const hooks = PyDict_GetItemWithError(own.ptr(), name);
      if (!hooks || !PyDict_Check(hooks) || PyDict_GET_SIZE(hooks) != 0) return {};
    }
    PyObject* const compiled = PyDict_GetItemWithError(own.ptr(), module_names().compiled);
    if (compiled && compiled != Py_None) return {};
    if (!checked(PyObject_CallNoArgs(tracing_state_.ptr())).is_none()) return {};
    return py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(own.ptr(), module_names().forward));
  }

  const py::object type_, whole_, base_;
  std::vector<std::pair<py::str, py::object>> methods_;
  const std::vector<py::dict> global_hooks_;
  const py::dict scope_;
  const py::function tracing_state_;
};

constexpr const char* kModuleCapsule = "tuyere.ModuleCall";

PyObject* call_module(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  return guarded<const ModuleCall>(self, kModuleCapsule, [&](const ModuleCall& call) { return call(given, static_cast<size_t>(count), names); });
}
PyMethodDef module_definition{"__call__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_module)), METH_FASTCALL | METH_KEYWORDS,
                              "Calls the compiled module."};

py::object module_call(const py::object& type, const py::object& whole, const py::object& base, const std::vector<py::str>& methods,
                       std::vector<py::dict> global_hooks, const py::dict& scope, const py::function& tracing_state) {
  auto call = std::make_unique<const ModuleCall>(type, whole, base, methods, std::move(global_hooks), scope, tracing_state);
  const py::capsule owner(call.release(), kModuleCapsule,
                          [](PyObject* capsule) { delete static_cast<const ModuleCall*>(PyCapsule_GetPointer(capsule, kModuleCapsule)); });
  return checked(PyInstanceMethod_New(checked(PyCFunction_New(&module_definition, owner.ptr())).ptr()));
}

}  // namespace

void bind_module_call(py::module_& m) {
  m.def("module_call", &module_call, py::arg("type"), py::arg("whole"), py::arg("base"), py::arg("methods"), py::arg("global_hooks"), py::arg("scope"),
        py::arg("tracing_state"));
}

}  // namespace tuyere::python
