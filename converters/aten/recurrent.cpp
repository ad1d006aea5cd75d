// SPDX-License-Identifier: Apache-2.0
// Recurrent networks, for inference: layers of LSTM, GRU and plain cells, in one direction or two. The products of a layer's inputs are one matrix product
// over all times; what goes from one time to the next is an operator.
#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

constexpr DType kSums = DType::F32;

/// The weights and biases of a layer: the rows of its directions one below the other.
struct LayerWeights {
  TensorId input, hidden;
  std::optional<TensorId> input_bias, hidden_bias;
};

class Recurrences {
 public:
  Recurrences(Convert& c, RecurrentKind kind) : c_(c), params_(c.tensors("params")), op_{.kind = kind} {
    USER_CHECK(!c.boolean("train") || c.number("dropout") == 0, "it drops out values (training)");
    op_.directions = c.boolean("bidirectional") ? 2 : 1;
    op_.batch_first = c.boolean("batch_first");
    op_.type = c.out_type().dtype;
    USER_CHECK(op_.type == kSums || op_.type == DType::BF16, "there is no fast kernel for " << name(op_.type));
    layers_ = c.integer("num_layers");
    per_direction_ = c.boolean("has_biases") ? 4 : 2;
    USER_CHECK(params_.size() == static_cast<size_t>(layers_ * op_.directions * per_direction_), "it has projections, which there is no kernel for");
  }

  /// `states`: the first hidden states of all layers, for LSTMs those of the cells, too.
  void run(const std::vector<TensorId>& states) {
    TensorId x = c_.tensor("input");
    std::vector<std::vector<TensorId>> last(states.size());
    for (int64_t layer = 0; layer < layers_; ++layer) {
      const LayerWeights weights = weights_of(layer);
      std::vector<TensorId> inputs{input_products(x, weights), weights.hidden, hidden_bias(weights)};
      for (TensorId state : states) inputs.push_back(c_.slice(state, 0, layer * op_.directions, (layer + 1) * op_.directions));
      const std::vector<TensorId> out = add_native(c_, op_, inputs);
      x = out[0];
      for (size_t k = 0; k < states.size(); ++k) last[k].push_back(out[k + 1]);
    }
    c_.out(x);
    for (size_t k = 0; k < last.size(); ++k) c_.out(stacked(last[k]), static_cast<int>(k) + 1);
  }

 private:
  TensorId stacked(const std::vector<TensorId>& parts) { return parts.size() == 1 ? parts[0] : c_.add(Concat{.axis = 0}, parts); }

  LayerWeights weights_of(int64_t layer) {
    const auto rows = [&](int64_t k) {
      std::vector<TensorId> parts;
      for (int64_t d = 0; d < op_.directions; ++d) parts.push_back(params_[static_cast<size_t>((layer * op_.directions + d) * per_direction_ + k)]);
      return stacked(parts);
    };
    LayerWeights out{.input = rows(0), .hidden = rows(1)};
    if (per_direction_ == 4) out.input_bias = rows(2), out.hidden_bias = rows(3);
    return out;
  }

  /// In f32, since they are added to other sums.
  TensorId input_products(TensorId x, const LayerWeights& weights) {
    MatMul product{.trans_b = true, .type = kSums};
    if (!weights.input_bias) return c_.add(product, {x, weights.input});
    product.epilogue = {.inputs = {kSums, compute_type(c_.type(*weights.input_bias).dtype)}};
    product.epilogue.outputs = {static_cast<int16_t>(product.epilogue.add(Fn::add, {0, 1}))};
    return c_.add(product, {x, weights.input, *weights.input_bias});
  }

  TensorId hidden_bias(const LayerWeights& weights) {
    if (weights.hidden_bias) return *weights.hidden_bias;
    const TensorType hidden = c_.type(weights.hidden);
    return c_.add(Fill{.type = hidden.dtype, .shape = {hidden.shape[0]}}, {});
  }

  Convert& c_;
  std::vector<TensorId> params_;
  Recurrent op_;
  int64_t layers_ = 1, per_direction_ = 4;
};

void lstm(Convert& c) {
  const std::vector<TensorId> states = c.tensors("hx");
  USER_CHECK(states.size() == 2, "it needs hidden and cell states, got " << states.size() << " tensors");
  Recurrences(c, RecurrentKind::lstm).run(states);
}

template <RecurrentKind kKind>
void recurrent(Convert& c) {
  Recurrences(c, kKind).run({c.tensor("hx")});
}

}  // namespace

void add_recurrent(ConverterTable& t) {
  t.add("aten::lstm.input", lstm);
  t.add("aten::gru.input", recurrent<RecurrentKind::gru>);
  t.add("aten::rnn_tanh.input", recurrent<RecurrentKind::tanh>);
  t.add("aten::rnn_relu.input", recurrent<RecurrentKind::relu>);
}

}  // namespace tuyere
