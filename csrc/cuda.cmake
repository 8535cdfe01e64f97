# Resolves BAS_EDGE_CUDA. AUTO would build the kernels where both nvcc and a
# driver are found; this version has none, so AUTO becomes OFF and says so, and
# ON is an error.
string(TOUPPER "${BAS_EDGE_CUDA}" bas_edge_cuda)
if(NOT bas_edge_cuda MATCHES "^(AUTO|ON|OFF)$")
  message(
    FATAL_ERROR
      "BAS_EDGE_CUDA is '${BAS_EDGE_CUDA}'; it must be AUTO, ON or OFF.")
endif()
if(bas_edge_cuda STREQUAL "ON")
  message(
    FATAL_ERROR
      "BAS_EDGE_CUDA=ON, but CUDA kernels are not part of this version yet. "
      "Use -DBAS_EDGE_CUDA=OFF.")
endif()
if(bas_edge_cuda STREQUAL "AUTO")
  find_program(
    BAS_EDGE_NVCC nvcc
    HINTS ENV CUDA_HOME ENV CUDA_PATH
    PATH_SUFFIXES bin)
  find_library(BAS_EDGE_CUDA_DRIVER NAMES libcuda.so.1)
  if(BAS_EDGE_NVCC AND BAS_EDGE_CUDA_DRIVER)
    message(
      STATUS
        "bas_edge: CUDA OFF (nvcc and a driver are here, but this version has no CUDA "
        "kernels yet)")
  else()
    message(
      STATUS
        "bas_edge: CUDA OFF (AUTO needs nvcc and a driver; nvcc: ${BAS_EDGE_NVCC}, "
        "driver: ${BAS_EDGE_CUDA_DRIVER})")
  endif()
else()
  message(STATUS "bas_edge: CUDA OFF")
endif()
