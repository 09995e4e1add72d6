// Channels-first, pass by pass: a launch for each.
//
// The passes that write go through the tensor backwards, because they follow a reduction whose last blocks
// are still in the L2 cache.
#include "channels_first.cuh"
#include "entries.cuh"

template <class T> __device__ void moments_first(const MomentsArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) take_moments(a, block);
}

template <class T> __device__ void sums_first(const SumsArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) take_sums(a, block);
}

template <class T> __device__ void normalize_first(const NormalizeArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        normalize_part(a, a.shape.blocks - 1 - block);
    }
}

template <class T> __device__ void gradient_first(const GradientArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        gradient_part(a, a.shape.blocks - 1 - block);
    }
}

ENTRIES(moments_first, MomentsArguments)
ENTRIES(sums_first, SumsArguments)
ENTRIES(normalize_first, NormalizeArguments)
ENTRIES(gradient_first, GradientArguments)
