// Channels-first in one launch: a team of blocks keeps to one channel from its reduction to its last value,
// so that the second pass finds in the L2 cache what the first one read.
//
// All blocks of the launch are there at once (a cooperative launch), `parts` of them to a team; a team goes
// from channel to channel. Its parts, and the order in which they are merged, are those of the passes by
// themselves, and so are the bits.
#include "channels_first.cuh"
#include "entries.cuh"
#include "finish.cuh"

// Waits until every block of the team has come, and sees what they wrote. One thread of a block waits for
// its others, and all of the block for that thread.
__device__ inline void meet(u32* arrivals, u64 members) {
    __syncthreads();
    if (threadIdx.x == 0 && members > 1) {
        __threadfence();
        atomicAdd(arrivals, 1u);
        while (*(volatile u32*)arrivals < members) __nanosleep(64);
        __threadfence();
    }
    __syncthreads();
}

template <class T> __device__ void train_first(const TrainArguments<T>& a) {
    u64 parts = a.moments.shape.parts, teams = gridDim.x / parts, member = blockIdx.x % parts;
    for (u64 channel = blockIdx.x / parts; channel < a.moments.shape.channels; channel += teams) {
        u64 block = channel * parts + member;
        take_moments(a.moments, block);
        meet(a.arrivals + channel, parts);
        // Each block writes the same statistics, and reads what it has written itself.
        if (threadIdx.x < WARP) finish_channel(a.finish, channel, member == 0);
        __syncthreads();
        normalize_part(a.normalize, block);
    }
}

template <class T> __device__ void differentiate_first(const DifferentiateArguments<T>& a) {
    u64 parts = a.sums.shape.parts, teams = gridDim.x / parts, member = blockIdx.x % parts;
    for (u64 channel = blockIdx.x / parts; channel < a.sums.shape.channels; channel += teams) {
        u64 block = channel * parts + member;
        take_sums(a.sums, block);
        meet(a.arrivals + channel, parts);
        if (threadIdx.x < WARP) finish_channel(a.finish, channel);
        __syncthreads();
        gradient_part(a.gradient, block);
    }
}

ENTRIES(train_first, TrainArguments)
ENTRIES(differentiate_first, DifferentiateArguments)
