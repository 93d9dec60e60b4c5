# The runtime's tests, and the same under sanitizers. Included by test/unit/CMakeLists.txt.
include(runtime/Kernels.cmake)
set(runtime_tests
  runtime/ArtifactBuilder.cpp
  runtime/ArtifactTest.cpp
  runtime/DriverTest.cpp
  runtime/FormatTest.cpp
  runtime/SessionTest.cpp
  runtime/TargetsTest.cpp
  runtime/TeamTest.cpp)

function(heddle_use_test_kernels)
  foreach(name IN LISTS ARGN)
    target_sources(${name} PRIVATE ${HEDDLE_TEST_KERNELS})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/runtime)
    target_compile_definitions(${name} PRIVATE HEDDLE_TEST_KERNELS="${HEDDLE_TEST_KERNELS}")
  endforeach()
endfunction()

heddle_add_unit_test(runtime-test
  ${runtime_tests}
  runtime/QuietTest.cpp
  runtime/WriterTest.cpp
  ${CMAKE_SOURCE_DIR}/codegen/package/ArtifactWriter.cpp
  ${CMAKE_SOURCE_DIR}/codegen/package/PendingFile.cpp
  ${CMAKE_SOURCE_DIR}/codegen/package/ObjectWriter.cpp
  ${CMAKE_SOURCE_DIR}/ir/Sha256.cpp
  LINK_LIBS heddle_static LLVM)
target_include_directories(runtime-test PRIVATE ${LLVM_INCLUDE_DIRS})
target_compile_definitions(runtime-test PRIVATE HEDDLE_RUNTIME_INCLUDE="${CMAKE_SOURCE_DIR}/runtime/include"
  HEDDLE_RUNTIME_LIBRARY="$<TARGET_FILE:heddle_static>")

add_executable(runtime-toy runtime/ToyTool.cpp runtime/ArtifactBuilder.cpp) # for test/runtime and test/e2e/embedding
target_link_libraries(runtime-toy PRIVATE heddle_static)
add_executable(runtime-guarded runtime/GuardTool.cpp runtime/ArtifactBuilder.cpp) # for test/e2e/test_weights.py
target_link_libraries(runtime-guarded PRIVATE heddle_static)
heddle_use_test_kernels(runtime-test runtime-toy runtime-guarded)

# The runtime's sources are compiled in: all of what is checked has to be instrumented. C callers may pass any value of
# an enum, so that check is off.
get_target_property(runtime_sources heddle_runtime_objects SOURCES)
list(TRANSFORM runtime_sources PREPEND ${CMAKE_SOURCE_DIR}/runtime/)
function(heddle_add_sanitized_runtime_test name sanitizers)
  heddle_add_unit_test(${name} ${ARGN} ${runtime_sources})
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE HEDDLE_LIBRARY_VERSION="sanitized")
  target_compile_options(${name} PRIVATE -O1 -g -fsanitize=${sanitizers} -fno-sanitize-recover=all)
  target_link_options(${name} PRIVATE -fsanitize=${sanitizers})
  target_link_libraries(${name} PRIVATE pthread)
  heddle_use_test_kernels(${name})
endfunction()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  heddle_add_sanitized_runtime_test(runtime-asan-test address,undefined ${runtime_tests})
  target_compile_options(runtime-asan-test PRIVATE -fno-sanitize=enum)
  heddle_add_sanitized_runtime_test(runtime-tsan-test thread
    runtime/ArtifactBuilder.cpp runtime/SessionTest.cpp runtime/TeamTest.cpp)
endif()
