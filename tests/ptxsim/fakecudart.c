// A stand-in for libcudart.so: every kernel launch is handed to a callback (the PTX interpreter).
// Device memory is host memory, shared by all devices, and every call is synchronous.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  MEMORY_ALLOCATION = 2,
  INVALID_CONFIGURATION = 9,
  INSUFFICIENT_DRIVER = 35,
  INVALID_DEVICE_FUNCTION = 98,
  INVALID_DEVICE = 101,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_FAILURE = 719,
  NOT_SUPPORTED = 801
};
enum {
  ATTRIBUTE_MAX_THREADS = 1,
  ATTRIBUTE_MAX_SHARED = 8,
  ATTRIBUTE_WARP_SIZE = 10,
  ATTRIBUTE_MAX_REGISTERS = 12,
  ATTRIBUTE_MULTIPROCESSORS = 16,
  ATTRIBUTE_THREADS_PER_MULTIPROCESSOR = 39,
  ATTRIBUTE_CAPABILITY_MAJOR = 75,
  ATTRIBUTE_CAPABILITY_MINOR = 76,
  ATTRIBUTE_MAX_SHARED_OPTIN = 97
};
enum { FUNCTION_MAX_DYNAMIC_SHARED = 8 };
enum { DEFAULT_SHARED = 49152, OPTIN_SHARED = 232448, MULTIPROCESSORS = 132, THREADS_PER_MULTIPROCESSOR = 2048 };

typedef struct {
  unsigned x, y, z;
} dim3;
typedef void* stream_t;
typedef int (*launch_callback)(const char*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void**, size_t,
                               int, stream_t);
typedef void (*memory_callback)(void*, size_t, int);
typedef struct {
  const void* host;
  const char* name;
  size_t max_shared;
} function;
typedef struct {
  dim3 grid, block;
  size_t shared;
  stream_t stream;
} configuration;
typedef struct {
  dim3 grid, block;
  size_t shared;
  stream_t stream;
  void* attributes;
  unsigned count;
} launch_config;

typedef struct {
  char name[64];
  int error;
} failure;

static launch_callback on_launch;
static memory_callback on_memory;
static _Thread_local int last_error;
static _Thread_local int current_device;
static int devices = 1;
static uintptr_t streams;
static int capability = 90;
static function* functions;
static size_t function_count;
static configuration pending[64];
static int pending_count;
static failure failures[64];
static int failure_count;

static int fail(int error) {
  last_error = error;
  return error;
}

void fake_set(launch_callback launch, memory_callback memory) {
  on_launch = launch;
  on_memory = memory;
}

void fake_set_capability(int value) { capability = value; }
void fake_set_devices(int count) { devices = count; }
int fake_devices(void) { return devices; }
int fake_current_device(void) { return current_device; }

// The next call of a function returns an error and does nothing else.
int fake_fail_next(const char* name, int error) {
  if (failure_count == 64) return INVALID_VALUE;
  snprintf(failures[failure_count].name, sizeof failures->name, "%s", name);
  failures[failure_count++].error = error;
  return SUCCESS;
}

// Drops the failures whose calls never came; their number.
int fake_forget_failures(void) {
  int count = failure_count;
  failure_count = 0;
  return count;
}

static int chosen_failure(const char* name) {
  for (int i = 0; i < failure_count; i++)
    if (!strcmp(failures[i].name, name)) {
      int error = failures[i].error;
      memmove(failures + i, failures + i + 1, sizeof(failure) * (size_t)(--failure_count - i));
      return error;
    }
  return SUCCESS;
}

#define MAY_FAIL(name)                 \
  do {                                 \
    int chosen = chosen_failure(name); \
    if (chosen) return fail(chosen);   \
  } while (0)

int fake_kernel_count(void) { return (int)function_count; }
const char* fake_kernel_name(int index) { return functions[index].name; }

static function* find(const void* host) {
  for (size_t i = 0; i < function_count; i++)
    if (functions[i].host == host) return &functions[i];
  return NULL;
}

static int launch(function* f, dim3 grid, dim3 block, void** arguments, size_t shared, stream_t stream) {
  MAY_FAIL("cudaLaunchKernel");
  if (!f) return fail(INVALID_DEVICE_FUNCTION);
  if (!block.x || !block.y || !block.z || (uint64_t)block.x * block.y * block.z > 1024 || block.z > 64)
    return fail(INVALID_CONFIGURATION);
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return fail(INVALID_CONFIGURATION);
  if (shared > f->max_shared) return fail(INVALID_VALUE);
  if (!on_launch) return fail(INSUFFICIENT_DRIVER);
  int error =
      on_launch(f->name, grid.x, grid.y, grid.z, block.x, block.y, block.z, arguments, shared, current_device, stream);
  return error ? fail(error) : SUCCESS;
}

