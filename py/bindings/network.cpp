// SPDX-License-Identifier: Apache-2.0
#include "core/network/network.h"

#include <cstring>

#include "common/error.h"
#include "py/bindings/bindings.h"

namespace tuyere::python {
namespace {

TensorType type_from(const std::string& dtype, const py::sequence& shape, const std::string& layout) {
  TensorType type{dtype_from(dtype), shape_from(shape), {}};
  USER_CHECK(layout == "contiguous" || layout == "channels_last", "layout must be 'contiguous' or 'channels_last', not '" << layout << "'");
  if (layout == "channels_last") type.layout = Layout::channels_last(static_cast<int>(type.shape.size()));
  return type;
}

TensorId add_weight(Network& net, const std::string& name, const py::buffer& array, const std::string& dtype, const py::sequence& shape, bool param) {
  const py::buffer_info info = array.request();
  const DType type = dtype_from(dtype);
  const int64_t bytes = bytes_of(type, numel(shape_from(shape)).value());
  USER_CHECK(info.size * info.itemsize == bytes,
             "constant '" << name << "': the array has " << info.size * info.itemsize << " bytes, the type needs " << bytes);
  auto data = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(bytes));
  std::memcpy(data->data(), info.ptr, static_cast<size_t>(bytes));
  return net.add_constant(type, shape_from(shape), Constant{name, param, std::move(data)});
}

}  // namespace

void bind_network(py::module_& m) {
  py::class_<Network>(m, "Network")
      .def(py::init<>())
      .def_readwrite("name", &Network::name)
      .def(
          "add_input",
          [](Network& net, const std::string& dtype, const py::sequence& shape, const std::string& name, const std::string& layout) {
            return net.add_input(type_from(dtype, shape, layout), name);
          },
          py::arg("dtype"), py::arg("shape"), py::arg("name"), py::arg("layout") = "contiguous",
          "Adds an input; shape holds ints and symbol names. Returns the tensor id.")
      .def("add_constant", &add_weight, py::arg("name"), py::arg("array"), py::arg("dtype"), py::arg("shape"), py::arg("param") = true,
           "Adds a weight from a C-contiguous buffer (NumPy array). Refittable by name when param is true.")
      .def("add_scalar", [](Network& net, const std::string& dtype, double value) { return net.add_scalar(dtype_from(dtype), value); })
      .def(
          "add", [](Network& net, const std::string& op, std::vector<TensorId> inputs) { return net.add(parse_op(op), std::move(inputs)); }, py::arg("op"),
          py::arg("inputs"),
          "Adds a layer from its text form, e.g. add('conv stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]', [x, w]). Returns the output ids.")
      .def(
          "pointwise",
          [](Network& net, const std::string& fn, std::vector<TensorId> inputs, const std::string& dtype) {
            const auto parsed = parse_fn(fn);
            USER_CHECK(parsed, "unknown pointwise function '" << fn << "'");
            return net.pointwise(*parsed, std::move(inputs), dtype_from(dtype));
          },
          py::arg("fn"), py::arg("inputs"), py::arg("dtype"), "Adds a pointwise layer such as 'add' or 'relu'; dtype is that of the result.")
      .def("mark_output", [](Network& net, TensorId id) { net.mark_output(id); })
      .def("type", [](const Network& net, TensorId id) { return str(net.type(id)); })
      .def_property_readonly("num_layers", [](const Network& net) { return net.main().layers.size(); })
      .def_static("parse", [](const std::string& text) { return parse_network(text); })
      .def("__str__", [](const Network& net) { return str(net); })
      .def("__eq__", [](const Network& a, const Network& b) { return a == b; });
  m.def(
      "eval_size",
      [](const std::string& size, const std::map<std::string, int64_t>& values) {
        Symbols symbols;
        for (const auto& [symbol, value] : values) symbols.set(symbol, value);
        return Dim::parse(size).eval(symbols);
      },
      "Value of a size expression such as '2*n+1'.");
}

}  // namespace tuyere::python
