# Resolves BAS_EDGE_CUDA, and for which chips the kernels are compiled.
#
#   AUTO  ON where both nvcc and a driver are found, so that a plain machine builds fast
#   ON    needs nvcc, but neither a driver nor a GPU
#
# CMAKE_CUDA_ARCHITECTURES is obeyed where it is given (Jetson Orin: 87). Otherwise it is every chip
# of the list below that this nvcc knows, and PTX for those that come after.
string(TOUPPER "${BAS_EDGE_CUDA}" bas_edge_cuda)
if(NOT bas_edge_cuda MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "BAS_EDGE_CUDA is '${BAS_EDGE_CUDA}'; it must be AUTO, ON or OFF.")
endif()

if(NOT bas_edge_cuda STREQUAL "OFF")
  # CMake's own ways to name the compiler come first, then the PATH, then the usual place.
  if(CMAKE_CUDA_COMPILER)
    set(BAS_EDGE_NVCC ${CMAKE_CUDA_COMPILER})
  elseif(NOT "$ENV{CUDACXX}" STREQUAL "")
    set(BAS_EDGE_NVCC $ENV{CUDACXX})
  else()
    find_program(
      BAS_EDGE_NVCC nvcc
      HINTS ENV CUDA_HOME ENV CUDA_PATH
      PATHS /usr/local/cuda
      PATH_SUFFIXES bin)
  endif()
  find_library(BAS_EDGE_CUDA_DRIVER NAMES libcuda.so.1)
endif()
if(bas_edge_cuda STREQUAL "AUTO")
  if(BAS_EDGE_NVCC AND BAS_EDGE_CUDA_DRIVER)
    set(bas_edge_cuda ON)
  else()
    set(bas_edge_cuda OFF)
    message(STATUS "bas_edge: CUDA OFF (AUTO needs nvcc and a driver; nvcc: ${BAS_EDGE_NVCC}, "
                   "driver: ${BAS_EDGE_CUDA_DRIVER})")
    return()
  endif()
elseif(bas_edge_cuda STREQUAL "OFF")
  message(STATUS "bas_edge: CUDA OFF")
  return()
endif()
if(NOT BAS_EDGE_NVCC)
  message(FATAL_ERROR "BAS_EDGE_CUDA=ON, but nvcc was not found. Install the CUDA toolkit (12.0 or "
                      "later), put nvcc on the PATH, or use -DBAS_EDGE_CUDA=OFF.")
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  execute_process(
    COMMAND ${BAS_EDGE_NVCC} --list-gpu-arch
    OUTPUT_VARIABLE known
    RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "'${BAS_EDGE_NVCC} --list-gpu-arch' failed: is it the nvcc of CUDA 12.0 or "
                        "later? Name another one with CUDACXX, or use -DBAS_EDGE_CUDA=OFF.")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "")
  foreach(chip 75 80 86 87 89 90 100 110 120)
    if(known MATCHES "compute_${chip}[\r\n]")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${chip}-real)
    endif()
  endforeach()
  foreach(chip 90 120)
    if(known MATCHES "compute_${chip}[\r\n]")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${chip}-virtual)
    endif()
  endforeach()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${BAS_EDGE_NVCC})
endif()
enable_language(CUDA)
message(STATUS "bas_edge: CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
