# SPDX-License-Identifier: Apache-2.0
# Finds what the build needs. CUDA, cuDNN and NVRTC headers come out of the wheels that torch depends on: no toolkit is needed.
# Nothing found here is linked into the runtime: libraries are opened at run time by soname.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Python COMPONENTS Interpreter REQUIRED)
if(TUYERE_BUILD_BINDINGS)
  find_package(Python COMPONENTS Interpreter Development.Module REQUIRED)
endif()

# Headers of one package. A cross compiler must not see the rest of /usr/include.
function(tuyere_headers target include package)
  if(CMAKE_CROSSCOMPILING)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/headers)
    file(CREATE_LINK ${include}/${package} ${CMAKE_BINARY_DIR}/headers/${package} SYMBOLIC)
    set(include ${CMAKE_BINARY_DIR}/headers)
  endif()
  target_include_directories(${target} SYSTEM INTERFACE ${include})
endfunction()

# One Python call tells where the wheels are: KEY=folder lines.
execute_process(
  COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/find_wheels.py
  OUTPUT_VARIABLE wheel_folders OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" wheel_folders "${wheel_folders}")
foreach(line IN LISTS wheel_folders)
  if(line MATCHES "^([A-Z_0-9]+)=(.*)$")
    set(key ${CMAKE_MATCH_1})
    set(folder "${CMAKE_MATCH_2}")
    if(NOT DEFINED ${key})
      set(${key} "${folder}")
      message(STATUS "wheel: ${key} = ${folder}")
    endif()
  endif()
endforeach()

add_library(tuyere_json INTERFACE)
find_path(JSON_INCLUDE nlohmann/json.hpp HINTS ${JSON_WHEEL_INCLUDE})
if(NOT JSON_INCLUDE)
  message(FATAL_ERROR "nlohmann/json.hpp not found: apt install nlohmann-json3-dev, or pip install nvidia-cudnn-frontend")
endif()
tuyere_headers(tuyere_json ${JSON_INCLUDE} nlohmann)

add_library(tuyere_cuda_headers INTERFACE)
if(TUYERE_CUDA AND CUDA_INCLUDE)
  # cublasLt.h needs two headers that torch does not depend on. Looked for in the wheels only: what a toolkit left elsewhere must not hide that they are missing.
  foreach(header_of "crt/host_defines.h|nvidia-cuda-crt" "nv/target|nvidia-cuda-cccl")
    string(REPLACE "|" ";" header_of ${header_of})
    list(GET header_of 0 header)
    list(GET header_of 1 wheel)
    if(NOT EXISTS ${CUDA_INCLUDE}/${header})
      message(FATAL_ERROR "${header} is not in ${CUDA_INCLUDE}: pip install \"${wheel}>=13.0,<13.1\"")
    endif()
  endforeach()
  target_include_directories(tuyere_cuda_headers SYSTEM INTERFACE ${CUDA_INCLUDE})
  if(CUDNN_INCLUDE)
    target_include_directories(tuyere_cuda_headers SYSTEM INTERFACE ${CUDNN_INCLUDE})
  endif()
  target_compile_definitions(tuyere_cuda_headers INTERFACE TUYERE_WITH_CUDA=1)
endif()

add_library(tuyere_cudnn_headers INTERFACE)
if(CUDNN_FRONTEND_INCLUDE)
  target_include_directories(tuyere_cudnn_headers SYSTEM INTERFACE ${CUDNN_FRONTEND_INCLUDE})
endif()

add_library(tuyere_onednn_headers INTERFACE)
find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.h HINTS ${DNNL_WHEEL_INCLUDE})
if(DNNL_INCLUDE)
  tuyere_headers(tuyere_onednn_headers ${DNNL_INCLUDE} oneapi)
  target_compile_definitions(tuyere_onednn_headers INTERFACE TUYERE_WITH_ONEDNN=1)
endif()

add_library(tuyere_hwy INTERFACE)
find_path(HWY_INCLUDE hwy/highway.h)
if(CMAKE_CROSSCOMPILING)
  set(HWY_LIBRARY "")  # the library here is for this machine; its few names stay open in ours
else()
  find_library(HWY_LIBRARY hwy)
endif()
if(NOT HWY_INCLUDE OR NOT (HWY_LIBRARY OR CMAKE_CROSSCOMPILING))
  message(FATAL_ERROR "Highway not found: apt install libhwy-dev")
endif()
tuyere_headers(tuyere_hwy ${HWY_INCLUDE} hwy)
target_link_libraries(tuyere_hwy INTERFACE ${HWY_LIBRARY})

if(TUYERE_BUILD_BINDINGS)
  find_package(pybind11 CONFIG HINTS ${PYBIND11_CMAKE})
endif()
