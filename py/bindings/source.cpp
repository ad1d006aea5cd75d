// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "common/error.h"
#include "converters/convert.h"
#include "partitioning/partition.h"
#include "py/bindings/bindings.h"

namespace tuyere::python {
namespace {

/// Markers for arguments that plain Python values cannot say.
struct PyValue {
  ValueId id;
};
struct PyDim {
  std::string text;
};
struct PyDtype {
  std::string text;
};

Arg arg_from(const py::handle& value) {
  if (value.is_none()) return {Arg::None{}};
  if (py::isinstance<PyValue>(value)) return {Arg::Value{value.cast<PyValue>().id}};
  if (py::isinstance<PyDim>(value)) {
    Dim dim = Dim::parse(value.cast<PyDim>().text);
    if (dim.is_const()) return {dim.value()};
    return {std::move(dim)};
  }
  if (py::isinstance<PyDtype>(value)) return {dtype_from(value.cast<PyDtype>().text)};
  if (py::isinstance<py::bool_>(value)) return {value.cast<bool>()};
  if (py::isinstance<py::int_>(value)) return {value.cast<int64_t>()};
  if (py::isinstance<py::float_>(value)) return {value.cast<double>()};
  if (py::isinstance<py::str>(value)) return {value.cast<std::string>()};
  if (py::isinstance<py::sequence>(value)) {
    ArgList list;
    for (const auto& item : value.cast<py::sequence>()) list.push_back(arg_from(item));
    return {std::move(list)};
  }
  USER_CHECK(false, "cannot read an argument of type " << py::str(py::type::handle_of(value)).cast<std::string>());
}

ValueId add_tensor(SourceGraph& g, const std::string& name, const std::string& dtype, const py::sequence& shape, const py::sequence& strides,
                   const std::string& device) {
  SourceValue value;
  value.name = name;
  value.has_type = true;
  value.type.dtype = dtype_from(dtype);
  value.type.shape = shape_from(shape);
  for (const Dim& d : shape_from(strides)) value.strides.push_back(d);
  value.device = device;
  g.values.push_back(std::move(value));
  return static_cast<ValueId>(g.values.size()) - 1;
}

/// A value the network cannot hold (complex, a list, an unknown type): nodes that touch it stay outside.
ValueId add_opaque(SourceGraph& g, const std::string& name) {
  SourceValue value;
  value.name = name;
  g.values.push_back(std::move(value));
  return static_cast<ValueId>(g.values.size()) - 1;
}

ValueId add_dim(SourceGraph& g, const std::string& name, const std::string& expr) {
  SourceValue value;
  value.name = name;
  value.is_dim = true;
  value.dim = Dim::parse(expr);
  g.values.push_back(std::move(value));
  return static_cast<ValueId>(g.values.size()) - 1;
}

void add_constant(SourceGraph& g, ValueId id, const std::string& name, uintptr_t data, int64_t bytes, bool param) {
  SourceConstant constant;
  constant.value = id;
  constant.name = name;
  constant.param = param;
  auto copy = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(bytes));
  if (bytes > 0) std::memcpy(copy->data(), reinterpret_cast<const void*>(data), static_cast<size_t>(bytes));
  constant.data = std::move(copy);
  g.constants.push_back(std::move(constant));
}

void add_node(SourceGraph& g, const std::string& name, const std::string& op, const py::list& args, std::vector<ValueId> outputs,
              const std::vector<std::string>& origin, bool mutates, bool side_effect, bool draws) {
  SourceNode node;
  node.name = name;
  node.op = op;
  for (const auto& item : args) {
    const auto tuple = item.cast<py::tuple>();  // (name, schema type, value)
    node.args.emplace_back(tuple[0].cast<std::string>(), arg_from(tuple[2]));
    node.arg_types.push_back(tuple[1].cast<std::string>());
  }
  node.outputs = std::move(outputs);
  node.origin = Origin{origin.at(0), op, name, origin.at(1)};
  node.mutates = mutates;
  node.side_effect = side_effect;
  node.draws = draws;
  g.nodes.push_back(std::move(node));
}

void bind_graph(py::module_& m) {
  py::class_<PyValue>(m, "Value").def(py::init<ValueId>()).def_readonly("id", &PyValue::id);
  py::class_<PyDim>(m, "DimExpr").def(py::init<std::string>());
  py::class_<PyDtype>(m, "DType").def(py::init<std::string>());
  py::class_<SourceGraph>(m, "SourceGraph")
      .def(py::init<>())
      .def_readwrite("name", &SourceGraph::name)
      .def_readwrite("inputs", &SourceGraph::inputs)
      .def_readwrite("outputs", &SourceGraph::outputs)
      .def_property_readonly("num_nodes", [](const SourceGraph& g) { return g.nodes.size(); })
      .def("add_tensor", &add_tensor)
      .def("add_opaque", &add_opaque)
      .def("add_dim", &add_dim)
      .def("add_constant", &add_constant)
      .def("add_node", &add_node)
      .def("__str__", [](const SourceGraph& g) { return str(g); });
}

}  // namespace

void bind_source(py::module_& m) {
  bind_graph(m);
  py::class_<PartitionOptions>(m, "PartitionOptions")
      .def(py::init<>())
      .def_readwrite("min_block_size", &PartitionOptions::min_block_size)
      .def_readwrite("run_in_torch", &PartitionOptions::run_in_torch)
      .def_readwrite("allow_hosted", &PartitionOptions::allow_hosted)
      .def_readwrite("hosted_namespaces", &PartitionOptions::hosted_namespaces);
  py::class_<NodePlacement>(m, "NodePlacement")
      .def_property_readonly("placement",
                             [](const NodePlacement& p) {
                               return p.placement == NodeKind::native ? "native" : p.placement == NodeKind::hosted ? "hosted" : "outside";
                             })
      .def_readonly("segment", &NodePlacement::segment)
      .def_readonly("reason", &NodePlacement::reason);
  py::class_<Segment>(m, "Segment").def_readonly("nodes", &Segment::nodes).def_readonly("inputs", &Segment::inputs).def_readonly("outputs", &Segment::outputs);
  py::class_<Partition>(m, "Partition").def_readonly("nodes", &Partition::nodes).def_readonly("segments", &Partition::segments);
  // assume: ops taken for convertible, to see what they cost; such a partition is not for building.
  m.def(
      "partition",
      [](const SourceGraph& g, const PartitionOptions& options, const std::set<std::string>& assume) {
        auto supports = [&](const SourceGraph& graph, const SourceNode& node) {
          return assume.contains(node.op) ? Support::yes() : aten_table().supports(graph, node);
        };
        return partition(g, supports, options);
      },
      py::arg("graph"), py::arg("options"), py::arg("assume") = std::set<std::string>());
  m.def("partition_table", [](const SourceGraph& g, const Partition& p) { return str(g, p); });
  m.def("converter_ops", [] { return aten_table().ops(); });
  m.def("convert",
        [](const SourceGraph& g, const std::vector<int>& nodes, std::vector<ValueId> inputs, std::vector<ValueId> outputs, const std::vector<int>& hosted) {
          return convert(g, nodes, SegmentIo{std::move(inputs), std::move(outputs)}, aten_table(), hosted);
        });
}

}  // namespace tuyere::python
