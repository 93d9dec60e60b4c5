#include "tools/heddle-random-modules/Regions.h"

namespace heddle::random_modules {
namespace {

constexpr llvm::StringLiteral kArguments =
    "    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):\n";

/// Lines of one region. Names inside begin with `x`, so that they meet no value of the function.
class Region {
public:
  explicit Region(ModuleText &text) : text(text), random(text.random) {}

  std::string op(const llvm::Twine &operation) {
    std::string name = "%x" + std::to_string(count++);
    lines += ("      " + name + " = " + operation + "\n").str();
    return name;
  }

  std::string real(double value) {
    std::string constant = "arith.constant " + floatText(value) + " : f32";
    return random.chance(25) ? "%" + text.op(constant) : op(constant);
  }
  std::string integer(int64_t value) {
    std::string constant = "arith.constant " + std::to_string(value) + " : i32";
    return random.chance(25) ? "%" + text.op(constant) : op(constant);
  }

  std::string binary(llvm::StringRef name, const llvm::Twine &a, const llvm::Twine &b, llvm::StringRef type) {
    return op(name + " " + a + ", " + b + " : " + type);
  }

  std::string score() {
    std::string s = "%s";
    for (int changes = random.between(0, 2); changes > 0; --changes)
      switch (random.between(0, 5)) {
      case 0: { // soft cap
        std::string cap = real(double(random.between(2, 20)) / 2);
        s = binary("arith.mulf", op("math.tanh " + binary("arith.divf", s, cap, "f32") + " : f32"), cap,
                   "f32");
        break;
      }
      case 1: { // slope by distance
        std::string distance =
            op("arith.sitofp " + binary("arith.subi", "%kp", "%qp", "i32") + " : i32 to f32");
        s = binary("arith.addf", s, binary("arith.mulf", distance, real(0.125), "f32"), "f32");
        break;
      }
      case 2: { // factor by head
        std::string head = op("arith.sitofp " + std::string(random.pick({"%qh", "%kh"})) + " : i32 to f32");
        std::string factor =
            binary("arith.addf", binary("arith.mulf", head, real(0.25), "f32"), real(0.5), "f32");
        s = binary("arith.mulf", s, factor, "f32");
        break;
      }
      case 3: // a step where positions lie far apart, another for one of the slots
        s = op("arith.select " + condition() + ", " + binary("arith.addf", s, real(-1.5), "f32") + ", " + s +
               " : f32");
        break;
      case 4: // scores have a ceiling
        s = binary(random.pick({"arith.minimumf", "arith.maximumf", "arith.minnumf"}), s, real(0.75), "f32");
        break;
      default:
        s = binary("arith.subf", real(0.5), s, "f32");
      }
    return s;
  }

  std::string compare(llvm::StringRef predicate, const llvm::Twine &a, const llvm::Twine &b) {
    return op("arith.cmpi " + predicate + ", " + a + ", " + b + " : i32");
  }

  /// An i1 of the indices.
  std::string condition() {
    switch (random.between(0, 7)) {
    case 0:
    case 1:
      return random.chance(50) ? compare("sle", "%kp", "%qp") : compare("sge", "%qp", "%kp");
    case 2: // window
      return compare(random.chance(50) ? "slt" : "sle", binary("arith.subi", "%qp", "%kp", "i32"),
                     integer(random.between(1, 9)));
    case 3: { // stripes
      int64_t period = random.between(2, 4);
      std::string place = random.pick({"%kp", "%qp", "%qh"});
      return compare("ne", binary("arith.remsi", place, integer(period), "i32"),
                     integer(random.between(0, period - 1)));
    }
    case 4: // the first tokens stay visible
      return compare("slt", "%kp", integer(random.between(1, 4)));
    case 5:
      return compare("ne", "%slot", integer(random.between(0, 3)));
    case 6: // blocks
      return compare("eq", binary("arith.divsi", "%kp", integer(4), "i32"),
                     binary("arith.divsi", "%qp", integer(4), "i32"));
    default:
      return compare("sgt", "%qh", integer(random.between(0, 2)));
    }
  }

  std::string mask() {
    std::string keep = condition();
    for (int more = random.between(0, 2); more > 0; --more)
      keep = binary(random.pick({"arith.andi", "arith.andi", "arith.ori", "arith.xori"}), keep, condition(),
                    "i1");
    return keep;
  }

  std::string lines;

private:
  ModuleText &text;
  Random &random;
  unsigned count = 0;
};
} // namespace

std::string randomRegions(ModuleText &text) {
  Region score(text), mask(text);
  std::string yielded = score.score();
  std::string result = "score {\n" + kArguments.str() + score.lines + "      heddle.yield " + yielded +
                       " : f32\n    } mask {\n";
  switch (text.random.between(0, 3)) {
  case 0:
    break;
  case 1: // what most models have
    result +=
        kArguments.str() + "      %see = arith.cmpi sle, %kp, %qp : i32\n      heddle.yield %see : i1\n";
    break;
  default:
    std::string keep = mask.mask();
    result += kArguments.str() + mask.lines + "      heddle.yield " + keep + " : i1\n";
  }
  return result + "    }";
}

} // namespace heddle::random_modules
