# SPDX-License-Identifier: Apache-2.0
# Compiles the files of one folder together: most of a file's time goes into the headers, which a folder shares. A build from scratch is 3 to 4 times faster;
# private names of one folder must differ. References form one group for all families: they have the names of the fast kernels beside them.
option(TUYERE_UNITY "compile the files of a folder together (off: shorter builds after a change of one file)" ON)

function(tuyere_unity target)
  if(NOT TUYERE_UNITY)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    file(STRINGS ${source} once_per_target REGEX "hwy/foreach_target.h" LIMIT_COUNT 1)  # Highway includes such a file again for every instruction set
    if(once_per_target)
      set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    elseif(source MATCHES "_ref\\.cpp$")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP references)
    else()
      cmake_path(GET source PARENT_PATH folder)
      cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${CMAKE_SOURCE_DIR})
      string(REPLACE "/" "_" group ${folder})
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
