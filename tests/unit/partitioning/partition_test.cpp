// SPDX-License-Identifier: Apache-2.0
#include "partitioning/partition.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <utility>

namespace tuyere {
namespace {

Support no_bad(const SourceGraph&, const SourceNode& node) {
  return node.op.starts_with("aten::bad") || node.op.starts_with("other::") ? Support::no("no converter for " + node.op) : Support::yes();
}

/// A chain or any graph in short form: one line "name op inputs...", the last node is the output.
SourceGraph graph_of(const std::vector<std::vector<std::string>>& lines) {
  std::string text = "graph \"g\"\n%x: f32[4] = input\n";
  for (const auto& line : lines) {
    text += "%" + line[0] + ": f32[4] = " + line[1] + "(";
    for (size_t k = 2; k < line.size(); ++k) text += (k > 2 ? ", a" : "a") + std::to_string(k) + "=%" + line[k];
    text += ") name=\"" + line[0] + "\" module=\"m." + line[0] + "\"\n";
  }
  return parse_source_graph(text + "return %" + lines.back()[0] + "\n");
}

/// "a:native0 b:outside ..."
std::string places(const SourceGraph& g, const Partition& p) {
  std::string out;
  for (size_t n = 0; n < g.nodes.size(); ++n) {
    const NodePlacement& place = p.nodes[n];
    const char* kinds[] = {"native", "hosted", "outside"};
    out += (n ? " " : "") + g.nodes[n].name + ":" + kinds[static_cast<int>(place.placement)] + (place.segment >= 0 ? std::to_string(place.segment) : "");
  }
  return out;
}

std::string names(const SourceGraph& g, const std::vector<ValueId>& ids) {
  std::string out;
  for (ValueId id : ids) out += (out.empty() ? "" : " ") + g.values[id].name;
  return out;
}

const PartitionOptions kNoHost{.allow_hosted = false};

TEST(Partition, OneSegmentWhenAllIsNative) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "aten::relu", "a"}, {"c", "aten::add", "a", "b"}});
  Partition p = partition(g, no_bad);
  EXPECT_EQ(places(g, p), "a:native0 b:native0 c:native0");
  EXPECT_EQ(names(g, p.segments[0].inputs), "x");
  EXPECT_EQ(names(g, p.segments[0].outputs), "c");
}

TEST(Partition, OutsideNodeSplits) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "aten::bad", "a"}, {"c", "aten::add", "a", "b"}});
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "a:native0 b:outside c:native1");
  EXPECT_EQ(names(g, p.segments[1].inputs), "a b");
  EXPECT_EQ(p.nodes[1].reason, "no converter for aten::bad; cannot be hosted: allow_hosted is off");
}

TEST(Partition, UnusedNodesGetNoEngine) {
  SourceGraph g = graph_of({{"a", "aten::_assert_tensor_metadata", "x"}, {"b", "aten::bad", "x"}});
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "a:native b:outside");
  EXPECT_TRUE(p.segments.empty());
}

TEST(Partition, OutsideNodeAtTheStartDoesNotSplit) {
  SourceGraph g = graph_of({{"a", "aten::bad", "x"}, {"b", "aten::relu", "x"}, {"c", "aten::add", "a", "b"}});
  EXPECT_EQ(places(g, partition(g, no_bad, kNoHost)), "a:outside b:native0 c:native0");
}

TEST(Partition, HostedOnlyBetweenNatives) {
  SourceGraph g = graph_of({{"h", "aten::bad", "x"}, {"a", "aten::relu", "h"}, {"b", "aten::bad", "a"}, {"c", "aten::relu", "b"}, {"d", "aten::bad", "c"}});
  Partition p = partition(g, no_bad);
  EXPECT_EQ(places(g, p), "h:outside a:native0 b:hosted0 c:native0 d:outside");
  EXPECT_EQ(p.nodes[0].reason, "no converter for aten::bad; not hosted: it does not lie between native nodes");
}

TEST(Partition, NamespacesOfHostedOps) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "other::op", "a"}, {"c", "aten::relu", "b"}});
  EXPECT_EQ(places(g, partition(g, no_bad)), "a:native0 b:outside c:native1");
  PartitionOptions open;
  open.hosted_namespaces.insert("other");
  EXPECT_EQ(places(g, partition(g, no_bad, open)), "a:native0 b:hosted0 c:native0");
}

