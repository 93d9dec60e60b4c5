#include "drivers/npu_sim/Simulator.h"

namespace heddle::npu_sim {

const char *nameOf(Problem::Kind kind) {
  switch (kind) {
  case Problem::Kind::OutOfBounds:
    return "out of bounds";
  case Problem::Kind::Misaligned:
    return "misaligned";
  case Problem::Kind::BadValue:
    return "bad value";
  case Problem::Kind::UnwrittenRead:
    return "unwritten read";
  case Problem::Kind::Race:
    return "race";
  case Problem::Kind::Semaphore:
    return "semaphore";
  case Problem::Kind::Deadlock:
    return "deadlock";
  case Problem::Kind::Limit:
    return "limit";
  }
  return "";
}

std::string Problem::text() const {
  std::string out = "command " + std::to_string(command) + " (" + commandText + ")";
  if (!source.empty())
    out += ", for '" + source + "'";
  return out + ": " + nameOf(kind) + ": " + message;
}

void Counts::add(const Counts &other) {
  cycles += other.cycles;
  commands += other.commands;
  for (int i = 0; i < 3; ++i) {
    busy[i] += other.busy[i];
    waiting[i] += other.waiting[i];
    conflicts[i] += other.conflicts[i];
  }
  multiplyAdds += other.multiplyAdds;
  bytesLoaded += other.bytesLoaded;
  bytesStored += other.bytesStored;
}

/// Names come from model files.
static std::string escaped(const std::string &text) {
  std::string out;
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += c < 0x20 || c >= 0x7f ? '?' : c;
  }
  return out;
}

std::string chromeTraceEvents(const Function &function, std::span<const Event> events) {
  std::string out;
  for (const Event &event : events)
    out += std::string("{\"name\":\"") + infoOf(event.opcode)->name +
           "\",\"ph\":\"X\",\"pid\":0,\"tid\":" + std::to_string(event.queue) +
           ",\"ts\":" + std::to_string(event.start) + ",\"dur\":" + std::to_string(event.end - event.start) +
           ",\"args\":{\"kernel\":\"" + escaped(function.name) +
           "\",\"command\":" + std::to_string(event.command) + ",\"source\":\"" +
           escaped(function.sourceOf(event.command)) + "\"}},\n";
  return out;
}

std::string chromeTraceFile(const std::string &events) {
  static constexpr const char *queueNames[] = {"dma", "array", "vector"};
  std::string out = "{\"traceEvents\":[\n" + events;
  for (int queue = 0; queue < 3; ++queue)
    out += "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":0,\"tid\":" + std::to_string(queue) +
           ",\"args\":{\"name\":\"" + queueNames[queue] + "\"}}" + (queue < 2 ? ",\n" : "\n");
  return out + "]}\n";
}

} // namespace heddle::npu_sim
