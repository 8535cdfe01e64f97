#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU: build for that GPU, test, run compute-sanitizer, measure.
#
#   benchmarks/gpu_check.sh
#   VENV=/tmp/env RESULTS=/tmp/rows benchmarks/gpu_check.sh
#   NO_INSTALL=1 PYTHON=python3 benchmarks/gpu_check.sh
#
# Variables:
#   VENV        environment that `make dev` makes or brings up to date (.venv)
#   PYTHON      interpreter to make it with; with NO_INSTALL=1 the one that everything runs in
#   NO_INSTALL  1: install nothing and need no network. PYTHON must have torch, numpy, pytest,
#               pybind11, cmake and ninja; both native modules are built into bas_edge/ops, where
#               only this interpreter finds them. What else is missing is named with its step.
#   EXTRAS      extras to install besides, such as tensorrt
#   RESULTS     folder for rows and logs (build/gpu-results)
#   STEP_S      most seconds for one step (900); rows that are there by then are kept
#   STEPS       which steps: "build tests sanitizer measure"
#
# A failed step does not end it. Exit code: 0, 1 where a step failed or a target was missed, 2 where
# there is no GPU or no nvcc, and nothing was done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
NO_INSTALL=${NO_INSTALL:-0}
EXTRAS=${EXTRAS:-}
STEP_S=${STEP_S:-900}
STEPS=${STEPS:-build tests sanitizer measure}
SANITIZER_TOOLS=(memcheck racecheck initcheck synccheck)

refuse() {
  echo "gpu_check: $*" >&2
  exit 2
}

# Compute capability and name of the first GPU, from the driver itself: Jetson has no nvidia-smi.
find_gpu() {
  "$PYTHON" - <<'PYTHON_CODE'
import ctypes
import sys

try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(f"there is no NVIDIA driver here ({error}).")
code = cuda.cuInit(0)
device, name, value = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
if code or cuda.cuDeviceGet(ctypes.byref(device), 0):
    sys.exit(f"the NVIDIA driver shows no GPU to this process (cuInit gave {code}).")
sides = []
for attribute in (75, 76):  # compute capability, major and minor
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    sides.append(value.value)
cuda.cuDeviceGetName(name, 256, device)
print(f"{sides[0]}{sides[1]} {name.value.decode()}")
PYTHON_CODE
}

