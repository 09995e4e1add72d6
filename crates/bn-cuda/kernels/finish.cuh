// From the parts of a channel to its statistics and gradients, by one block or by a few lanes.
//
// The parts are merged in double, in an order that follows from their number alone.
#pragma once

#include "reduction.cuh"

// The most parts that a thread merges; it reads them at once and keeps them.
constexpr u32 PARTS_OF_A_THREAD = 4;

struct Pair {
    double first, second;
};

// The sums of two numbers over all threads of a block, in every one of them. Ends with a barrier.
__device__ inline Pair sum_of_block(Pair sum) {
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) {
        sum.first += __shfl_xor_sync(ALL_LANES, sum.first, offset);
        sum.second += __shfl_xor_sync(ALL_LANES, sum.second, offset);
    }
    Pair* stage = (Pair*)shared;
    if (threadIdx.x % WARP == 0) stage[threadIdx.x / WARP] = sum;
    __syncthreads();
    sum = stage[0];
    for (u32 warp = 1; warp < blockDim.x / WARP; ++warp) {
        sum.first += stage[warp].first;
        sum.second += stage[warp].second;
    }
    __syncthreads();
    return sum;
}

// The moments of all parts, a few of which each lane has, in every lane: `sum` adds up a pair over them. Means are
// compared with the origin of the first part that has values: so they differ by nothing where all values are the
// same, and no quotient stands between two parts.
template <u32 PARTS, class Sum>
__device__ Moments merged(const Moments (&own)[PARTS], double origin, Sum sum_of) {
    Pair sum = {0.0, 0.0}, m2 = {0.0, 0.0};
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i) {
        if (own[i].count == 0.0) continue;
        sum.first += own[i].count;
        sum.second += own[i].count * ((own[i].origin - origin) + own[i].offset);
    }
    sum = sum_of(sum);
    double count = sum.first, offset = count == 0.0 ? 0.0 : sum.second / count;
#pragma unroll
    for (u32 i = 0; i < PARTS; ++i) {
        if (own[i].count == 0.0) continue;
        double apart = ((own[i].origin - origin) - offset) + own[i].offset;
        m2.first += own[i].m2 + own[i].count * apart * apart;
    }
    return {count, origin, offset, sum_of(m2).first};
}

// The same by a whole block, from memory.
__device__ inline Moments merge_moments(const double* partials, u64 of, u64 parts) {
    const Moments* from = (const Moments*)partials + of * parts;
    Moments own[PARTS_OF_A_THREAD], first = from[0];
#pragma unroll
    for (u32 i = 0; i < PARTS_OF_A_THREAD; ++i) {
        u64 part = threadIdx.x + i * blockDim.x;
        own[i] = {0.0, 0.0, 0.0, 0.0};
        if (part < parts) own[i] = from[part];
    }
    if (first.count == 0.0) {
        u64 least = parts - 1;
#pragma unroll
        for (u32 i = 0; i < PARTS_OF_A_THREAD; ++i) {
            if (own[i].count != 0.0) least = min(least, (u64)(threadIdx.x + i * blockDim.x));
        }
        first = from[least_of_block(least)];
    }
    return merged(own, first.origin, sum_of_block);
}

__device__ inline GradientSums merge_sums(const double* partials, u64 of, u64 parts) {
    const GradientSums* from = (const GradientSums*)partials + of * parts;
    Pair sum = {0.0, 0.0};
#pragma unroll
    for (u32 i = 0; i < PARTS_OF_A_THREAD; ++i) {
        u64 part = threadIdx.x + i * blockDim.x;
        if (part >= parts) continue;
        GradientSums own = from[part];
        sum.first += own.dy;
        sum.second += own.dy_xhat;
    }
    sum = sum_of_block(sum);
    return {sum.first, sum.second};
}

__device__ inline double inv_std_of(const Moments& moments, double eps) {
    return 1.0 / sqrt(moments.m2 / moments.count + eps);
}

// running ← keep·running + add·batch. What has no weight cannot matter, not even a NaN; Caffe rounds
// its fraction, and the product before the sum.
template <class P>
__device__ P blended(const FinishMomentsArguments<P>& a, P running, double batch) {
    double kept = 0.0;
    if (a.keep != 0.0) {
        double keep = a.rounds_product ? (double)(P)a.keep : a.keep;
        kept = keep * (double)running;
        if (a.rounds_product) kept = (double)(P)kept;
    }
    return (P)(a.add == 0.0 ? kept : kept + a.add * batch);
}

// What a group's moments are kept as.
template <class P>
__device__ void store_moments(const FinishMomentsArguments<P>& a, u64 of, const Moments& own, double inv_std) {
    a.mean[of] = own.mean();
    if (a.m2 != nullptr) a.m2[of] = own.m2;
    if (a.inv_std != nullptr) a.inv_std[of] = inv_std;
}

// The running statistics of a channel; read long before they are needed.
template <class P> struct Running {
    P mean, var;
};

template <class P> __device__ Running<P> load_running(const FinishMomentsArguments<P>& a, u64 channel) {
    if (a.running_mean == nullptr) return {};
    return {a.running_mean[channel], a.running_var[channel]};
}

// The running statistics of a channel, from the moments of all its groups.
template <class P>
__device__ void update_running(const FinishMomentsArguments<P>& a, u64 channel, const Running<P>& running,
                               const Moments& all) {
    if (a.running_mean == nullptr) return;
    // A single value has variance 0, and not 0/0.
    double divisor = a.is_unbiased && all.count > 1.0 ? all.count - 1.0 : all.count;
    a.running_mean[channel] = blended(a, running.mean, all.mean());
    a.running_var[channel] = blended(a, running.var, all.m2 / divisor);
}

// dgamma and dbeta of a channel, from the sums of all its groups.
template <class P>
__device__ void store_parameters(const FinishSumsArguments<P>& a, u64 channel, const GradientSums& all) {
    if (a.dgamma != nullptr) a.dgamma[channel] = (P)all.dy_xhat;
    if (a.dbeta != nullptr) a.dbeta[channel] = (P)all.dy;
}

// One channel: the block's first thread writes.
template <class P>
__device__ void finish_channel(const FinishMomentsArguments<P>& a, u64 channel) {
    Moments all = {0.0, 0.0, 0.0, 0.0};
    Running<P> running = load_running(a, channel);
    for (u64 group = 0; group < a.groups; ++group) {
        u64 of = group * a.channels + channel;
        Moments own = merge_moments(a.partials, of, a.parts);
        if (threadIdx.x != 0) continue;
        all.merge(own);
        store_moments(a, of, own, inv_std_of(own, a.eps));
    }
    if (threadIdx.x == 0) update_running(a, channel, running, all);
}

// One channel's sums over its parts, and over its groups.
template <class P>
__device__ void finish_channel(const FinishSumsArguments<P>& a, u64 channel) {
    GradientSums all = {0.0, 0.0};
    for (u64 group = 0; group < a.groups; ++group) {
        u64 of = group * a.channels + channel;
        GradientSums own = merge_sums(a.partials, of, a.parts);
        if (threadIdx.x != 0) continue;
        all.merge(own);
        a.sum_dy[of] = own.dy;
        a.sum_dy_xhat[of] = own.dy_xhat;
    }
    if (threadIdx.x == 0) store_parameters(a, channel, all);
}
