// From the parts of each channel to its statistics and gradients: a warp for each channel.
//
// The parts are merged in double, in an order that follows from their number alone.
#include "arguments.cuh"
#include "entries.cuh"
#include "reduction.cuh"

// The next channel of this warp; every lane of it has the same.
__device__ inline u64 first_channel() {
    return (u64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
}

__device__ inline u64 channel_step() { return (u64)gridDim.x * (blockDim.x / WARP); }

template <class Item> __device__ Item merge_parts(const double* partials, u64 of, u64 parts, Item item) {
    const Item* from = (const Item*)partials + of * parts;
    for (u64 part = threadIdx.x % WARP; part < parts; part += WARP) item.merge(from[part]);
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

template <class P> __device__ void finish_moments(const FinishMomentsArguments<P>& a) {
    for (u64 channel = first_channel(); channel < a.channels; channel += channel_step()) {
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
        if (threadIdx.x % WARP != 0 || a.running_mean == nullptr) continue;
        // A single value has variance 0, and not 0/0.
        double divisor = a.is_unbiased && all.count > 1.0 ? all.count - 1.0 : all.count;
        a.running_mean[channel] = blended(a, a.running_mean[channel], all.mean());
        a.running_var[channel] = blended(a, a.running_var[channel], all.m2 / divisor);
    }
}

template <class P> __device__ void finish_sums(const FinishSumsArguments<P>& a) {
    for (u64 channel = first_channel(); channel < a.channels; channel += channel_step()) {
        GradientSums all = {0.0, 0.0};
        for (u64 group = 0; group < a.groups; ++group) {
            u64 of = group * a.channels + channel;
            GradientSums own = merge_parts(a.partials, of, a.parts, GradientSums{0.0, 0.0});
            all.merge(own);
            if (threadIdx.x % WARP != 0) continue;
            a.sum_dy[of] = own.dy;
            a.sum_dy_xhat[of] = own.dy_xhat;
        }
        if (threadIdx.x % WARP != 0) continue;
        if (a.dgamma != nullptr) a.dgamma[channel] = (P)all.dy_xhat;
        if (a.dbeta != nullptr) a.dbeta[channel] = (P)all.dy;
    }
}

// What backward through running statistics needs: a thread for each channel.
template <class P> __device__ void fixed_statistics(const FixedStatisticsArguments<P>& a) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 c = (u64)blockIdx.x * blockDim.x + threadIdx.x; c < a.channels; c += step) {
        a.mean[c] = a.scale * (double)a.running_mean[c];
        a.inv_std[c] = 1.0 / sqrt(a.scale * (double)a.running_var[c] + a.eps);
    }
}

__device__ inline void store_numbers(const StoreNumbersArguments& a) {
    for (u64 i = threadIdx.x; i < a.count; i += blockDim.x) a.to[i] = a.numbers[i];
}

PARAMETER_ENTRIES(finish_moments, FinishMomentsArguments)
PARAMETER_ENTRIES(finish_sums, FinishSumsArguments)
PARAMETER_ENTRIES(fixed_statistics, FixedStatisticsArguments)
ENTRY store_numbers_f64(ARGUMENT StoreNumbersArguments a) { store_numbers(a); }