TEST(Partition, RunInTorchByOpOverloadAndModule) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "aten::add.Tensor", "a", "a"}, {"c", "aten::relu", "b"}});
  for (const char* what : {"aten::add", "aten::add.Tensor", "m.b"}) {
    Partition p = partition(g, no_bad, {.run_in_torch = {what}});
    EXPECT_EQ(places(g, p), "a:native0 b:outside c:native1") << what;
    EXPECT_EQ(p.nodes[1].reason, "listed in run_in_torch");
  }
  EXPECT_EQ(partition(g, no_bad, {.run_in_torch = {"m"}}).segments.size(), 0u);
  EXPECT_EQ(partition(g, no_bad, {.run_in_torch = {"m.bb", "aten::ad"}}).segments.size(), 1u);
}

TEST(Partition, MinBlockSize) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "aten::bad", "a"}, {"c", "aten::relu", "b"}, {"d", "aten::relu", "c"}});
  Partition p = partition(g, no_bad, {.min_block_size = 2, .allow_hosted = false});
  EXPECT_EQ(places(g, p), "a:outside b:outside c:native0 d:native0");
  EXPECT_EQ(p.nodes[0].reason, "its segment has 1 native nodes, fewer than min_block_size 2");
}

TEST(Partition, WeightTransformsGoWhereTheyAreUsed) {
  SourceGraph g = parse_source_graph(R"(graph "g"
%x: f32[4,4] = input
%w: f32[4,4] = param "w"
%t: f32[4,4] = aten::t(self=%w) name="t"
%a: f32[4,4] = aten::relu(self=%x) name="a"
%b: f32[4,4] = aten::bad(self=%a) name="b"
%c: f32[4,4] = aten::mm(self=%b, mat2=%t) name="c"
return %c
)");
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "t:native1 a:native0 b:outside c:native1");
  EXPECT_EQ(names(g, p.segments[1].inputs), "b");
}

TEST(Partition, ViewsOfInputsGoWhereTheyAreRead) {
  SourceGraph g = parse_source_graph(
      "graph \"g\"\n%x: f32[2,3] = input\n%w: f32[4,3] = input\n%t: f32[3,4] = aten::t(self=%w)\n%u: f32[3,4] = aten::alias(self=%t)\n"
      "%a: f32[2,3] = aten::relu(self=%x)\n%b: f32[2,3] = aten::bad(self=%a)\n%y: f32[2,4] = aten::mm(self=%b, mat2=%u)\nreturn %y\n");
  const Partition p = partition(g, no_bad, kNoHost);
  ASSERT_EQ(p.segments.size(), 2u);
  EXPECT_EQ(p.nodes[0].segment, p.nodes[4].segment);
  EXPECT_EQ(p.nodes[1].segment, p.nodes[4].segment);
  EXPECT_EQ(p.segments[p.nodes[2].segment].outputs.size(), 1u);
}

TEST(Partition, SizesComeFromInputs) {
  const char* text = R"(graph "g"
%x: f32[n,4] = input
%a: f32[n,4] = aten::relu(self=%x) name="a"
%b: f32[4] = aten::bad(self=%a) name="b"
%c: f32[n,4] = aten::expand(self=%b, size=[dim(n), 4]) name="c"
%u: f32[u0,4] = aten::bad2(self=%c) name="u"
%v: f32[u0*2,4] = aten::repeat(self=%b, k=dim(u0)) name="v"
%w: f32[u0,4] = aten::relu(self=%u) name="w"
return %c, %v, %w
)";
  SourceGraph g = parse_source_graph(text);
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "a:native0 b:outside c:native1 u:outside v:native2 w:native2");
  EXPECT_EQ(names(g, p.segments[1].inputs), "b x");
  EXPECT_EQ(names(g, p.segments[2].inputs), "b u");
}

