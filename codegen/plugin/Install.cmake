# The package HeddleCompiler, for plug-ins: headers, TableGen files, the shared library. `cmake --install BUILD --component compiler`.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(HEDDLE_COMPILER_INCLUDE ${CMAKE_INSTALL_INCLUDEDIR}/heddle-compiler)
install(TARGETS HeddleCompiler COMPONENT compiler LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(folder ir passes codegen)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${folder} ${CMAKE_BINARY_DIR}/${folder}
    DESTINATION ${HEDDLE_COMPILER_INCLUDE} COMPONENT compiler
    FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.def" PATTERN "*.h.inc"
    PATTERN "CMakeFiles" EXCLUDE)
endforeach()
install(DIRECTORY ${CMAKE_SOURCE_DIR}/runtime/include/heddle DESTINATION ${HEDDLE_COMPILER_INCLUDE}
  COMPONENT compiler FILES_MATCHING PATTERN "*.h")
set(HEDDLE_COMPILER_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/HeddleCompiler)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/HeddleCompilerConfig.cmake.in
  ${CMAKE_BINARY_DIR}/HeddleCompilerConfig.cmake INSTALL_DESTINATION ${HEDDLE_COMPILER_PACKAGE}
  PATH_VARS CMAKE_INSTALL_LIBDIR HEDDLE_COMPILER_INCLUDE NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/HeddleCompilerConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/HeddleCompilerConfig.cmake ${CMAKE_BINARY_DIR}/HeddleCompilerConfigVersion.cmake
  DESTINATION ${HEDDLE_COMPILER_PACKAGE} COMPONENT compiler)
