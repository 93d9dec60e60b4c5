// Drivers of devices in shared libraries (heddle/driver.h).
#ifndef HEDDLE_TOOLS_DRIVER_LIBRARY_H
#define HEDDLE_TOOLS_DRIVER_LIBRARY_H

#include <dlfcn.h>
#include <heddle/driver.h>
#include <string>

namespace heddle {

// Whether `device` is ./LIBRARY.so:FUNCTION, the path with a slash.
inline bool namesDriverLibrary(const std::string &device) {
  size_t colon = device.rfind(':'), slash = device.rfind('/');
  return colon != device.npos && slash != device.npos && slash < colon;
}

// The driver that the library's function returns; null, and why. The library stays loaded.
inline const heddle_driver *loadDriverLibrary(const std::string &device, std::string &why) {
  size_t colon = device.rfind(':');
  void *library = dlopen(device.substr(0, colon).c_str(), RTLD_NOW | RTLD_LOCAL);
  void *symbol = library ? dlsym(library, device.c_str() + colon + 1) : nullptr;
  if (symbol)
    return reinterpret_cast<const heddle_driver *(*)()>(symbol)();
  const char *problem = dlerror();
  why = problem ? problem : "";
  return nullptr;
}

} // namespace heddle

#endif
