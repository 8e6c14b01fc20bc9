# The rows of the kernel table that the target processor may have: KERNEL_SOURCES and KERNEL_DEFINITIONS. Flags of an
# instruction set are given to the files of its row only. Included by the build of the module and by that of cpp/test.
set(KERNEL_SOURCES ${CMAKE_CURRENT_LIST_DIR}/reference.cpp ${CMAKE_CURRENT_LIST_DIR}/select.cpp)
set(KERNEL_DEFINITIONS)

# On macOS a build for the other processor is asked for by CMAKE_OSX_ARCHITECTURES, on Linux by a tool chain.
set(target_processor "${CMAKE_SYSTEM_PROCESSOR}")
if(APPLE AND CMAKE_OSX_ARCHITECTURES)
  list(LENGTH CMAKE_OSX_ARCHITECTURES num_architectures)
  if(num_architectures GREATER 1)
    message(FATAL_ERROR "one processor a wheel: CMAKE_OSX_ARCHITECTURES is '${CMAKE_OSX_ARCHITECTURES}', expected arm64 or x86_64")
  endif()
  set(target_processor "${CMAKE_OSX_ARCHITECTURES}")
endif()

if(target_processor MATCHES "x86_64|AMD64|amd64")
  set(KERNEL_DEFINITIONS UNDERSTUDY_X86)
  # gcc 12 warns about its own AVX-512 headers.
  set(quiet -Wno-uninitialized -Wno-maybe-uninitialized)
  set(row_avx2 -mavx2 -mfma -mf16c ${quiet})
  set(row_avx512 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni ${quiet})
  set(rows avx2 avx512)
elseif(target_processor MATCHES "aarch64|arm64|ARM64")
  set(KERNEL_DEFINITIONS UNDERSTUDY_ARM64)
  set(row_neon)
  set(row_neon_dotprod -march=armv8.2-a+dotprod)
  set(rows neon neon_dotprod)
else()
  set(rows)
endif()
foreach(row ${rows})
  list(APPEND KERNEL_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${row}/table.cpp)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/${row}/table.cpp PROPERTIES COMPILE_OPTIONS "-O3;${row_${row}}")
endforeach()