// What nvcc's generated host code calls.
void** __cudaRegisterFatBinary(void* binary) { return malloc(sizeof(void*)); }
void __cudaRegisterFatBinaryEnd(void** handle) {}
void __cudaUnregisterFatBinary(void** handle) {}
char __cudaInitModule(void** handle) { return 1; }
void __cudaRegisterVar(void** handle, char* host, char* address, const char* name, int external, size_t size,
                       int constant, int global) {}

void __cudaRegisterFunction(void** handle, const char* host, char* device, const char* name, int limit, void* tid,
                            void* bid, void* block, void* grid, int* warp) {
  functions = realloc(functions, (function_count + 1) * sizeof(function));
  functions[function_count++] = (function){host, name, DEFAULT_SHARED};
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, stream_t stream) {
  if (pending_count == 64) return INVALID_CONFIGURATION;
  pending[pending_count++] = (configuration){grid, block, shared, stream};
  return SUCCESS;
}

int __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, stream_t* stream) {
  if (!pending_count) return INVALID_CONFIGURATION;
  configuration c = pending[--pending_count];
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *stream = c.stream;
  return SUCCESS;
}

// Launches.
int __cudaGetKernel(void** kernel, const void* host) {
  *kernel = find(host);
  return *kernel ? SUCCESS : INVALID_DEVICE_FUNCTION;
}
int __cudaLaunchKernel(void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared, stream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream);
}
int cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared, stream_t stream) {
  return launch(find(host), grid, block, arguments, shared, stream);
}
int cudaLaunchKernelExC(const launch_config* config, const void* host, void** arguments) {
  if (config->count) return fail(NOT_SUPPORTED);  // clusters, programmatic launches, ...
  return launch(find(host), config->grid, config->block, arguments, config->shared, config->stream);
}

// Functions.
int cudaFuncSetAttribute(const void* host, int attribute, int value) {
  MAY_FAIL(__func__);
  function* f = find(host);
  if (!f) return fail(INVALID_DEVICE_FUNCTION);
  if (attribute == FUNCTION_MAX_DYNAMIC_SHARED) {
    if (value < 0 || value > OPTIN_SHARED) return fail(INVALID_VALUE);
    f->max_shared = (size_t)value;
  }
  return SUCCESS;
}
int cudaFuncSetCacheConfig(const void* host, int config) {
  MAY_FAIL(__func__);
  return SUCCESS;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* count, const void* host, int block, size_t shared) {
  *count = THREADS_PER_MULTIPROCESSOR / block;
  return SUCCESS;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* count, const void* host, int block, size_t shared,
                                                           unsigned flags) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(count, host, block, shared);
}

// Errors.
int cudaGetLastError(void) {
  int error = last_error;
  last_error = SUCCESS;
  return error;
}
int cudaPeekAtLastError(void) { return last_error; }
const char* cudaGetErrorString(int error) {
  switch (error) {
    case SUCCESS: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case MEMORY_ALLOCATION: return "out of memory";
    case INVALID_CONFIGURATION: return "invalid configuration argument";
    case INVALID_DEVICE_FUNCTION: return "invalid device function";
    case INVALID_DEVICE: return "invalid device ordinal";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    case LAUNCH_FAILURE: return "unspecified launch failure";
    default: return "error reported by the ptxsim runtime";
  }
}
const char* cudaGetErrorName(int error) {
  switch (error) {
    case SUCCESS: return "cudaSuccess";
    case INVALID_VALUE: return "cudaErrorInvalidValue";
    case MEMORY_ALLOCATION: return "cudaErrorMemoryAllocation";
    case INVALID_CONFIGURATION: return "cudaErrorInvalidConfiguration";
    case INVALID_DEVICE_FUNCTION: return "cudaErrorInvalidDeviceFunction";
    case INVALID_DEVICE: return "cudaErrorInvalidDevice";
    case ILLEGAL_ADDRESS: return "cudaErrorIllegalAddress";
    case LAUNCH_FAILURE: return "cudaErrorLaunchFailure";
    default: return "cudaErrorFromPtxsim";
  }
}

