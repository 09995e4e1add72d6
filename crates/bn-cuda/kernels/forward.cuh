// y = epilogue((x − mean)·inv_std·gamma + beta), for one channel and for one value.
#pragma once

#include "walk.cuh"

// What a channel normalises with.
struct Channel {
    double mean, inv_std, gamma, beta;
};

template <class T>
__device__ Channel load_channel(const NormalizeArguments<T>& a, u64 group, u64 channel) {
    Channel c;
    const Statistics<T>& from = a.statistics;
    if (from.running_mean != nullptr) {
        c.mean = from.scale * (double)from.running_mean[channel];
        c.inv_std = 1.0 / sqrt(from.scale * (double)from.running_var[channel] + from.eps);
    } else {
        c.mean = from.mean[group * a.shape.channels + channel];
        c.inv_std = from.inv_std[group * a.shape.channels + channel];
    }
    c.gamma = a.gamma != nullptr ? (double)a.gamma[channel] : 1.0;
    c.beta = a.beta != nullptr ? (double)a.beta[channel] : 0.0;
    return c;
}

// Whether a coefficient stays within the range of a float, with room for its products.
__device__ inline bool fits(double value) {
    double size = fabs(value);
    return value == 0.0 || (size >= 0x1p-115 && size <= 0x1p115);
}

__device__ inline bool mean_fits(double mean, double inv_std) {
    return fabs(mean) <= 0x1p115 && inv_std != 0.0 && fits(inv_std);
}

// The coefficients of a channel. The mean is in two parts, so that a float subtracts all of it.
template <class T> struct Affine {
    Narrow<T> mean_high, mean_low, scale, shift;
    // Whether they fit; a channel whose coefficients do not is computed in double.
    bool is_narrow;

    __device__ void set(const Channel& c) {
        double product = c.inv_std * c.gamma;
        mean_high = (Narrow<T>)c.mean;
        mean_low = (Narrow<T>)(c.mean - (double)mean_high);
        scale = (Narrow<T>)product;
        shift = (Narrow<T>)c.beta;
        is_narrow = IS_DOUBLE<T> || (mean_fits(c.mean, c.inv_std) && fits(product));
        // A double has no low part, and an infinite mean must not make one.
        if (IS_DOUBLE<T>) mean_low = 0;
    }
};

// Whether a whole warp's coefficients fit.
template <class T, class Lanes> __device__ bool by_units(const Lanes& lanes) {
    return IS_DOUBLE<T> || __all_sync(ALL_LANES, lanes.are_narrow());
}

template <class N> __device__ N relu(N value) { return value <= 0 ? (N)0 : value; }

// An epilogue that is known when a kernel is compiled, or the one that it was launched with.
constexpr u64 EPILOGUE_AS_LAUNCHED = 3;

template <class T, u64 EPILOGUE> __device__ u64 epilogue_of(const NormalizeArguments<T>& a) {
    return EPILOGUE == EPILOGUE_AS_LAUNCHED ? a.epilogue : EPILOGUE;
}

// The rest of one value, in float or double: the epilogue, and the rounding. `passed` says whether a ReLU
// lets it through, as it is stored.
template <class T, class N>
__device__ Raw<T> finished(u64 epilogue, N value, Raw<T> residual, bool& passed) {
    if (epilogue == EPILOGUE_ADD_RELU) value += (N)Element<T>::narrow(residual);
    if (epilogue != EPILOGUE_NONE) value = relu(value);
    Raw<T> y = Element<T>::raw(value);
    passed = !(Element<T>::narrow(y) <= 0);
    return y;
}

// One value of y from coefficients that fit.
template <class T>
__device__ Raw<T> normalized(u64 epilogue, const Affine<T>& k, Raw<T> x, Raw<T> residual, bool& passed) {
    Narrow<T> deviation = (Element<T>::narrow(x) - k.mean_high) - k.mean_low;
    return finished<T>(epilogue, fma(deviation, k.scale, k.shift), residual, passed);
}

// How many units of x a plain kernel reads at once. Residuals and bits take registers too.
template <u64 EPILOGUE>
constexpr u32 BATCH_OF_EPILOGUE = EPILOGUE == EPILOGUE_NONE ? BATCH_OF_PLAIN : BATCH_OF_PLAIN / 2;

