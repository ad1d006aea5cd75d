# SPDX-License-Identifier: Apache-2.0
# Compiles py/bindings against libraries that exist: needs g++, Python and pybind11 only.
find_package(Python COMPONENTS Interpreter Development.Module REQUIRED)
execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir OUTPUT_VARIABLE pybind11_folder OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
find_package(pybind11 CONFIG REQUIRED HINTS ${pybind11_folder})
foreach(name tuyere_runtime tuyere_builder)
  add_library(${name} SHARED IMPORTED)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${TUYERE_PREBUILT}/lib${name}.so)
endforeach()
file(GLOB binding_sources ${CMAKE_SOURCE_DIR}/py/bindings/*.cpp)
pybind11_add_module(_tuyere NO_EXTRAS ${binding_sources})
target_compile_options(_tuyere PRIVATE -O1)
target_link_libraries(_tuyere PRIVATE tuyere_builder tuyere_runtime)
