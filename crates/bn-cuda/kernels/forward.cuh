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

template <class T> constexpr bool IS_DOUBLE = sizeof(Narrow<T>) == sizeof(double);

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

template <class N> __device__ N relu(N value) { return value <= 0 ? (N)0 : value; }

// The rest of one value, in float or double: the epilogue, and the rounding. `passed` says whether a ReLU
// lets it through, as it is stored.
template <class T, class N>
__device__ Raw<T> finished(const NormalizeArguments<T>& a, N value, Raw<T> residual, bool& passed) {
    if (a.epilogue == EPILOGUE_ADD_RELU) value += (N)Element<T>::narrow(residual);
    if (a.epilogue != EPILOGUE_NONE) value = relu(value);
    Raw<T> y = Element<T>::raw(value);
    passed = !(Element<T>::narrow(y) <= 0);
    return y;
}

// One value of y from coefficients that fit.
template <class T>
__device__ Raw<T> normalized(const NormalizeArguments<T>& a, const Affine<T>& k, Raw<T> x,
                             Raw<T> residual, bool& passed) {
    Narrow<T> deviation = (Element<T>::narrow(x) - k.mean_high) - k.mean_low;
    return finished(a, fma(deviation, k.scale, k.shift), residual, passed);
}

// The units of a part, a batch of them at a time: all are read before the first is written, so that
// loads overlap in place too. `lanes.at(i)` has the coefficients of lane i.
template <class T, class Walk, class Lanes>
__device__ void normalize_units(const NormalizeArguments<T>& a, Walk& walk, const Lanes& lanes) {
    while (!walk.is_done()) {
        Place places[BATCH<T>];
        Unit<T> x[BATCH<T>], residual[BATCH<T>];
#pragma unroll
        for (u32 b = 0; b < BATCH<T>; ++b) {
            places[b] = walk.next();
            x[b] = load<T>(a.x + places[b].offset, places[b].count);
            residual[b] = {};
            if (a.residual != nullptr) {
                residual[b] = load<T>(a.residual + places[b].offset, places[b].count);
            }
        }
#pragma unroll
        for (u32 b = 0; b < BATCH<T>; ++b) {
            u32 bits = 0;
#pragma unroll
            for (u32 i = 0; i < LANES<T>; ++i) {
                bool passed;
                x[b].raw[i] = normalized(a, lanes.at(i), x[b].raw[i], residual[b].raw[i], passed);
                bits |= (u32)(passed && i < places[b].count) << i;
            }
            store<T>(a.y + places[b].offset, x[b], places[b].count);
            if (a.bits != nullptr) store_bits<T>(a.bits, places[b], bits);
        }
    }
}

// The same, value by value, for threads of a warp of which one has a channel that does not fit. Channels
// that do are computed as above, to the same bits.
template <class T, class Walk, class Lanes>
__device__ void normalize_values(const NormalizeArguments<T>& a, Walk& walk, u64 group,
                                 const Lanes& lanes) {
    while (!walk.is_done()) {
        Place place = walk.next();
        u32 bits = 0;
#pragma unroll 1
        for (u32 i = 0; i < place.count; ++i) {
            Channel c = load_channel(a, group, lanes.channel(i));
            Affine<T> k;
            k.set(c);
            Raw<T> x = a.x[place.offset + i];
            Raw<T> residual = a.residual != nullptr ? a.residual[place.offset + i] : (Raw<T>)0;
            bool passed;
            if (k.is_narrow) {
                a.y[place.offset + i] = normalized(a, k, x, residual, passed);
            } else {
                double value = (wide<T>(x) - c.mean) * c.inv_std * c.gamma + c.beta;
                a.y[place.offset + i] = finished(a, value, residual, passed);
            }
            bits |= (u32)passed << i;
        }
        if (a.bits != nullptr) store_bits<T>(a.bits, place, bits);
    }
}

// A block's share: by units, or where coefficients do not fit, by values.
template <class T, class Walk, class Lanes>
__device__ void normalize_share(const NormalizeArguments<T>& a, Walk& walk, u64 group,
                                const Lanes& lanes) {
    if (IS_DOUBLE<T> || __all_sync(ALL_LANES, lanes.are_narrow())) {
        normalize_units<T>(a, walk, lanes);
    } else {
        normalize_values<T>(a, walk, group, lanes);
    }
}
