// SPDX-License-Identifier: Apache-2.0
// The network: typed layers and tensors with value semantics. Copy it, compare it, print it, parse it back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/api/ops.h"

namespace tuyere {

using TensorId = int32_t;
using LayerId = int32_t;
inline constexpr int32_t kNone = -1;

/// Memory order of a tensor. Empty order: row-major. order[0] is the outermost dimension; NHWC of a logical NCHW tensor is {0,2,3,1}.
struct Layout {
  std::vector<int> order;
  int64_t channel_padding = 1;  // the innermost dimension is padded in memory to a multiple of this
  int vector_width = 1;         // elements of the innermost dimension stored together (blocked formats); 1 = plain
  bool operator==(const Layout&) const = default;
  bool is_row_major() const { return order.empty() && channel_padding == 1 && vector_width == 1; }
  static Layout channels_last(int rank);  // {0, 2, ..., rank-1, 1}
};
/// "" for row-major, "@0231", "@0231/p8"
std::string str(const Layout& layout);

struct TensorType {
  DType dtype = DType::F32;
  Shape shape;
  Layout layout;
  bool operator==(const TensorType&) const = default;
};
/// "f16[n,64,56,56]@0231"
std::string str(const TensorType& type);

/// Where a layer comes from in the user's program. A rewrite merges the sets of all it replaces.
struct Origin {
  std::string module;  // "encoder.layers.3.attn"
  std::string op;      // "aten::_softmax"
  std::string node;    // FX node or JIT scope
  std::string source;  // "model.py:88"
  auto operator<=>(const Origin&) const = default;
};
using Origins = std::set<Origin>;
std::string str(const Origins& origins);

/// Data of a constant. A `param` is a weight of the user's model (refit by name); otherwise a literal of the program.
struct Constant {
  std::string name;
  bool param = false;
  std::shared_ptr<const std::vector<std::byte>> data;  // packed row-major; null for a type-only network (text form)
};

struct Tensor {
  TensorType type;
  std::string name;          // for people; unique within the body
  LayerId producer = kNone;  // kNone for inputs and constants
  int output = 0;            // which output of the producer
  int constant = -1;         // index into Network::constants, or -1
  bool observed = false;     // passes keep it and the runtime can hand it out
};

struct Layer {
  Op op;
  std::vector<TensorId> inputs, outputs;
  Origins origins;
  bool dead = false;  // erased; ids stay stable until compact()
};

/// One body: main, or the body of an If, While or Call. Edits go through the methods of Network, which keep producers and uses right.
struct Body {
  std::vector<Tensor> tensors;
  std::vector<Layer> layers;  // in topological order after Network::sort()
  std::vector<TensorId> inputs, outputs;
};

class Network {
 public:
  std::string name = "network";
  std::vector<Body> bodies{1};
  std::vector<Constant> constants;

  // -- building (shape inference runs at once; Error{User} names layer and op)
  TensorId add_input(TensorType type, std::string name, int body = 0);
  TensorId add_constant(DType dtype, Shape shape, Constant constant, int body = 0);
  /// A rank-0 literal.
  TensorId add_scalar(DType dtype, double value, int body = 0);
  /// Adds a layer; returns its outputs. Output layouts are row-major, a Pointwise layer's those of the first input of the output's shape.
  /// The op is stored in canonical form: negative axes counted from the front, empty per-dimension lists of Conv and Pool filled in.
  /// The first output is named "<module>/<op>" after the first origin, or its node, or the op; a name that is taken gets _1, _2, ...
  /// If, While and Call take their types from their bodies, which must be complete.
  std::vector<TensorId> add(Op op, std::vector<TensorId> inputs, Origins origins = {}, int body = 0);
  TensorId add1(Op op, std::vector<TensorId> inputs, Origins origins = {}, int body = 0) {
    return add(std::move(op), std::move(inputs), std::move(origins), body)[0];
  }
  void mark_output(TensorId id, int body = 0) { bodies[body].outputs.push_back(id); }

  // -- pointwise sugar: converts arguments to a common compute type (PyTorch promotion is the front end's business) and adds one Pointwise layer
  TensorId pointwise(Fn fn, std::vector<TensorId> inputs, DType type, Origins origins = {}, int body = 0);
  TensorId cast(TensorId x, DType type, Origins origins = {}, int body = 0);

  // -- reading
  Body& main() { return bodies[0]; }
  const Body& main() const { return bodies[0]; }
  const Tensor& tensor(TensorId id, int body = 0) const { return bodies[body].tensors[id]; }
  const TensorType& type(TensorId id, int body = 0) const { return bodies[body].tensors[id].type; }
  const Layer* producer(TensorId id, int body = 0) const;
  bool is_constant(TensorId id, int body = 0) const { return bodies[body].tensors[id].constant >= 0; }
  /// Layers that read `id` (dead ones left out), in order.
  std::vector<LayerId> consumers(TensorId id, int body = 0) const;
  /// Reads by layers plus appearances among the body's outputs (and 1 more when observed).
  int uses(TensorId id, int body = 0) const;
  /// Constant data as doubles when the tensor is a constant with data, or a view of one of few elements; empty otherwise.
  std::vector<double> constant_values(TensorId id, int body = 0) const;

  // -- rewriting
  /// Every use of `from` (layers, outputs) becomes `to`; `to`'s producer takes over the origins of `from`'s. Types must agree (layouts may differ).
  /// The producer of `to` keeps reading `from`, so that `replace(x, f(x))` inserts f. An output's name moves to the new tensor.
  void replace(TensorId from, TensorId to, int body = 0);
  void set_input(LayerId layer, int slot, TensorId tensor, int body = 0);
  /// Internal error while an output is still used.
  void erase(LayerId layer, int body = 0);
  /// Drops layers without used outputs, unused constants and bodies, renumbers, and sorts. Returns whether anything went.
  bool compact();
  /// Topological order by dependency, stable.
  void sort(int body = 0);

  /// Structural equality: same text form and same constants' bytes (when both have data).
  bool operator==(const Network& other) const;
};

/// Text form, one line per tensor or layer (see core/network/text.cpp for the grammar):
///   x = input f16[n,8,32,32]@0231
///   w = param f16[16,8,3,3] "features.0.weight"
///   c = literal f32[] 0.5
///   y = conv(x, w) stride=[2,2] ...            # module (aten::convolution, model.py:12)
///   return y
/// Literals of up to 64 elements carry their values; larger ones and params only their type unless `with_data`.
std::string str(const Network& network);
/// What the text form shows. Everything on: parse_network() gives the same network, with its data.
struct TextOptions {
  bool with_data = false;  // also the data of params and of large literals
  bool names = true;       // off: tensors are t0, t1, ... in printing order, for comparing structure
  bool origins = true;
};
std::string str(const Network& network, const TextOptions& options);
/// Error{User} with the line on anything malformed. parse_network(str(n)) == n.
Network parse_network(std::string_view text);

/// Types of the outputs of `op` on inputs of these types. Error{User} on bad arguments. Layouts of the result are row-major.
std::vector<TensorType> infer(const Op& op, std::span<const TensorType> inputs);

/// What must hold at a point of the pipeline. Every phase includes the ones before it.
enum class Phase { converted, optimized, laid_out };
/// Checks ids, order, types against infer(), names, and the phase's rules; throws Error{Internal} naming the layer.
void validate(const Network& network, Phase phase = Phase::converted);

}  // namespace tuyere
