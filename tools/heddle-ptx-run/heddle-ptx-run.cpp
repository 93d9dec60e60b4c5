// Runs one kernel of a PTX file on the simulator: arrays in and out as .npy, problems and counts on stdout.
#include "drivers/cuda_sim/Simulator.h"
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

using namespace heddle::cuda_sim;

namespace {

enum Exit { Ok = 0, Mismatch = 1, Usage = 2, InvalidFile = 3, InputOutput = 74 };

struct Failure {
  Exit code;
  std::string message;
};

constexpr size_t fileLimit = size_t(1) << 30;

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file)
    throw Failure{InputOutput, path + ": cannot be read"};
  std::streamoff size = file.tellg();
  if (size < 0 || static_cast<size_t>(size) > fileLimit)
    throw Failure{InvalidFile, path + ": is no regular file of at most 1 GiB"};
  std::string content(static_cast<size_t>(size), '\0');
  file.seekg(0);
  if (!file.read(content.data(), size))
    throw Failure{InputOutput, path + ": cannot be read"};
  return content;
}

/// The bytes of an array; its shape and type do not matter to a kernel.
std::string readNpy(const std::string &path) {
  std::string file = readFile(path);
  if (file.size() < 12 || file.compare(0, 6, "\x93NUMPY") != 0)
    throw Failure{InvalidFile, path + ": is no .npy file"};
  bool isFirst = file[6] == 1; // version 1 has a length of two bytes, later ones of four
  size_t length = 0;
  for (size_t i = isFirst ? 2 : 4; i-- > 0;)
    length = length << 8 | static_cast<unsigned char>(file[8 + i]);
  size_t begin = (isFirst ? 10 : 12) + length;
  if (begin > file.size())
    throw Failure{InvalidFile, path + ": its header ends at byte " + std::to_string(begin) +
                                   ", past the end of the file (" + std::to_string(file.size()) + ")"};
  return file.substr(begin);
}

struct Element {
  const char *name, *npy;
  size_t bytes;
};
constexpr Element elements[] = {{"f64", "<f8", 8}, {"f32", "<f4", 4}, {"f16", "<f2", 2}, {"i64", "<i8", 8},
                                {"u64", "<u8", 8}, {"i32", "<i4", 4}, {"u32", "<u4", 4}, {"i16", "<i2", 2},
                                {"u16", "<u2", 2}, {"i8", "|i1", 1},  {"u8", "|u1", 1}};

const Element &elementNamed(const std::string &name) {
  for (const Element &element : elements)
    if (name == element.name)
      return element;
  throw Failure{Usage, "unknown element type '" + name +
                           "'; known types: f64, f32, f16, i64, u64, i32, u32, i16, "
                           "u16, i8, u8"};
}

void writeNpy(const std::string &path, const Element &element, const std::string &bytes) {
  std::string header = std::string("{'descr': '") + element.npy + "', 'fortran_order': False, 'shape': (" +
                       std::to_string(bytes.size() / element.bytes) + ",), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size() & 0xff)
       << static_cast<char>(header.size() >> 8) << header << bytes;
  if (!file)
    throw Failure{InputOutput, path + ": cannot be written"};
}

struct Output {
  uint64_t address;
  size_t bytes;
  std::string path;
  const Element *element;
};

std::vector<std::string> split(const std::string &text, char at) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(at, begin)) != std::string::npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

uint64_t allocate(Memory &memory, size_t bytes, const std::string &name) {
  uint64_t address = memory.allocate(bytes, name);
  if (!address)
    throw Failure{Usage, "no memory for the " + std::to_string(bytes) + " bytes of '" + name + "'"};
  return address;
}

void addScalar(Arguments &arguments, const Element &element, const std::string &value) {
  uint64_t bits = 0;
  try {
    size_t used = 0;
    if (element.name[0] == 'f') {
      double number = std::stod(value, &used);
      float narrow = static_cast<float>(number);
      if (element.bytes == 2)
        throw Failure{Usage, "scalars of type f16 are not supported; give i16 bits"};
      std::memcpy(&bits, element.bytes == 8 ? static_cast<void *>(&number) : &narrow, element.bytes);
    } else {
      bits = element.name[0] == 'u' ? std::stoull(value, &used, 0)
                                    : static_cast<uint64_t>(std::stoll(value, &used, 0));
    }
    if (used != value.size())
      throw std::invalid_argument(value);
  } catch (const std::logic_error &) {
    throw Failure{Usage, "'" + value + "' is no number of type " + element.name};
  }
  arguments.addBytes(&bits, element.bytes);
}

