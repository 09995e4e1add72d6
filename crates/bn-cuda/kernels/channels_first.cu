// Channels-first: a block takes a part of one channel of one group, row after row. Reductions and the writing
// passes cut the tensor alike.
//
// The passes that write go through the tensor backwards, because they follow a reduction whose last blocks
// are still in the L2 cache.
#include "backward.cuh"
#include "entries.cuh"
#include "forward.cuh"
#include "reduction.cuh"

template <class T, u32 U, bool IS_PLAIN>
__device__ void take_moments(const MomentsArguments<T>& a, u64 block) {
    constexpr u32 BATCH = IS_PLAIN ? BATCH_OF_PLAIN : 1;
    ChannelWalk<U> walk(a.shape, share_of_channel(a.shape, block));
    double origin = origin_at(walk, a, first_place(walk, a.mask));
    Deviations deviations;
    u32 count = 0;
    while (!walk.is_done()) {
        Place places[BATCH];
        Unit<T, U> x[BATCH];
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            places[b] = walk.next();
            x[b] = load<T, U, IS_PLAIN>(a.x + places[b].offset, places[b].exists);
        }
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            u32 valid = valid_values<U, ChannelWalk<U>, IS_PLAIN>(a.mask, places[b]);
            each_value<U, IS_PLAIN>(valid, [&](u32 i) {
                deviations.add(wide<T>(x[b].raw[i]) - origin);
                count += 1;
            });
        }
    }
    deviations.count = count;
    Deviations whole = merge_block(deviations);
    if (threadIdx.x == 0) ((Moments*)a.partials)[block] = whole.moments(origin);
}

template <class T, u32 U, bool IS_PLAIN, bool IS_GATED>
__device__ void take_sums(const SumsArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<U> walk(a.shape, share);
    u64 of = share.group * a.shape.channels + share.tile;
    Terms<T> terms;
    if (!a.is_normalized) terms = {a.mean[of], a.inv_std[of]};
    GradientSums sums = {0.0, 0.0};
    sum_units<T, U, IS_PLAIN, IS_GATED>(a, walk, [&](u32, double dy, double x) {
        terms.add(sums, dy, x);
    });
    terms.finish(sums);
    GradientSums whole = merge_block(sums);
    if (threadIdx.x == 0) ((GradientSums*)a.partials)[block] = whole;
}

template <class T, u32 U, bool IS_PLAIN>
__device__ void normalize_part(const NormalizeArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<U> walk(a.shape, share);
    Affine<T> affine;
    affine.set(load_channel(a, share.group, share.tile));
    OneChannel<Affine<T>> lanes = {affine, share.tile};
    normalize_share<T, U, IS_PLAIN>(a, walk, share.group, lanes);
}

template <class T, u32 U, bool IS_PLAIN>
__device__ void gradient_part(const GradientArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<U> walk(a.shape, share);
    Slope<T> slope;
    slope.set(load_slopes(a, share.group, share.tile));
    OneChannel<Slope<T>> lanes = {slope, share.tile};
    gradient_share<T, U, IS_PLAIN>(a, walk, share.group, lanes);
}

template <class T, u32 U, bool IS_PLAIN> __device__ void moments_first(const MomentsArguments<T>& a) {
    each_block(a.shape, [&](u64 block) { take_moments<T, U, IS_PLAIN>(a, block); });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void sums_first(const SumsArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        if (!IS_PLAIN || is_gated(a.gate)) {
            take_sums<T, U, IS_PLAIN, true>(a, block);
        } else {
            take_sums<T, U, IS_PLAIN, false>(a, block);
        }
    });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void normalize_first(const NormalizeArguments<T>& a) {
    each_block(a.shape, [&](u64 block) { normalize_part<T, U, IS_PLAIN>(a, a.shape.blocks - 1 - block); });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void gradient_first(const GradientArguments<T>& a) {
    each_block(a.shape, [&](u64 block) { gradient_part<T, U, IS_PLAIN>(a, a.shape.blocks - 1 - block); });
}

ENTRIES_FIRST(5, moments_first, MomentsArguments)
ENTRIES_FIRST(4, sums_first, SumsArguments)
ENTRIES_FIRST(4, normalize_first, NormalizeArguments)
ENTRIES_FIRST(3, gradient_first, GradientArguments)
