// A device that runs tapes on the host, row by row.
#include "tape.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <heddle/driver.h>
#include <new>
#include <string>
#include <vector>

struct heddle_device {
  const heddle_host *host;
};
struct heddle_module {
  heddle_device *device;
  const heddle_program *program;
  uint32_t code;
  std::vector<tape_function> functions;
  std::vector<tape_instruction> instructions;
};
struct heddle_plan {
  heddle_module *module;
  heddle_bindings bindings;
  const heddle_submission *run;
  std::vector<float> registers;
};

namespace {

heddle_status report(heddle_error *error, heddle_status status, const std::string &message) {
  if (error) {
    error->status = status;
    std::snprintf(error->message, sizeof error->message, "device 'tape': %s", message.c_str());
  }
  return status;
}

heddle_status open(const heddle_host *host, heddle_device **out, heddle_error *) {
  *out = new heddle_device{host};
  return HEDDLE_OK;
}
void close(heddle_device *device) { delete device; }

heddle_status capabilities(heddle_device *, heddle_capabilities *out, heddle_error *) {
  out->unified = 1; // it works in the host's memory
  out->features = 0;
  return HEDDLE_OK;
}

heddle_status allocate(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error) {
  void *memory = device->host->allocate(device->host->context, size, 64);
  if (!memory)
    return report(error, HEDDLE_RESOURCE_LIMIT, "no memory");
  *out = {memory, reinterpret_cast<uintptr_t>(memory), size};
  return HEDDLE_OK;
}
void release(heddle_device *device, const heddle_buffer *buffer) {
  device->host->release(device->host->context, buffer->host, buffer->size);
}
char *at(const heddle_buffer *buffer, uint64_t offset) { return static_cast<char *>(buffer->host) + offset; }
heddle_status copy(heddle_device *, const heddle_buffer *to, uint64_t toOffset, const heddle_buffer *from,
                   uint64_t fromOffset, uint64_t size, heddle_error *) {
  std::memmove(at(to, toOffset), at(from, fromOffset), size);
  return HEDDLE_OK;
}
heddle_status zero(heddle_device *, const heddle_buffer *to, uint64_t offset, uint64_t size, heddle_error *) {
  std::memset(at(to, offset), 0, size);
  return HEDDLE_OK;
}

/// What the machine cannot do is found here, so that running needs to check memory alone.
bool isValid(const tape_instruction &i) {
  return i.opcode <= TAPE_LINEAR && i.to < TAPE_REGISTERS && i.columns <= TAPE_COLUMNS &&
         i.inner <= TAPE_COLUMNS &&
         (i.opcode == TAPE_LOAD || i.opcode == TAPE_STORE || i.a < TAPE_REGISTERS) &&
         (i.opcode == TAPE_LINEAR || i.opcode == TAPE_LOAD || i.b < TAPE_REGISTERS) &&
         (i.opcode != TAPE_RMS_NORM || (i.inner && i.columns % i.inner == 0));
}

heddle_status load(heddle_device *device, const heddle_program *program, heddle_module **out,
                   heddle_error *error) {
  uint64_t code = program->header->codes.count;
  while (code > 0 && program->codes[code - 1].features != (HEDDLE_CODE_OTHER | TAPE_NUMBER << 16))
    --code;
  if (code == 0)
    return report(error, HEDDLE_UNSUPPORTED, "the artifact has no code for it; compile with --target tape");
  const heddle_host &host = *device->host;
  const char *member = program->strings + program->codes[code - 1].member;
  heddle_member_info info = {};
  info.struct_size = sizeof info;
  if (heddle_status status = host.find_member(host.context, member, &info, error))
    return status;
  std::vector<char> file(info.size);
  if (heddle_status status = host.read_member(host.context, member, 0, file.data(), file.size(), error))
    return status;
  auto module = new heddle_module{device, program, uint32_t(code - 1), {}, {}};
  tape_header header = {};
  std::memcpy(&header, file.data(), std::min(file.size(), sizeof header));
  uint64_t begin = sizeof header + uint64_t(header.functions) * sizeof(tape_function),
           end = begin + uint64_t(header.instructions) * sizeof(tape_instruction);
  bool good = std::memcmp(header.magic, "TAPE0001", 8) == 0 && end <= file.size() &&
              header.functions == program->header->functions.count;
  if (good) {
    module->functions.resize(header.functions);
    std::memcpy(module->functions.data(), file.data() + sizeof header, begin - sizeof header);
    module->instructions.resize(header.instructions);
    std::memcpy(module->instructions.data(), file.data() + begin, end - begin);
  }
  for (const tape_function &function : module->functions)
    good = good && uint64_t(function.first) + function.count <= header.instructions &&
           function.rows_dim < HEDDLE_DIM_COUNT;
  for (const tape_instruction &instruction : module->instructions)
    good = good && isValid(instruction);
  if (!good) {
    delete module;
    return report(error, HEDDLE_INVALID_FILE, "code/tape.bin is damaged");
  }
  *out = module;
  return HEDDLE_OK;
}
uint32_t codeOf(const heddle_module *module) { return module->code; }
void unload(heddle_module *module) { delete module; }

uint64_t planBytes(const heddle_module *, uint32_t) { return 64; }
heddle_status prepare(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out,
                      heddle_error *) {
  *out = new heddle_plan{module, *bindings, nullptr, std::vector<float>(TAPE_REGISTERS * TAPE_COLUMNS)};
  return HEDDLE_OK;
}
void unprepare(heddle_plan *plan) { delete plan; }

/// Memory of an operand: what its record promises, cut to what there is.
struct Memory {
  float *numbers;
  uint64_t count;
};
Memory memoryOf(const heddle_plan &plan, const heddle_operand &operand) {
  const heddle_bindings &b = plan.bindings;
  const heddle_buffer *buffer = operand.kind == HEDDLE_OPERAND_ARENA    ? &b.arena
                                : operand.kind == HEDDLE_OPERAND_WEIGHT ? &b.weights
                                : operand.kind == HEDDLE_OPERAND_IO     ? &plan.run->ios[operand.index]
                                                                        : nullptr;
  if (!buffer || operand.offset > buffer->size)
    return {nullptr, 0};
  uint64_t left = buffer->size - operand.offset, bytes = operand.bytes < left ? operand.bytes : left;
  return {reinterpret_cast<float *>(at(buffer, operand.offset)), bytes / sizeof(float)};
}

float unary(uint32_t kind, float x) {
  switch (kind) {
  case TAPE_RELU:
    return x < 0 ? 0 : x;
  case TAPE_TANH:
    return std::tanh(x);
  case TAPE_SILU:
    return x / (1 + std::exp(-x));
  }
  return std::exp(x);
}
float binary(uint32_t kind, float a, float b) {
  return kind == TAPE_ADD ? a + b : kind == TAPE_SUB ? a - b : kind == TAPE_MUL ? a * b : a / b;
}

/// False when an instruction would leave its operand.
bool step(heddle_plan &plan, const tape_instruction &i, const std::vector<Memory> &operands, uint64_t row) {
  auto reg = [&](uint32_t number) { return plan.registers.data() + size_t(number) * TAPE_COLUMNS; };
  auto operand = [&](uint32_t number, uint64_t first, uint64_t count) -> float * {
    bool fits = number < operands.size() && first + count <= operands[number].count;
    return fits ? operands[number].numbers + first : nullptr;
  };
  float *to = reg(i.to);
  switch (i.opcode) {
  case TAPE_LOAD: {
    const float *from = operand(i.a, i.kind ? 0 : row * i.columns, i.columns);
    if (from)
      std::memcpy(to, from, i.columns * sizeof(float));
    return from;
  }
  case TAPE_STORE: {
    float *memory = operand(i.a, row * i.columns, i.columns);
    if (memory)
      std::memcpy(memory, reg(i.b), i.columns * sizeof(float));
    return memory;
  }
  case TAPE_UNARY:
    for (uint32_t c = 0; c < i.columns; ++c)
      to[c] = unary(i.kind, reg(i.a)[c]);
    return true;
  case TAPE_BINARY:
    for (uint32_t c = 0; c < i.columns; ++c)
      to[c] = binary(i.kind, reg(i.a)[c], reg(i.b)[c]);
    return true;
  case TAPE_SCALE:
    for (uint32_t c = 0; c < i.columns; ++c)
      to[c] = reg(i.a)[c] * i.number;
    return true;
  case TAPE_RMS_NORM:
    for (uint32_t first = 0; first < i.columns; first += i.inner) {
      float sum = 0;
      for (uint32_t c = 0; c < i.inner; ++c)
        sum += reg(i.a)[first + c] * reg(i.a)[first + c];
      float scale = 1 / std::sqrt(sum / float(i.inner) + i.number);
      for (uint32_t c = 0; c < i.inner; ++c)
        to[first + c] = reg(i.a)[first + c] * scale * reg(i.b)[c];
    }
    return true;
  }
  const float *weights = operand(i.b, 0, (uint64_t(i.columns) + 15) / 16 * 16 * i.inner);
  if (!weights)
    return false;
  std::vector<float> product(i.columns);
  for (uint32_t c = 0; c < i.columns; ++c)
    for (uint32_t k = 0; k < i.inner; ++k)
      product[c] = std::fma(weights[(uint64_t(c) / 16 * i.inner + k) * 16 + c % 16], reg(i.a)[k], product[c]);
  std::memcpy(to, product.data(), i.columns * sizeof(float));
  return true;
}

heddle_status submit(heddle_plan *plan, const heddle_submission *run, heddle_error *error) {
  const heddle_module &module = *plan->module;
  const heddle_program &program = *module.program;
  const heddle_variant &variant = program.variants[run->variant];
  plan->run = run;
  for (uint32_t l = 0; l < variant.launch_count; ++l) {
    if (*run->cancel)
      return HEDDLE_OK; // wait() says so
    const heddle_launch &launch = program.launches[variant.first_launch + l];
    const tape_function &function = module.functions[launch.function];
    std::vector<Memory> operands;
    for (uint32_t o = 0; o < launch.operand_count; ++o)
      operands.push_back(memoryOf(*plan, program.operands[launch.first_operand + o]));
    for (int64_t row = 0; row < run->dims[function.rows_dim]; ++row)
      for (uint32_t i = 0; i < function.count; ++i)
        if (!step(*plan, module.instructions[function.first + i], operands, row))
          return report(error, HEDDLE_INVALID_FILE,
                        "'" + std::string(program.strings + launch.source) + "' leaves its memory");
  }
  return HEDDLE_OK;
}
heddle_status wait(heddle_plan *plan, heddle_error *) {
  return *plan->run->cancel ? HEDDLE_CANCELLED : HEDDLE_OK;
}

const heddle_driver driver = {sizeof(heddle_driver),
                              HEDDLE_DRIVER_VERSION,
                              "tape",
                              open,
                              close,
                              capabilities,
                              allocate,
                              release,
                              copy,
                              zero,
                              load,
                              codeOf,
                              unload,
                              planBytes,
                              prepare,
                              unprepare,
                              submit,
                              wait};

} // namespace

extern "C" __attribute__((visibility("default"))) const heddle_driver *heddle_driver_tape(void) {
  return &driver;
}
