// SPDX-License-Identifier: Apache-2.0
// What cannot be converted says why; hosted calls; the table.
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/converters/helpers.h"

namespace tuyere {
namespace {

struct RefusalCase {
  const char* node;
  const char* reason;
};

TEST(Refusals, SayWhy) {
  const RefusalCase cases[] = {
      {"%z: f32[2] = aten::nothing_like_it(self=%x)", "no converter for aten::nothing_like_it"},
      {"%z: f32[2] = aten::add_.Tensor(self=%x, other=%x, alpha=1) !mutates", "no converter for aten::add_.Tensor"},
      {"%z: f32[2] = aten::relu(self=%x) !mutates", "aten::relu writes to an argument"},
      {"%z: ? = aten::relu(self=%x)\nreturn %z", "output 'z' has a dtype or layout that has no counterpart (complex, sparse or not a tensor)"},
      {"%z: f32[2] = aten::sum.dim_IntList(self=%x, dim=[5], keepdim=false, dtype=none)", "argument 'dim' is 5, out of range for rank 1"},
      {"%z: f32[2] = aten::softmax.int(self=%x, dim=\"a\", dtype=none)", "argument 'dim' is a text, expected a size"},
      {"%z: f32[2] = aten::softmax.int(self=%x, dtype=none)", "argument 'dim' is missing"},
      {"%z: f32[n] = aten::dropout(input=%x, p=0.5, train=true)", "dropout in training mode draws random numbers"},
      {"%z: f32[2] = aten::index.Tensor(self=%x, indices=[%m])", "an index of dtype bool: the size of the result depends on the data"},
      {"%z: f32[2] = aten::scatter_reduce.two(self=%x, dim=0, index=%i, src=%x, reduce=\"mean\", include_self=true)", "scatter with reduction 'mean'"},
      {"%z: f32[2]@cuda:0 = aten::_to_copy(self=%x, dtype=none)", "moves data from cpu to cuda:0"},
      {"%z: f32[3] = aten::relu(self=%x)", "output 0 was recorded as f32[3] but converts to f32[2]"},
      {"%z: f32[2] = aten::roll(self=%x, shifts=[1, 2], dims=[])", "roll of the flattened tensor by 2 shifts"},
      {"%z: f32[2] = aten::empty_like(self=%x)\nreturn %z", "uninitialized memory is an output"},
  };
  for (const RefusalCase& c : cases) {
    std::string reason = refusal(std::string("graph \"g\"\n%x: f32[2] = input\n%m: bool[2] = input\n%i: i64[2] = input\n") + c.node + "\n");
    EXPECT_EQ(reason.substr(0, std::string(c.reason).size()), c.reason) << c.node;
  }
}

TEST(Refusals, KernelsOfTheDeviceDecide) {
  const auto layer_norm = [](const std::string& type, const std::string& device) {
    const std::string rest = "[4,2]" + device, one = "[4,1]" + device;
    return refusal("graph \"g\"\n%x: " + type + rest + " = input\n%z: " + type + rest + ", %m: " + type + one + ", %r: " + type + one +
                   " = aten::native_layer_norm(input=%x, normalized_shape=[2], weight=none, bias=none, eps=1e-05)\nreturn %z, %r\n");
  };
  EXPECT_EQ(layer_norm("f32", "@cuda:0"), "");
  EXPECT_EQ(layer_norm("f32", ""), "");
  EXPECT_EQ(layer_norm("f64", "@cuda:0"), "there is no kernel for it on cuda:0: the statistics of layer norms are kept in f32");
  EXPECT_EQ(layer_norm("f64", ""), "there is no kernel for it on cpu: rows are kept in f32");
}

TEST(Refusals, RecurrentNetworks) {
  const auto lstm = [](const std::string& type, const std::string& device, const std::string& params, const std::string& settings) {
    const std::string end = device + " = input\n", sizes = type + "[3,2,4]" + device, state = type + "[1,2,5]" + device;
    return refusal("graph \"g\"\n%x: " + sizes + " = input\n%h: " + state + " = input\n%w: " + type + "[20,4]" + end + "%u: " + type + "[20,5]" + end +
                   "%p: " + type + "[5,5]" + end + "%y: " + type + "[3,2,5]" + device + ", %a: " + state + ", %b: " + state +
                   " = aten::lstm.input(input=%x, hx=[%h, %h], params=[" + params + "], has_biases=false, num_layers=1, " + settings +
                   ", bidirectional=false, batch_first=false)\nreturn %y\n");
  };
  const std::string inference = "dropout=0.5, train=false";
  EXPECT_EQ(lstm("bf16", "", "%w, %u", inference), "");
  EXPECT_EQ(lstm("f32", "", "%w, %u, %p", inference), "it has projections, which there is no kernel for");
  EXPECT_EQ(lstm("f32", "", "%w, %u", "dropout=0.5, train=true"), "it drops out values (training)");
  EXPECT_EQ(lstm("f64", "", "%w, %u", inference), "there is no fast kernel for f64");
  EXPECT_EQ(lstm("f32", "@cuda:0", "%w, %u", inference), "there is no kernel for it on cuda:0: it has no kernels");
}

TEST(Refusals, ErrorsOfConvertNameTheNode) {
  try {
    converted("graph \"g\"\n%x: f32[2] = input\n%z: f32[2] = aten::sum(self=%x, dim=7) name=\"s\" module=\"a.b\" source=\"m.py:3\"\nreturn %z\n");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("converting aten::sum (node 's', module 'a.b', m.py:3)"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("argument 'dim' is 7"), std::string::npos) << e.what();
  }
}

TEST(Hosted, BecomesHostCall) {
  SourceGraph g = parse_source_graph(R"(graph "g"
%x: f32[4] = input
%y: f32[2,3] = aten::op.over(self=%x, b=%x, list=[%x, %x], sizes=[2, dim(3)], p=0.5, flag=true, none=none, mode="sum", dtype=f16)
return %y
)");
  ASSERT_TRUE(hostable(g, g.nodes[0])) << hostable(g, g.nodes[0]).reason();
  const int nodes[] = {0};
  Network net = convert(g, nodes, {{0}, {1}}, aten_table(), nodes);
  const HostCall& call = std::get<HostCall>(net.main().layers.at(0).op);
  EXPECT_EQ(call.op, "aten::op");
  EXPECT_EQ(call.overload, "over");
  EXPECT_EQ(call.args,
            R"([{"tensor":0},{"tensor":0},{"tensors":[0,0]},{"ints":[2,3]},{"float":0.5},{"bool":true},{"none":true},{"str":"sum"},{"dtype":"f16"}])");
  EXPECT_EQ(net.main().layers[0].inputs.size(), 1u);
}

TEST(Hosted, Reasons) {
  auto why = [](const std::string& node) {
    SourceGraph g = parse_source_graph("graph \"g\"\n%x: f32[n] = input\n" + node);
    return hostable(g, g.nodes[0]).reason();
  };
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x, k=dim(n))"), "argument 'k' is symbolic (n)");
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x) !mutates"), "it writes to an argument");
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x) !side_effect"), "it has side effects");
  EXPECT_EQ(why("%y: ? = aten::op(self=%x)"), "the type of output 'y' is not known");
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x, l=[%x, none], mask=[true, false])"), "");
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x, l=[[1], [2]])"), "argument 'l' is a list of lists");
  EXPECT_EQ(why("%y: f32[n] = aten::op(self=%x, device=\"cpu\")"), "argument 'device' is given");
}

