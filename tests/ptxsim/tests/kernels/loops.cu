// Loops whose instructions can be counted by hand.

extern "C" __global__ void nested(const float* __restrict__ x, float* __restrict__ y, int rows, int steps) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float total = 0.f;
#pragma unroll 1
  for (int r = 1; r < rows; r += 2) {
    float v = 0.f;
#pragma unroll 1
    for (int t = 0; t < steps; ++t) v = v * 0.5f + x[t * rows + r + i];
    total += __expf(v);
    y[r * rows + i] = total;
  }
}

extern "C" __global__ void choice(const float4* __restrict__ x, float4* __restrict__ y, const int* kinds, int steps) {
  float4 v = x[threadIdx.x];
#pragma unroll 1
  for (int t = 1; t < steps; ++t) {
    float4 u = x[t * blockDim.x + threadIdx.x];
    switch (kinds[t]) {
      case 0: v.x += u.x; break;
      case 1: v.y = v.y * u.y; break;
      case 2: v.z = __expf(u.z); break;
      case 3: v.w = fminf(v.w, u.w); break;
      case 4: v.x = sinf(u.w); break;
      case 5: v.y = u.x / v.w; break;
      default: v.x -= u.w;
    }
    y[t * blockDim.x + threadIdx.x] = v;
  }
}

extern "C" __global__ void straight(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
