// Every slot of a target against the reference target, on sizes that leave tails everywhere.
#include <algorithm>

#include "check.h"

namespace understudy::test {
namespace {

constexpr float ROUNDING = 2e-6f;  // sums in another order, and the polynomial of e^x
const char* const FORMAT_NAMES[NUM_FORMATS] = {"f32",  "bf16",      "q8", "q4",
                                               "q4_1", "q4_sparse", "q3"};
const int SIZES[] = {1, 3, 7, 8, 15, 16, 17, 31, 33, 100, 257};

std::vector<uint8_t> random_panel(Random& random, Format format, int64_t groups) {
  const auto head = static_cast<int64_t>(head_bytes(format));
  std::vector<uint8_t> panel(static_cast<size_t>(head) +
                             static_cast<size_t>(groups) * group_bytes(format));
  for (uint8_t& byte : panel) byte = random.byte();
  for (int64_t i = 0; i < head; i += 4) {
    const float scale = random.normal();
    std::memcpy(&panel[static_cast<size_t>(i)], &scale, 4);
  }
  const auto put_half = [&](int64_t at, float value) {
    const uint16_t half = format == Format::BF16 ? float_to_bf16(value) : float_to_f16(value);
    std::memcpy(&panel[static_cast<size_t>(at)], &half, 2);
  };
  const int64_t size = static_cast<int64_t>(group_bytes(format));
  if (format == Format::Q4_SPARSE)
    for (int64_t i = 0; i < groups * MAX_PANEL_ROWS; ++i) put_half(2 * i, random.normal());
  for (int64_t g = 0; g < groups; ++g) {
    if (format == Format::F32)
      for (int64_t i = 0; i < size; i += 4) {
        const float value = random.normal();
        std::memcpy(&panel[static_cast<size_t>(g * size + i)], &value, 4);
      }
    const int num_halves = format == Format::F32         ? 0
                           : format == Format::BF16      ? GROUP * PANEL_ROWS
                           : format == Format::Q4_1      ? 2 * PANEL_ROWS
                           : format == Format::Q4_SPARSE ? 0
                           : format == Format::Q3        ? 0
                                                         : PANEL_ROWS;
    for (int i = 0; i < num_halves; ++i) put_half(g * size + 2 * i, random.normal());
  }
  return panel;
}

// A tile of `width` tokens, quantised by the reference, with its floats kept for the float formats.
struct RandomTile {
  std::vector<float> x;
  std::vector<uint8_t> q;
  TileIn tile;
  // Of `zeros_of_8` in 8 values, and in 8 groups, all are zero: some kernels skip them.
  RandomTile(Random& random, int width, int64_t groups, bool is_int12, int zeros_of_8 = 3)
      : x(random.normals(width * groups * GROUP)) {
    const int64_t columns = groups * GROUP;
    for (float& value : x)
      if (random.integer(0, 7) < zeros_of_8) value = 0.0f;
    for (int64_t group = 0; group < width * groups; ++group)
      if (random.integer(0, 7) < zeros_of_8) std::fill_n(x.begin() + GROUP * group, GROUP, 0.0f);
    q.resize(static_cast<size_t>(width * groups * tile_bytes_per_token_group(is_int12)));
    reference_kernels().quantize(x.data(), columns, width, columns, is_int12, q.data());
    tile = {width, x.data(), columns, q.data(), is_int12};
  }
};

void compare_matmul(Check& check, const Kernels& target, Format format,
                    const std::vector<uint8_t>& panel, const TileIn& tile, int64_t groups,
                    bool accumulate, const std::string& where) {
  constexpr int STRIDE = MAX_PANEL_ROWS + 5;
  const size_t size = static_cast<size_t>(tile.width) * STRIDE;
  std::vector<float> found(size, 0.5f), expected(size, 0.5f);
  const auto index = static_cast<int>(format);
  target.matmul[index](panel.data(), groups, tile, found.data(), STRIDE, accumulate);
  reference_kernels().matmul[index](panel.data(), groups, tile, expected.data(), STRIDE,
                                    accumulate);
  check.equal(found.data(), expected.data(), static_cast<int64_t>(size), 0, where);
}

void check_matmul(const Kernels& target) {
  Random random(1);
  for (int f = 0; f < NUM_FORMATS; ++f) {
    const std::string what = std::string("matmul ") + FORMAT_NAMES[f];
    Check check(target, what.c_str());
    const auto format = static_cast<Format>(f);
    for (const int64_t groups : {1, 2, 3, 7, 33})
      for (int width = 1; width <= target.tile_tokens; ++width)
        for (const bool is_int12 : {false, true}) {
          const std::vector<uint8_t> panel = random_panel(random, format, groups);
          const RandomTile input(random, width, groups, is_int12);
          const std::string where = std::to_string(groups) + " groups, width " +
                                    std::to_string(width) + (is_int12 ? ", 12 bits" : "");
          compare_matmul(check, target, format, panel, input.tile, groups, width % 2 == 0, where);
        }
  }
}

// One token, by the list of the columns that it needs: the bits of all columns.
void check_skipping(const Kernels& target) {
  if (target.find_lines == nullptr) return;
  Random random(9);
  Check check(target, "matmul q4_sparse, lines skipped");
  for (const int64_t groups : {1, 2, 3, 7, 33, 288})
    for (const int zeros_of_8 : {0, 4, 7, 8}) {
      const std::vector<uint8_t> panel = random_panel(random, Format::Q4_SPARSE, groups);
      RandomTile input(random, 1, groups, false, zeros_of_8);
      static Lines lines;
      check.hold(target.find_lines(input.tile.q, groups, &lines), "%lld groups are too wide",
                 static_cast<long long>(groups));
      check.hold(zeros_of_8 < 8 || lines.num_groups == 0, "%lld groups of zeros are read",
                 static_cast<long long>(groups));
      input.tile.lines = &lines;
      for (const bool accumulate : {false, true})
        compare_matmul(check, target, Format::Q4_SPARSE, panel, input.tile, groups, accumulate,
                       std::to_string(groups) + " groups, " + std::to_string(zeros_of_8) +
                           " of 8 values zero");
    }
}

// Panels of a matrix for a batch of tokens against one panel and one tile at a time, by the
// reference.
struct RandomBatch {
  int num_tokens, tile_tokens;
  int64_t groups;
  bool is_int12;
  std::vector<std::vector<uint8_t>> tiles;
  std::vector<uint8_t> all;