TEST(Partition, SizesThatNoInputHas) {
  SourceGraph g = parse_source_graph(R"(graph "g"
%x: f32[4] = input
%a: f32[4] = aten::relu(self=%x) name="a"
%b: f32[q*2,4] = aten::expand(self=%a, size=[dim(q*2), 4]) name="b"
return %b
)");
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "a:native0 b:outside");
  EXPECT_EQ(p.nodes[1].reason, "size q is not a dimension of any input");
}

TEST(Partition, DevicesDoNotMix) {
  SourceGraph g = parse_source_graph(R"(graph "g"
%x: f32[4] = input
%y: f32[4]@cuda:0 = input
%k: f32[] = literal "k"
%a1: f32[4] = aten::relu(self=%x) name="a1"
%b1: f32[4]@cuda:0 = aten::to(self=%a1) name="b1"
%b2: f32[4]@cuda:0 = aten::relu(self=%y) name="b2"
%a2: f32[4] = aten::to(self=%b2) name="a2"
%a3: f32[4] = aten::add(self=%a2, other=%a1) name="a3"
%l: f32[] = aten::lift_fresh_copy(self=%k) name="l"
%b3: f32[4]@cuda:0 = aten::mul(self=%b1, other=%l) name="b3"
return %a3, %b3
)");
  Partition p = partition(g, no_bad, kNoHost);
  EXPECT_EQ(places(g, p), "a1:native1 b1:outside b2:native0 a2:outside a3:native1 l:native2 b3:native2");
  EXPECT_EQ(p.nodes[1].reason.substr(0, 45), "it computes on cuda:0 but 'a1' is on cpu; can");
}

TEST(Partition, Table) {
  SourceGraph g = graph_of({{"a", "aten::relu", "x"}, {"b", "aten::bad", "a"}});
  EXPECT_EQ(str(g, partition(g, no_bad, kNoHost)),
            "node  op          module  placement  reason\n"
            "a     aten::relu  m.a     native 0\n"
            "b     aten::bad   m.b     outside    no converter for aten::bad; cannot be hosted: allow_hosted is off\n"
            "segment 0: 1 nodes, in (x), out (a)\n"
            "1 native, 0 hosted, 1 outside; 1 segments\n");
}

// -- random graphs

SourceGraph random_graph(std::mt19937& random, int nodes, const char* odd) {
  std::vector<std::vector<std::string>> lines;
  for (int n = 0; n < nodes; ++n) {
    auto pick = [&] {
      int from = static_cast<int>(random() % (std::min(n, 12) + 1));
      return from == 0 ? std::string("x") : "v" + std::to_string(n - from);
    };
    std::vector<std::string> line{"v" + std::to_string(n), random() % 4 == 0 ? odd : "aten::add", pick()};
    std::string other = pick();
    if (other != line[2]) line.push_back(other);
    lines.push_back(line);
  }
  return graph_of(lines);
}

/// reach[n][m]: whether n feeds m, directly or not; a node that draws random numbers feeds the next one that does.
std::vector<std::vector<bool>> reachability(const SourceGraph& g) {
  const size_t count = g.nodes.size();
  std::vector<int> producer(g.values.size(), -1);
  std::vector<std::vector<bool>> reach(count, std::vector<bool>(count, false));
  int drawn = -1;
  for (size_t n = 0; n < count; ++n) {
    auto feeds = [&](int from) {
      if (from < 0) return;
      reach[from][n] = true;
      for (size_t k = 0; k < count; ++k) {
        if (reach[k][from]) reach[k][n] = true;
      }
    };
    for (const auto& [name, arg] : g.nodes[n].args) feeds(producer[std::get<Arg::Value>(arg.v).id]);
    if (g.nodes[n].draws) feeds(std::exchange(drawn, static_cast<int>(n)));
    producer[g.nodes[n].outputs[0]] = static_cast<int>(n);
  }
  return reach;
}

/// Whether some path leaves the set and comes back.
bool convex(const std::vector<std::vector<bool>>& reach, const std::vector<bool>& in) {
  for (size_t m = 0; m < in.size(); ++m) {
    if (in[m]) continue;
    bool before = false, after = false;
    for (size_t n = 0; n < in.size(); ++n) {
      before = before || (in[n] && reach[n][m]);
      after = after || (in[n] && reach[m][n]);
    }
    if (before && after) return false;
  }
  return true;
}

