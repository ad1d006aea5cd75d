// SPDX-License-Identifier: Apache-2.0
// own.conv.direct: f32 arithmetic for f32, bf16 and f16, any strides, channels in blocks or not, grouped and depthwise; where the machine multiplies pairs of
// bf16 values, those of bf16 are not converted. Inputs are read where they lie when their channels are dense and no window hangs over, and from a padded copy
// otherwise; depthwise ones copy what a task reads to L1. Products are added up piece by piece, so that sums over many channels stay exact; weights are
// packed once. The epilogue runs over the sums of some pixels and one vector of channels at a time.
#include <algorithm>
#include <numeric>

#include "kernels/conv/conv_epilogue.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/conv/conv_tiles.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kStripPixels = 256;    // of one task: their sums stay in L1
constexpr int64_t kLeastProducts = 64;   // that are added up before they join the sum
constexpr int64_t kShortProducts = 256;  // the same of bf16 values, which are rounded more than sums are
constexpr int64_t kCacheLine = 16;       // floats

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

class DirectConv {
 public:
  explicit DirectConv(const CpuProblem& p)
      : op_(attrs<Conv>(p)),
        lanes_(conv_functions().lanes),
        spatial_(static_cast<int>(op_.stride.size())),
        x_(View(p.args.in[0]), spatial_),
        out_(View(p.args.out[0]), spatial_),
        window_(op_, View(p.args.in[1])) {
    const View out(p.args.out[0]);
    for (int k = 2; k < p.inputs(); ++k) extras_.emplace_back(View(p.args.in[k]).broadcast_to(out), spatial_);
    group_in_ = x_.channels / op_.groups;
    group_out_ = out_.channels / op_.groups;
    depthwise_ = group_in_ == 1 && group_out_ == 1 && op_.groups > 1;
    slot_ = p.workspace_slot();
    const bool pairs = conv_functions().dense_short && group_in_ % 2 == 0 && x_.block % 2 == 0;
    short_ = pairs && !depthwise_ && x_.dtype == DType::BF16 && p.args.in[1].dtype == DType::BF16;
    if (!depthwise_) {
      find_source(View(p.args.in[0]));
      join_dims();
    }
  }

  int64_t thread_floats() const { return (kStripPixels + 1) * 2 * lanes_ + window_floats_; }
  int64_t workspace_bytes() const { return copied_ ? copy_size_ * source_bytes() : 0; }

  void prepare(const CpuProblem& p) {
    plan_strips();
    plan_sums(p);
    epilogue_ = std::make_unique<ConvEpilogue>(op_.epilogue, out_, extras_, lanes_, threads_);
    sums_.resize(static_cast<size_t>(threads_ * thread_floats() + kCacheLine));
    load_ = tile_load(x_.dtype, DType::F32);
    plan_end();
  }

