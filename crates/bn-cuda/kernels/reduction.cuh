// Reductions: what threads have found, merged in an order that follows from the block's size alone.
#pragma once

#include "walk.cuh"

// As many bytes as the launch asks for: one item for each warp and column.
extern __shared__ double shared[];

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

    __device__ Moments from_lane_below(u32 distance) const {
        return {__shfl_down_sync(ALL_LANES, count, distance),
                __shfl_down_sync(ALL_LANES, origin, distance),
                __shfl_down_sync(ALL_LANES, offset, distance),
                __shfl_down_sync(ALL_LANES, m2, distance)};
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

// The values of one thread, as sums of deviations from the first of them: the squares then cancel by
// no more than the number of these few values, wherever the mean lies.
struct Deviations {
    double shift = 0.0, sum = 0.0, squares = 0.0;

    __device__ void add(double value, bool is_first) {
        if (is_first) shift = value;
        double deviation = value - shift;
        sum += deviation;
        squares = fma(deviation, deviation, squares);
    }

    __device__ Moments moments(u32 count) const {
        if (count == 0) return {0.0, 0.0, 0.0, 0.0};
        double offset = sum / count;
        double m2 = squares - sum * offset;
        // Squares beyond the range of a double are infinite, and not what infinities differ by.
        if (isinf(squares) && isfinite(sum)) m2 = squares;
        return {(double)count, shift, offset, m2 < 0.0 ? 0.0 : m2};
    }
};

// Merges the items of all threads that share a column, for blocks of whole warps.
//
// A block is `width` threads wide (a power of two, at most a warp), and each thread has an item for
// each of its K columns. Returns true in the threads that then hold a column in `result`: thread j has
// column j of the width·K. Ends with a barrier, so that the next call may use `shared` again.
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

// Merges the items of a warp's lanes into its first lane.
template <class Item> __device__ Item merge_warp(Item item) {
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) {
        Item other = item.from_lane_below(offset);
        item.merge(other);
    }
    return item;
}
