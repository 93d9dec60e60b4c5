#include "core/Support.h"
#include <stdarg.h>
#include <stdio.h>

namespace heddle::runtime {

heddle_status fail(heddle_error *error, heddle_status status, const char *format, ...) {
  if (!error || error->struct_size < offsetof(heddle_error, message))
    return status;
  error->status = status;
  size_t room = smaller(error->struct_size, sizeof(*error)) - offsetof(heddle_error, message);
  if (room == 0)
    return status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->message, room, format, arguments);
  va_end(arguments);
  for (char *c = error->message; *c; ++c)
    if (static_cast<unsigned char>(*c) < 0x20 || *c == 0x7f)
      *c = '?';
  return status;
}

static heddle_status checkSize(size_t size, const char *name, heddle_error *error) {
  // An upper bound keeps a forgotten initialization from reading or writing far past the struct.
  if (size < sizeof(size_t) || size > 65536)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected %s->struct_size to be the size of the struct, but found %zu", name, size);
  return HEDDLE_OK;
}

heddle_status copyStructIn(void *out, size_t size, const void *in, const char *name, heddle_error *error) {
  memset(out, 0, size);
  if (!in)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected '%s', but found NULL", name);
  size_t given;
  memcpy(&given, in, sizeof(given));
  HEDDLE_TRY(checkSize(given, name, error));
  memcpy(out, in, smaller(size, given));
  for (size_t i = size; i < given; ++i)
    if (static_cast<const char *>(in)[i])
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "'%s' has a field at byte %zu that this library does not know", name, i);
  return HEDDLE_OK;
}

heddle_status copyStructOut(void *out, size_t size, const void *value, const char *name,
                            heddle_error *error) {
  if (!out)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected '%s', but found NULL", name);
  size_t given;
  memcpy(&given, out, sizeof(given));
  HEDDLE_TRY(checkSize(given, name, error));
  memcpy(out, value, smaller(size, given));
  memcpy(out, &given, sizeof(given));
  return HEDDLE_OK;
}

} // namespace heddle::runtime

using namespace heddle::runtime;

extern "C" {

heddle_status heddle_version(heddle_version_info *out_info) {
  static const heddle_version_info info = {sizeof(info),           HEDDLE_API_VERSION, HEDDLE_ARTIFACT_FORMAT,
                                           HEDDLE_ARTIFACT_FORMAT, HEDDLE_CODE_ABI,    HEDDLE_CODE_ABI,
                                           HEDDLE_LIBRARY_VERSION};
  return writeStruct(out_info, info, "out_info", nullptr);
}

const char *heddle_status_name(heddle_status status) {
  // In the order of the values.
  static const char names[] = "ok\0invalid argument\0invalid file\0unsupported\0resource limit\0not trusted\0"
                              "input/output error\0cancelled\0busy\0internal error\0unknown status";
  const char *name = names;
  for (unsigned left = smaller<unsigned>(status, HEDDLE_INTERNAL_ERROR + 1); left; --left)
    name += strlen(name) + 1;
  return name;
}
}
