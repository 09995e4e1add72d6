// Channels-first: a block takes a part of one channel of one group, row after row. Reductions and the writing
// passes cut the tensor alike.
//
// The passes that write go through the tensor backwards, because they follow a reduction whose last blocks
// are still in the L2 cache.
#include "columns.cuh"
#include "entries.cuh"

template <class T, u32 U, bool IS_PLAIN>
__device__ void moments_of_part(const MomentsArguments<T>& a, u64 block) {
    ChannelWalk<U> walk(a.shape, share_of_channel(a.shape, block));
    ChannelMoments<T, U, IS_PLAIN> column(a, walk);
    take_moments<T, U, IS_PLAIN>(a, walk, column);
    column.hand_over([&](u32, const Moments& moments) { ((Moments*)a.partials)[block] = moments; });
}

template <class T, u32 U, bool IS_PLAIN, bool IS_GATED>
__device__ void sums_of_part(const SumsArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<U> walk(a.shape, share);
    ChannelSums<T, U> column(a, share, walk);
    take_sums<T, U, IS_PLAIN, IS_GATED>(a, walk, column);
    column.hand_over([&](u32, const GradientSums& sums) { ((GradientSums*)a.partials)[block] = sums; });
}

template <class T, u32 U, bool IS_PLAIN>
__device__ void normalize_part(const NormalizeArguments<T>& a, u64 block) {
    Share share = share_of_channel(a.shape, block);
    ChannelWalk<U> walk(a.shape, share);
    Affine<T> affine;
    affine.set(load_channel(a, share.group, share.tile));
    OneChannel<Affine<T>> lanes = {affine, share.tile};
    normalize_share<T, U, IS_PLAIN>(a, share, walk, lanes);
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
    each_block(a.shape, [&](u64 block) { moments_of_part<T, U, IS_PLAIN>(a, block); });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void sums_first(const SumsArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        if (!IS_PLAIN || is_gated(a.gate)) {
            sums_of_part<T, U, IS_PLAIN, true>(a, block);
        } else {
            sums_of_part<T, U, IS_PLAIN, false>(a, block);
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
