// Backward: Σdy and Σdy·x̂ over a part, and dx = (dy − mean(dy) − x̂·mean(dy·x̂))·gamma·inv_std.
#pragma once

#include "forward.cuh"
#include "reduction.cuh"

// Units of dy and of x that a thread reads before it computes.
constexpr u32 PAIRS_OF_PLAIN = BATCH_OF_PLAIN / 2;

// Units of dy, 0 where a ReLU let nothing through.
template <class T, u32 U, bool IS_PLAIN, bool IS_GATED> struct Gated {
    const Raw<T>* dy;
    const Gate<T>& gate;
    const Shape& shape;

    __device__ Unit<T, U> take(const Place& place) const {
        return let_through(place, load<T, U, IS_PLAIN>(dy + place.offset, place.exists));
    }

    // What passes of a unit that was read.
    __device__ Unit<T, U> let_through(const Place& place, Unit<T, U> unit) const {
        if (!IS_GATED) return unit;
        if (gate.bits != nullptr) {
            u32 open = load_bits<U>(gate.bits, shape, place);
#pragma unroll
            for (u32 i = 0; i < U; ++i) unit.raw[i] = open >> i & 1 ? unit.raw[i] : (Raw<T>)0;
        } else if (gate.y != nullptr) {
            Unit<T, U> y = load<T, U, IS_PLAIN>(gate.y + place.offset, place.exists);
#pragma unroll
            for (u32 i = 0; i < U; ++i) {
                unit.raw[i] = !(Element<T>::narrow(y.raw[i]) <= 0) ? unit.raw[i] : (Raw<T>)0;
            }
        }
        return unit;
    }
};

// One value of it, the i-th of a unit.
template <class T, u32 U>
__device__ Raw<T> gated_value(const GradientArguments<T>& a, const Place& place, u32 i) {
    Raw<T> dy = a.dy[place.offset + i];
    if (a.gate.bits != nullptr) {
        return load_bits<U>(a.gate.bits, a.shape, place) >> i & 1 ? dy : (Raw<T>)0;
    }
    if (a.gate.y == nullptr) return dy;
    return !(Element<T>::narrow(a.gate.y[place.offset + i]) <= 0) ? dy : (Raw<T>)0;
}

template <class T> __device__ bool is_gated(const Gate<T>& gate) {
    return gate.bits != nullptr || gate.y != nullptr;
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

// What a channel's dx is computed from. Without a correction, all but `scale` is 0.
struct Slopes {
    double mean, inv_std, mean_dy, mean_dy_xhat, scale;
};

template <class T>
__device__ Slopes slopes_of(const GradientArguments<T>& a, u64 group, u64 channel, GradientSums sums) {
    u64 of = group * a.shape.channels + channel;
    double gamma = a.gamma != nullptr ? (double)a.gamma[channel] : 1.0;
    double inv_std = a.inv_std[of];
    if (a.x == nullptr) return {0.0, 1.0, 0.0, 0.0, gamma * inv_std};
    double count = a.counts != nullptr ? a.counts[group] : a.count;
    double mean_dy = sums.dy / count, mean_dy_xhat = sums.dy_xhat / count;
    if (a.is_normalized) return {0.0, 1.0, mean_dy, mean_dy_xhat, gamma * inv_std};
    return {a.mean[of], inv_std, mean_dy, mean_dy_xhat, gamma * inv_std};
}

// The same with sums from memory, where they are needed.
template <class T>
__device__ Slopes load_slopes(const GradientArguments<T>& a, u64 group, u64 channel) {
    u64 of = group * a.shape.channels + channel;
    GradientSums sums = {0.0, 0.0};
    if (a.x != nullptr) sums = {a.sum_dy[of], a.sum_dy_xhat[of]};
    return slopes_of(a, group, channel, sums);
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

// A batch of units that were read, those of dy as they passed. `depends` has a bit for each value whose statistics
// depended on x.
template <class T, u32 U, bool IS_PLAIN, bool DEPENDS, u32 PAIRS, class Lanes>
__device__ void gradient_batch(const GradientArguments<T>& a, const Place (&places)[PAIRS],
                               const Unit<T, U> (&dy)[PAIRS], Unit<T, U> (&x)[PAIRS],
                               const u32 (&depends)[PAIRS], const Lanes& lanes) {
#pragma unroll
    for (u32 b = 0; b < PAIRS; ++b) {
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            bool does = IS_PLAIN ? DEPENDS : depends[b] >> i & 1;
            x[b].raw[i] = gradient(lanes.at(i), dy[b].raw[i], x[b].raw[i], does);
        }
        store<T, U, IS_PLAIN>(a.dx + places[b].offset, x[b], places[b].exists);
        if (a.dresidual != nullptr) {
            store<T, U, IS_PLAIN>(a.dresidual + places[b].offset, dy[b], places[b].exists);
        }
    }
}

// The units of a part, as `normalize_units`. DEPENDS says whether the statistics depended on x.
template <class T, u32 U, bool IS_PLAIN, bool DEPENDS, bool IS_GATED, class Walk, class Lanes>
__device__ void gradient_units(const GradientArguments<T>& a, Walk& walk, const Lanes& lanes) {
    const Gated<T, U, IS_PLAIN, IS_GATED> gated = {a.dy, a.gate, a.shape};
    constexpr u32 PAIRS = IS_PLAIN ? PAIRS_OF_PLAIN : 1;
    while (!walk.is_done()) {
        Place places[PAIRS];
        Unit<T, U> dy[PAIRS], x[PAIRS];
        u32 depends[PAIRS];
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            places[b] = walk.next();
            dy[b] = gated.take(places[b]);
            x[b] = {};
            if (DEPENDS) x[b] = load<T, U, IS_PLAIN>(a.x + places[b].offset, places[b].exists);
            depends[b] = DEPENDS ? valid_values<U, Walk, IS_PLAIN>(a.mask, places[b]) : 0;
        }
        gradient_batch<T, U, IS_PLAIN, DEPENDS>(a, places, dy, x, depends, lanes);
    }
}

// The same, value by value, as `normalize_values`; it takes no registers that the others lack.
template <class T, u32 U, class Walk, class SlopesOf>
__device__ void gradient_values(const GradientArguments<T>& a, Walk& walk, SlopesOf slopes_of_value) {
    while (!walk.is_done()) {
        Place place = walk.next();
        u32 depends = a.x != nullptr ? valid_values<U, Walk, false>(a.mask, place) : 0;
        if (!place.exists) continue;
#pragma unroll 1
        for (u32 i = 0; i < U; ++i) {
            Slopes s = slopes_of_value(i);
            Slope<T> k;
            k.set(s);
            u64 at = place.offset + i;
            Raw<T> dy = gated_value<T, U>(a, place, i), x = a.x != nullptr ? a.x[at] : (Raw<T>)0;
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
template <class T, u32 U, bool IS_PLAIN, class Walk, class Lanes>
__device__ void gradient_share(const GradientArguments<T>& a, Walk& walk, u64 group, const Lanes& lanes) {
    if (!by_units<T>(lanes)) {
        u64 first = lanes.first;
        gradient_values<T, U>(a, walk, [&a, group, first](u32 i) {
            return load_slopes(a, group, first + i * Lanes::STEP);
        });
    } else if (a.x == nullptr) {
        gradient_units<T, U, IS_PLAIN, false, true>(a, walk, lanes);
    } else if (!IS_PLAIN || is_gated(a.gate)) {
        gradient_units<T, U, IS_PLAIN, true, true>(a, walk, lanes);
    } else {
        gradient_units<T, U, IS_PLAIN, true, false>(a, walk, lanes);
    }
}
