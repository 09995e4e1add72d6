// Reductions: what threads have found, merged in an order that follows from the block's size alone.
#pragma once

#include "walk.cuh"

// As many bytes as the launch asks for: an item for each warp and column of a reduction, and behind them what else a
// kernel keeps there. An emulation has its own.
#ifndef EMULATION
extern __shared__ __align__(16) double shared[];
#endif

// Count, mean and Σ(x − mean)²; the empty one is all zeros. The mean is kept as one of the values and the
// mean deviation from it: their sum alone would have lost what is small beside a large mean.
struct Moments {
    double count, origin, offset, m2;

    __device__ double mean() const { return origin + offset; }

    // Chan, Golub and LeVeque: exact for any two counts. Equal means stay what they are.
    __device__ void merge(const Moments& other) {
        if (other.count == 0.0) return;
        if (count == 0.0) {
            *this = other;
            return;
        }
        double total = count + other.count, share = other.count / total;
        double delta = (other.origin - origin) + (other.offset - offset);
        offset = offset + delta * share;
        m2 = m2 + other.m2 + delta * delta * (count * share);
        count = total;
    }
};

// Σdy and Σdy·x̂.
struct GradientSums {
    double dy, dy_xhat;

    __device__ void merge(const GradientSums& other) {
        dy += other.dy;
        dy_xhat += other.dy_xhat;
    }

    __device__ GradientSums from_lane_below(u32 distance) const {
        return {__shfl_down_sync(ALL_LANES, dy, distance),
                __shfl_down_sync(ALL_LANES, dy_xhat, distance)};
    }
};

// Values as sums of deviations from an origin that all threads of a column share, so that they merge by
// addition. The origin is one of the values: then the squares cancel by no more than the part's number of them,
// some 2¹⁵ of a double's 2⁵³, wherever the mean lies.
struct Deviations {
    double count = 0.0, sum = 0.0, squares = 0.0;

    __device__ void add(double deviation) {
        sum += deviation;
        squares = fma(deviation, deviation, squares);
    }

    __device__ void merge(const Deviations& other) {
        count += other.count;
        sum += other.sum;
        squares += other.squares;
    }

    __device__ Deviations from_lane_below(u32 distance) const {
        Deviations other;
        other.count = __shfl_down_sync(ALL_LANES, count, distance);
        other.sum = __shfl_down_sync(ALL_LANES, sum, distance);
        other.squares = __shfl_down_sync(ALL_LANES, squares, distance);
        return other;
    }

    __device__ Moments moments(double origin) const {
        if (count == 0.0) return {0.0, 0.0, 0.0, 0.0};
        double offset = sum / count;
        double m2 = squares - sum * offset;
        // Squares beyond the range of a double are infinite, and not what infinities differ by.
        if (isinf(squares) && isfinite(sum)) m2 = squares;
        return {count, origin, offset, m2 < 0.0 ? 0.0 : m2};
    }
};

// The least of a block's numbers, in every thread. Ends with a barrier, as all that use shared memory.
__device__ inline u64 least_of_block(u64 number) {
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) {
        number = min(number, __shfl_xor_sync(ALL_LANES, number, offset));
    }
    u64* stage = (u64*)shared;
    if (threadIdx.x % WARP == 0) stage[threadIdx.x / WARP] = number;
    __syncthreads();
    for (u32 warp = 0; warp < blockDim.x / WARP; ++warp) number = min(number, stage[warp]);
    __syncthreads();
    return number;
}

// Where the first value of a part lies that counts, for the channel of this thread; there may be none.
template <class Walk> __device__ Place first_place(const Walk& walk, const u8* mask) {
    if (mask == nullptr) return walk.first();
    u64 position = NOWHERE;
    for (Walk ahead = walk; !ahead.is_done() && position == NOWHERE;) {
        Place place = ahead.next();
        for (u32 i = 0; place.exists && i < Walk::POSITIONS && position == NOWHERE; ++i) {
            if (mask[place.position + i] != 0) position = place.position + i;
        }
    }
    return walk.at(least_of_block(position));
}

// The origin of a part, whose first value lies at `first`; or 0 where that is not finite, which would make a NaN of
// every deviation. Doubles have no digits to spare where the first one lies far off: for them it is the median of
// the first three.
//
// Its values are read when it is made, and looked at when it is asked for: meanwhile other loads are sent.
template <class T> struct Origin {
    Raw<T> values[IS_DOUBLE<T> ? 3 : 1];
    bool has_three;

    template <class Walk>
    __device__ void read(const Walk& walk, const MomentsArguments<T>& a, const Place& first) {
        values[0] = first.exists ? a.x[first.offset] : (Raw<T>)0;
        has_three = false;
        if constexpr (IS_DOUBLE<T>) {
            Place second = walk.after(first), third = walk.after(second);
            has_three = third.exists;
            if (has_three && a.mask != nullptr) {
                has_three = a.mask[second.position] != 0 && a.mask[third.position] != 0;
            }
            if (has_three) {
                values[1] = a.x[second.offset];
                values[2] = a.x[third.offset];
            }
        }
    }

    __device__ double value() const {
        double value = wide<T>(values[0]);
        if constexpr (IS_DOUBLE<T>) {
            double b = wide<T>(values[1]), c = wide<T>(values[2]);
            if (has_three) value = fmax(fmin(value, b), fmin(fmax(value, b), c));
        }
        return isfinite(value) ? value : 0.0;
    }
};

// Merges the items of all threads that share a column, for blocks of whole warps.
//
// A block is `width` threads wide (a power of two, at most a warp), and each thread has an item for each of its
// K columns. Returns true in the threads that then hold a column in `result`: thread j has column j of the
// width·K. Shared memory stages an item for each warp and column. Ends with a barrier, so that the next call may
// use it again.
template <u32 K, class Item>
__device__ bool merge_block(Item (&items)[K], u32 width, Item& result) {
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    u32 columns = width * K;
    Item* stage = (Item*)shared;
#pragma unroll
    for (u32 k = 0; k < K; ++k) {
        for (u32 offset = WARP / 2; offset >= width; offset /= 2) {
            Item other = items[k].from_lane_below(offset);
            items[k].merge(other);
        }
        if (lane < width) stage[warp * columns + lane * K + k] = items[k];
    }
    __syncthreads();
    bool holds = threadIdx.x < columns;
    if (holds) {
        // Pairwise, in place: a column is this thread's alone.
        Item* column = stage + threadIdx.x;
        for (u32 half = warps / 2; half > 0; half /= 2) {
            for (u32 warp = 0; warp < half; ++warp) {
                column[warp * columns].merge(column[(warp + half) * columns]);
            }
        }
        result = column[0];
    }
    __syncthreads();
    return holds;
}

// The same for one column of all threads; thread 0 then holds it.
template <class Item> __device__ Item merge_block(Item item) {
    Item items[1] = {item}, whole = item;
    merge_block<1>(items, 1, whole);
    return whole;
}
