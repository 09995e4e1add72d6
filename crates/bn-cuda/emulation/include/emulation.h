// What the kernels use of CUDA C++, for a CPU on which each thread is a coroutine.
//
// A wait hands over to the scheduler in src/scheduler.rs, which sets the thread's index before it goes on.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

struct Index {
    unsigned x;
};

// The state of the blocks that run in this thread of the operating system, as the thread that runs now sees it;
// src/runtime.rs has the same.
struct Emulation {
    Index thread, block, block_size, grid_size;
    // The rank of the block in its cluster, and how many blocks that has.
    unsigned rank, cluster_size;
    // The shared memory of each of them.
    double** memories;
    // Waits for the block, the warp or the cluster.
    void (*wait)(unsigned whom);
    // What each lane has handed to its warp, twice: a lane may be one exchange ahead of another.
    unsigned long long (*handed)[2];
    // How many exchanges each thread has begun.
    unsigned* exchanges;
    // Copies of the thread that runs now: begins one, ends a group of them, waits for all groups but so many.
    void (*copy)(void* to, const void* from, unsigned bytes);
    void (*commit)();
    void (*arrive)(unsigned groups);
    float (*half_to_float)(unsigned short);
    unsigned short (*float_to_half)(float);
    unsigned short (*float_to_bfloat)(float);
};

inline thread_local Emulation* emulation;

#define threadIdx (emulation->thread)
#define blockIdx (emulation->block)
#define blockDim (emulation->block_size)
#define gridDim (emulation->grid_size)

#define __device__
#define __noinline__
#define shared (emulation->memories[emulation->rank])
#define ENTRY(blocks) static void
#define ARGUMENT const

enum { WAIT_FOR_BLOCK = 0, WAIT_FOR_WARP = 1, WAIT_FOR_CLUSTER = 2 };

inline void __syncthreads() { emulation->wait(WAIT_FOR_BLOCK); }

#define EMULATION

inline void change_perhaps(void*) {}

inline unsigned rank_in_cluster() { return emulation->rank; }
inline unsigned cluster() { return blockIdx.x / emulation->cluster_size; }
inline unsigned blocks_of_cluster() { return emulation->cluster_size; }

// A wait is for all of the cluster, also where some have arrived long ago.
inline void arrive_at_cluster() {}
inline void wait_for_cluster() { emulation->wait(WAIT_FOR_CLUSTER); }

inline double of_rank(const double* own, unsigned rank) {
    return emulation->memories[rank][own - shared];
}

// Copies arrive when they are waited for, and not before.
template <unsigned BYTES> void copy_async(void* to, const void* from, bool exists) {
    emulation->copy(to, exists ? from : nullptr, BYTES);
}
inline void commit_copies() { emulation->commit(); }
inline void wait_for_copies(unsigned groups) { emulation->arrive(groups); }

// Hands `value` to the warp, and takes what lane `from` has handed.
template <class V> V exchange(V value, unsigned from) {
    unsigned self = threadIdx.x, turn = emulation->exchanges[self]++ % 2;
    emulation->handed[self][turn] = 0;
    memcpy(&emulation->handed[self][turn], &value, sizeof value);
    emulation->wait(WAIT_FOR_WARP);
    unsigned other = self / 32 * 32 + from;
    memcpy(&value, &emulation->handed[other][turn], sizeof value);
    return value;
}

template <class V> V __shfl_down_sync(unsigned, V value, unsigned offset) {
    unsigned lane = threadIdx.x % 32;
    return exchange(value, lane + offset < 32 ? lane + offset : lane);
}

template <class V> V __shfl_xor_sync(unsigned, V value, unsigned offset) {
    return exchange(value, threadIdx.x % 32 ^ offset);
}

inline bool __all_sync(unsigned, bool is_true) {
    for (unsigned offset = 1; offset < 32; offset *= 2) {
        bool other = __shfl_xor_sync(0, is_true, offset);
        is_true = is_true && other;
    }
    return is_true;
}

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

template <class To, class From> To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline float __uint_as_float(unsigned bits) { return same_bits<float>(bits); }
inline unsigned __float_as_uint(float value) { return same_bits<unsigned>(value); }
inline double __longlong_as_double(long long bits) { return same_bits<double>(bits); }
inline long long __double_as_longlong(double value) { return same_bits<long long>(value); }
inline float __double2float_rn(double value) { return (float)value; }

struct Half {
    unsigned short bits;
};
struct Bfloat {
    unsigned short bits;
};

inline Half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(Half half) { return half.bits; }
inline float __half2float(Half half) { return emulation->half_to_float(half.bits); }
inline Half __float2half_rn(float value) { return {emulation->float_to_half(value)}; }
inline Bfloat __float2bfloat16_rn(float value) { return {emulation->float_to_bfloat(value)}; }
inline unsigned short __bfloat16_as_ushort(Bfloat bfloat) { return bfloat.bits; }

template <class V> V min(V a, V b) { return b < a ? b : a; }

using std::fabs;
using std::fma;
using std::fmax;
using std::fmin;
using std::isfinite;
using std::isinf;
using std::sqrt;
