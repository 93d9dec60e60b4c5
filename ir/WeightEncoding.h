// Rounding of f32 weights into storage formats: schemes by name, scales, codes, stored rows.
//
// Interpreter, packer and calibration encode with this one code, so that all see the same weights. Free of
// MLIR.
#pragma once
#include "ir/StorageFormat.h"
#include <vector>

namespace heddle {

/// Which weights share a scale. Group: what the format says (a block, or a whole row).
enum class ScaleSharing : uint8_t { Group, Tensor, Tile };

struct FitSums;
struct Grid;
class Coder;

/// What `--quantize NAME` means.
struct WeightScheme {
  std::string_view name;
  StorageFormat format;
  ScaleSharing sharing = ScaleSharing::Group;
  /// The grid of one group, where Coder::fit is not what a scheme wants (plug-ins); only with
  /// ScaleSharing::Group.
  Grid (*grid)(const Coder &coder, std::span<const float> values) = nullptr;
};
std::span<const WeightScheme> weightSchemes();
const WeightScheme *weightSchemeByName(std::string_view name);
/// Makes a scheme known, whose name must outlive the program; false when the name is taken. Not while others
/// read the schemes.
bool registerWeightScheme(const WeightScheme &scheme);
/// Rows and columns that share a scale in ScaleSharing::Tile.
inline constexpr int64_t kTileSide = 128;

/// How scales are found: from the largest element alone, or by trying some around it for the least square
/// error.
enum class ScaleFit : uint8_t { Range, Search };

/// The values that the codes of one group stand for: scale * (code - zero) or scale * code - minimum, or
/// scale times an FP8 number.
struct Grid {
  float scale = 0, minimum = 0; // exactly as stored
};

/// The integer or FP8 codes of one format.
class Coder {
public:
  /// `format` is one that a scheme has, 16-bit ones excepted.
  explicit Coder(StorageFormat format);

  /// A grid for `values`; errors count by `importance` (empty: alike) where the fit searches.
  Grid fit(std::span<const float> values, std::span<const float> importance, ScaleFit how) const;
  /// A grid whose range takes in [least, most].
  Grid gridFor(float least, float most) const;
  uint8_t encode(const Grid &grid, float value) const;
  float decode(const Grid &grid, uint8_t code) const;

private:
  Grid refit(const Grid &grid, const FitSums &sums) const;
  Grid rounded(float scale, float minimum) const;

  StorageFormat format;
  bool isF8, hasMin;
  int zero = 0, least = 0, most = 0; // codes
};

/// Elements along a row of `columns` that share a scale in `format`.
int64_t gridSpan(StorageFormat format, int64_t columns);

/// Writes one row of codes, an element each, with a grid for every gridSpan of them.
void storeRow(StorageFormat format, std::span<const uint8_t> codes, std::span<const Grid> grids,
              std::span<uint8_t> stored);

/// Encodes a matrix row by row, each element to its nearest code.
class WeightEncoder {
public:
  WeightEncoder(const WeightScheme &scheme, int64_t columns, ScaleFit how);

  /// Whether all rows must be shown first, as scales are shared between them.
  bool looksFirst() const { return scheme.sharing != ScaleSharing::Group; }
  void look(int64_t row, std::span<const float> values);
  /// The grids of a row: where scales are shared between rows, those that look() led to.
  std::vector<Grid> grids(int64_t row, std::span<const float> values) const;
  /// `stored` has storedBytes(scheme.format, columns).
  void encode(int64_t row, std::span<const float> values, std::span<uint8_t> stored) const;

private:
  struct Range {
    float least = 0, most = 0;
  };
  const WeightScheme scheme;
  int64_t columns;
  ScaleFit how;
  std::vector<Range> ranges; // of the tensor, or of each tile
};

} // namespace heddle