command -v "$PYTHON" >/dev/null || refuse "there is no '$PYTHON' here; set PYTHON."
found=$(find_gpu 2>&1) || refuse "$found"
ARCHITECTURE=${found%% *}
GPU=${found#* }
NVCC=$(command -v nvcc || true)
TOOLKIT=${CUDA_HOME:-/usr/local/cuda}
if [[ -z $NVCC && -x $TOOLKIT/bin/nvcc ]]; then NVCC=$TOOLKIT/bin/nvcc; fi
[[ -n $NVCC ]] || refuse "there is no nvcc here: install the CUDA toolkit, or set CUDA_HOME."
export PATH="$(dirname "$NVCC"):$PATH" CUDACXX=$NVCC

mkdir -p "${RESULTS:=build/gpu-results}"
RESULTS=$(cd "$RESULTS" && pwd)
RUN=$PYTHON
[[ $NO_INSTALL == 1 ]] || RUN=$VENV/bin/python
summary=()
failed=0

wants() { [[ " $STEPS " == *" $1 "* ]]; }

note() { # step, what became of it
  summary+=("$(printf '%-25s %s' "$1" "$2")")
  echo "-- $1: $2"
}

# Modules of the arguments that $RUN has not, on one line.
missing() {
  "$RUN" - "$@" <<'PYTHON_CODE'
import importlib.util
import sys

def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

print(*(name for name in sys.argv[1:] if not has(name)))
PYTHON_CODE
}

# step NAME COMMAND…: run it with its output on the screen and in a log, and write down the end.
step() {
  local name=$1 start=$SECONDS code=0 log skipped
  log=$RESULTS/${name// /-}.log
  shift
  echo "== $name: $*"
  timeout "$STEP_S" "$@" 2>&1 | tee "$log" || code=$?
  local took="$((SECONDS - start)) s"
  skipped=$(sed -n 's/^  skipped: //p' "$log" | head -n 1)
  if ((code == 124)); then
    note "$name" "FAILED: stopped after $took, $log"
  elif ((code != 0)); then
    note "$name" "FAILED: exit code $code after $took, $log"
  elif [[ -n $skipped ]]; then
    note "$name" "not run: $skipped"
  else
    note "$name" "passed in $took"
  fi
  ((code == 0)) || failed=1
  return "$code"
}

# needs NAME MODULE…: whether they are there; else the step is written down as not run.
needs() {
  local name=$1 absent
  shift
  absent=$(missing "$@") || absent="a working $RUN"
  [[ -z $absent ]] && return 0
  note "$name" "not run: $RUN lacks $absent"
  return 1
}

build_environment() {
  make dev VENV="$VENV" PYTHON="$PYTHON"
  # Once more, for where `make dev` had nothing to do: other options, the same build folder.
  "$RUN" -m pip install --quiet --constraint constraints.txt --no-build-isolation \
    --editable ".[train,video,report${EXTRAS:+,$EXTRAS}]"
}

build_in_place() {
  local folder=build/gpu-check
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBAS_EDGE_CUDA=ON \
    "-DCMAKE_CUDA_ARCHITECTURES=$ARCHITECTURE-real" \
    "-Dpybind11_DIR=$("$RUN" -m pybind11 --cmakedir)" \
    "-DPython_EXECUTABLE=$("$RUN" -c 'import sys; print(sys.executable)')"
  cmake --build "$folder" --target _native _cuda
  cp "$folder"/_native*.so "$folder"/_cuda*.so bas_edge/ops/
}

echo "gpu_check: $GPU (sm_$ARCHITECTURE), $("$NVCC" --version | tail -n 1)"
if [[ $NO_INSTALL == 1 ]]; then
  PATH="$("$RUN" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH"
  export PYTHONPATH="$PWD:$PWD/training${PYTHONPATH:+:$PYTHONPATH}"
fi
export -f build_environment build_in_place
export RUN VENV PYTHON EXTRAS ARCHITECTURE

if wants build; then
  if [[ $NO_INSTALL == 1 ]]; then
    if needs build torch numpy pytest pybind11; then
      step build bash -euo pipefail -c build_in_place || true
    fi
  else
    step build env \
      "CMAKE_ARGS=-DBAS_EDGE_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$ARCHITECTURE-real" \
      bash -euo pipefail -c build_environment || true
  fi
fi

TEST_MODULES=(pytest hypothesis numpy msgspec PIL onnx onnxruntime torch pybind11)
if wants tests && needs tests "${TEST_MODULES[@]}"; then
  step tests env BAS_EDGE_REQUIRE_GPU=1 "$RUN" -m pytest -m gpu --continue-on-collection-errors \
    -p no:cacheprovider || true
fi

# The emulated kernels are held to the large shapes; here every kernel runs, on small ones.
if wants sanitizer; then
  SANITIZER=$(command -v compute-sanitizer || true)
  for tool in "${SANITIZER_TOOLS[@]}"; do
    if [[ -z $SANITIZER ]]; then
      note "sanitizer $tool" "not run: compute-sanitizer is not installed with $NVCC"
    elif needs "sanitizer $tool" "${TEST_MODULES[@]}"; then
      step "sanitizer $tool" env BAS_EDGE_REQUIRE_GPU=1 BAS_EDGE_EXAMPLES=3 \
        "$SANITIZER" --tool "$tool" --error-exitcode 9 --target-processes all \
        "$RUN" -m pytest -m gpu -q -x -p no:cacheprovider -k "not network and not cameras" \
        tests/ops/test_cuda_aggregate_maps.py tests/ops/test_cuda_localize_maps.py \
        tests/ops/test_cuda_maps_to_boxes.py tests/ops/test_cuda_resize_frame.py || true
    fi
  done
fi

if wants measure; then
  if needs "measure cuda_ops" numpy msgspec PIL; then
    step "measure cuda_ops" "$RUN" -m benchmarks run cuda_ops --results "$RESULTS" || true
  fi
  if needs "measure frame_to_box_gpu" numpy msgspec PIL torch onnx onnxruntime safetensors cv2 \
    skimage; then
    step "measure frame_to_box_gpu" "$RUN" -m benchmarks run frame_to_box_gpu --blocks 2 \
      --results "$RESULTS" || true
  fi
fi

echo
echo "gpu_check on $GPU (sm_$ARCHITECTURE): rows and logs are in $RESULTS"
printf '%s\n' "${summary[@]}"
exit "$failed"