// The device.
int cudaGetDeviceCount(int* count) {
  MAY_FAIL(__func__);
  *count = devices;
  return SUCCESS;
}
int cudaGetDevice(int* device) {
  MAY_FAIL(__func__);
  *device = current_device;
  return SUCCESS;
}
int cudaSetDevice(int device) {
  MAY_FAIL(__func__);
  if (device < 0 || device >= devices) return fail(INVALID_DEVICE);
  current_device = device;
  return SUCCESS;
}
int cudaDriverGetVersion(int* version) {
  *version = 13000;
  return SUCCESS;
}
int cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  MAY_FAIL(__func__);
  if (device < 0 || device >= devices) return fail(INVALID_DEVICE);
  switch (attribute) {
    case ATTRIBUTE_MAX_THREADS: *value = 1024; break;
    case ATTRIBUTE_MAX_SHARED: *value = DEFAULT_SHARED; break;
    case ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case ATTRIBUTE_MAX_REGISTERS: *value = 65536; break;
    case ATTRIBUTE_MULTIPROCESSORS: *value = MULTIPROCESSORS; break;
    case ATTRIBUTE_THREADS_PER_MULTIPROCESSOR: *value = THREADS_PER_MULTIPROCESSOR; break;
    case ATTRIBUTE_CAPABILITY_MAJOR: *value = capability / 10; break;
    case ATTRIBUTE_CAPABILITY_MINOR: *value = capability % 10; break;
    case ATTRIBUTE_MAX_SHARED_OPTIN: *value = OPTIN_SHARED; break;
    default: *value = 0;
  }
  return SUCCESS;
}

// Memory.
int cudaMalloc(void** pointer, size_t size) {
  MAY_FAIL(__func__);
  *pointer = aligned_alloc(512, (size + 511) / 512 * 512 + 512);
  if (!*pointer) return fail(MEMORY_ALLOCATION);
  if (on_memory) on_memory(*pointer, size, 1);
  return SUCCESS;
}
int cudaFree(void* pointer) {
  MAY_FAIL(__func__);
  if (on_memory && pointer) on_memory(pointer, 0, 0);
  free(pointer);
  return SUCCESS;
}
int cudaMemcpy(void* target, const void* source, size_t size, int kind) {
  MAY_FAIL(__func__);
  memcpy(target, source, size);
  if (on_memory) on_memory(target, size, 2);
  return SUCCESS;
}
int cudaMemset(void* target, int value, size_t size) {
  MAY_FAIL(__func__);
  memset(target, value, size);
  if (on_memory) on_memory(target, size, 2);
  return SUCCESS;
}
int cudaMallocAsync(void** pointer, size_t size, stream_t stream) {
  MAY_FAIL(__func__);
  return cudaMalloc(pointer, size);
}
int cudaFreeAsync(void* pointer, stream_t stream) {
  MAY_FAIL(__func__);
  return cudaFree(pointer);
}
int cudaMemcpyAsync(void* target, const void* source, size_t size, int kind, stream_t stream) {
  MAY_FAIL(__func__);
  return cudaMemcpy(target, source, size, kind);
}
int cudaMemsetAsync(void* target, int value, size_t size, stream_t stream) {
  MAY_FAIL(__func__);
  return cudaMemset(target, value, size);
}

// Streams and events: everything has finished by the time a call returns.
int cudaStreamCreate(stream_t* stream) {
  MAY_FAIL(__func__);
  *stream = (stream_t)(++streams << 8);  // a handle, never a place in memory
  return SUCCESS;
}
int cudaStreamCreateWithFlags(stream_t* stream, unsigned flags) { return cudaStreamCreate(stream); }
int cudaStreamDestroy(stream_t stream) { return SUCCESS; }
int cudaStreamSynchronize(stream_t stream) {
  MAY_FAIL(__func__);
  return SUCCESS;
}
int cudaStreamWaitEvent(stream_t stream, void* event, unsigned flags) { return SUCCESS; }
int cudaStreamIsCapturing(stream_t stream, int* status) {
  *status = 0;
  return SUCCESS;
}
int cudaDeviceSynchronize(void) {
  MAY_FAIL(__func__);
  return SUCCESS;
}
int cudaEventCreate(void** event) {
  MAY_FAIL(__func__);
  *event = NULL;
  return SUCCESS;
}
int cudaEventCreateWithFlags(void** event, unsigned flags) { return cudaEventCreate(event); }
int cudaEventRecord(void* event, stream_t stream) { return SUCCESS; }
int cudaEventSynchronize(void* event) { return SUCCESS; }
int cudaEventDestroy(void* event) { return SUCCESS; }
