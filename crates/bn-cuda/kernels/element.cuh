// Element types: how values are read from memory, computed with and written back.
//
// Values travel in units of 16 bytes, the widest load a thread has. A unit that is cut short by the end
// of its row, or whose address is not aligned, is read by narrower loads; which values a thread gets
// never depends on the address, so neither does any bit of a result.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct f16 {};
struct bf16 {};

// Raw: the bits in memory. Param: gamma, beta and running statistics. Narrow: what y and dx are computed
// in where the channel's coefficients fit; statistics are double always.
template <class T> struct Element;

template <> struct Element<float> {
    using Raw = u32;
    using Param = float;
    using Narrow = float;
    static __device__ float narrow(Raw raw) { return __uint_as_float(raw); }
    static __device__ Raw raw(float value) { return __float_as_uint(value); }
    static __device__ Raw raw(double value) { return __float_as_uint(__double2float_rn(value)); }
};

template <> struct Element<double> {
    using Raw = u64;
    using Param = double;
    using Narrow = double;
    static __device__ double narrow(Raw raw) { return __longlong_as_double((long long)raw); }
    static __device__ Raw raw(double value) { return (u64)__double_as_longlong(value); }
};

// The 16-bit types round by way of float, as the contract says.
template <> struct Element<f16> {
    using Raw = u16;
    using Param = float;
    using Narrow = float;
    static __device__ float narrow(Raw raw) { return __half2float(__ushort_as_half(raw)); }
    static __device__ Raw raw(float value) { return __half_as_ushort(__float2half_rn(value)); }
    static __device__ Raw raw(double value) { return raw(__double2float_rn(value)); }
};

template <> struct Element<bf16> {
    using Raw = u16;
    using Param = float;
    using Narrow = float;
    static __device__ float narrow(Raw raw) { return __uint_as_float((u32)raw << 16); }
    static __device__ Raw raw(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }
    static __device__ Raw raw(double value) { return raw(__double2float_rn(value)); }
};

template <class T> using Raw = typename Element<T>::Raw;
template <class T> using Param = typename Element<T>::Param;
template <class T> using Narrow = typename Element<T>::Narrow;

template <class T> __device__ double wide(Raw<T> raw) { return (double)Element<T>::narrow(raw); }

// The number of values in a unit.
template <class T> constexpr u32 LANES = 16 / sizeof(Raw<T>);

// How many units a thread reads before it computes, so that enough loads are on their way: 64 bytes, or
// 32 where a unit has more values than registers would hold.
template <class T> constexpr u32 BATCH = LANES<T> == 8 ? 2 : 4;

template <class T> struct alignas(16) Unit {
    Raw<T> raw[LANES<T>];
};

__device__ inline bool is_aligned(const void* address, u32 bytes) {
    return ((u64)address & (bytes - 1)) == 0;
}

template <class Word> __device__ void copy_words(void* to, const void* from) {
#pragma unroll
    for (u32 i = 0; i < 16 / sizeof(Word); ++i) {
        ((Word*)to)[i] = ((const Word*)from)[i];
    }
}

// A unit of which the first `count` values lie at `from`; the others are zero bits.
template <class T> __device__ Unit<T> load(const Raw<T>* from, u32 count) {
    Unit<T> unit;
    if (count == LANES<T> && is_aligned(from, 16)) {
        copy_words<uint4>(&unit, from);
    } else if (count == LANES<T> && is_aligned(from, 8)) {
        copy_words<uint2>(&unit, from);
    } else {
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            unit.raw[i] = i < count ? from[i] : (Raw<T>)0;
        }
    }
    return unit;
}

// Writes the first `count` values of a unit.
template <class T> __device__ void store(Raw<T>* to, const Unit<T>& unit, u32 count) {
    if (count == LANES<T> && is_aligned(to, 16)) {
        copy_words<uint4>(to, &unit);
    } else if (count == LANES<T> && is_aligned(to, 8)) {
        copy_words<uint2>(to, &unit);
    } else {
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            if (i < count) to[i] = unit.raw[i];
        }
    }
}
