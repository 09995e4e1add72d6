// Channels-last: a block takes a tile of channels of a run of rows; its threads stand in a rectangle, so
// that a warp reads whole rows of the tile, and each keeps to its own channels.
#include "columns.cuh"
#include "entries.cuh"

// Where the partial result of a column of a block's tile goes.
template <class Item>
__device__ Item& partial_of(const Shape& shape, const Share& share, double* partials, u64 channel) {
    return ((Item*)partials)[(share.group * shape.channels + channel) * shape.parts + share.part];
}

template <class T, u32 U, bool IS_PLAIN>
__device__ void moments_of_tile(const MomentsArguments<T>& a, u64 block) {
    Share share = share_of_rows(a.shape, block);
    RowWalk<U> walk(a.shape, share);
    TileMoments<T, U, IS_PLAIN> columns(a, walk);
    take_moments<T, U, IS_PLAIN>(a, walk, columns);
    columns.hand_over([&](u32 column, const Moments& moments) {
        partial_of<Moments>(a.shape, share, a.partials, walk.tile_channel() + column) = moments;
    });
}

template <class T, u32 U, bool IS_PLAIN, bool IS_GATED>
__device__ void sums_of_tile(const SumsArguments<T>& a, u64 block) {
    Share share = share_of_rows(a.shape, block);
    RowWalk<U> walk(a.shape, share);
    TileSums<T, U> columns(a, share, walk);
    take_sums<T, U, IS_PLAIN, IS_GATED>(a, walk, columns);
    columns.hand_over([&](u32 column, const GradientSums& sums) {
        partial_of<GradientSums>(a.shape, share, a.partials, walk.tile_channel() + column) = sums;
    });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void moments_last(const MomentsArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        moments_of_tile<T, U, IS_PLAIN>(a, block);
    });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void sums_last(const SumsArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        if (!IS_PLAIN || is_gated(a.gate)) {
            sums_of_tile<T, U, IS_PLAIN, true>(a, block);
        } else {
            sums_of_tile<T, U, IS_PLAIN, false>(a, block);
        }
    });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void normalize_last(const NormalizeArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        Share share = share_of_rows(a.shape, a.shape.blocks - 1 - block);
        RowWalk<U> walk(a.shape, share);
        Affine<T> affine[U];
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            Channel none = {0.0, 1.0, 1.0, 0.0};
            u64 channel = walk.first_channel() + i;
            affine[i].set(walk.has_channels ? load_channel(a, share.group, channel) : none);
        }
        OwnChannels<U, Affine<T>> lanes = {affine, walk.first_channel()};
        normalize_share<T, U, IS_PLAIN>(a, share, walk, lanes);
    });
}

template <class T, u32 U, bool IS_PLAIN> __device__ void gradient_last(const GradientArguments<T>& a) {
    each_block(a.shape, [&](u64 block) {
        Share share = share_of_rows(a.shape, a.shape.blocks - 1 - block);
        RowWalk<U> walk(a.shape, share);
        Slope<T> slope[U];
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            Slopes none = {0.0, 1.0, 0.0, 0.0, 1.0};
            u64 channel = walk.first_channel() + i;
            slope[i].set(walk.has_channels ? load_slopes(a, share.group, channel) : none);
        }
        OwnChannels<U, Slope<T>> lanes = {slope, walk.first_channel()};
        gradient_share<T, U, IS_PLAIN>(a, walk, share.group, lanes);
    });
}

ENTRIES_LAST(3, moments_last, MomentsArguments)
ENTRIES_LAST(3, sums_last, SumsArguments)
ENTRIES_LAST(3, normalize_last, NormalizeArguments)
ENTRIES_LAST(3, gradient_last, GradientArguments)
