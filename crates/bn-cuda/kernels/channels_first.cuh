// Channels-first: a block takes a part of one channel of one group, row after row.
//
// Reductions and the writing passes cut the tensor alike.
#pragma once

#include "backward.cuh"
#include "forward.cuh"
#include "reduction.cuh"

template <class T> __device__ void take_moments(const MomentsArguments<T>& a, u64 block) {
    ChannelWalk<T> walk(a.shape, share_of_channel(a.shape, block));
    Deviations deviations;
    u32 count = 0;
    while (!walk.is_done()) {
        Place places[BATCH<T>];
        Unit<T> x[BATCH<T>];
        u32 valid[BATCH<T>];
#pragma unroll
        for (u32 b = 0; b < BATCH<T>; ++b) {
            places[b] = walk.next();
            x[b] = load<T>(a.x + places[b].offset, places[b].count);
            valid[b] = valid_lanes<T, ChannelWalk<T>>(a.mask, places[b]);
        }
#pragma unroll
        for (u32 b = 0; b < BATCH<T>; ++b) {
#pragma unroll
            for (u32 i = 0; i < LANES<T>; ++i) {
                if (!(valid[b] >> i & 1)) continue;
                deviations.add(wide<T>(x[b].raw[i]), count == 0);
                count += 1;
            }
        }
    }
    Moments items[1] = {deviations.moments(count)}, whole;
    if (merge_block<1>(items, 1, whole)) ((Moments*)a.partials)[block] = whole;
}

template <class T> __device__ void take_sums(const SumsArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<T> walk(a.shape, share);
    u64 of = share.group * a.shape.channels + share.tile;
    Terms<T> terms;
    if (!a.is_normalized) terms = {a.mean[of], a.inv_std[of]};
    GradientSums items[1] = {{0.0, 0.0}}, whole;
    sum_units<T>(a, walk, [&](u32, double dy, double x) {
        terms.add(items[0], dy, x);
    });
    terms.finish(items[0]);
    if (merge_block<1>(items, 1, whole)) {
        ((GradientSums*)a.partials)[block] = whole;
    }
}

template <class T> __device__ void normalize_part(const NormalizeArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<T> walk(a.shape, share);
    Affine<T> affine;
    affine.set(load_channel(a, share.group, share.tile));
    normalize_share<T>(a, walk, share.group, OneChannel<T, Affine<T>>{affine, share.tile});
}

template <class T> __device__ void gradient_part(const GradientArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<T> walk(a.shape, share);
    Slope<T> slope;
    slope.set(load_slopes(a, share.group, share.tile));
    gradient_share<T>(a, walk, share.group, OneChannel<T, Slope<T>>{slope, share.tile});
}