  void operator()(void* const* ptr) {
    const void* x = ptr[0];
    if (copied_) {
      x = ptr[slot_];
      clear_border(static_cast<char*>(ptr[slot_]));
      void* operands[] = {static_cast<char*>(ptr[slot_]) + copy_start_ * source_bytes(), ptr[0]};
      copy_->run(operands);
    }
    const int64_t tasks = out_.count * strips_ * static_cast<int64_t>(rows_.size());
    parallel_ranges(threads_, tasks, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        if (short_) {
          run_task<uint16_t>(ptr, x, thread, task);
        } else {
          run_task<float>(ptr, x, thread, task);
        }
      }
    });
  }

 private:
  /// Runs of input channels that are added up before they join the sum.
  struct Piece {
    size_t first, count;  // segments
    int64_t channels, weights;
  };
  /// A few vectors of output channels.
  struct Row {
    int64_t first, channels, vectors;
    size_t pieces_begin, pieces_end;
  };

  void join_dims() {
    for (size_t d = 0; d + 1 < kSpace; ++d) {
      const bool still = !window_.moves(d) && !window_.moves(d + 1) && x_.size[d] == out_.size[d] && x_.size[d + 1] == out_.size[d + 1];
      if (!still || !x_.joins(d) || !out_.joins(d) || !std::all_of(extras_.begin(), extras_.end(), [&](const Image& e) { return e.joins(d); })) continue;
      x_.join(d);
      out_.join(d);
      for (Image& e : extras_) e.join(d);
    }
  }

  /// What products are made of.
  DType source_type() const { return short_ ? DType::BF16 : DType::F32; }
  int64_t source_bytes() const { return bits(source_type()) / 8; }

  /// Reads x in place, or plans the padded copy: channels innermost, in the same blocks.
  void find_source(const View& x) {
    Space after{};
    bool hangs = false;
    for (size_t d = 0; d < kSpace; ++d) {
      const int64_t end = (out_.size[d] - 1) * window_.stride[d] - window_.before[d] + (window_.kernel[d] - 1) * window_.dilation[d] + 1;
      after[d] = std::max<int64_t>(0, end - x_.size[d]);
      hangs |= window_.before[d] > 0 || after[d] > 0;
    }
    if (x_.dtype == source_type() && x_.channel == 1 && !hangs) return;
    copied_ = true;
    Image to = x_;
    to.dtype = source_type();
    to.channel = 1;
    int64_t stride = to.block;
    for (size_t d = kSpace; d-- > 0;) {
      to.space[d] = stride;
      lead_[d] = std::max<int64_t>(0, window_.before[d]);
      padded_[d] = x_.size[d] + lead_[d] + after[d];
      stride *= padded_[d];
    }
    const int64_t blocks = x_.channels / to.block;
    to.blocks = blocks > 1 ? stride : 0;
    to.batch = stride * blocks;
    copy_size_ = to.batch * x_.count + lanes_;
    inside_ = x_.size;
    copy_start_ = to.pixel(lead_);
    View target = x;
    target.dtype = source_type();
    target.strides[0] = to.batch;
    const bool in_block = x.rank == spatial_ + 3;
    target.strides[1] = in_block ? stride : 1;
    for (int d = 0; d < spatial_; ++d) target.strides[2 + d] = to.space[static_cast<size_t>(kSpace - spatial_ + d)];
    if (in_block) target.strides[x.rank - 1] = 1;
    copy_ = std::make_shared<TileLoop>(TileProgram({}, {x.dtype}, {source_type()}), target, std::vector<View>{target, x}, 1, 1);
    x_ = to;
  }

  /// Zeros around the copied pixels.
  void clear_border(char* copy) const {
    const int64_t pitch = x_.block * source_bytes(), line = padded_[2] * pitch, lines = padded_[0] * padded_[1];
    const int64_t images = (copy_size_ - lanes_) * source_bytes() / (line * lines);
    parallel_ranges(threads_for(images * lines), images * lines, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        char* to = copy + i * line;
        const int64_t d = i / padded_[1] % padded_[0] - lead_[0], h = i % padded_[1] - lead_[1];
        const bool outside = d < 0 || d >= inside_[0] || h < 0 || h >= inside_[1];
        const int64_t left = outside ? line : lead_[2] * pitch, right = outside ? line : (lead_[2] + inside_[2]) * pitch;
        std::fill(to, to + left, char{0});
        std::fill(to + right, to + line, char{0});
      }
    });
  }

  /// Tasks take some whole rows of pixels, or a part of one.
  void plan_strips() {
    const int64_t width = out_.size[2], most = depthwise_ ? 2 * kStripPixels : kStripPixels;  // the memory of two vectors' sums
    parts_ = (width + most - 1) / most;
    part_ = (width + parts_ - 1) / parts_;
    lines_ = parts_ > 1 ? 1 : std::clamp<int64_t>(most / std::max<int64_t>(1, width), 1, out_.size[1]);
    line_strips_ = (out_.size[1] + lines_ - 1) / lines_;
    strips_ = out_.size[0] * line_strips_ * parts_;
    const int64_t tiles = (part_ + conv_functions().pixels - 1) / conv_functions().pixels;
    tile_ = (part_ + tiles - 1) / tiles;
    const Space outputs{1, lines_, part_};
    for (size_t d = 0; d < kSpace; ++d) reach_[d] = (outputs[d] - 1) * window_.stride[d] + (window_.kernel[d] - 1) * window_.dilation[d] + 1;
    if (depthwise_) window_floats_ = round_up((reach_[0] * reach_[1] * reach_[2] + 1) * lanes_, kCacheLine);
  }

  void plan_sums(const CpuProblem& p) {
    const Weights w(p, spatial_);
    const int64_t most = !depthwise_ && (op_.groups == 1 || group_out_ >= 2 * lanes_) ? 2 : 1;
    for (int64_t c = 0; c < out_.channels; c += rows_.back().channels) {
      int64_t channels = std::min(most * lanes_, out_.channels - c);
      if (depthwise_) channels = std::min(channels, x_.block - c % x_.block);
      rows_.push_back({c, channels, (channels + lanes_ - 1) / lanes_, 0, 0});
    }
    for (Row& row : rows_) plan_row(row, w);
    const std::string layout = "|direct|" + std::to_string(lanes_) + "|" + std::to_string(x_.block) + "|" + std::to_string(used_) + "|" + str(p.op);
    weights_ = packed_constant(p, 1, layout + (short_ ? "|pairs" : "") + w.describe(), [&] { return short_ ? pack<uint16_t>(w) : pack<float>(w); });
    const int64_t cost = out_.count * out_.channels * out_.size[0] * out_.size[1] * out_.size[2] * std::max<int64_t>(1, group_in_ * window_.taps() / lanes_);
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(cost), std::max<int64_t>(1, out_.count * strips_ * static_cast<int64_t>(rows_.size()))));
  }

  /// Outputs in whole vectors need no epilogue behind the inner loops when it is one of their functions.
  void plan_end() {
    const auto& function = epilogue_->function();
    if (!function || out_.channel != 1 || (out_.dtype != DType::F32 && out_.dtype != DType::BF16)) return;
    if (short_ && out_.dtype == DType::F32) return;
    out_vector_ = out_.blocks == 0 || out_.block % (2 * lanes_) == 0 ? lanes_ : out_.blocks;
    if (out_.blocks != 0 && out_.block % lanes_ != 0) return;
    if (function->residual >= 0) {
      const Image& r = extras_[static_cast<size_t>(function->residual)];
      const bool same = r.dtype == out_.dtype && r.batch == out_.batch && r.blocks == out_.blocks && r.channel == out_.channel && r.space == out_.space;
      if (!same || r.block != out_.block) return;
    }
    end_ = conv_end(*function);
  }

  /// Input channels [first, last) that the rows read.
  std::pair<int64_t, int64_t> channels_of(const Row& row) const {
    const int64_t last = row.first + row.channels - 1;
    return {row.first / group_out_ * group_in_, (last / group_out_ + 1) * group_in_};
  }

  void plan_row(Row& row, const Weights& w) {
    const bool shared = op_.groups == 1 && &row != rows_.data();
    row.pieces_begin = shared ? rows_.front().pieces_begin : pieces_.size();
    row.pieces_end = shared ? rows_.front().pieces_end : 0;
    weight_starts_.push_back(weight_count_);
    const auto [first, last] = channels_of(row);
    if (depthwise_) {
      pieces_.push_back({segments_.size(), static_cast<size_t>(window_.taps()), 1, 0});
      add_segments(0, {reach_[1] * reach_[2] * row.channels, reach_[2] * row.channels, row.channels}, {});
    } else if (!shared) {
      used_ = op_.groups == 1 ? w.used_channels(x_, out_.channels) : last;
      if (short_) used_ = round_up(used_, 2);
      add_pieces(first, used_);
    }
    if (!shared) row.pieces_end = pieces_.size();
    const int64_t channels = depthwise_ ? 1 : (op_.groups == 1 ? used_ : last) - first;
    weight_count_ += channels * window_.taps() * row.vectors * lanes_;
  }

  /// One per tap, from the first input that the window's place at 0 reads.
  void add_segments(int64_t offset, const Space& space, const Space& first) {
    const auto at = [&](size_t d, int64_t tap) { return (tap * window_.dilation[d] + first[d]) * space[d]; };
    for (int64_t d = 0; d < window_.kernel[0]; ++d) {
      for (int64_t h = 0; h < window_.kernel[1]; ++h) {
        for (int64_t w = 0; w < window_.kernel[2]; ++w) segments_.push_back(offset + at(0, d) + at(1, h) + at(2, w));
      }
    }
  }

  /// Whole blocks of channels, or parts of long ones, several together when they are short.
  void add_pieces(int64_t first, int64_t last) {
    const int64_t products = short_ ? kShortProducts : kLeastProducts, most = std::max<int64_t>(16, products / window_.taps() / 2 * 2);
    int64_t weights = 0;
    for (int64_t c = first; c < last;) {
      const auto length_at = [&](int64_t at) { return std::min({last - at, x_.block - at % x_.block, most}); };
      const int64_t length = length_at(c);
      Piece piece{segments_.size(), 0, length, weights};
      do {
        add_segments(x_.at(0, c), x_.space, {lead_[0] - window_.before[0], lead_[1] - window_.before[1], lead_[2] - window_.before[2]});
        c += length;
        weights += length * window_.taps();
      } while (c < last && length_at(c) == length && static_cast<int64_t>(segments_.size() - piece.first) * length < products);
      piece.count = segments_.size() - piece.first;
      pieces_.push_back(piece);
    }
  }

  template <class T>
  std::shared_ptr<void> pack(const Weights& w) const {
    std::shared_ptr<void> memory = host_memory(static_cast<size_t>(weight_count_) * sizeof(T));
    for (size_t r = 0; r < rows_.size(); ++r) {
      T* to = static_cast<T*>(memory.get()) + weight_starts_[r];
      const Row& row = rows_[r];
      int64_t channel = channels_of(row).first;
      for (size_t k = row.pieces_begin; k < row.pieces_end; ++k) {
        const Piece& piece = pieces_[k];
        for (size_t s = 0; s < piece.count; s += w.taps(), channel += piece.channels) {
          for (size_t tap = 0; tap < w.taps(); ++tap, to += piece.channels * row.vectors * lanes_) {
            for (int64_t c = 0; c < piece.channels; ++c) pack_vector(w, row, channel + c, tap, to, c);
          }
        }
      }
    }
    return memory;
  }

  /// Weights of input channel `c` of a segment, `channel` of x: one after the other, or beside those of the other one of a pair.
  template <class T>
  void pack_vector(const Weights& w, const Row& row, int64_t channel, size_t tap, T* segment, int64_t c) const {
    constexpr int64_t kTogether = sizeof(float) / sizeof(T);
    T* to = segment + c / kTogether * kTogether * row.vectors * lanes_ + c % kTogether;
    for (int64_t i = 0; i < row.channels; ++i) {
      const int64_t group = (row.first + i) / group_out_;
      if (!depthwise_ && channel / group_in_ != group) continue;
      const float value = w.at(row.first + i, channel % group_in_, tap);
      if constexpr (sizeof(T) == sizeof(float)) {
        to[i] = value;
      } else {
        to[i * kTogether] = f32_to_bf16(value);
      }
    }
  }

  static float* aligned(float* p) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 63) / 64 * 64); }

  // -- running

  /// What a depthwise task reads, pixels of the row's channels side by side, with zeros around the image.
  void load_window(const void* x, float* to, const Row& row, int64_t n, const Space& at) const {
    const int64_t pitch = row.channels, width = x_.size[2], column = at[2] * window_.stride[2] - window_.before[2];
    const int64_t left = std::clamp<int64_t>(-column, 0, reach_[2]), right = std::clamp<int64_t>(width - column, left, reach_[2]);
    const int64_t bytes = bits(x_.dtype) / 8, line = reach_[2] * pitch;
    for (int64_t i = 0; i < reach_[0] * reach_[1]; ++i, to += line) {
      const int64_t d = at[0] * window_.stride[0] - window_.before[0] + i / reach_[1], h = at[1] * window_.stride[1] - window_.before[1] + i % reach_[1];
      if (d < 0 || d >= x_.size[0] || h < 0 || h >= x_.size[1] || left == right) {
        std::fill(to, to + line, 0.0f);
        continue;
      }
      std::fill(to, to + left * pitch, 0.0f);
      const int64_t from = x_.at(n, row.first) + x_.pixel({d, h, column + left});
      const char* row_start = static_cast<const char*>(x) + from * bytes;
      const bool vectors = x_.channel == 1 && pitch == lanes_;
      if (vectors && x_.dtype == DType::F32) {
        conv_functions().copy(reinterpret_cast<const float*>(row_start), x_.space[2], to + left * pitch, right - left);
      } else if (vectors && x_.dtype == DType::BF16) {
        conv_functions().copy_short(reinterpret_cast<const uint16_t*>(row_start), x_.space[2], to + left * pitch, right - left);
      } else {
        load_(Patch{row_start, x_.space[2], x_.channel}, to + left * pitch, right - left, pitch);
      }
      std::fill(to + right * pitch, to + line, 0.0f);
    }
  }

  /// The strip of a task: where its outputs begin, and how many there are.
  struct Strip {
    int64_t n;
    Space at;
    int64_t lines, width;
  };

  template <class T>
  void run_task(void* const* ptr, const void* x, int thread, int64_t task) {
    const auto rows = static_cast<int64_t>(rows_.size());
    const Row& row = rows_[static_cast<size_t>(task / strips_ % rows)];
    const int64_t n = task / strips_ / rows, strip = task % strips_;
    const Space at{strip / parts_ / line_strips_, strip / parts_ % line_strips_ * lines_, strip % parts_ * part_};
    const Strip place{n, at, std::min(lines_, out_.size[1] - at[1]), std::min(part_, out_.size[2] - at[2])};
    float* sums = aligned(sums_.data()) + thread * thread_floats();
    float *start = sums + kStripPixels * 2 * lanes_, *window = start + 2 * lanes_;
    epilogue_->starts(ptr, row.first, row.channels, start);
    if (depthwise_) load_window(ptr[0], window, row, n, at);
    const Space space = depthwise_ ? Space{0, reach_[2] * row.channels, row.channels} : x_.space;
    const int64_t first = n * x_.batch + x_.pixel({at[0] * window_.stride[0], at[1] * window_.stride[1], at[2] * window_.stride[2]});
    const T* source = depthwise_ ? reinterpret_cast<const T*>(window) : static_cast<const T*>(x) + first;
    const T* w = static_cast<const T*>(weights_.get()) + weight_starts_[static_cast<size_t>(&row - rows_.data())];
    for (size_t k = row.pieces_begin; k < row.pieces_end; ++k) {
      const Piece& piece = pieces_[k];
      ConvTileOf<T> tile{nullptr,
                         window_.stride[2] * space[2],
                         segments_.data() + piece.first,
                         static_cast<int64_t>(piece.count),
                         piece.channels,
                         w + piece.weights * row.vectors * lanes_,
                         nullptr,
                         kStripPixels * lanes_,
                         k == row.pieces_begin ? start : nullptr,
                         nullptr,
                         0};
      if (end_ && k + 1 == row.pieces_end) set_end(tile, row);
      // The first strip meets weights that are in no cache yet: every tile fetches one vector of each that the next piece, or row, will need.
      run_piece(ptr, tile, row, place, source, space, sums, strip == 0 && n == 0 ? 0 : row.vectors);
    }
    if (!end_) epilogue_->run(ptr, thread, n, at, place.lines, place.width, row.first, row.channels, {sums, kStripPixels * lanes_, place.width * lanes_});
  }

  /// fetched: of the vectors of weights behind this piece, those that are in the cache.
  template <class T>
  void run_piece(void* const* ptr, ConvTileOf<T>& tile, const Row& row, const Strip& place, const T* source, const Space& space, float* sums,
                 int64_t fetched) const {
    const int64_t count = tile.count * tile.channels * lanes_;
    for (int64_t line = 0; line < place.lines; ++line) {
      for (int64_t p = 0; p < place.width; p += tile_) {
        tile.x = source + line * window_.stride[1] * space[1] + p * window_.stride[2] * space[2];
        tile.sums = sums + (line * place.width + p) * lanes_;
        tile.ahead = tile.w + (fetched < row.vectors ? row.vectors + fetched : 0) * count;
        tile.ahead_step = fetched++ < row.vectors ? lanes_ * static_cast<int64_t>(sizeof(float) / sizeof(T)) : 0;
        if (tile.last > 0) place_end(ptr, tile, out_.at(place.n, row.first) + out_.pixel({place.at[0], place.at[1] + line, place.at[2] + p}));
        multiply(tile, row.vectors, std::min(tile_, place.width - p));
      }
    }
  }

  void multiply(const ConvTile& tile, int64_t vectors, int64_t pixels) const {
    depthwise_ ? conv_functions().depthwise(tile, pixels) : conv_functions().dense(tile, vectors, pixels);
  }
  void multiply(const ShortConvTile& tile, int64_t vectors, int64_t pixels) const { conv_functions().dense_short(tile, vectors, pixels); }

  /// The last piece finishes its sums.
  template <class T>
  void set_end(ConvTileOf<T>& tile, const Row& row) const {
    tile.end = *end_;
    tile.low = epilogue_->function()->low;
    tile.high = epilogue_->function()->high;
    tile.out_short = tile.rough = out_.dtype == DType::BF16;
    tile.out_pixel = out_.space[2];
    tile.out_vector = out_vector_;
    tile.last = row.channels - (row.vectors - 1) * lanes_;
  }
  template <class T>
  void place_end(void* const* ptr, ConvTileOf<T>& tile, int64_t offset) const {
    const int64_t bytes = offset * (bits(out_.dtype) / 8);
    const int residual = epilogue_->function()->residual;
    tile.out = static_cast<char*>(ptr[2 + extras_.size()]) + bytes;
    if (residual >= 0) tile.residual = static_cast<const char*>(ptr[2 + residual]) + bytes;
  }

  Conv op_;
  int64_t lanes_;
  int spatial_;
  Image x_, out_;
  std::vector<Image> extras_;
  Window window_;
  int64_t group_in_ = 1, group_out_ = 1, used_ = 0;
  bool depthwise_ = false, copied_ = false, short_ = false;
  int slot_ = 0;
  int64_t copy_size_ = 0, copy_start_ = 0;  // elements
  Space lead_{}, inside_{}, padded_{};      // of the copy: zeros in front, sizes without and with zeros
  std::shared_ptr<TileLoop> copy_;
  Space reach_{};  // of a task's windows
  int64_t window_floats_ = 0;
  LoadFn load_ = nullptr;
  int64_t parts_ = 1, part_ = 1, lines_ = 1, line_strips_ = 1, strips_ = 1, tile_ = 1;  // of pixels
  std::vector<Row> rows_;
  std::vector<Piece> pieces_;
  std::vector<int64_t> segments_, weight_starts_;
  int64_t weight_count_ = 0;
  std::shared_ptr<void> weights_;
  std::unique_ptr<ConvEpilogue> epilogue_;
  std::optional<ConvEnd> end_;  // what the inner loops make of the sums, to the output
  int64_t out_vector_ = 0;
  std::vector<float> sums_;
  int threads_ = 1;
};

std::unique_ptr<Executable> prepare_direct(const CpuProblem& p) {
  if (conv_runs_reference(p)) return prepare_kernel("reference.conv", p);
  DirectConv conv(p);
  conv.prepare(p);
  return executable(std::move(conv));
}

int64_t workspace_direct(const CpuProblem& p) { return conv_runs_reference(p) ? 0 : DirectConv(p).workspace_bytes(); }

}  // namespace

void add_conv_kernels(CpuKernelTable& table) {
  table.push_back({"own.conv.direct", prepare_direct, workspace_direct});
  add_winograd_kernels(table);
  add_conv_weight_gradient_kernels(table);
  add_expanded_lines_kernels(table);
  add_expanded_apart_kernels(table);
}

}  // namespace tuyere::cpu
