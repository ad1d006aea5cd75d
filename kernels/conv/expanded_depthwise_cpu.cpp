// SPDX-License-Identifier: Apache-2.0
// own.expanded_depthwise.lines: a few lines of some channels of the expanded image stay in the first cache, in a ring, and the depthwise window runs over
// them, so that the expanded image never goes to memory. A task is a strip of lines of one vector or two of channels; those that read the same strip of
// the image follow each other. Arithmetic is that of own.conv.direct: in f32, or of pairs of bf16 values whose sums are f32.
#include <algorithm>
#include <numeric>

#include "kernels/conv/conv_epilogue.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/conv/conv_tiles.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kRowChannels = 16;       // of a task: at most two vectors
constexpr int64_t kPiece = 64;             // products that are added up before they join the sum
constexpr int64_t kPartPixels = 64;        // whose sums go through an epilogue at once
constexpr int64_t kSourceBytes = 1 << 19;  // of the image that all rows of a strip read
constexpr int64_t kFloats = 16;            // of a cache line

int64_t ratio(int64_t size, int64_t part) { return (size + part - 1) / part; }
int64_t whole_lines(int64_t floats) { return ratio(floats, kFloats) * kFloats; }

class ExpandedLines {
 public:
  explicit ExpandedLines(const CpuProblem& p)
      : op_(attrs<ExpandedDepthwise>(p)),
        lanes_(conv_functions().lanes),
        vectors_(std::clamp<int64_t>(kRowChannels / lanes_, 1, 2)),
        spatial_(static_cast<int>(op_.stride.size())),
        x_(View(p.args.in[0]), spatial_),
        out_(View(p.args.out[0]), spatial_),
        window_(window_of(op_, out_.channels), View(p.args.in[2])) {
    const bool pairs = conv_functions().dense_short && x_.channels % 2 == 0 && x_.channel == 1;
    short_ = pairs && x_.dtype == DType::BF16 && p.args.in[1].dtype == DType::BF16;
    widens_ = !short_ && x_.dtype != DType::F32;
    load_ = tile_load(x_.dtype, DType::F32);
    plan_ring();
    plan_strips();
    plan_programs(p);
    plan_weights(p);
    memory_.resize(static_cast<size_t>(threads_ * thread_floats() + kFloats));
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, out_.count * strips_ * rows_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) run_task(ptr, thread, task);
    });
  }

 private:
  /// What becomes of finished sums: by the inner loops, by a function over a row of them, or by a whole epilogue.
  struct End {
    bool simple = false;
    ConvEnd end = ConvEnd::none;
    float low = 0, high = 0;
    bool rough = false;
    TileFn function = nullptr;

    End() = default;
    explicit End(const ConvEpilogue& epilogue, DType type) : rough(type == DType::BF16) {
      simple = epilogue.function() && epilogue.function()->residual < 0;
      if (!simple) return;
      const SumsFunction& f = *epilogue.function();
      low = f.low;
      high = f.high;
      if (const auto known = conv_end(f)) {
        end = *known;
      } else {
        function = f32_function(*f.fn);
      }
    }
    template <class T>
    void set(ConvTileOf<T>& tile) const {
      tile.end = end;
      tile.low = low;
      tile.high = high;
      tile.rough = rough;
    }
  };
  /// A run of input channels whose products are added up at once: segments of equal length.
  struct Piece {
    size_t first, count;
    int64_t channel;
  };
  /// The channels of a task, and its part of the thread's memory.
  struct Row {
    int64_t first, channels;
    const void* expansion;  // weights
    const float* taps;
    float *ring, *part, *sums;    // the sums of a part of an expanded line, and of the window
    float *start, *window_start;  // what they begin with
    float* line;                  // of the image, as f32
  };

  /// Lines of the expanded image with zeros on both sides, as many as a window reaches over. Line q of the padded image is in slot q % reach_.
  void plan_ring() {
    const int64_t end = (out_.size[2] - 1) * window_.stride[2] - window_.before[2] + (window_.kernel[2] - 1) * window_.dilation[2] + 1;
    left_ = std::max<int64_t>(0, window_.before[2]);
    line_ = (left_ + x_.size[2] + std::max<int64_t>(0, end - x_.size[2])) * lanes_;
    reach_ = (window_.kernel[1] - 1) * window_.dilation[1] + 1;
    ring_ = whole_lines(reach_ * line_);
    for (int64_t phase = 0; phase < reach_; ++phase) {
      for (int64_t h = 0; h < window_.kernel[1]; ++h) {
        for (int64_t w = 0; w < window_.kernel[2]; ++w) {
          const int64_t column = left_ - window_.before[2] + w * window_.dilation[2];
          taps_.push_back((phase + h * window_.dilation[1]) % reach_ * line_ + column * lanes_);
        }
      }
    }
  }

  /// Parts of at most `most` pixels in tiles of nearly equal size.
  struct Parts {
    int64_t tile, part;
    Parts(int64_t width, int64_t most) {
      tile = ratio(width, ratio(width, conv_functions().pixels));
      part = std::max<int64_t>(1, most / tile) * tile;
    }
  };

  void plan_strips() {
    rows_ = ratio(out_.channels, vectors_ * lanes_);
    const int64_t products = out_.count * x_.size[1] * x_.size[2] * x_.channels * out_.channels;
    threads_ = threads_for(products / lanes_);
    const int64_t bytes = x_.size[1] * x_.size[2] * x_.channels * static_cast<int64_t>(sizeof(float));
    const int64_t wanted = std::max(ratio(bytes, kSourceBytes), threads_ > 1 ? ratio(4 * threads_, out_.count * rows_) : 1);
    lines_ = std::max(ratio(out_.size[1], wanted), std::min(out_.size[1], 2 * reach_));  // neighbours make the lines between them twice
    strips_ = ratio(out_.size[1], lines_);
    batch_ = std::clamp<int64_t>(kPartPixels / out_.size[2], 1, lines_);
    threads_ = static_cast<int>(std::min<int64_t>(threads_, out_.count * strips_ * rows_));
  }

  // Floats of a vector.
  int64_t part_floats() const { return whole_lines(std::max(kPartPixels, conv_functions().pixels) * lanes_); }
  int64_t sums_floats() const { return whole_lines(batch_ * out_.size[2] * lanes_); }
  int64_t line_floats() const { return widens_ ? whole_lines(x_.size[2] * x_.channels) : 0; }
  int64_t thread_floats() const { return vectors_ * (ring_ + part_floats() + sums_floats() + 2 * whole_lines(lanes_)) + line_floats(); }

  void plan_programs(const CpuProblem& p) {
    const View out(p.args.out[0]), w(p.args.in[1]);
    View image = w;
    image.shape[0] = x_.count;
    image.shape[1] = w.shape[0];
    for (int d = 0; d < spatial_; ++d) image.shape[2 + d] = View(p.args.in[0]).shape[2 + d];
    std::vector<Image> extras, window_extras;
    expansion_extras_ = expansion_extras(op_);
    for (size_t k = 3; k < p.args.in.size(); ++k) {
      const bool first = k < 3 + expansion_extras_;
      (first ? extras : window_extras).emplace_back(View(p.args.in[k]).broadcast_to(first ? image : out), spatial_);
    }
    Image line(image, spatial_);
    line.dtype = DType::F32;
    line.batch = 0;
    line.blocks = line.block;
    line.channel = 1;
    line.space = {0, 0, lanes_};
    line.size = {1, 1, x_.size[2]};
    expansion_ = std::make_unique<ConvEpilogue>(op_.expansion, line, std::move(extras), lanes_, threads_, 0);
    epilogue_ = std::make_unique<ConvEpilogue>(op_.epilogue, out_, std::move(window_extras), lanes_, threads_, 3 + expansion_extras_);
    window_extras_ = p.args.in.size() - 3 - expansion_extras_;
    expansion_end_ = End(*expansion_, x_.dtype);
    const bool vectors = out_.dtype == DType::F32 && out_.block % lanes_ == 0 && out_.space[2] == lanes_;
    const bool rounds = out_.dtype == DType::BF16 && epilogue_->function() && conv_end(*epilogue_->function());
    if (((vectors && out_.channels % lanes_ == 0) || rounds) && out_.channel == 1) window_end_ = End(*epilogue_, out_.dtype);
  }

  void plan_weights(const CpuProblem& p) {
    const Weights w(p, spatial_), v(p, spatial_, 2);
    const int64_t used = w.used_channels(x_, out_.channels), even = std::min(x_.channels, ratio(used, 8) * 8);
    channels_ = x_.block % 8 == 0 ? even : short_ ? ratio(used, 2) * 2 : used;  // short segments cost more than a few zeros
    length_ = std::gcd(channels_, x_.block);
    if (length_ > kPiece) length_ = std::gcd(length_, kPiece);
    for (int64_t c = 0; c < channels_; c += length_) segments_.push_back(widens_ ? c : x_.at(0, c));
    const auto count = segments_.size(), pieces = static_cast<size_t>(ratio(channels_, kPiece));
    for (size_t i = 0; i < pieces; ++i) {
      const size_t first = count * i / pieces, last = count * (i + 1) / pieces;
      if (first < last) pieces_.push_back({first, last - first, static_cast<int64_t>(first) * length_});
    }
    const std::string layout = "|" + std::to_string(lanes_) + "|" + std::to_string(channels_) + "|" + std::to_string(out_.channels) + "|";
    const std::string kind = short_ ? "|expansion pairs" : "|expansion";
    expansion_weights_ = packed_constant(p, 1, kind + layout + w.describe(), [&] { return short_ ? pack_expansion<uint16_t>(w) : pack_expansion<float>(w); });
    window_weights_ = packed_constant(p, 2, "|window" + layout + v.describe(), [&] { return pack_window(v); });
  }

  int64_t row_floats() const { return vectors_ * lanes_; }

  /// [row][input channel][channel of the row], with both channels of a pair side by side
  template <class T>
  std::shared_ptr<void> pack_expansion(const Weights& w) const {
    constexpr int64_t kTogether = sizeof(float) / sizeof(T);
    std::shared_ptr<void> memory = host_memory(static_cast<size_t>(rows_ * channels_ * row_floats()) * sizeof(T));
    for (int64_t o = 0; o < out_.channels; ++o) {
      T* row = static_cast<T*>(memory.get()) + o / row_floats() * channels_ * row_floats() + o % row_floats() * kTogether;
      for (int64_t c = 0; c < channels_; ++c) {
        T* to = row + c / kTogether * kTogether * row_floats() + c % kTogether;
        if constexpr (sizeof(T) == sizeof(float)) {
          *to = w.at(o, c, 0);
        } else {
          *to = f32_to_bf16(w.at(o, c, 0));
        }
      }
    }
    return memory;
  }
  /// [row][vector][tap][lane]
  std::shared_ptr<void> pack_window(const Weights& v) const {
    const int64_t count = window_.taps();
    std::shared_ptr<void> memory = host_memory(static_cast<size_t>(rows_ * count * row_floats()) * sizeof(float));
    auto* to = static_cast<float*>(memory.get());
    for (int64_t o = 0; o < out_.channels; ++o) {
      for (int64_t tap = 0; tap < count; ++tap) to[(o / lanes_ * count + tap) * lanes_ + o % lanes_] = v.at(o, 0, static_cast<size_t>(tap));
    }
    return memory;
  }

  // -- running

  static float* aligned(float* p) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 63) / 64 * 64); }

  Row row_of(int64_t index, int thread) {
    const int64_t first = index * row_floats();
    float* memory = aligned(memory_.data()) + thread * thread_floats();
    float *part = memory + vectors_ * ring_, *sums = part + vectors_ * part_floats(), *start = sums + vectors_ * sums_floats();
    return {first,
            std::min(row_floats(), out_.channels - first),
            static_cast<const char*>(expansion_weights_.get()) + index * channels_ * row_floats() * (short_ ? 2 : 4),
            static_cast<const float*>(window_weights_.get()) + index * window_.taps() * row_floats(),
            memory,
            part,
            sums,
            start,
            start + vectors_ * whole_lines(lanes_),
            start + 2 * vectors_ * whole_lines(lanes_)};
  }

  void run_task(void* const* ptr, int thread, int64_t task) {
    const int64_t n = task / rows_ / strips_, begin = task / rows_ % strips_ * lines_, end = std::min(begin + lines_, out_.size[1]);
    const Row row = row_of(task % rows_, thread);
    expansion_->starts(ptr + 3, row.first, row.channels, row.start);
    epilogue_->starts(ptr, row.first, row.channels, row.window_start);
    const int64_t width = out_.size[2];
    int64_t made = begin * window_.stride[1];
    for (int64_t y = begin; y < end; y += batch_) {
      const int64_t lines = std::min(batch_, end - y);
      for (int64_t i = 0; i < lines; ++i) {
        const int64_t top = (y + i) * window_.stride[1];
        for (made = std::max(made, top); made < top + reach_; ++made) expand_line(ptr, thread, n, made, row);
        for (int64_t c = 0; c < row.channels; c += lanes_) slide(ptr, row, c, n, y + i, row.sums + c / lanes_ * sums_floats() + i * width * lanes_);
      }
      if (window_end_.simple) continue;
      epilogue_->run(ptr, thread, n, {0, y, 0}, lines, width, row.first, row.channels, {row.sums, sums_floats(), width * lanes_});
    }
  }

  /// Line `padded` of the padded image, to its slot.
  void expand_line(void* const* ptr, int thread, int64_t n, int64_t padded, const Row& row) const {
    const int64_t h = padded - window_.before[1], width = x_.size[2];
    float* line = row.ring + padded % reach_ * line_ + left_ * lanes_;
    if (h < 0 || h >= x_.size[1]) {
      for (int64_t v = 0; v < vectors_; ++v) std::fill_n(line + v * ring_, width * lanes_, 0.0f);
      return;
    }
    const int64_t first = n * x_.batch + x_.pixel({0, h, 0});
    const void* x = static_cast<const char*>(ptr[0]) + first * (bits(x_.dtype) / 8);
    if (widens_) load_(Patch{x, x_.space[2], x_.channel}, row.line, width, x_.channels);
    const Parts parts(width, kPartPixels);
    for (int64_t p = 0; p < width; p += parts.part) {
      const int64_t pixels = std::min(parts.part, width - p);
      const bool simple = expansion_end_.simple;
      float* sums = simple ? line + p * lanes_ : row.part;
      const int64_t vector = simple ? ring_ : part_floats();
      if (short_) {
        multiply(static_cast<const uint16_t*>(x) + p * x_.space[2], x_.space[2], row, pixels, parts.tile, sums, vector);
      } else {
        const int64_t step = widens_ ? x_.channels : x_.space[2];
        multiply((widens_ ? row.line : static_cast<const float*>(x)) + p * step, step, row, pixels, parts.tile, sums, vector);
      }
      for (int64_t c = 0; c < row.channels; c += lanes_) {
        float *to = line + c / lanes_ * ring_, *at = to + p * lanes_;
        if (!simple) {
          finish(ptr, thread, n, {0, h, p}, pixels, row.first + c, std::min(lanes_, row.channels - c), row.part + c / lanes_ * part_floats(), to);
        } else if (expansion_end_.function) {
          expansion_end_.function(at, nullptr, nullptr, at, pixels * lanes_);
        }
      }
    }
  }

  /// The expansion's sums of some pixels, `step` apart, finished if that is simple; `vector`: floats from one vector's to the next one's.
  template <class T>
  void multiply(const T* x, int64_t step, const Row& row, int64_t pixels, int64_t tile_pixels, float* sums, int64_t vector) const {
    for (const Piece& piece : pieces_) {
      const T* w = static_cast<const T*>(row.expansion) + piece.channel * row_floats();
      const float* start = piece.channel == 0 ? row.start : nullptr;
      ConvTileOf<T> tile{nullptr, step, segments_.data() + piece.first, static_cast<int64_t>(piece.count), length_, w, nullptr, vector, start, w, 0};
      if (&piece == &pieces_.back()) expansion_end_.set(tile);
      for (int64_t p = 0; p < pixels; p += tile_pixels) {
        tile.x = x + p * step;
        tile.sums = sums + p * lanes_;
        run_tile(tile, std::min(tile_pixels, pixels - p));
      }
    }
  }
  void run_tile(const ConvTile& tile, int64_t pixels) const { conv_functions().dense(tile, vectors_, pixels); }
  void run_tile(const ShortConvTile& tile, int64_t pixels) const { conv_functions().dense_short(tile, vectors_, pixels); }

  /// The expansion's program over a vector of channels, to a line of the ring. Its image counts channels from 0 on, and the line begins with `channel`.
  void finish(void* const* ptr, int thread, int64_t n, const Space& at, int64_t pixels, int64_t channel, int64_t channels, const float* sums,
              float* line) const {
    std::array<void*, TileLoop::kMaxOperands> operands;
    std::copy_n(ptr + 3, expansion_extras_, operands.begin());
    operands[expansion_extras_] = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(line) - static_cast<uintptr_t>(channel) * sizeof(float));
    expansion_->run(operands.data(), thread, n, at, 1, pixels, channel, channels, {sums, 0, 0});
  }

  /// The window's sums of a vector of channels of output line y, finished and in the output if that is simple.
  void slide(void* const* ptr, const Row& row, int64_t channel, int64_t n, int64_t y, float* sums) const {
    const int64_t width = out_.size[2], step = Parts(width, kPartPixels).tile, top = y * window_.stride[1], v = channel / lanes_;
    const int64_t first = out_.at(n, row.first + channel) + out_.pixel({0, y, 0});
    void* memory = ptr[3 + expansion_extras_ + window_extras_];
    const bool rounds = window_end_.simple && out_.dtype == DType::BF16;
    float* out = window_end_.simple && !rounds ? static_cast<float*>(memory) + first : sums;
    float* to = window_end_.function ? sums : out;
    ConvTile tile{nullptr,
                  window_.stride[2] * lanes_,
                  taps_.data() + top % reach_ * window_.taps(),
                  window_.taps(),
                  1,
                  row.taps + v * window_.taps() * lanes_,
                  nullptr,
                  0,
                  row.window_start + v * lanes_,
                  nullptr,
                  0};
    window_end_.set(tile);
    tile.out_short = rounds;
    tile.out_pixel = out_.space[2];
    tile.last = std::min(lanes_, row.channels - channel);
    for (int64_t p = 0; p < width; p += step) {
      tile.x = row.ring + v * ring_ + p * window_.stride[2] * lanes_;
      tile.sums = to + p * lanes_;
      if (rounds) tile.out = static_cast<uint16_t*>(memory) + first + p * out_.space[2];
      conv_functions().depthwise(tile, std::min(step, width - p));
    }
    if (out != to) window_end_.function(to, nullptr, nullptr, out, width * lanes_);
  }

  ExpandedDepthwise op_;
  int64_t lanes_, vectors_;
  int spatial_;
  Image x_, out_;
  Window window_;
  bool short_ = false, widens_ = false;  // products of bf16 pairs; lines of x become f32 first
  LoadFn load_ = nullptr;
  int64_t left_ = 0, line_ = 0, reach_ = 1, ring_ = 0;  // of the ring, in floats but for reach_ and left_: zeros in front, a line, lines, all of a vector
  std::vector<int64_t> taps_;                           // [first line's slot][tap]: where the window's pixels lie in the ring
  int64_t rows_ = 1, lines_ = 1, strips_ = 1, batch_ = 1;
  int threads_ = 1;
  size_t expansion_extras_ = 0, window_extras_ = 0;
  std::unique_ptr<ConvEpilogue> expansion_, epilogue_;
  End expansion_end_, window_end_;
  int64_t channels_ = 0, length_ = 1;  // of x that have weights; of a segment
  std::vector<int64_t> segments_;
  std::vector<Piece> pieces_;
  std::shared_ptr<void> expansion_weights_, window_weights_;
  std::vector<float> memory_;
};

/// Weights that are not known, and empty tensors, are the reference's.
bool lines_run_reference(const CpuProblem& p) {
  return conv_runs_reference(p) || p.args.constants.size() < 3 || p.args.constants[2] == nullptr || p.args.in[2].numel() == 0;
}

std::unique_ptr<Executable> prepare_lines(const CpuProblem& p) {
  if (lines_run_reference(p)) return prepare_kernel("reference.expanded_depthwise", p);
  return executable(ExpandedLines(p));
}

int64_t workspace_lines(const CpuProblem& p) { return lines_run_reference(p) ? kernel_workspace("reference.expanded_depthwise", p) : 0; }

}  // namespace

void add_expanded_lines_kernels(CpuKernelTable& table) { table.push_back({"own.expanded_depthwise.lines", prepare_lines, workspace_lines}); }

}  // namespace tuyere::cpu
