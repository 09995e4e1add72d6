// Backward: Σdy and Σdy·x̂ over a part, and dx = (dy − mean(dy) − x̂·mean(dy·x̂))·gamma·inv_std.
#pragma once

#include "forward.cuh"
#include "reduction.cuh"

// Units of dy and x that a thread reads before it computes.
constexpr u32 PAIRS = 2;

// Which values of a unit a ReLU let through, one bit each.
template <class T> __device__ u32 open_lanes(const Gate<T>& gate, const Place& place) {
    if (gate.bits != nullptr) return load_bits<T>(gate.bits, place);
    if (gate.y == nullptr) return 0xFFFFFFFFu;
    Unit<T> y = load<T>(gate.y + place.offset, place.count);
    u32 open = 0;
#pragma unroll
    for (u32 i = 0; i < LANES<T>; ++i) {
        open |= (u32)!(Element<T>::narrow(y.raw[i]) <= 0) << i;
    }
    return open;
}

// The terms of Σdy·x̂. In f64 each is dy·x̂ itself; of the narrower types a double holds dy·(x − mean)
// whatever they are, and inv_std is a factor of the sum.
template <class T> struct Terms {
    double mean = 0.0, inv_std = 1.0;

    __device__ void add(GradientSums& sums, double dy, double x) const {
        double deviation = x - mean;
        if (IS_DOUBLE<T>) deviation *= inv_std;
        sums.dy += dy;
        sums.dy_xhat = fma(dy, deviation, sums.dy_xhat);
    }

    __device__ void finish(GradientSums& sums) const {
        if (!IS_DOUBLE<T>) sums.dy_xhat *= inv_std;
    }
};

// The units of a part, added to `add(i, dy, x)` value by value.
template <class T, class Walk, class Add>
__device__ void sum_units(const SumsArguments<T>& a, Walk& walk, Add add) {
    while (!walk.is_done()) {
        Place places[PAIRS];
        Unit<T> dy[PAIRS], x[PAIRS];
        u32 open[PAIRS];
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            places[b] = walk.next();
            dy[b] = load<T>(a.dy + places[b].offset, places[b].count);
            x[b] = load<T>(a.x + places[b].offset, places[b].count);
            open[b] = open_lanes<T>(a.gate, places[b]);
        }
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
#pragma unroll
            for (u32 i = 0; i < LANES<T>; ++i) {
                if (i >= places[b].count) continue;
                double gradient = open[b] >> i & 1 ? wide<T>(dy[b].raw[i]) : 0.0;
                add(i, gradient, wide<T>(x[b].raw[i]));
            }
        }
    }
}

// What a channel's dx is computed from. Without a correction, all but `scale` is 0.
struct Slopes {
    double mean, inv_std, mean_dy, mean_dy_xhat, scale;
};

template <class T>
__device__ Slopes load_slopes(const GradientArguments<T>& a, u64 group, u64 channel) {
    u64 of = group * a.shape.channels + channel;
    double gamma = a.gamma != nullptr ? (double)a.gamma[channel] : 1.0;
    double inv_std = a.inv_std[of];
    if (a.x == nullptr) return {0.0, 1.0, 0.0, 0.0, gamma * inv_std};
    double count = a.counts != nullptr ? a.counts[group] : a.count;
    double mean_dy = a.sum_dy[of] / count, mean_dy_xhat = a.sum_dy_xhat[of] / count;
    if (a.is_normalized) return {0.0, 1.0, mean_dy, mean_dy_xhat, gamma * inv_std};
    return {a.mean[of], inv_std, mean_dy, mean_dy_xhat, gamma * inv_std};
}

// The coefficients of a channel: dx = (dy − mean_dy − (x − mean)·factor)·scale, the means in two parts.
template <class T> struct Slope {
    Narrow<T> mean_high, mean_low, dy_high, dy_low, factor, scale;
    bool is_narrow;

    __device__ void set(const Slopes& s) {
        double product = s.inv_std * s.mean_dy_xhat;
        mean_high = (Narrow<T>)s.mean;
        mean_low = (Narrow<T>)(s.mean - (double)mean_high);
        dy_high = (Narrow<T>)s.mean_dy;
        dy_low = (Narrow<T>)(s.mean_dy - (double)dy_high);
        factor = (Narrow<T>)product;
        scale = (Narrow<T>)s.scale;
        is_narrow = IS_DOUBLE<T> || (mean_fits(s.mean, s.inv_std) && fits(s.mean_dy) &&
                                     fits(product) && fits(s.scale));
        if (IS_DOUBLE<T>) mean_low = dy_low = 0;
    }
};