TEST(Hosted, OpsOfTheCpuAreNotHostedOnOtherDevices) {
  const auto why = [](const std::string& device) {
    const std::string type = "f32[2,3,4,8]" + device;
    SourceGraph g = parse_source_graph("graph \"g\"\n%q: " + type + " = input\n%y: " + type + ", %l: f32[2,3,4]" + device +
                                       " = aten::_scaled_dot_product_flash_attention_for_cpu(query=%q, key=%q, value=%q)\nreturn %y\n");
    return hostable(g, g.nodes[0]).reason();
  };
  EXPECT_EQ(why(""), "");
  EXPECT_EQ(why("@cuda:0"), "PyTorch has it for the CPU only");
}

TEST(Convert, OutputsAreTensorsOfTheirOwn) {
  EXPECT_EQ(converted("graph \"g\"\n%x: f32[2] = input\n%y: f32[2] = aten::relu(self=%x)\n%z: f32[2] = aten::alias(self=%y)\nreturn %y, %z\n"),
            "network g\nx = input f32[2]\nrelu = relu(x)\npointwise = pointwise(relu) program={i0:f32} types=[f32]\nreturn relu, pointwise\n");
}

TEST(Convert, SymbolicFormsThatAgreeAreEqual) {
  EXPECT_TRUE(same_shape(parse_shape("[(n+1)//2,3]"), parse_shape("[(n-1)//2+1,3]")));
  EXPECT_FALSE(same_shape(parse_shape("[n//2,3]"), parse_shape("[(n+1)//2,3]")));
  EXPECT_FALSE(same_shape(parse_shape("[n,3]"), parse_shape("[n,4]")));
}

TEST(Table, HasEveryRowOnce) {
  std::vector<std::string> ops = aten_table().ops();
  EXPECT_GT(ops.size(), 350u);
  EXPECT_EQ(std::set<std::string>(ops.begin(), ops.end()).size(), ops.size());
  EXPECT_NE(aten_table().find("aten::convolution"), nullptr);
  EXPECT_EQ(aten_table().find("aten::bernoulli_.float"), nullptr);
}

}  // namespace
}  // namespace tuyere
