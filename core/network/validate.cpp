// SPDX-License-Identifier: Apache-2.0
// What must hold:
//   converted  ids in range · layers in topological order · every tensor is an input, a constant or the output of one live layer · layer types
//              equal infer() (which also checks that programs are well-typed) · constants are as long as their type says · names and constant
//              names unique · layouts are permutations · bodies refer to each other without cycles
//   optimized  no dead layers, no layer whose results nobody reads (compact() does this)
//   laid_out   inputs and outputs of bodies, whose memory is the caller's, are neither padded nor blocked
#include <algorithm>
#include <unordered_set>

#include "common/error.h"
#include "core/network/infer/infer.h"
#include "core/network/internal.h"

namespace tuyere {
namespace {

using inference::Inputs, inference::Types;

class Validator {
 public:
  Validator(const Network& network, const Body& body, Phase phase) : net_(network), body_(body), phase_(phase) {}

  void run() {
    check_ids(body_.inputs, "body input");
    check_ids(body_.outputs, "body output");
    find_sources();
    for (size_t k = 0; k < body_.tensors.size(); ++k) check_tensor(static_cast<TensorId>(k));
    for (size_t k = 0; k < body_.layers.size(); ++k) check_layer(static_cast<LayerId>(k));
    for (TensorId id : body_.outputs) check_readable(id, static_cast<LayerId>(body_.layers.size()));
    check_names();
    if (phase_ >= Phase::optimized) check_compact();
    if (phase_ >= Phase::laid_out) check_borders();
  }

 private:
  void check_ids(const std::vector<TensorId>& ids, const char* what) const {
    for (TensorId id : ids) INTERNAL_CHECK(id >= 0 && id < static_cast<TensorId>(body_.tensors.size()), what << " " << id << " does not exist");
  }

  /// Counts where each tensor comes from, and checks the layers' side of it.
  void find_sources() {
    sources_.assign(body_.tensors.size(), 0);
    for (TensorId id : body_.inputs) ++sources_[id];
    for (size_t k = 0; k < body_.layers.size(); ++k) {
      const Layer& layer = body_.layers[k];
      const ErrorFrame frame(layer_frame(body_, layer));
      check_ids(layer.inputs, "input");
      check_ids(layer.outputs, "output");
      for (size_t out = 0; out < layer.outputs.size(); ++out) {
        const Tensor& tensor = body_.tensors[layer.outputs[out]];
        ++sources_[layer.outputs[out]];
        INTERNAL_CHECK(tensor.producer == static_cast<LayerId>(k) && tensor.output == static_cast<int>(out),
                       "output " << out << " says that layer " << tensor.producer << " produces it");
      }
    }
  }

  void check_tensor(TensorId id) const {
    const Tensor& tensor = body_.tensors[id];
    const ErrorFrame frame("tensor '" + tensor.name + "'");
    const int sources = sources_[id] + (tensor.constant >= 0);
    INTERNAL_CHECK(sources == 1, "has " << sources << " sources among inputs, constants and layers, needs 1");
    INTERNAL_CHECK(tensor.producer == kNone || (tensor.producer >= 0 && tensor.producer < static_cast<LayerId>(body_.layers.size())),
                   "its producer does not exist");
    if (tensor.constant >= 0) check_constant(tensor);
    check_layout(tensor.type);
  }

  void check_constant(const Tensor& tensor) const {
    INTERNAL_CHECK(tensor.constant < static_cast<int>(net_.constants.size()), "constant " << tensor.constant << " does not exist");
    INTERNAL_CHECK(tensor.producer == kNone, "is a constant and has a producer");
    INTERNAL_CHECK(is_static(tensor.type.shape), "is a constant of symbolic shape " << str(tensor.type.shape));
    const Constant& constant = net_.constants[tensor.constant];
    if (!constant.data) return;
    const int64_t want = bytes_of(tensor.type.dtype, numel(tensor.type.shape).value());
    INTERNAL_CHECK(static_cast<int64_t>(constant.data->size()) == want,
                   "constant '" << constant.name << "' has " << constant.data->size() << " bytes, " << str(tensor.type) << " needs " << want);
  }

  static void check_layout(const TensorType& type) {
    const Layout& layout = type.layout;
    std::vector<int> order = layout.order;
    std::sort(order.begin(), order.end());
    for (size_t k = 0; k < order.size(); ++k) INTERNAL_CHECK(order[k] == static_cast<int>(k), "layout " << str(layout) << " is no permutation");
    INTERNAL_CHECK(order.empty() || order.size() == type.shape.size(), "layout " << str(layout) << " does not fit rank " << type.shape.size());
    INTERNAL_CHECK(layout.channel_padding >= 1 && layout.vector_width >= 1, "padding and vector width must be positive");
  }

