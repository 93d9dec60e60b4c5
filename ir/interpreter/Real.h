// One number with its tolerance, and the arithmetic that rounds as the mode asks and carries tolerances
// along.
#pragma once
#include "ir/interpreter/Tolerance.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace mlir::heddle::interpreter {

inline double square(double x) { return x * x; }

struct Real {
  double value = 0;
  double tolerance = 0;
};

/// Rounds every result to f32 when `single`. Sums, products, quotients and square roots of f32 numbers
/// computed in f64 and rounded once more are the correctly rounded f32 results, since 53 >= 2 * 24 + 2.
struct Arithmetics {
  bool single = true;
  double unit = 0; // c * epsilon of the accumulator; 0: tolerances are not tracked

  double round(double x) const { return single ? static_cast<float>(x) : x; }

  /// A result whose terms have absolute values that sum to `magnitude`, and that its operands' tolerances
  /// move by `passed`.
  Real result(double exact, double magnitude, double passed) const {
    if (unit == 0)
      return {round(exact), 0};
    double tolerance = unit * magnitude + passed; // infinity times zero: nothing is known
    return {round(exact), std::isnan(tolerance) ? std::numeric_limits<double>::infinity() : tolerance};
  }

  Real add(Real a, Real b) const {
    return result(a.value + b.value, std::abs(a.value + b.value), a.tolerance + b.tolerance);
  }
  Real subtract(Real a, Real b) const { return add(a, {-b.value, b.tolerance}); }
  Real multiply(Real a, Real b) const {
    double product = a.value * b.value;
    return result(product, std::abs(product),
                  std::abs(a.value) * b.tolerance + std::abs(b.value) * a.tolerance +
                      a.tolerance * b.tolerance);
  }
  Real divide(Real a, Real b) const {
    double quotient = a.value / b.value, least = std::abs(b.value) - b.tolerance;
    double passed = a.tolerance + std::abs(quotient) * b.tolerance;
    if (passed > 0)
      passed = least > 0 ? passed / least : std::numeric_limits<double>::infinity();
    return result(quotient, std::abs(quotient), passed);
  }
  /// IEEE 754-2019 maximum and minimum: NaN wins.
  Real maximum(Real a, Real b) const {
    double value = std::isnan(a.value) || std::isnan(b.value) ? std::numeric_limits<double>::quiet_NaN()
                                                              : std::max(a.value, b.value);
    if (a.value == 0 && b.value == 0)
      value = std::signbit(a.value) && std::signbit(b.value) ? -0.0 : 0.0;
    return {value, std::max(a.tolerance, b.tolerance)};
  }
  Real minimum(Real a, Real b) const {
    Real negated = maximum({-a.value, a.tolerance}, {-b.value, b.tolerance});
    return {-negated.value, negated.tolerance};
  }

  /// A function of one number; the operand's tolerance becomes what the function makes of both ends of its
  /// range. `magnitude` is the absolute value of the result unless terms cancel inside.
  template <typename Function> Real apply(Function function, Real x, double magnitude) const {
    double y = function(x.value), passed = 0;
    if (x.tolerance > 0) {
      double up = std::abs(function(x.value + x.tolerance) - y),
             down = std::abs(function(x.value - x.tolerance) - y);
      passed =
          std::isnan(up) || std::isnan(down) ? std::numeric_limits<double>::infinity() : std::max(up, down);
      if (std::isnan(y) || std::isinf(y))
        passed = 0;
    }
    return result(y, magnitude, passed);
  }
  template <typename Function> Real apply(Function function, Real x) const {
    return apply(function, x, std::abs(function(x.value)));
  }
};

} // namespace mlir::heddle::interpreter