void check(const SourceGraph& g, const Partition& p, bool maximal) {
  auto reach = reachability(g);
  auto set_of = [&](std::initializer_list<size_t> segments) {
    std::vector<bool> in(g.nodes.size(), false);
    for (size_t s : segments) {
      for (int n : p.segments[s].nodes) in[n] = true;
    }
    return in;
  };
  for (size_t a = 0; a < p.segments.size(); ++a) {
    EXPECT_TRUE(convex(reach, set_of({a})));
    for (size_t b = a + 1; b < p.segments.size(); ++b) {
      for (int n : p.segments[b].nodes) {
        for (int m : p.segments[a].nodes) EXPECT_FALSE(reach[n][m]) << "segment " << b << " feeds the earlier " << a;
      }
      if (maximal) {
        EXPECT_FALSE(convex(reach, set_of({a, b}))) << "segments " << a << " and " << b << " could be one";
      }
    }
  }
}

TEST(Partition, RandomGraphsAreConvexAcyclicAndMaximal) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    SourceGraph g = random_graph(random, 20 + round, "aten::bad");
    check(g, partition(g, no_bad, kNoHost), true);
  }
}

TEST(Partition, RandomNumbersComeInTheOrderOfTheGraph) {
  SourceGraph g = parse_source_graph(
      "graph \"g\"\n%x: f32[4] = input\n"
      "%a: f32[4] = aten::relu(a=%x) name=\"a\"\n"
      "%b: f32[4] = other::drop(a=%a) name=\"b\" !draws\n"
      "%c: f32[4] = aten::relu(a=%b) name=\"c\"\n"
      "%d: f32[4] = aten::bad() name=\"d\" !draws\n"
      "%e: f32[4] = other::drop(a=%a) name=\"e\" !draws\n"
      "%f: f32[4] = aten::relu(a=%e) name=\"f\"\n"
      "%h: f32[4] = aten::relu(a=%d) name=\"h\"\nreturn %c, %f, %h\n");
  const PartitionOptions options{.hosted_namespaces = {"other"}};
  EXPECT_EQ(places(g, partition(g, no_bad, options)), "a:native0 b:hosted0 c:native0 d:outside e:outside f:native1 h:native1");
  for (SourceNode& node : g.nodes) node.draws = false;
  EXPECT_EQ(places(g, partition(g, no_bad, options)), "a:native0 b:hosted0 c:native0 d:outside e:hosted0 f:native0 h:native0");
}

TEST(Partition, RandomGraphsWithDraws) {
  std::mt19937 random(10);
  for (int round = 0; round < 60; ++round) {
    SourceGraph g = random_graph(random, 20 + round, "aten::bad");
    for (SourceNode& node : g.nodes) node.draws = random() % 4 == 0;
    check(g, partition(g, no_bad, kNoHost), true);
  }
}

TEST(Partition, RandomGraphsWithHostedNodes) {
  std::mt19937 random(8);
  for (int round = 0; round < 60; ++round) {
    SourceGraph g = random_graph(random, 20 + round, round % 2 ? "aten::bad" : "other::bad");
    for (size_t n = 0; n < g.nodes.size(); n += 3) {
      if (g.nodes[n].op == "aten::bad") g.nodes[n].op = "other::bad";
    }
    Partition p = partition(g, no_bad);
    check(g, p, true);
    auto reach = reachability(g);
    for (size_t h = 0; h < g.nodes.size(); ++h) {
      if (p.nodes[h].placement != NodeKind::hosted) continue;
      bool before = false, after = false;
      for (int n : p.segments[p.nodes[h].segment].nodes) {
        if (p.nodes[n].placement != NodeKind::native) continue;
        before = before || reach[n][h];
        after = after || reach[h][n];
      }
      EXPECT_TRUE(before && after);
    }
  }
}

TEST(Partition, ThousandsOfNodes) {
  std::mt19937 random(9);
  SourceGraph g = random_graph(random, 5000, "aten::bad");
  Partition p = partition(g, no_bad);
  EXPECT_EQ(p.nodes.size(), 5000u);
}

}  // namespace
}  // namespace tuyere
