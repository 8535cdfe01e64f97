// A libcuda.so.1 for machines without a GPU: just enough for the real cuda-python to run on.
// Device memory is host memory and work runs at once. Graphs are captured but do nothing.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_HANDLE = 400 };
enum { NOT_FOUND = 500, DEPTH = 16, LARGEST = 1 << 30 };

static _Thread_local uintptr_t stack[DEPTH];
static _Thread_local int depth;
static int retained, handles = 0x100;

#define NEEDS_CONTEXT \
  if (!depth) return INVALID_CONTEXT

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int* version) { return *version = 13000, OK; }
int cuDeviceGetCount(int* count) { return *count = 1, OK; }
int cuDeviceGet(int* device, int index) { return *device = index, index ? 101 : OK; }
int cuDeviceGetName(char* name, int length, int device) {
  (void)device;
  strncpy(name, "Stub GPU", (size_t)length);
  return OK;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 9 : attribute == 19;  // compute capability 9.0, not integrated
  return OK;
}
int cuDevicePrimaryCtxRetain(uintptr_t* context, int device) {
  (void)device;
  return ++retained, *context = 0x1000, OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  (void)device;
  return retained-- > 0 ? OK : INVALID_CONTEXT;
}
int stub_retained(void) { return retained; }

int cuCtxPushCurrent_v2(uintptr_t context) {
  if (!context || depth == DEPTH) return INVALID_CONTEXT;
  return stack[depth++] = context, OK;
}
int cuCtxPopCurrent_v2(uintptr_t* context) {
  if (!depth) return INVALID_CONTEXT;
  return *context = stack[--depth], OK;
}
int cuCtxGetCurrent(uintptr_t* context) { return *context = depth ? stack[depth - 1] : 0, OK; }
int cuCtxSetCurrent(uintptr_t context) {
  if (depth) --depth;
  return context ? cuCtxPushCurrent_v2(context) : OK;
}

int cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  NEEDS_CONTEXT;
  return *free_bytes = LARGEST, *total = 2u * LARGEST, OK;
}
int cuMemAlloc_v2(uint64_t* address, size_t size) {
  NEEDS_CONTEXT;
  if (size > LARGEST) return OUT_OF_MEMORY;
  return *address = (uintptr_t)malloc(size), OK;
}
int cuMemFree_v2(uint64_t address) {
  NEEDS_CONTEXT;
  return free((void*)(uintptr_t)address), OK;
}
int cuMemHostAlloc(void** address, size_t size, unsigned flags) {
  NEEDS_CONTEXT;
  if (flags != 1 && flags != 3) return INVALID_VALUE;  // portable, perhaps mapped
  return *address = malloc(size), OK;
}
int cuMemFreeHost(void* address) {
  NEEDS_CONTEXT;
  return free(address), OK;
}
int cuMemHostGetDevicePointer_v2(uint64_t* device, void* host, unsigned flags) {
  (void)flags;
  return *device = (uintptr_t)host, OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t size, uintptr_t stream) {
  NEEDS_CONTEXT;
  return stream ? (memcpy((void*)(uintptr_t)to, from, size), OK) : INVALID_HANDLE;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t size, uintptr_t stream) {
  NEEDS_CONTEXT;
  return stream ? (memcpy(to, (void*)(uintptr_t)from, size), OK) : INVALID_HANDLE;
}

static int make(uintptr_t* handle) { return *handle = (uintptr_t)++handles, OK; }
static int use(uintptr_t handle) { return handle ? OK : INVALID_HANDLE; }