  /// The tensor exists before layer `reader` runs.
  void check_readable(TensorId id, LayerId reader) const {
    const Tensor& tensor = body_.tensors[id];
    if (tensor.producer == kNone) return;
    INTERNAL_CHECK(!body_.layers[tensor.producer].dead, "reads '" << tensor.name << "', whose layer was erased");
    INTERNAL_CHECK(tensor.producer < reader, "reads '" << tensor.name << "' before it is computed");
  }

  void check_layer(LayerId id) const {
    const Layer& layer = body_.layers[id];
    if (layer.dead) return;
    const ErrorFrame frame(layer_frame(body_, layer));
    Types in;
    for (TensorId input : layer.inputs) {
      check_readable(input, id);
      in.push_back(body_.tensors[input].type);
    }
    const Types want = inferred(layer, in);
    INTERNAL_CHECK(want.size() == layer.outputs.size(), "has " << layer.outputs.size() << " outputs, needs " << want.size());
    for (size_t k = 0; k < want.size(); ++k) {
      const TensorType& have = body_.tensors[layer.outputs[k]].type;
      INTERNAL_CHECK(have.dtype == want[k].dtype && have.shape == want[k].shape, "output " << k << " is " << str(have) << ", needs " << str(want[k]));
    }
  }

  /// What a user did wrong while building is our mistake after that.
  Types inferred(const Layer& layer, Inputs in) const {
    try {
      return inference::infer_in(net_, layer.op, in);
    } catch (const Error& error) {
      if (error.fault() == Fault::Internal) throw;
      throw_error(Fault::Internal, __FILE__, __LINE__, error.message());
    }
  }

  void check_names() const {
    std::unordered_set<std::string> names;
    for (const Tensor& tensor : body_.tensors) {
      if (tensor.producer != kNone && body_.layers[tensor.producer].dead) continue;
      INTERNAL_CHECK(!tensor.name.empty(), "a tensor has no name");
      INTERNAL_CHECK(names.insert(tensor.name).second, "two tensors are named '" << tensor.name << "'");
    }
  }

  void check_compact() const {
    std::vector<bool> read(body_.tensors.size(), false);
    for (TensorId id : body_.outputs) read[id] = true;
    for (const Layer& layer : body_.layers)
      for (TensorId id : layer.inputs) read[id] = true;
    for (const Layer& layer : body_.layers) {
      const ErrorFrame frame(layer_frame(body_, layer));
      INTERNAL_CHECK(!layer.dead, "was erased but is still there");
      INTERNAL_CHECK(std::any_of(layer.outputs.begin(), layer.outputs.end(), [&](TensorId id) { return read[id] || body_.tensors[id].observed; }),
                     "nobody reads its results");
    }
  }

  void check_borders() const {
    for (const std::vector<TensorId>* ids : {&body_.inputs, &body_.outputs}) {
      for (TensorId id : *ids) {
        const Tensor& tensor = body_.tensors[id];
        INTERNAL_CHECK(tensor.type.layout.channel_padding == 1 && tensor.type.layout.vector_width == 1,
                       "'" << tensor.name << "' is an input or output and has the blocked or padded layout " << str(tensor.type.layout));
      }
    }
  }

  const Network& net_;
  const Body& body_;
  Phase phase_;
  std::vector<int> sources_;  // inputs and layers that give each tensor
};

enum class Visit : uint8_t { no, open, done };

void check_no_cycle(const Network& network, int64_t id, std::vector<Visit>& visits) {
  INTERNAL_CHECK(id >= 0 && id < static_cast<int64_t>(network.bodies.size()), "body " << id << " does not exist");
  INTERNAL_CHECK(visits[id] != Visit::open, "body " << id << " contains itself");
  if (visits[id] == Visit::done) return;
  visits[id] = Visit::open;
  for (const Layer& layer : network.bodies[id].layers)
    if (!layer.dead)
      for (int64_t next : referenced_bodies(layer.op)) check_no_cycle(network, next, visits);
  visits[id] = Visit::done;
}

}  // namespace

void validate(const Network& network, Phase phase) {
  const ErrorFrame frame("in validation of network '" + network.name + "'");
  INTERNAL_CHECK(!network.bodies.empty(), "has no bodies");
  std::vector<Visit> visits(network.bodies.size(), Visit::no);
  check_no_cycle(network, 0, visits);
  std::unordered_set<std::string> names;
  for (const Constant& constant : network.constants) INTERNAL_CHECK(names.insert(constant.name).second, "two constants are named '" << constant.name << "'");
  for (size_t k = 0; k < network.bodies.size(); ++k) {
    const ErrorFrame body("in body " + std::to_string(k));
    Validator(network, network.bodies[k], phase).run();
  }
}

}  // namespace tuyere
