// Channels-last: a block takes a tile of channels of a run of rows; its threads stand in a rectangle, so
// that a warp reads whole rows of the tile, and each keeps to its own channels.
#include "backward.cuh"
#include "entries.cuh"
#include "forward.cuh"
#include "reduction.cuh"

// Where the partial result of a column of a block's tile goes, if the tile has that column.
template <u32 U, class Item>
__device__ void store_column(const Shape& shape, const Share& share, double* partials, const Item& item) {
    u64 channel = share.tile * shape.tile_units * U + threadIdx.x;
    if (channel < shape.channels) {
        ((Item*)partials)[(share.group * shape.channels + channel) * shape.parts + share.part] = item;
    }
}

template <class T, u32 U, bool IS_PLAIN>
__device__ void moments_of_tile(const MomentsArguments<T>& a, u64 block) {
    constexpr u32 BATCH = IS_PLAIN ? BATCH_OF_PLAIN : 1;
    Share share = share_of_rows(a.shape, block);
    RowWalk<U> walk(a.shape, share);
    Place first = first_place(walk, a.mask);
    double origins[U];
#pragma unroll
    for (u32 i = 0; i < U; ++i) {
        Place own = first;
        own.offset += i;
        origins[i] = origin_at(walk, a, own);
    }
    Deviations deviations[U], column;
    // A mask leaves out positions, which all channels share: there is one count.
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
            if (valid_values<U, RowWalk<U>, IS_PLAIN>(a.mask, places[b]) == 0) continue;
#pragma unroll
            for (u32 i = 0; i < U; ++i) deviations[i].add(wide<T>(x[b].raw[i]) - origins[i]);
            count += 1;
        }
    }
#pragma unroll
    for (u32 i = 0; i < U; ++i) deviations[i].count = count;
    if (merge_block<U>(deviations, (u32)a.shape.tile_units, column)) {
        // Column j belongs to the thread that holds it now, and not to the one that has read it.
        u64 channel = share.tile * a.shape.tile_units * U + threadIdx.x;
        first.offset += channel - walk.first_channel();
        first.exists = first.row != NOWHERE && channel < a.shape.channels;
        store_column<U>(a.shape, share, a.partials, column.moments(origin_at(walk, a, first)));
    }
}

template <class T, u32 U, bool IS_PLAIN, bool IS_GATED>
__device__ void sums_of_tile(const SumsArguments<T>& a, u64 block) {
    Share share = share_of_rows(a.shape, block);
    RowWalk<U> walk(a.shape, share);
    GradientSums items[U], column;
    u64 of = share.group * a.shape.channels + walk.first_channel();
    bool has_statistics = !a.is_normalized && walk.has_channels;
    Terms<T> terms[U];
#pragma unroll
    for (u32 i = 0; i < U; ++i) {
        items[i] = {0.0, 0.0};
        if (has_statistics) terms[i].mean = a.mean[of + i];
        if (IS_DOUBLE<T> && has_statistics) terms[i].inv_std = a.inv_std[of + i];
    }
    sum_units<T, U, IS_PLAIN, IS_GATED>(a, walk, [&](u32 i, double dy, double x) {
        terms[i].add(items[i], dy, x);
    });
#pragma unroll
    for (u32 i = 0; i < U; ++i) {
        if (!IS_DOUBLE<T> && has_statistics) terms[i].inv_std = a.inv_std[of + i];
        terms[i].finish(items[i]);
    }
    if (merge_block<U>(items, (u32)a.shape.tile_units, column)) {
        store_column<U>(a.shape, share, a.partials, column);
    }
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
        normalize_share<T, U, IS_PLAIN>(a, walk, share.group, lanes);
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
