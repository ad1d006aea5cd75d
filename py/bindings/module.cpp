// SPDX-License-Identifier: Apache-2.0
#include "common/env.h"
#include "common/error.h"
#include "common/log.h"
#include "py/bindings/bindings.h"

namespace tuyere::python {

DType dtype_from(const std::string& text) {
  const auto dtype = parse_dtype(text);
  USER_CHECK(dtype, "unknown dtype '" << text << "'");
  return *dtype;
}

Dim dim_from(const py::handle& value) {
  if (py::isinstance<py::str>(value)) return Dim::parse(value.cast<std::string>());
  return Dim(value.cast<int64_t>());
}

Shape shape_from(const py::sequence& dims) {
  Shape shape;
  for (const auto& dim : dims) shape.push_back(dim_from(dim));
  return shape;
}

py::list to_python(const Shape& shape) {
  py::list out;
  for (const Dim& dim : shape) {
    if (dim.is_const()) {
      out.append(dim.value());
    } else {
      out.append(dim.str());
    }
  }
  return out;
}

void raise_if(const Status& status) {
  if (status.is_ok()) return;
  if (status.code() == Code::InvalidArgument) throw py::value_error(status.message());
  throw std::runtime_error(status.message());
}

namespace {

/// Error becomes tuyere.UserError (also a ValueError) or tuyere.InternalError (also a RuntimeError).
void bind_errors(py::module_& m) {
  static py::exception<Error> user(m, "UserError", PyExc_ValueError);
  static py::exception<Error> internal(m, "InternalError", PyExc_RuntimeError);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      py::set_error(e.fault() == Fault::User ? user : internal, e.what());
    }
  });
}

void bind_env(py::module_& m) {
  m.def("env_vars", [] {
    std::vector<std::pair<std::string, std::string>> out;
    for (const EnvVar& var : kEnvVars) out.emplace_back(var.name, var.meaning);
    return out;
  });
  m.def("cache_dir", &cache_dir);
  m.def("dump_enabled", [](const std::string& topic) { return dump_enabled(topic); });
  m.def("dump", [](const std::string& topic, const std::string& name, const std::string& text) { dump(topic, name, text); });
}

}  // namespace
}  // namespace tuyere::python

PYBIND11_MODULE(_tuyere, m) {
  using namespace tuyere::python;
  m.doc() = "The C++ side of tuyere.";
  bind_errors(m);
  bind_env(m);
  bind_network(m);
  bind_source(m);
  bind_builder(m);
  bind_engine(m);
  bind_watch(m);
  bind_direct(m);
  bind_module_call(m);
  bind_rooted(m);
  bind_step(m);
  bind_random(m);
}
