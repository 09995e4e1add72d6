// What a block finds out about the columns of its share: moments, or gradient sums. In channels-first that is one
// column, the block's channel; in channels-last there is one for each channel of its tile.
//
// All four have the same steps: they are made before the first unit is sent for, begin before the first is there, take
// units in batches, and hand each column to the thread that has it in the end.
#pragma once

#include "backward.cuh"
#include "reduction.cuh"

template <class T, u32 U, bool IS_PLAIN> struct ChannelMoments {
    using Walk = ChannelWalk<U>;
    static constexpr u32 UNITS_AT_ONCE = BATCH_OF_PLAIN;    // from shared memory
    const MomentsArguments<T>& a;
    Origin<T> origin_as_read;
    double origin;
    Deviations deviations;
    u32 count = 0;

    __device__ ChannelMoments(const MomentsArguments<T>& a, const Walk& walk) : a(a) {
        origin_as_read.read(walk, a, first_place(walk, a.mask));
    }

    __device__ void begin() { origin = origin_as_read.value(); }

    template <u32 BATCH> __device__ void add(const Place (&places)[BATCH], const Unit<T, U> (&x)[BATCH]) {
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            u32 valid = valid_values<U, Walk, IS_PLAIN>(a.mask, places[b]);
            each_value<U, IS_PLAIN>(valid, [&](u32 i) {
                deviations.add(wide<T>(x[b].raw[i]) - origin);
                count += 1;
            });
        }
    }

    template <class Take> __device__ void hand_over(Take take) {
        deviations.count = count;
        Deviations whole = merge_block(deviations);
        if (threadIdx.x == 0) take(0u, whole.moments(origin));
    }
};

template <class T, u32 U, bool IS_PLAIN> struct TileMoments {
    using Walk = RowWalk<U>;
    static constexpr u32 UNITS_AT_ONCE = BATCH_OF_PLAIN / 2;
    const MomentsArguments<T>& a;
    u64 tile_channel;
    Origin<T> origins_as_read[U];
    double origins[U];
    Deviations deviations[U];
    // A mask leaves out positions, which all channels share: there is one count.
    u32 count = 0;

    __device__ TileMoments(const MomentsArguments<T>& a, const Walk& walk) : a(a), tile_channel(walk.tile_channel()) {
        Place first = first_place(walk, a.mask);
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            Place own = first;
            own.offset += i;
            origins_as_read[i].read(walk, a, own);
        }
    }

    __device__ void begin() {
#pragma unroll
        for (u32 i = 0; i < U; ++i) origins[i] = origins_as_read[i].value();
    }

    template <u32 BATCH> __device__ void add(const Place (&places)[BATCH], const Unit<T, U> (&x)[BATCH]) {
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            if (valid_values<U, Walk, IS_PLAIN>(a.mask, places[b]) == 0) continue;
#pragma unroll
            for (u32 i = 0; i < U; ++i) deviations[i].add(wide<T>(x[b].raw[i]) - origins[i]);
            count += 1;
        }
    }

    template <class Take> __device__ void hand_over(Take take) {
        u32 width = (u32)a.shape.tile_units;
        // Column j belongs to the thread that holds it in the end, and not to the one that has read it: its origin is
        // left behind what the merge uses.
        double* of_columns = (double*)((Deviations*)shared + blockDim.x / WARP * width * U);
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            deviations[i].count = count;
            if (threadIdx.x < width) of_columns[threadIdx.x * U + i] = origins[i];
        }
        Deviations column;
        if (!merge_block<U>(deviations, width, column)) return;
        if (tile_channel + threadIdx.x < a.shape.channels) {
            take(threadIdx.x, column.moments(of_columns[threadIdx.x]));
        }
    }
};

