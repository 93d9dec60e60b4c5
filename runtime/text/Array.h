// A growable array and a binary heap on malloc, for trivially copyable elements. No exceptions: growing
// returns false when there is no memory.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace heddle::text {

template <typename T> class Array {
public:
  Array() = default;
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  ~Array() { free(items); }

  size_t size() const { return count; }
  bool empty() const { return count == 0; }
  T *data() { return items; }
  const T *data() const { return items; }
  T &operator[](size_t i) { return items[i]; }
  const T &operator[](size_t i) const { return items[i]; }
  T &back() { return items[count - 1]; }
  void clear() { count = 0; }
  void pop() { --count; }

  bool reserve(size_t wanted) {
    if (wanted <= capacity)
      return true;
    size_t larger = capacity < 16 ? 32 : capacity * 2;
    if (larger < wanted)
      larger = wanted;
    if (larger > SIZE_MAX / 2 / sizeof(T))
      return false;
    void *moved = realloc(items, larger * sizeof(T));
    if (!moved)
      return false;
    items = static_cast<T *>(moved);
    capacity = larger;
    return true;
  }
  bool push(T item) {
    if (count == capacity && !reserve(count + 1))
      return false;
    items[count++] = item;
    return true;
  }
  bool append(const T *from, size_t n) {
    if (n > SIZE_MAX - count || !reserve(count + n))
      return false;
    if (n)
      memcpy(items + count, from, n * sizeof(T));
    count += n;
    return true;
  }

private:
  T *items = nullptr;
  size_t count = 0, capacity = 0;
};

// A heap in `items[0..count)` whose first element comes before all others. `before(a, b)` is a strict order.
template <typename T, typename Before> void siftUp(T *items, size_t at, Before before) {
  T item = items[at];
  while (at > 0 && before(item, items[(at - 1) / 2])) {
    items[at] = items[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  items[at] = item;
}

template <typename T, typename Before> void siftDown(T *items, size_t count, size_t at, Before before) {
  T item = items[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && before(items[child + 1], items[child]))
      ++child;
    if (!before(items[child], item))
      break;
    items[at] = items[child];
  }
  items[at] = item;
}

template <typename T, typename Before> void makeHeap(T *items, size_t count, Before before) {
  for (size_t at = count / 2; at-- > 0;)
    siftDown(items, count, at, before);
}

template <typename T, typename Before> bool pushHeap(Array<T> &heap, T item, Before before) {
  if (!heap.push(item))
    return false;
  siftUp(heap.data(), heap.size() - 1, before);
  return true;
}

template <typename T, typename Before> T popHeap(Array<T> &heap, Before before) {
  T first = heap[0];
  heap[0] = heap.back();
  heap.pop();
  if (!heap.empty())
    siftDown(heap.data(), heap.size(), 0, before);
  return first;
}

} // namespace heddle::text