// One value of dx from coefficients that fit. Where the statistics did not depend on the position, dx is
// dy·scale.
template <class T>
__device__ Raw<T> gradient(const Slope<T>& k, Raw<T> dy, Raw<T> x, bool depends) {
    Narrow<T> value = Element<T>::narrow(dy);
    if (depends) {
        Narrow<T> deviation = (Element<T>::narrow(x) - k.mean_high) - k.mean_low;
        value = fma(-deviation, k.factor, (value - k.dy_high) - k.dy_low);
    }
    return Element<T>::raw(value * k.scale);
}

// The positions of a unit that the statistics depended on, one bit each.
template <class T, class Walk>
__device__ u32 dependent_lanes(const GradientArguments<T>& a, const Place& place) {
    return a.x != nullptr ? valid_lanes<T, Walk>(a.mask, place) : 0;
}

// The units of a part, as `normalize_units`.
template <class T, class Walk, class Lanes>
__device__ void gradient_units(const GradientArguments<T>& a, Walk& walk, const Lanes& lanes) {
    while (!walk.is_done()) {
        Place places[PAIRS];
        Unit<T> dy[PAIRS], x[PAIRS];
        u32 open[PAIRS], depends[PAIRS];
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            places[b] = walk.next();
            dy[b] = load<T>(a.dy + places[b].offset, places[b].count);
            x[b] = {};
            if (a.x != nullptr) x[b] = load<T>(a.x + places[b].offset, places[b].count);
            open[b] = open_lanes<T>(a.gate, places[b]);
            depends[b] = dependent_lanes<T, Walk>(a, places[b]);
        }
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
#pragma unroll
            for (u32 i = 0; i < LANES<T>; ++i) {
                if (!(open[b] >> i & 1)) dy[b].raw[i] = 0;
                x[b].raw[i] = gradient(lanes.at(i), dy[b].raw[i], x[b].raw[i], depends[b] >> i & 1);
            }
            store<T>(a.dx + places[b].offset, x[b], places[b].count);
            if (a.dresidual != nullptr) {
                store<T>(a.dresidual + places[b].offset, dy[b], places[b].count);
            }
        }
    }
}

// The same, value by value, as `normalize_values`.
template <class T, class Walk, class Lanes>
__device__ void gradient_values(const GradientArguments<T>& a, Walk& walk, u64 group,
                                const Lanes& lanes) {
    while (!walk.is_done()) {
        Place place = walk.next();
        u32 open = open_lanes<T>(a.gate, place), depends = dependent_lanes<T, Walk>(a, place);
#pragma unroll 1
        for (u32 i = 0; i < place.count; ++i) {
            Slopes s = load_slopes(a, group, lanes.channel(i));
            Slope<T> k;
            k.set(s);
            u64 at = place.offset + i;
            Raw<T> dy = open >> i & 1 ? a.dy[at] : (Raw<T>)0;
            Raw<T> x = a.x != nullptr ? a.x[at] : (Raw<T>)0;
            if (k.is_narrow) {
                a.dx[at] = gradient(k, dy, x, depends >> i & 1);
            } else {
                double value = wide<T>(dy);
                if (depends >> i & 1) {
                    value = value - s.mean_dy - (wide<T>(x) - s.mean) * s.inv_std * s.mean_dy_xhat;
                }
                a.dx[at] = Element<T>::raw(value * s.scale);
            }
            if (a.dresidual != nullptr) a.dresidual[at] = dy;
        }
    }
}

// A block's share, as `normalize_share`.
template <class T, class Walk, class Lanes>
__device__ void gradient_share(const GradientArguments<T>& a, Walk& walk, u64 group,
                               const Lanes& lanes) {
    if (IS_DOUBLE<T> || __all_sync(ALL_LANES, lanes.are_narrow())) {
        gradient_units<T>(a, walk, lanes);
    } else {
        gradient_values<T>(a, walk, group, lanes);
    }
}