  RandomBatch(Random& random, int tokens, int64_t num_groups, int width, bool int12)
      : num_tokens(tokens), tile_tokens(width), groups(num_groups), is_int12(int12) {
    for (int t = 0; t < tokens; t += width) {
      tiles.push_back(RandomTile(random, std::min(width, tokens - t), groups, is_int12).q);
      all.insert(all.end(), tiles.back().begin(), tiles.back().end());
    }
    all.resize(all.size() + BLOCK_OVERREAD, 0x55);
  }
};

std::vector<std::vector<uint8_t>> random_panels(Random& random, Format format, int64_t groups,
                                                int count) {
  std::vector<std::vector<uint8_t>> panels;
  for (int i = 0; i < count; ++i) panels.push_back(random_panel(random, format, groups));
  return panels;
}

void compare_block(Check& check, void (*matmul)(const Block&), Format format,
                   const std::vector<std::vector<uint8_t>>& panels, const RandomBatch& batch,
                   bool accumulate) {
  const int num_panels = static_cast<int>(panels.size()), rows = panel_rows(format);
  const int slices =
      num_panels * rows / PANEL_ROWS - (rows > PANEL_ROWS ? batch.num_tokens % 3 : 0);
  const int stride = slices * PANEL_ROWS + 3;
  const auto index = static_cast<int>(format);
  std::vector<uint8_t> matrix;
  for (const auto& panel : panels) matrix.insert(matrix.end(), panel.begin(), panel.end());
  std::vector<float> found(static_cast<size_t>(batch.num_tokens) * stride, 0.5f), expected(found);
  matmul({matrix.data(), static_cast<int64_t>(panels[0].size()), batch.groups, slices,
          batch.num_tokens, batch.all.data(), batch.is_int12, found.data(), stride, accumulate});
  const int width = batch.tile_tokens;
  for (int t = 0; t < batch.num_tokens; t += width)
    for (int p = 0; p < num_panels; ++p) {
      const TileIn tile = {std::min(width, batch.num_tokens - t), nullptr, 0,
                           batch.tiles[static_cast<size_t>(t / width)].data(), batch.is_int12};
      std::vector<float> out(static_cast<size_t>(tile.width) * rows);
      const int used = std::min(rows, slices * PANEL_ROWS - p * rows);
      const auto at = [&](int i) {
        return &expected[static_cast<size_t>((t + i) * stride + p * rows)];
      };
      for (int i = 0; i < tile.width; ++i)
        std::copy_n(at(i), used, &out[static_cast<size_t>(i) * rows]);
      reference_kernels().matmul[index](panels[static_cast<size_t>(p)].data(), batch.groups, tile,
                                        out.data(), rows, accumulate);
      for (int i = 0; i < tile.width; ++i)
        std::copy_n(&out[static_cast<size_t>(i) * rows], used, at(i));
    }
  check.equal(found.data(), expected.data(), static_cast<int64_t>(found.size()), 0,
              std::to_string(batch.groups) + " groups, " + std::to_string(batch.num_tokens) +
                  " tokens, " + std::to_string(slices) + " slices" +
                  (batch.is_int12 ? ", 12 bits" : ""));
}

void check_matmul_block(const Kernels& target) {
  Random random(8);
  for (int f = 0; f < NUM_FORMATS; ++f) {
    const auto format = static_cast<Format>(f);
    if (target.matmul_block[f] == nullptr) continue;
    const std::string what = std::string("matmul_block ") + FORMAT_NAMES[f];
    Check check(target, what.c_str());
    for (const int64_t groups : {1, 2, 3, 4, 18, 19, 41})
      for (const int num_tokens : {1, 2, 5, 16, 17, 31, 44}) {
        const RandomBatch batch(random, num_tokens, groups, MAX_TILE,
                                (groups + num_tokens) % 2 == 0);
        const auto panels = random_panels(random, format, groups, random.integer(1, 7));
        compare_block(check, target.matmul_block[f], format, panels, batch, num_tokens % 3 == 0);
      }
  }
}

// Short panels and such as are read side by side, in all numbers that leave some over; few tokens,
// and so many that they come in parts.
void check_matmul_panels(const Kernels& target) {
  Random random(10);
  for (int f = 0; f < NUM_FORMATS; ++f) {
    const auto format = static_cast<Format>(f);
    if (target.matmul_panels[f] == nullptr) continue;
    const std::string what = std::string("matmul_panels ") + FORMAT_NAMES[f];
    Check check(target, what.c_str());
    const auto long_groups = MIN_STREAM_BYTES / static_cast<int64_t>(group_bytes(format)) + 1;
    std::vector<int> counts = {CACHED_TOKENS, 2 * CACHED_TOKENS + 5};
    for (int i = 1; i <= target.tile_tokens + 3; ++i) counts.push_back(i);
    for (const int64_t groups : {int64_t{1}, long_groups, long_groups + 1})
      for (const int num_tokens : counts) {
        const RandomBatch batch(random, num_tokens, groups, target.tile_tokens,
                                (groups + num_tokens) % 2 == 0);
        const int num_panels = num_tokens == 1 ? 3 * target.panel_streams + 2
                                               : 1 + num_tokens % (2 * target.panel_streams);
        const auto panels = random_panels(random, format, groups, num_panels);
        compare_block(check, target.matmul_panels[f], format, panels, batch, num_tokens % 3 == 0);
      }
  }
}

// Scales of one and the largest products there are: every result is an integer, and none may
// saturate.
void check_integer_extremes(const Kernels& target) {
  Check check(target, "largest integer products");
  for (const Format format : {Format::Q8, Format::Q4, Format::Q4_1, Format::Q4_SPARSE})
    for (const int weight : {0x00, 0xFF})
      for (const int activation : {-127, 127, -2032, 2032}) {
        const bool is_int12 = std::abs(activation) > 127;
        const int width = target.tile_tokens;
        std::vector<uint8_t> panel(group_bytes(format), static_cast<uint8_t>(weight));
        const uint16_t one = float_to_f16(1.0f);
        const int rows = panel_rows(format);
        for (int r = 0; r < rows; ++r) std::memcpy(&panel[2 * r], &one, 2);
        if (format == Format::Q4_1) std::memset(&panel[32], 0, 32);
        const std::vector<float> x(static_cast<size_t>(width) * GROUP,
                                   static_cast<float>(activation));
        std::vector<uint8_t> q(static_cast<size_t>(width * tile_bytes_per_token_group(is_int12)));
        reference_kernels().quantize(x.data(), GROUP, width, GROUP, is_int12, q.data());
        std::vector<float> out(static_cast<size_t>(width) * rows);
        target.matmul[static_cast<int>(format)](
            panel.data(), 1, {width, x.data(), GROUP, q.data(), is_int12}, out.data(), rows, false);
        const int u = format == Format::Q8 ? weight : weight & 15;
        const int offset = format == Format::Q8 ? 128 : format == Format::Q4_1 ? 0 : 8;
        const auto expected = static_cast<float>((u - offset) * activation * GROUP);
        for (const float y : out)
          check.hold(y == expected, "%s, u %d, a %d: found %.9g, expected %.9g",
                     FORMAT_NAMES[static_cast<int>(format)], u, activation, y, expected);
      }
}

// The same of q3, whose stored weights are those of its table.
void check_q3_extremes(const Kernels& target) {
  Check check(target, "largest integer products of q3");
  for (const int code : {0, 7})
    for (const int shift : {0, 1})
      for (const int activation : {-127, 127, -2032, 2032}) {
        const bool is_int12 = std::abs(activation) > 127;
        const int width = target.tile_tokens;
        std::vector<uint8_t> panel(head_bytes(Format::Q3) + group_bytes(Format::Q3),
                                   code == 0 ? 0x00 : 0xFF);
        const float two = 2.0f;
        for (size_t r = 0; r < PANEL_ROWS; ++r) {
          std::memcpy(&panel[4 * r], &two, 4);
          panel[head_bytes(Format::Q3) + r] = static_cast<uint8_t>(2 * -3 + shift);
        }
        const std::vector<float> x(static_cast<size_t>(width) * GROUP,
                                   static_cast<float>(activation));
        std::vector<uint8_t> q(static_cast<size_t>(width * tile_bytes_per_token_group(is_int12)));
        reference_kernels().quantize(x.data(), GROUP, width, GROUP, is_int12, q.data());
        std::vector<float> out(static_cast<size_t>(width) * PANEL_ROWS);
        target.matmul[index_of(Format::Q3)](panel.data(), 1,
                                            {width, x.data(), GROUP, q.data(), is_int12},
                                            out.data(), PANEL_ROWS, false);
        const int level = Q3_LEVELS[code] + Q3_SHIFT * shift - Q3_OFFSET;
        const auto expected = static_cast<float>(2 * -3 * level * activation * GROUP);
        for (const float y : out)
          check.hold(y == expected, "code %d, shift %d, a %d: found %.9g, expected %.9g", code,
                     shift, activation, y, expected);
      }
}

void check_quantize(const Kernels& target) {
  Random random(2);
  Check check(target, "quantize");
  for (const int columns : SIZES)
    for (const int width : {1, 2, 5, MAX_TILE})
      for (const bool is_int12 : {false, true}) {
        const int stride = columns + 3;
        std::vector<float> x = random.normals(static_cast<int64_t>(width) * stride, 3.0f);
        if (columns > 31) std::fill(x.begin(), x.begin() + 32, 0.0f);
        for (int i = 0; i < 8 && i < columns; ++i)
          x[static_cast<size_t>(i)] = static_cast<float>(i) - 3.5f;  // ties
        const int64_t size =
            round_up(columns, GROUP) / GROUP * width * tile_bytes_per_token_group(is_int12);
        std::vector<uint8_t> found(static_cast<size_t>(size), 1),
            expected(static_cast<size_t>(size), 2);
        target.quantize(x.data(), stride, width, columns, is_int12, found.data());
        reference_kernels().quantize(x.data(), stride, width, columns, is_int12, expected.data());
        check.hold(found == expected, "%d columns, width %d%s: other bytes", columns, width,
                   is_int12 ? ", 12 bits" : "");
      }
}

void check_norms(const Kernels& target) {
  Random random(3);
  Check layer(target, "layer_norm"), rms(target, "rms_norm");
  for (const int n : SIZES) {
    const std::vector<float> x = random.normals(n, 4.0f), gain = random.normals(n),
                             bias = random.normals(n);
    std::vector<float> found(static_cast<size_t>(n)), expected(found);
    target.layer_norm(x.data(), gain.data(), bias.data(), n, 1e-5f, found.data());
    reference_kernels().layer_norm(x.data(), gain.data(), bias.data(), n, 1e-5f, expected.data());
    layer.equal(found.data(), expected.data(), n, ROUNDING, std::to_string(n) + " values");
    target.rms_norm(x.data(), gain.data(), n, 1e-5f, found.data());
    reference_kernels().rms_norm(x.data(), gain.data(), n, 1e-5f, expected.data());
    rms.equal(found.data(), expected.data(), n, ROUNDING, std::to_string(n) + " values");
  }
}

void check_elementwise(const Kernels& target) {
  const Kernels& reference = reference_kernels();
  Random random(4);
  const auto one = [&](const char* what, auto slot, float tolerance) {
    Check check(target, what);
    for (const int n : SIZES) {
      std::vector<float> found = random.normals(n, 20.0f), expected = found;
      (target.*slot)(found.data(), n), (reference.*slot)(expected.data(), n);
      check.equal(found.data(), expected.data(), n, tolerance, std::to_string(n) + " values");
    }
  };
  const auto two = [&](const char* what, auto slot, float tolerance) {
    Check check(target, what);
    for (const int n : SIZES) {
      const std::vector<float> other = random.normals(n, 20.0f);
      std::vector<float> found = random.normals(n), expected = found;
      (target.*slot)(other.data(), found.data(), n),
          (reference.*slot)(other.data(), expected.data(), n);
      check.equal(found.data(), expected.data(), n, tolerance, std::to_string(n) + " values");
    }
  };
  one("relu2", &Kernels::relu2, 0);
  one("silu", &Kernels::silu, ROUNDING);
  two("relu2_gate", &Kernels::relu2_gate, 0);
  two("silu_gate", &Kernels::silu_gate, ROUNDING);
  two("sigmoid_gate", &Kernels::sigmoid_gate, ROUNDING);
  two("add", &Kernels::add, 0);
}

// Three tokens through one head of every recurrent mixer: what it gives, and what it remembers.
void check_recurrence(const Kernels& target) {
  Random random(11);
  Check scans(target, "scan"), deltas(target, "delta");
  for (const int rows : {1, 7, 128})
    for (const int padded : {16, 32, 80, 128}) {
      const std::string what = std::to_string(rows) + " x " + std::to_string(padded);
      const std::vector<float> x = random.normals(3 * padded), b = random.normals(3 * rows, 0.3f),
                               c = random.normals(3 * rows, 0.3f);
      const auto run = [&](const Kernels& kernels, bool is_delta, std::vector<float>& state) {
        std::vector<float> out(static_cast<size_t>(3 * padded));
        for (int t = 0; t < 3; ++t) {
          const float *xs = &x[t * padded], *bs = &b[t * rows], *cs = &c[t * rows];
          if (is_delta)
            kernels.delta({state.data(), cs, bs, xs, 0.9f, 0.6f, rows, padded, &out[t * padded]});
          else
            kernels.scan(
                {state.data(), xs, bs, cs, 0.9f, 0.4f, 0.2f, rows, padded, &out[t * padded]});
        }
        return out;
      };
      const std::vector<float> begin = random.normals(static_cast<int64_t>(rows) * padded);
      for (const bool is_delta : {false, true}) {
        std::vector<float> ours = begin, theirs = begin;
        const std::vector<float> found = run(target, is_delta, ours),
                                 expected = run(reference_kernels(), is_delta, theirs);
        Check& check = is_delta ? deltas : scans;
        check.equal(found.data(), expected.data(), 3 * padded, ROUNDING, what);
        check.equal(ours.data(), theirs.data(), rows * padded, ROUNDING, what + ", state");
      }
    }
}

void check_reductions(const Kernels& target) {
  const Kernels& reference = reference_kernels();
  Random random(5);
  Check top(target, "max_value"), sums(target, "sum_exp"), merging(target, "merge");
  for (const int n : SIZES) {
    const std::vector<float> x = random.normals(n, 5.0f);
    const float largest = reference.max_value(x.data(), n),
                found_top = target.max_value(x.data(), n);
    top.equal(&found_top, &largest, 1, 0, std::to_string(n) + " values");
    const float found = target.sum_exp(x.data(), n, largest),
                expected = reference.sum_exp(x.data(), n, largest);
    sums.equal(&found, &expected, 1, ROUNDING, std::to_string(n) + " values");
  }
  for (const int width : {32, 64, 96, 128})
    for (const float shift : {-200.0f, -3.0f, 0.0f, 2.5f, 200.0f}) {
      const std::vector<float> other = random.normals(width);
      std::vector<float> found = random.normals(width), expected = found;
      float m[2] = {1.5f, 1.5f}, l[2] = {2.0f, 2.0f};
      target.merge(&m[0], &l[0], found.data(), 1.5f + shift, 3.0f, other.data(), width);
      reference.merge(&m[1], &l[1], expected.data(), 1.5f + shift, 3.0f, other.data(), width);
      merging.equal(found.data(), expected.data(), width, ROUNDING,
                    "shift " + std::to_string(shift));
      merging.equal(&m[0], &m[1], 1, 0, "maximum");
      merging.equal(&l[0], &l[1], 1, ROUNDING, "sum of weights");
    }
}

struct AttendCase {
  KvFormat format;
  int head_dim, num_pages, num_queries, start;
};

// Random pages: ordinary numbers in every format, also in the positions that no row may see.
std::vector<std::vector<uint8_t>> random_pages(Random& random, const AttendCase& c,
                                               int padded_dim) {
  const size_t elements = static_cast<size_t>(c.head_dim + padded_dim) * PAGE;
  std::vector<std::vector<uint8_t>> pages(static_cast<size_t>(c.num_pages));
  for (std::vector<uint8_t>& page : pages) {
    const size_t width = c.format == KvFormat::INT8 ? 1 : c.format == KvFormat::F16 ? 2 : 4;
    page.resize(elements * width + (c.format == KvFormat::INT8 ? 2 * PAGE * sizeof(float) : 0));
    for (size_t i = 0; i < elements; ++i) {
      const float value = random.normal();
      const uint16_t half = float_to_f16(value);
      if (c.format == KvFormat::INT8) page[i] = random.byte();
      if (c.format == KvFormat::F16) std::memcpy(&page[2 * i], &half, 2);
      if (c.format == KvFormat::F32) std::memcpy(&page[4 * i], &value, 4);
    }
    for (int i = 0; c.format == KvFormat::INT8 && i < 2 * PAGE; ++i) {
      const float scale = (1.0f + 0.2f * random.normal()) / 70.0f;
      std::memcpy(&page[elements + 4 * static_cast<size_t>(i)], &scale, 4);
    }
  }
  return pages;
}

void compare_attend(Check& check, const Kernels& target, Random& random, const AttendCase& c) {
  const int padded_dim = static_cast<int>(round_up(c.head_dim, 32));
  const std::vector<std::vector<uint8_t>> pages = random_pages(random, c, padded_dim);
  std::vector<const uint8_t*> page_pointers;
  for (const std::vector<uint8_t>& page : pages) page_pointers.push_back(page.data());
  const std::vector<float> q = random.normals(static_cast<int64_t>(c.num_queries) * c.head_dim,
                                              1.5f / std::sqrt(static_cast<float>(c.head_dim)));
  std::vector<const float*> q_pointers;
  std::vector<int32_t> limits;
  for (int r = 0; r < c.num_queries; ++r) {
    q_pointers.push_back(q.data() + static_cast<int64_t>(r) * c.head_dim);
    limits.push_back(
        c.start + random.integer(0, c.num_pages * PAGE + 40));  // some rows see beyond these pages
  }
  struct Result {
    std::vector<float> scores, out, m, l;
  };
  const auto run = [&](const Kernels& kernels) {
    const auto rows = static_cast<size_t>(c.num_queries);
    Result result{std::vector<float>(rows * CHUNK),
                  std::vector<float>(rows * static_cast<size_t>(padded_dim)),
                  std::vector<float>(rows), std::vector<float>(rows)};
    kernels.attend({page_pointers.data(), c.num_pages, c.start, c.head_dim, padded_dim,
                    c.num_queries, c.format, q_pointers.data(), limits.data(), result.scores.data(),
                    result.out.data(), result.m.data(), result.l.data()});
    return result;
  };
  const Result found = run(target), expected = run(reference_kernels());
  const std::string where = "head of " + std::to_string(c.head_dim) + ", " +
                            std::to_string(c.num_pages) + " pages, " +
                            std::to_string(c.num_queries) + " rows";
  check.equal(found.m.data(), expected.m.data(), c.num_queries, 1e-5f, where + ", maximum");
  check.equal(found.l.data(), expected.l.data(), c.num_queries, 2e-5f, where + ", sum of weights");
  check.equal(found.out.data(), expected.out.data(), static_cast<int64_t>(found.out.size()), 2e-5f,
              where);
}

void check_attend(const Kernels& target) {
  const char* const names[] = {"attend f16", "attend int8", "attend f32"};
  for (int format = 0; format < 3; ++format) {
    Random random(6 + static_cast<uint32_t>(format));
    Check check(target, names[format]);
    for (const int head_dim : {8, 32, 64, 80, 128})
      for (const int num_pages : {1, 2, CHUNK / PAGE})
        for (int rows = 1; rows <= MAX_ATTEND_QUERIES; ++rows)
          compare_attend(
              check, target, random,
              {static_cast<KvFormat>(format), head_dim, num_pages, rows, rows % 2 ? 0 : CHUNK});
  }
}

// A target overrides every slot of the reference that it does not leave out on purpose.
void check_overrides(const Kernels& target) {
  const Kernels& reference = reference_kernels();
  Check check(target, "overrides");
  for (int f = 0; f < NUM_FORMATS; ++f)
    check.hold(target.matmul[f] != reference.matmul[f], "matmul %s is the reference's",
               FORMAT_NAMES[f]);
  const auto one = [&](const char* name, auto slot) {
    check.hold(target.*slot != reference.*slot, "%s is the reference's", name);
  };
  for (int f = 0; f < NUM_LOW_RANK_FORMATS; ++f) {
    check.hold(target.shrink[f] != reference.shrink[f], "shrink %s is the reference's",
               FORMAT_NAMES[f]);
    check.hold(target.expand[f] != reference.expand[f], "expand %s is the reference's",
               FORMAT_NAMES[f]);
  }
  one("quantize", &Kernels::quantize);
  one("layer_norm", &Kernels::layer_norm);
  one("rms_norm", &Kernels::rms_norm);
  one("relu2", &Kernels::relu2);
  one("silu", &Kernels::silu);
  one("relu2_gate", &Kernels::relu2_gate);
  one("silu_gate", &Kernels::silu_gate);
  one("sigmoid_gate", &Kernels::sigmoid_gate);
  one("add", &Kernels::add);
  one("scan", &Kernels::scan);
  one("delta", &Kernels::delta);
  one("attend", &Kernels::attend);
  one("merge", &Kernels::merge);
  one("sum_exp", &Kernels::sum_exp);
  one("max_value", &Kernels::max_value);
  one("peak_loop", &Kernels::peak_loop);
}

// Random matrices of low rank as adapters are packed; what fills them up is zero.
struct RandomLowRank {
  std::vector<uint8_t> a, b;
  std::vector<float> scales;
  LowRank w;
  RandomLowRank(Random& random, Format format, int64_t rows, int64_t columns, int rank)
      : scales(random.normals(rank)) {
    w = {format, rows, columns, rank, nullptr, nullptr, scales.data()};
    const int64_t panels = round_up(rows, LOW_RANK_ROWS) / LOW_RANK_ROWS;
    a.resize(static_cast<size_t>(rank * w.padded_columns() * low_rank_bytes(format)));
    b.resize(static_cast<size_t>(panels * LOW_RANK_ROWS * rank * low_rank_bytes(format)));
    for (int64_t k = 0; k < rank; ++k)
      for (int64_t c = 0; c < columns; ++c) put(a, k * w.padded_columns() + c, random.normal());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < rank; ++k)
        put(b, (r / LOW_RANK_ROWS * rank + k) * LOW_RANK_ROWS + r % LOW_RANK_ROWS, random.normal());
    w.a = a.data();
    w.b = b.data();
  }
  void put(std::vector<uint8_t>& bytes, int64_t index, float value) const {
    const uint16_t half = float_to_bf16(value);
    if (w.format == Format::F32)
      std::memcpy(&bytes[static_cast<size_t>(4 * index)], &value, 4);
    else if (w.format == Format::Q8)
      bytes[static_cast<size_t>(index)] = static_cast<uint8_t>(half);
    else
      std::memcpy(&bytes[static_cast<size_t>(2 * index)], &half, 2);
  }
};

void check_low_rank(const Kernels& target) {
  Random random(9);
  Check check(target, "low rank");
  for (const Format format : {Format::F32, Format::BF16, Format::Q8})
    for (const int64_t rows : {1, 63, 64, 130})
      for (const int64_t columns : {1, 16, 33, 257})
        for (const int rank : {4, 8, 20}) {
          const RandomLowRank random_w(random, format, rows, columns, rank);
          const LowRank& w = random_w.w;
          const int f = index_of(format);
          const int64_t in = round_up(columns, GROUP), out = rows + 5;
          const std::vector<float> x = random.normals(LOW_RANK_TOKENS * in);
          std::vector<float> sums(LOW_RANK_TOKENS * 20), right(sums.size());
          std::vector<float> y(static_cast<size_t>(LOW_RANK_TOKENS * out), 0.5f), other = y;
          for (int width = 1; width <= LOW_RANK_TOKENS; ++width) {
            target.shrink[f](w, x.data(), in, width, 0.7f, sums.data());
            reference_kernels().shrink[f](w, x.data(), in, width, 0.7f, right.data());
            check.equal(sums.data(), right.data(), width * rank, ROUNDING, "A x");
            target.expand[f](w, right.data(), width, y.data(), out);
            reference_kernels().expand[f](w, right.data(), width, other.data(), out);
            check.equal(y.data(), other.data(), width * out, 0, "B sums");
          }
        }
}

}  // namespace

void check_slots(const Kernels& target) {
  if (&target != &reference_kernels()) check_overrides(target);
  check_matmul(target);
  check_skipping(target);
  check_matmul_block(target);
  check_matmul_panels(target);
  check_integer_extremes(target);
  check_q3_extremes(target);
  check_quantize(target);
  check_norms(target);
  check_elementwise(target);
  check_recurrence(target);
  check_reductions(target);
  check_attend(target);
  check_low_rank(target);
  Check(target, "peak_loop").hold(target.peak_loop(2) > 0, "no operations");
}

}  // namespace understudy::test
