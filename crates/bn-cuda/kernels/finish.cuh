// From the parts of a channel to its statistics and gradients, by one warp.
//
// The parts are merged in double, in an order that follows from their number alone.
#pragma once

#include "reduction.cuh"

// Another block may have written the parts in this very launch: they are read past the L1 cache.
__device__ inline Moments load_item(const Moments* from) {
    const double* p = (const double*)from;
    return {__ldcg(p), __ldcg(p + 1), __ldcg(p + 2), __ldcg(p + 3)};
}

__device__ inline GradientSums load_item(const GradientSums* from) {
    const double* p = (const double*)from;
    return {__ldcg(p), __ldcg(p + 1)};
}

template <class Item> __device__ Item merge_parts(const double* partials, u64 of, u64 parts, Item item) {
    const Item* from = (const Item*)partials + of * parts;
    for (u64 part = threadIdx.x % WARP; part < parts; part += WARP) item.merge(load_item(from + part));
    return merge_warp(item);
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

// One channel; `updates` says whether its running statistics are this warp's to update.
template <class P>
__device__ void finish_channel(const FinishMomentsArguments<P>& a, u64 channel, bool updates) {
    Moments all = {0.0, 0.0, 0.0, 0.0};
    for (u64 group = 0; group < a.groups; ++group) {
        u64 of = group * a.channels + channel;
        Moments own = merge_parts(a.partials, of, a.parts, Moments{0.0, 0.0, 0.0, 0.0});
        all.merge(own);
        if (threadIdx.x % WARP != 0) continue;
        a.mean[of] = own.mean();
        if (a.m2 != nullptr) a.m2[of] = own.m2;
        if (a.inv_std != nullptr) a.inv_std[of] = 1.0 / sqrt(own.m2 / own.count + a.eps);
    }
    if (threadIdx.x % WARP != 0 || a.running_mean == nullptr || !updates) return;
    // A single value has variance 0, and not 0/0.
    double divisor = a.is_unbiased && all.count > 1.0 ? all.count - 1.0 : all.count;
    a.running_mean[channel] = blended(a, a.running_mean[channel], all.mean());
    a.running_var[channel] = blended(a, a.running_var[channel], all.m2 / divisor);
}

// One channel's sums over its parts, and over its groups.
template <class P>
__device__ void finish_channel(const FinishSumsArguments<P>& a, u64 channel) {
    GradientSums all = {0.0, 0.0};
    for (u64 group = 0; group < a.groups; ++group) {
        u64 of = group * a.channels + channel;
        GradientSums own = merge_parts(a.partials, of, a.parts, GradientSums{0.0, 0.0});
        all.merge(own);
        if (threadIdx.x % WARP != 0) continue;
        a.sum_dy[of] = own.dy;
        a.sum_dy_xhat[of] = own.dy_xhat;
    }
    if (threadIdx.x % WARP != 0) return;
    if (a.dgamma != nullptr) a.dgamma[channel] = (P)all.dy_xhat;
    if (a.dbeta != nullptr) a.dbeta[channel] = (P)all.dy;
}