template <class T, u32 U> struct ChannelSums {
    using Walk = ChannelWalk<U>;
    Terms<T> terms;
    GradientSums sums = {0.0, 0.0};

    __device__ ChannelSums(const SumsArguments<T>& a, const Share& share, const Walk&) {
        u64 of = share.group * a.shape.channels + share.tile;
        if (!a.is_normalized) terms = {a.mean[of], a.inv_std[of]};
    }

    __device__ void begin() {}

    template <u32 PAIRS>
    __device__ void add(const Place (&places)[PAIRS], const Unit<T, U> (&dy)[PAIRS], const Unit<T, U> (&x)[PAIRS]) {
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            if (!places[b].exists) continue;
#pragma unroll
            for (u32 i = 0; i < U; ++i) terms.add(sums, wide<T>(dy[b].raw[i]), wide<T>(x[b].raw[i]));
        }
    }

    template <class Take> __device__ void hand_over(Take take) {
        terms.finish(sums);
        GradientSums whole = merge_block(sums);
        if (threadIdx.x == 0) take(0u, whole);
    }
};

template <class T, u32 U> struct TileSums {
    using Walk = RowWalk<U>;
    const SumsArguments<T>& a;
    Terms<T> terms[U];
    GradientSums sums[U];
    u64 tile_channel, of;
    bool has_statistics;

    __device__ TileSums(const SumsArguments<T>& a, const Share& share, const Walk& walk)
        : a(a), tile_channel(walk.tile_channel()), of(share.group * a.shape.channels + walk.first_channel()),
          has_statistics(!a.is_normalized && walk.has_channels) {
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            sums[i] = {0.0, 0.0};
            if (has_statistics) terms[i].mean = a.mean[of + i];
            if (IS_DOUBLE<T> && has_statistics) terms[i].inv_std = a.inv_std[of + i];
        }
    }

    __device__ void begin() {}

    template <u32 PAIRS>
    __device__ void add(const Place (&places)[PAIRS], const Unit<T, U> (&dy)[PAIRS], const Unit<T, U> (&x)[PAIRS]) {
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            if (!places[b].exists) continue;
#pragma unroll
            for (u32 i = 0; i < U; ++i) terms[i].add(sums[i], wide<T>(dy[b].raw[i]), wide<T>(x[b].raw[i]));
        }
    }

    template <class Take> __device__ void hand_over(Take take) {
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            if (!IS_DOUBLE<T> && has_statistics) terms[i].inv_std = a.inv_std[of + i];
            terms[i].finish(sums[i]);
        }
        GradientSums column;
        if (!merge_block<U>(sums, (u32)a.shape.tile_units, column)) return;
        if (tile_channel + threadIdx.x < a.shape.channels) take(threadIdx.x, column);
    }
};

// The units of a part, taken from memory batch by batch.
template <class T, u32 U, bool IS_PLAIN, class Walk, class Columns>
__device__ void take_moments(const MomentsArguments<T>& a, Walk& walk, Columns& columns) {
    constexpr u32 BATCH = IS_PLAIN ? BATCH_OF_PLAIN : 1;
    columns.begin();
    while (!walk.is_done()) {
        Place places[BATCH];
        Unit<T, U> x[BATCH];
#pragma unroll
        for (u32 b = 0; b < BATCH; ++b) {
            places[b] = walk.next();
            x[b] = load<T, U, IS_PLAIN>(a.x + places[b].offset, places[b].exists);
        }
        columns.add(places, x);
    }
}

template <class T, u32 U, bool IS_PLAIN, bool IS_GATED, class Walk, class Columns>
__device__ void take_sums(const SumsArguments<T>& a, Walk& walk, Columns& columns) {
    // What tells which values passed takes registers too.
    constexpr u32 PAIRS = IS_PLAIN && !IS_GATED ? PAIRS_OF_PLAIN : 1;
    const Gated<T, U, IS_PLAIN, IS_GATED> gated = {a.dy, a.gate, a.shape};
    columns.begin();
    while (!walk.is_done()) {
        Place places[PAIRS];
        Unit<T, U> dy[PAIRS], x[PAIRS];
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) {
            places[b] = walk.next();
            dy[b] = gated.take(places[b]);
            x[b] = load<T, U, IS_PLAIN>(a.x + places[b].offset, places[b].exists);
        }
        columns.add(places, dy, x);
    }
}
