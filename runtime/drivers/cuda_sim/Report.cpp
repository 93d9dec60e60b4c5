// Problems and counts as text.
#include "drivers/cuda_sim/Simulator.h"

namespace heddle::cuda_sim {

const char *nameOf(ProblemKind kind) {
  constexpr const char *names[] = {"invalid launch", "out of bounds", "misaligned",    "unwritten read",
                                   "race",           "pending copy",  "unwaited copy", "divergent barrier",
                                   "deadlock",       "step limit",    "trap"};
  return names[static_cast<size_t>(kind)];
}

const char *nameOf(Class value) {
  constexpr const char *names[] = {"integer",     "float",        "half",        "convert",      "move",
                                   "compare",     "special",      "dot_product", "mma",          "ldmatrix",
                                   "load_global", "store_global", "load_shared", "store_shared", "load_other",
                                   "store_other", "atomic",       "async_copy",  "exchange",     "barrier",
                                   "branch",      "other"};
  static_assert(std::size(names) == size_t(Class::Count));
  return names[static_cast<size_t>(value)];
}

std::string Problem::text() const {
  auto dims = [](const Dim3 &d) {
    return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
  };
  std::string out = "kernel '" + kernel + "'";
  if (line) {
    out += ", line " + std::to_string(line);
    if (!source.empty())
      out += " (" + source + ")";
    out += ", block " + dims(block) + ", thread " + dims(thread);
  }
  return out + ": " + nameOf(kind) + ": " + message;
}

uint64_t Counters::total() const {
  uint64_t sum = 0;
  for (uint64_t count : instructions)
    sum += count;
  return sum;
}

void Counters::add(const Counters &other) {
  for (size_t i = 0; i < size_t(Class::Count); ++i)
    instructions[i] += other.instructions[i];
  lanes += other.lanes;
  globalLoadRequests += other.globalLoadRequests;
  globalLoadSectors += other.globalLoadSectors;
  globalLoadBytes += other.globalLoadBytes;
  globalStoreRequests += other.globalStoreRequests;
  globalStoreSectors += other.globalStoreSectors;
  globalStoreBytes += other.globalStoreBytes;
  sharedRequests += other.sharedRequests;
  sharedWavefronts += other.sharedWavefronts;
  sharedIdealWavefronts += other.sharedIdealWavefronts;
  multiplyAdds += other.multiplyAdds;
  blocks += other.blocks;
  warps += other.warps;
}

std::string Counters::text() const {
  std::string out;
  auto line = [&](const char *name, uint64_t value) {
    out += std::string(name) + " " + std::to_string(value) + "\n";
  };
  line("blocks", blocks);
  line("warps", warps);
  line("warp_instructions", total());
  line("active_lanes", lanes);
  for (size_t i = 0; i < size_t(Class::Count); ++i)
    if (instructions[i])
      line((std::string("instructions_") + nameOf(Class(i))).c_str(), instructions[i]);
  line("global_load_requests", globalLoadRequests);
  line("global_load_sectors", globalLoadSectors);
  line("global_load_bytes", globalLoadBytes);
  line("global_store_requests", globalStoreRequests);
  line("global_store_sectors", globalStoreSectors);
  line("global_store_bytes", globalStoreBytes);
  line("shared_requests", sharedRequests);
  line("shared_wavefronts", sharedWavefronts);
  line("shared_bank_conflicts", bankConflicts());
  line("mma_multiply_adds", multiplyAdds);
  return out;
}

} // namespace heddle::cuda_sim