/// TYPE=NUMBER, value:FILE (a struct), in:FILE, out:FILE:TYPE:COUNT, inout:FILE:FILE:TYPE
void addArgument(const std::string &text, Arguments &arguments, Memory &memory,
                 std::vector<Output> &outputs) {
  if (size_t equals = text.find('='); equals != std::string::npos && text.find(':') == std::string::npos)
    return addScalar(arguments, elementNamed(text.substr(0, equals)), text.substr(equals + 1));
  std::vector<std::string> parts = split(text, ':');
  uint64_t address = 0;
  if (parts[0] == "value" && parts.size() == 2) {
    std::string bytes = readNpy(parts[1]);
    arguments.addBytes(bytes.data(), bytes.size());
    return;
  }
  if ((parts[0] == "in" && parts.size() == 2) || (parts[0] == "inout" && parts.size() == 4)) {
    std::string bytes = readNpy(parts[1]);
    address = allocate(memory, std::max<size_t>(bytes.size(), 1), parts[1]);
    memory.write(address, bytes.data(), bytes.size());
    if (parts.size() == 4)
      outputs.push_back({address, bytes.size(), parts[2], &elementNamed(parts[3])});
  } else if (parts[0] == "out" && parts.size() == 4) {
    const Element &element = elementNamed(parts[2]);
    size_t count = std::strtoull(parts[3].c_str(), nullptr, 10);
    if (count == 0 || count > fileLimit)
      throw Failure{Usage, "'" + parts[3] + "' is no number of elements"};
    address = allocate(memory, count * element.bytes, parts[1]);
    outputs.push_back({address, count * element.bytes, parts[1], &element});
  } else {
    throw Failure{Usage, "argument '" + text +
                             "': expected TYPE=NUMBER, value:FILE, in:FILE, out:FILE:TYPE:COUNT or "
                             "inout:FILE:FILE:TYPE"};
  }
  arguments.add(address);
}

Dim3 dimsOf(const std::vector<uint32_t> &values) {
  Dim3 dims;
  dims.x = values.size() > 0 ? values[0] : 1;
  dims.y = values.size() > 1 ? values[1] : 1;
  dims.z = values.size() > 2 ? values[2] : 1;
  return dims;
}

std::string jsonString(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? '?' : c;
  }
  return out + "\"";
}

void print(const Report &report, bool json) {
  if (!json) {
    for (const Problem &problem : report.problems)
      std::printf("%s\n", problem.text().c_str());
    std::fputs(report.counters.text().c_str(), stdout);
    return;
  }
  std::string out = "{\"problems\": [";
  for (const Problem &problem : report.problems)
    out += std::string(&problem == report.problems.data() ? "" : ", ") +
           "{\"kind\": " + jsonString(nameOf(problem.kind)) + ", \"line\": " + std::to_string(problem.line) +
           ", \"text\": " + jsonString(problem.text()) + "}";
  out += "], \"counts\": {";
  bool first = true;
  for (const std::string &line : split(report.counters.text(), '\n'))
    if (size_t space = line.find(' '); space != std::string::npos) {
      out += (first ? "\"" : ", \"") + line.substr(0, space) + "\": " + line.substr(space + 1);
      first = false;
    }
  std::printf("%s}}\n", out.c_str());
}

int run(int argc, char **argv) {
  CLI::App app("Runs a kernel of a PTX file on the simulator.", "heddle-ptx-run");
  std::string file, kernel, format = "text", checks = "on";
  std::vector<uint32_t> grid{1}, block{32};
  std::vector<std::string> texts;
  uint32_t shared = 0;
  Options options;
  app.add_option("file", file, "PTX text")->required();
  app.add_option("kernel", kernel, "name of the entry; without it, the file is only checked");
  app.add_option("--grid", grid, "blocks: X or X,Y,Z")->delimiter(',')->expected(1, 3);
  app.add_option("--block", block, "threads of a block: X or X,Y,Z")->delimiter(',')->expected(1, 3);
  app.add_option("--shared", shared, "bytes of dynamic shared memory");
  app.add_option("--arg", texts,
                 "TYPE=NUMBER, value:FILE.npy, in:FILE.npy, out:FILE.npy:TYPE:COUNT or "
                 "inout:FILE:FILE:TYPE")
      ->allow_extra_args(false);
  app.add_option("--threads", options.threads, "threads of the host");
  app.add_option("--step-limit", options.stepLimit, "warp instructions");
  app.add_option("--checks", checks, "shadow memory: on or off")->check(CLI::IsMember({"on", "off"}));
  app.add_option("--format", format, "text or json")->check(CLI::IsMember({"text", "json"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) ? Usage : Ok;
  }
  options.unwritten = options.races = checks == "on";
  std::string error;
  std::unique_ptr<Module> module = Module::parse(readFile(file), error);
  if (!module)
    throw Failure{InvalidFile, file + ": " + error};
  if (kernel.empty()) {
    for (const KernelInfo &info : module->kernels())
      std::printf("%s: %u instructions, %u registers, %llu bytes of static shared memory\n",
                  info.name.c_str(), info.instructionCount, info.registerCount,
                  static_cast<unsigned long long>(info.staticSharedBytes));
    return Ok;
  }
  Memory memory;
  Arguments arguments;
  std::vector<Output> outputs;
  for (const std::string &text : texts)
    addArgument(text, arguments, memory, outputs);
  Report report = module->launch(kernel, dimsOf(grid), dimsOf(block), shared, arguments, memory, options);
  print(report, format == "json");
  for (const Output &output : outputs) {
    std::string bytes(output.bytes, '\0');
    memory.read(output.address, bytes.data(), bytes.size());
    writeNpy(output.path, *output.element, bytes);
  }
  return report.ok() ? Ok : Mismatch;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return run(argc, argv);
  } catch (const Failure &failure) {
    std::fprintf(stderr, "heddle-ptx-run: error: %s\n", failure.message.c_str());
    return failure.code;
  }
}
