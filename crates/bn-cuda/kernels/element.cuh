// Element types: how values are read from memory, computed with and written back.
//
// Values travel in units of up to 16 bytes, the widest load a thread has.
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

template <class T> constexpr bool IS_DOUBLE = sizeof(Narrow<T>) == sizeof(double);

template <class T> __device__ double wide(Raw<T> raw) { return (double)Element<T>::narrow(raw); }

// What a thread reads or writes at once: U values side by side, 16 bytes where rows have whole units of so
// many, fewer elsewhere. The host chooses U from the problem, so that every unit is whole.
template <class T, u32 U> struct alignas(U * sizeof(Raw<T>)) Unit {
    Raw<T> raw[U];
};

template <u32 BYTES> struct WordOf;
template <> struct WordOf<2> { using Word = u16; };
template <> struct WordOf<4> { using Word = u32; };
template <> struct WordOf<8> { using Word = uint2; };
template <> struct WordOf<16> { using Word = uint4; };

template <class T, u32 U> using Word = typename WordOf<U * sizeof(Raw<T>)>::Word;

// A unit, or zero bits where there is none. Unaligned, it is read value by value: which values a thread
// gets never depends on the address, so neither does any bit of a result.
template <class T, u32 U, bool IS_ALIGNED> __device__ Unit<T, U> load(const Raw<T>* from, bool exists) {
    Unit<T, U> unit = {};
    if (exists) {
        if (IS_ALIGNED) {
            *(Word<T, U>*)&unit = *(const Word<T, U>*)from;
        } else {
#pragma unroll
            for (u32 i = 0; i < U; ++i) unit.raw[i] = from[i];
        }
    }
    return unit;
}

template <class T, u32 U, bool IS_ALIGNED>
__device__ void store(Raw<T>* to, const Unit<T, U>& unit, bool exists) {
    if (!exists) return;
    if (IS_ALIGNED) {
        *(Word<T, U>*)to = *(const Word<T, U>*)&unit;
    } else {
#pragma unroll
        for (u32 i = 0; i < U; ++i) to[i] = unit.raw[i];
    }
}
