// SPDX-License-Identifier: Apache-2.0
// One bind function per header of the C++ side; module.cpp calls them in order. No torch headers here: tensors cross as addresses.
#pragma once
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/dim.h"
#include "common/dtype.h"
#include "common/status.h"

namespace tuyere::python {
namespace py = pybind11;

void bind_source(py::module_& m);       // converters/source/source.h, converters/convert.h, partitioning/partition.h
void bind_network(py::module_& m);      // core/network/network.h
void bind_builder(py::module_& m);      // core/builder/builder.h
void bind_engine(py::module_& m);       // runtime/engine
void bind_watch(py::module_& m);        // changes of weights
void bind_direct(py::module_& m);       // calls without the dispatcher
void bind_random(py::module_& m);       // random numbers
void bind_module_call(py::module_& m);  // calls of compiled modules
void bind_rooted(py::module_& m);       // calls that are given modules
void bind_step(py::module_& m);         // training steps

DType dtype_from(const std::string& text);
/// int or str (an expression).
Dim dim_from(const py::handle& value);
Shape shape_from(const py::sequence& dims);
/// ints where constant, str otherwise.
py::list to_python(const Shape& shape);
/// Raises RuntimeError (ValueError for InvalidArgument) with the message.
void raise_if(const Status& status);

}  // namespace tuyere::python
