// The order in which diverged groups of a warp go on: basic blocks sorted so that every block comes after
// those that lead to it, loops apart, and every loop is contiguous. The group whose block is first runs
// first; the others then wait at the first block where all can meet.
#include "drivers/cuda_sim/Kernel.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

constexpr unsigned nestingLimit = 64; // loops nested deeper stay in the order of their outer loop

struct Graph {
  std::vector<std::vector<uint32_t>> next;
  std::vector<bool> isHeader; // edges to it are those of a loop that is being taken apart
  std::vector<uint32_t> order;

  /// Strongly connected components of `nodes` in topological order.
  std::vector<std::vector<uint32_t>> components(const std::vector<uint32_t> &nodes,
                                                const std::vector<bool> &inside) {
    std::vector<std::vector<uint32_t>> out;
    struct Frame {
      uint32_t node;
      size_t edge;
    };
    std::vector<Frame> frames;
    std::vector<uint32_t> stack;
    uint32_t count = 0;
    for (uint32_t node : nodes)
      number[node] = low[node] = ~0u;
    for (uint32_t root : nodes) {
      if (number[root] != ~0u)
        continue;
      auto enter = [&](uint32_t node) {
        number[node] = low[node] = count++;
        onStack[node] = true;
        stack.push_back(node);
        frames.push_back({node, 0});
      };
      enter(root);
      while (!frames.empty()) {
        Frame &frame = frames.back();
        uint32_t node = frame.node;
        if (frame.edge < next[node].size()) {
          uint32_t to = next[node][frame.edge++];
          if (!inside[to] || isHeader[to])
            continue;
          if (number[to] == ~0u)
            enter(to);
          else if (onStack[to])
            low[node] = std::min(low[node], number[to]);
          continue;
        }
        frames.pop_back();
        if (!frames.empty())
          low[frames.back().node] = std::min(low[frames.back().node], low[node]);
        if (low[node] != number[node])
          continue;
        std::vector<uint32_t> component;
        uint32_t member;
        do {
          member = stack.back();
          stack.pop_back();
          onStack[member] = false;
          component.push_back(member);
        } while (member != node);
        std::sort(component.begin(), component.end());
        out.push_back(std::move(component));
      }
    }
    std::reverse(out.begin(), out.end());
    return out;
  }

  /// Appends `nodes` to `order`; `first` is where control enters them.
  void arrange(std::vector<uint32_t> nodes, uint32_t first, unsigned depth) {
    // Searched from there, so that it comes first.
    std::iter_swap(nodes.begin(), std::find(nodes.begin(), nodes.end(), first));
    std::vector<bool> inside(next.size());
    for (uint32_t node : nodes)
      inside[node] = true;
    for (std::vector<uint32_t> &component : components(nodes, inside)) {
      bool isLoop = component.size() > 1;
      if (!isLoop || depth == nestingLimit) {
        order.insert(order.end(), component.begin(), component.end());
        continue;
      }
      uint32_t header = component[0]; // the one entered from outside; the first in the text if several are
      for (uint32_t node : component)
        if (entered[node] < entered[header])
          header = node;
      isHeader[header] = true;
      arrange(std::move(component), header, depth + 1);
    }
  }

  std::vector<uint32_t> number, low, entered; // entered: when a search from the start finds it
  std::vector<bool> onStack;
};

} // namespace

void analyzeControlFlow(Kernel &kernel) {
  std::vector<Instruction> &code = kernel.code;
  size_t size = code.size();
  auto endsBlock = [](const Instruction &i) {
    return i.control == Control::Branch || i.control == Control::BranchIndexed || i.control == Control::Exit;
  };
  auto targetsOf = [&](size_t at) {
    std::vector<uint32_t> targets;
    const Instruction &i = code[at];
    if (i.control == Control::Branch)
      targets.push_back(i.target);
    else if (i.control == Control::BranchIndexed)
      targets = kernel.tables[i.target];
    bool fallsThrough = !endsBlock(i) || i.guard != truePredicate;
    if (fallsThrough && at + 1 < size)
      targets.push_back(static_cast<uint32_t>(at + 1));
    return targets;
  };
  code[0].leader = true;
  for (size_t at = 0; at < size; ++at) {
    if (!endsBlock(code[at]))
      continue;
    for (uint32_t target : targetsOf(at))
      code[target].leader = true;
    if (at + 1 < size)
      code[at + 1].leader = true;
  }
  std::vector<uint32_t> blockOf(size), ends;
  for (size_t at = 0; at < size; ++at) {
    if (code[at].leader)
      ends.push_back(0);
    blockOf[at] = static_cast<uint32_t>(ends.size()) - 1;
    ends.back() = static_cast<uint32_t>(at);
  }
  Graph graph;
  size_t blocks = ends.size();
  graph.next.resize(blocks);
  graph.isHeader.resize(blocks);
  graph.number.resize(blocks);
  graph.low.resize(blocks);
  graph.onStack.resize(blocks);
  for (size_t block = 0; block < blocks; ++block)
    for (uint32_t target : targetsOf(ends[block]))
      graph.next[block].push_back(blockOf[target]);

  graph.entered.assign(blocks, ~0u);
  std::vector<uint32_t> queue{0};
  graph.entered[0] = 0;
  for (size_t at = 0; at < queue.size(); ++at)
    for (uint32_t to : graph.next[queue[at]])
      if (graph.entered[to] == ~0u) {
        graph.entered[to] = static_cast<uint32_t>(queue.size());
        queue.push_back(to);
      }
  graph.arrange(queue, 0, 0); // blocks that cannot be reached keep rank 0

  std::vector<uint32_t> rankOf(blocks);
  for (size_t at = 0; at < graph.order.size(); ++at)
    rankOf[graph.order[at]] = static_cast<uint32_t>(at);
  kernel.rank.resize(size);
  for (size_t at = 0; at < size; ++at)
    kernel.rank[at] = rankOf[blockOf[at]];
}

} // namespace heddle::cuda_sim