int cuStreamCreate(uintptr_t* stream, unsigned flags) {
  NEEDS_CONTEXT;
  return flags == 1 ? make(stream) : INVALID_VALUE;  // non-blocking
}
int cuStreamDestroy_v2(uintptr_t stream) { return use(stream); }
int cuStreamSynchronize(uintptr_t stream) { return use(stream); }
int cuStreamWaitEvent(uintptr_t stream, uintptr_t event, unsigned flags) {
  (void)flags;
  return use(stream) + use(event);
}
int cuEventCreate(uintptr_t* event, unsigned flags) {
  return flags == 0 || flags == 2 ? make(event) : INVALID_VALUE;
}
int cuEventDestroy_v2(uintptr_t event) { return use(event); }
int cuEventRecord(uintptr_t event, uintptr_t stream) { return use(event) + use(stream); }
int cuEventQuery(uintptr_t event) {
  static int asked;  // not ready, and then ready
  return use(event) ? INVALID_HANDLE : ++asked % 2 ? 600 : OK;
}
int cuEventSynchronize(uintptr_t event) { return use(event); }
int cuEventElapsedTime(float* ms, uintptr_t start, uintptr_t end) {
  *ms = 1.5f;
  return use(start) + use(end);
}

int cuStreamBeginCapture_v2(uintptr_t stream, int mode) { return mode == 1 ? use(stream) : 1; }
int cuStreamEndCapture(uintptr_t stream, uintptr_t* graph) { return make(graph) + use(stream); }
int cuGraphInstantiateWithFlags(uintptr_t* executable, uintptr_t graph, unsigned long long flags) {
  return flags ? INVALID_VALUE : make(executable) + use(graph);
}
int cuGraphLaunch(uintptr_t executable, uintptr_t stream) { return use(executable) + use(stream); }
int cuGraphExecDestroy(uintptr_t executable) { return use(executable); }
int cuGraphDestroy(uintptr_t graph) { return use(graph); }

int cuGetErrorName(int code, const char** text) {
  *text = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL;
  return *text ? OK : INVALID_VALUE;
}
int cuGetErrorString(int code, const char** text) {
  *text = code == OUT_OF_MEMORY ? "out of memory" : NULL;
  return *text ? OK : INVALID_VALUE;
}

// How cuda-python finds every function: by its name without a version.
int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags, int* found);
int cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, NULL);  // what 12.2 begins with
}

#define AT(name, function) {name, (void*)function}
static const struct {
  const char* name;
  void* function;
} kFunctions[] = {
    AT("cuGetProcAddress", cuGetProcAddress_v2),
    AT("cuInit", cuInit),
    AT("cuDriverGetVersion", cuDriverGetVersion),
    AT("cuDeviceGetCount", cuDeviceGetCount),
    AT("cuDeviceGet", cuDeviceGet),
    AT("cuDeviceGetName", cuDeviceGetName),
    AT("cuDeviceGetAttribute", cuDeviceGetAttribute),
    AT("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain),
    AT("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2),
    AT("cuCtxPushCurrent", cuCtxPushCurrent_v2),
    AT("cuCtxPopCurrent", cuCtxPopCurrent_v2),
    AT("cuMemGetInfo", cuMemGetInfo_v2),
    AT("cuMemAlloc", cuMemAlloc_v2),
    AT("cuMemFree", cuMemFree_v2),
    AT("cuMemHostAlloc", cuMemHostAlloc),
    AT("cuMemFreeHost", cuMemFreeHost),
    AT("cuMemHostGetDevicePointer", cuMemHostGetDevicePointer_v2),
    AT("cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2),
    AT("cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2),
    AT("cuStreamCreate", cuStreamCreate),
    AT("cuStreamDestroy", cuStreamDestroy_v2),
    AT("cuStreamSynchronize", cuStreamSynchronize),
    AT("cuStreamWaitEvent", cuStreamWaitEvent),
    AT("cuEventCreate", cuEventCreate),
    AT("cuEventDestroy", cuEventDestroy_v2),
    AT("cuEventRecord", cuEventRecord),
    AT("cuEventQuery", cuEventQuery),
    AT("cuEventSynchronize", cuEventSynchronize),
    AT("cuEventElapsedTime", cuEventElapsedTime),
};

int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags,
                        int* found) {
  (void)version;
  (void)flags;
  *function = NULL;
  for (size_t i = 0; i < sizeof kFunctions / sizeof *kFunctions; ++i)
    if (!strcmp(name, kFunctions[i].name)) *function = kFunctions[i].function;
  if (found) *found = *function ? 0 : 1;
  return *function ? OK : NOT_FOUND;
}
