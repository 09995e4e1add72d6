// Channels-last: a block takes a tile of channels of a run of rows; its threads stand in a rectangle, so
// that a warp reads whole rows of the tile, and each keeps to its own channels.
#include "backward.cuh"
#include "entries.cuh"
#include "forward.cuh"
#include "reduction.cuh"

// Where the partial result of a column of a block's tile goes, if the tile has that column.
template <class T, class Item>
__device__ void store_column(const Shape& shape, const Share& share, double* partials, const Item& item) {
    u64 channel = share.tile * shape.tile_units * LANES<T> + threadIdx.x;
    if (channel < shape.channels) {
        ((Item*)partials)[(share.group * shape.channels + channel) * shape.parts + share.part] = item;
    }
}

template <class T> __device__ void moments_last(const MomentsArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        Share share = share_of_rows(a.shape, block);
        RowWalk<T> walk(a.shape, share);
        Deviations deviations[LANES<T>];
        // A mask leaves out positions, which all channels share: there is one count.
        u32 count = 0;
        while (!walk.is_done()) {
            Place places[BATCH<T>];
            Unit<T> x[BATCH<T>];
            u32 valid[BATCH<T>];
#pragma unroll
            for (u32 b = 0; b < BATCH<T>; ++b) {
                places[b] = walk.next();
                x[b] = load<T>(a.x + places[b].offset, places[b].count);
                valid[b] = valid_lanes<T, RowWalk<T>>(a.mask, places[b]);
            }
#pragma unroll
            for (u32 b = 0; b < BATCH<T>; ++b) {
                if (valid[b] == 0) continue;
#pragma unroll
                for (u32 i = 0; i < LANES<T>; ++i) {
                    deviations[i].add(wide<T>(x[b].raw[i]), count == 0);
                }
                count += 1;
            }
        }
        Moments items[LANES<T>], column;
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) items[i] = deviations[i].moments(count);
        if (merge_block<LANES<T>>(items, (u32)a.shape.tile_units, column)) {
            store_column<T>(a.shape, share, a.partials, column);
        }
    }
}

template <class T> __device__ void sums_last(const SumsArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        Share share = share_of_rows(a.shape, block);
        RowWalk<T> walk(a.shape, share);
        GradientSums items[LANES<T>], column;
        u64 of = share.group * a.shape.channels + walk.first_channel;
        Terms<T> terms[LANES<T>];
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            items[i] = {0.0, 0.0};
            if (!a.is_normalized && i < walk.count) terms[i].mean = a.mean[of + i];
            if (IS_DOUBLE<T> && !a.is_normalized && i < walk.count) terms[i].inv_std = a.inv_std[of + i];
        }
        sum_units<T>(a, walk, [&](u32 i, double dy, double x) { terms[i].add(items[i], dy, x); });
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            if (!IS_DOUBLE<T> && !a.is_normalized && i < walk.count) {
                terms[i].inv_std = a.inv_std[of + i];
            }
            terms[i].finish(items[i]);
        }
        if (merge_block<LANES<T>>(items, (u32)a.shape.tile_units, column)) {
            store_column<T>(a.shape, share, a.partials, column);
        }
    }
}

template <class T> __device__ void normalize_last(const NormalizeArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        Share share = share_of_rows(a.shape, a.shape.blocks - 1 - block);
        RowWalk<T> walk(a.shape, share);
        Affine<T> affine[LANES<T>];
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            Channel none = {0.0, 1.0, 1.0, 0.0};
            affine[i].set(i < walk.count ? load_channel(a, share.group, walk.first_channel + i) : none);
        }
        OwnChannels<T, Affine<T>> lanes = {affine, walk.first_channel};
        normalize_share<T>(a, walk, share.group, lanes);
    }
}

template <class T> __device__ void gradient_last(const GradientArguments<T>& a) {
    for (u64 block = blockIdx.x; block < a.shape.blocks; block += gridDim.x) {
        Share share = share_of_rows(a.shape, a.shape.blocks - 1 - block);
        RowWalk<T> walk(a.shape, share);
        Slope<T> slope[LANES<T>];
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) {
            Slopes none = {0.0, 1.0, 0.0, 0.0, 1.0};
            slope[i].set(i < walk.count ? load_slopes(a, share.group, walk.first_channel + i) : none);
        }
        OwnChannels<T, Slope<T>> lanes = {slope, walk.first_channel};
        gradient_share<T>(a, walk, share.group, lanes);
    }
}

ENTRIES(moments_last, MomentsArguments)
ENTRIES(sums_last, SumsArguments)
ENTRIES(normalize_last, NormalizeArguments)
ENTRIES(gradient_last, GradientArguments)
