#include "tools/heddle/QuantizationTable.h"
#include "tools/heddle/Common.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <map>

namespace heddle::cli {

namespace {
constexpr double kPublished = 40; // per cent that one scale a channel lowers the error of one a tensor

std::string word(const llvm::json::Object &row, const char *key) {
  return printable(row.getString(key).value_or("").str());
}

// "0.733"; "-" where there is no number.
std::string number(const llvm::json::Object &row, const char *key) {
  auto value = row.getNumber(key);
  return value ? llvm::formatv("{0}", llvm::format("%.3g", *value)).str() : "-";
}

template <typename See> void eachRow(const llvm::json::Object &report, const char *key, See see) {
  if (const llvm::json::Array *rows = report.getArray(key))
    for (const llvm::json::Value &value : *rows)
      if (const llvm::json::Object *row = value.getAsObject())
        see(*row);
}

std::string boundLine(const llvm::json::Object &report) {
  auto metric = report.getString("metric");
  if (!metric)
    return "";
  std::string line = "  " + printable(metric->str());
  if (report.get("bound"))
    line += " at most " + number(report, "bound") + ":";
  if (report.get("error_on_choosing_samples"))
    line += " " + number(report, "error_on_choosing_samples") + " on the samples that chose,";
  return line + " " + number(report, "error_on_held_out_samples") + " on those held out\n";
}
} // namespace

std::string quantizationTable(const llvm::json::Object &manifest) {
  const llvm::json::Object *report = manifest.getObject("quantization");
  if (!report)
    return "";
  // By name: errors of int8 with one scale a tensor, and one a channel.
  std::map<std::string, std::pair<std::string, std::string>> granularity;
  double sum = 0;
  size_t count = 0;
  eachRow(*report, "granularity", [&](const llvm::json::Object &row) {
    granularity[word(row, "weight")] = {number(row, "int8_tensor_error_percent"),
                                        number(row, "int8_channel_error_percent")};
    auto tensor = row.getNumber("int8_tensor_error_percent"),
         channel = row.getNumber("int8_channel_error_percent");
    if (tensor && channel && *tensor > 0) {
      sum += 1 - *channel / *tensor;
      ++count;
    }
  });
  std::string text = "quantization: errors of each product's results in per cent, one scale a tensor and one "
                     "a channel beside\n";
  text += boundLine(*report);
  text += llvm::formatv("  {0,-24} {1,-16} {2,12} {3,8} {4,8} {5,12} {6,12}  {7}\n", "weight", "scheme",
                        "bytes", "error", "nearest", "int8-tensor", "int8", "why not cheaper");
  eachRow(*report, "weights", [&](const llvm::json::Object &row) {
    auto [tensor, channel] = granularity[word(row, "weight")];
    text +=
        llvm::formatv("  {0,-24} {1,-16} {2,12} {3,8} {4,8} {5,12} {6,12}  {7}\n", word(row, "weight"),
                      word(row, "scheme"), row.getInteger("bytes").value_or(0), number(row, "error_percent"),
                      number(row, "nearest_error_percent"), tensor, channel, word(row, "reason"));
  });
  if (count != 0)
    text += llvm::formatv("  int8: one scale a channel has {0:f0} % less error than one a tensor (mean of "
                          "{1} weights; published: {2:f0} %)\n",
                          100 * sum / static_cast<double>(count), count, kPublished);
  return text;
}

} // namespace heddle::cli
