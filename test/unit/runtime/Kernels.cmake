# The toy kernels' image, linked the way codegen/cpu links: segments R and R+X only, memory as in the file.
find_program(HEDDLE_CLANG NAMES clang-19 clang REQUIRED)
set(HEDDLE_TEST_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/runtime-kernels.elf)
add_custom_command(OUTPUT ${HEDDLE_TEST_KERNELS}
  COMMAND ${HEDDLE_CLANG} -O2 -std=c11 -fPIC -ffreestanding -fno-builtin -fvisibility=hidden -nostdlib -shared
    -mavx2 -fuse-ld=lld -Wl,--no-undefined,--build-id=none,--hash-style=sysv,-z,rodynamic,-z,norelro,-z,text
    -Wl,-z,max-page-size=4096,-z,separate-loadable-segments
    -I${CMAKE_CURRENT_LIST_DIR}/../../../runtime/include -o ${HEDDLE_TEST_KERNELS}
    ${CMAKE_CURRENT_LIST_DIR}/Kernels.c
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/Kernels.c VERBATIM)
