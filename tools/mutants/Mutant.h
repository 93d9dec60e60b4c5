// Which of the mutants built into a copy of the sources is in effect: HEDDLE_MUTANT=N, none without it.
// tools/mutate.py includes this in that copy only. With HEDDLE_MUTANT_REACHED=FILE, byte N of the file (as
// large as it is) tells that the place of mutant N was reached; the file is mapped, so that crashes and child
// processes tell as well.
#pragma once
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace heddle_mutants {

struct Selection {
  int active = 0;
  char *reached = nullptr;
  int places = 0;

  Selection() {
    if (const char *number = std::getenv("HEDDLE_MUTANT"))
      active = std::atoi(number);
    const char *path = std::getenv("HEDDLE_MUTANT_REACHED");
    int file = path ? open(path, O_RDWR) : -1;
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
      return;
    void *mapped = mmap(nullptr, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED)
      return;
    reached = static_cast<char *>(mapped);
    places = static_cast<int>(status.st_size);
  }
};

inline bool on(int number) {
  static const Selection selection;
  if (number < selection.places)
    selection.reached[number] = 1;
  return number == selection.active;
}

} // namespace heddle_mutants