// A batch of units that were read. `lanes.at(i)` has the coefficients of value i.
template <class T, u32 U, bool IS_PLAIN, u64 EPILOGUE, u32 BATCH, class Lanes>
__device__ void normalize_batch(const NormalizeArguments<T>& a, const Place (&places)[BATCH],
                                Unit<T, U> (&x)[BATCH], const Lanes& lanes) {
    const u64 epilogue = epilogue_of<T, EPILOGUE>(a);
    Unit<T, U> residual[BATCH];
#pragma unroll
    for (u32 b = 0; b < BATCH; ++b) {
        bool is_added = epilogue == EPILOGUE_ADD_RELU && places[b].exists;
        residual[b] = load<T, U, IS_PLAIN>(a.residual + places[b].offset, is_added);
    }
#pragma unroll
    for (u32 b = 0; b < BATCH; ++b) {
        u32 bits = 0;
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            bool passed;
            x[b].raw[i] = normalized(epilogue, lanes.at(i), x[b].raw[i], residual[b].raw[i], passed);
            bits |= (u32)(passed && places[b].exists) << i;
        }
        store<T, U, IS_PLAIN>(a.y + places[b].offset, x[b], places[b].exists);
        if (epilogue != EPILOGUE_NONE && a.bits != nullptr) {
            store_bits<U>(a.bits, a.shape, places[b], bits);
        }
    }
}

// The units of a part, a batch of them at a time: all are read before the first is written, so that
// loads overlap in place too.
template <class T, u32 U, bool IS_PLAIN, u64 EPILOGUE, class Walk, class Lanes>
__device__ void normalize_units(const NormalizeArguments<T>& a, Walk& walk, const Lanes& lanes) {
    constexpr u32 BATCH = IS_PLAIN ? BATCH_OF_EPILOGUE<EPILOGUE> : 1;
    while (!walk.is_done()) {
        Place places[BATCH];
        Unit<T, U> x[BATCH];
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            places[b] = walk.next();
            x[b] = load<T, U, IS_PLAIN>(a.x + places[b].offset, places[b].exists);
        }
        normalize_batch<T, U, IS_PLAIN, EPILOGUE>(a, places, x, lanes);
    }
}

// A compiler does not see that this changes nothing.
#ifndef EMULATION
__device__ inline void change_perhaps(void* memory) { asm volatile("" ::"l"(memory) : "memory"); }
#endif

// The same, value by value, for threads of a warp of which one has a channel that does not fit. Channels
// that do are computed as above, to the same bits. It is rare, and a function by itself: it would take the
// others' registers. `channel_of(i)` is that of value i of a unit.
template <class T, u32 U, class Walk, class ChannelOf>
__device__ __noinline__ void values_of_share(const NormalizeArguments<T>& a, Share share, ChannelOf channel_of) {
    Walk walk(a.shape, share);
    while (!walk.is_done()) {
        Place place = walk.next();
        u32 bits = 0;
#pragma unroll 1
        for (u32 i = 0; i < U && place.exists; ++i) {
            Channel c = channel_of(a, i);
            Affine<T> k;
            k.set(c);
            Raw<T> x = a.x[place.offset + i];
            Raw<T> residual = a.residual != nullptr ? a.residual[place.offset + i] : (Raw<T>)0;
            bool passed;
            if (k.is_narrow) {
                a.y[place.offset + i] = normalized(a.epilogue, k, x, residual, passed);
            } else {
                double value = (wide<T>(x) - c.mean) * c.inv_std * c.gamma + c.beta;
                a.y[place.offset + i] = finished<T>(a.epilogue, value, residual, passed);
            }
            bits |= (u32)passed << i;
        }
        if (a.epilogue != EPILOGUE_NONE && a.bits != nullptr) {
            store_bits<U>(a.bits, a.shape, place, bits);
        }
    }
}

// That function, with a copy of the arguments: were the address of a kernel's own ones taken, everyone would read them
// from memory rather than from the bank of constants.
template <class T, u32 U, class Walk, class ChannelOf>
__device__ void normalize_values(const NormalizeArguments<T>& a, const Share& share, ChannelOf channel_of) {
    NormalizeArguments<T> copy = a;
    change_perhaps(&copy);
    values_of_share<T, U, Walk>(copy, share, channel_of);
}

// A block's share: by units, or where coefficients do not fit, by values.
template <class T, u32 U, bool IS_PLAIN, class Walk, class Lanes>
__device__ void normalize_share(const NormalizeArguments<T>& a, const Share& share, Walk& walk, const Lanes& lanes) {
    if (!by_units<T>(lanes)) {
        u64 group = share.group, first = lanes.first;
        normalize_values<T, U, Walk>(a, share, [group, first](const NormalizeArguments<T>& a, u32 i) {
            return load_channel(a, group, first + i * Lanes::STEP);
        });
    } else if (!IS_PLAIN) {
        normalize_units<T, U, false, EPILOGUE_AS_LAUNCHED>(a, walk, lanes);
    } else if (a.epilogue == EPILOGUE_NONE) {
        normalize_units<T, U, true, EPILOGUE_NONE>(a, walk, lanes);
    } else if (a.epilogue == EPILOGUE_RELU) {
        normalize_units<T, U, true, EPILOGUE_RELU>(a, walk, lanes);
    } else {
        normalize_units<T, U, true, EPILOGUE_ADD_RELU>(a, walk, lanes);
    }
}
