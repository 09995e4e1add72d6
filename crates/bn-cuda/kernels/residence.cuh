// A channel or a tile of channels that stays on the chip from its reduction to its last value: a cluster of blocks
// has a part of it each, keeps what of that fits in shared memory, and reads the rest again while it is in L2.
//
// Parts are cut, summed and merged as by the kernels that go through a tensor twice, in the same order: so results
// have the same bits.
#pragma once

#include "columns.cuh"
#include "finish.cuh"
#include "kept.cuh"

// The lanes that merge the parts of a column, and so the most blocks of a cluster.
constexpr u32 TEAM = 16;

// The sums of two numbers over a team of lanes, in every one of them: in the order of `sum_of_block`, whose further
// lanes have nothing but zeros to add where there are so few parts.
__device__ inline Pair sum_of_team(Pair sum) {
    for (u32 offset = TEAM / 2; offset > 0; offset /= 2) {
        sum.first += __shfl_xor_sync(ALL_LANES, sum.first, offset);
        sum.second += __shfl_xor_sync(ALL_LANES, sum.second, offset);
    }
    return sum;
}

// Calls `visit(column, exists)` for each of a block's columns by a team of lanes. All lanes of a warp call it, because
// they shuffle together: a team that has no column of its own repeats the last one, which does not `exist` for it.
template <class Visit> __device__ void each_column(u32 columns, Visit visit) {
    u32 teams = blockDim.x / TEAM, team = threadIdx.x / TEAM;
    for (u32 first = 0; first < columns; first += teams) {
        u32 of_warp = first + team / (WARP / TEAM) * (WARP / TEAM);
        if (of_warp < columns) visit(min(first + team, columns - 1), first + team < columns);
    }
}

// What a column has come to, and what its values are computed with.
template <class P> struct SettledMoments {
    Moments moments;
    Channel channel;
    Running<P> running;

    __device__ const Channel& coefficients() const { return channel; }
    static __device__ Channel none() { return {0.0, 1.0, 1.0, 0.0}; }
};

struct SettledSums {
    GradientSums sums;
    Slopes slopes;

    __device__ const Slopes& coefficients() const { return slopes; }
    static __device__ Slopes none() { return {0.0, 1.0, 0.0, 0.0, 1.0}; }
};

// Where results stand in shared memory, behind what reductions use: of this block's part, which the others of the
// cluster read, and of all parts.
template <class Item> __device__ Item* parts_of(const Residence& residence) {
    return (Item*)((u8*)shared + residence.parts_at);
}

template <class Item> __device__ Item* settled_of(const Residence& residence) {
    return (Item*)((u8*)shared + residence.settled_at);
}

// The part and the channel or tile of a cluster's block: there are as many parts as blocks.
__device__ inline Share share_of_cluster() { return {rank_in_cluster(), cluster(), 0}; }

// A column of a block and its channel, where there is one.
struct Column {
    u32 column;
    u64 channel;
    bool exists;

    __device__ Column(const Shape& shape, u64 first_channel, u32 columns, u32 column)
        : column(column), channel(first_channel + column), exists(column < columns && channel < shape.channels) {}
};

// Columns fall to the first threads of a block, of which there are as many; what one block of a cluster writes for
// all falls to the last ones, while others settle what comes next.
__device__ inline u32 column_from_behind() { return blockDim.x - 1 - threadIdx.x; }
__device__ inline bool is_written_here(u32 column) { return column % blocks_of_cluster() == rank_in_cluster(); }

// The coefficients of the channels that a thread has values of: of the block's one channel...
template <class T, u32 U, class Settled, class K> struct SettledChannel {
    static constexpr u32 STEP = 0;
    const Settled* settled;     // of the first value of a unit
    K coefficients;

    __device__ SettledChannel(const Shape&, const ChannelWalk<U>&, const Settled* settled) : settled(settled) {
        coefficients.set(settled->coefficients());
    }

    __device__ OneChannel<K> lanes() const { return {coefficients, 0}; }
};

// ...or of its own ones in a tile.
template <class T, u32 U, class Settled, class K> struct SettledTile {
    static constexpr u32 STEP = 1;
    const Settled* settled;
    K coefficients[U];

    __device__ SettledTile(const Shape& shape, const RowWalk<U>& walk, const Settled* of_tile)
        : settled(of_tile + threadIdx.x % (u32)shape.tile_units * U) {
#pragma unroll
        for (u32 i = 0; i < U; ++i) {
            coefficients[i].set(walk.has_channels ? settled[i].coefficients() : Settled::none());
        }
    }

    __device__ OwnChannels<U, K> lanes() const { return {coefficients, 0}; }
};

template <u64 EPILOGUE, class T, u32 U, class Walk, class Lanes>
__device__ void normalize_kept(const NormalizeArguments<T>& a, const Kept<T, U, 1>& kept, const Walk& walk,
                               const Lanes& lanes) {
    kept.template each<BATCH_OF_EPILOGUE<EPILOGUE>, false>(walk, [&](auto& places, auto& units) {
        normalize_batch<T, U, true, EPILOGUE>(a, places, units[0], lanes);
    });
}

// Forward: sums, statistics and values of a part. `Columns` finds the moments of the block's columns, the first of
// which is `first_channel`; `Coefficients` are those of a thread.
template <class T, u32 U, class Columns, class Coefficients>
__device__ void train_part(const TrainArguments<T>& a, const Share& share, u64 first_channel, u32 columns) {
    const Shape& shape = a.moments.shape;
    const typename Columns::Walk walk(shape, share);
    const NormalizeArguments<T>& n = a.normalize;
    Moments* parts = parts_of<Moments>(a.residence);
    using Settled = SettledMoments<Param<T>>;
    Settled* settled = settled_of<Settled>(a.residence);
    const Raw<T>* const from[1] = {a.moments.x};
    const Kept<T, U, 1> kept(a.residence, walk.steps, from);
    Columns found(a.moments, walk);
    kept.begin(walk);
    const Column own(shape, first_channel, columns, threadIdx.x);
    if (threadIdx.x < columns) parts[threadIdx.x] = {0.0, 0.0, 0.0, 0.0};
    if (own.exists) {
        settled[own.column].channel.gamma = n.gamma != nullptr ? (double)n.gamma[own.channel] : 1.0;
        settled[own.column].channel.beta = n.beta != nullptr ? (double)n.beta[own.channel] : 0.0;
        settled[own.column].running = load_running(a.finish, own.channel);
    }
    found.begin();
    kept.template each<Columns::UNITS_AT_ONCE, true>(
        walk, [&](auto& places, auto& units) { found.add(places, units[0]); });
    found.hand_over([&](u32 column, const Moments& moments) { parts[column] = moments; });
    meet_cluster();

    each_column(columns, [&](u32 column, bool exists) {
        u32 rank = threadIdx.x % TEAM;
        const double* at = (const double*)(parts + column);
        Moments part[1] = {{0.0, 0.0, 0.0, 0.0}};
        if (rank < blocks_of_cluster()) {
            // Its members one by one; the second is the origin.
            part[0] = {of_rank(at, rank), of_rank(at + 1, rank), of_rank(at + 2, rank), of_rank(at + 3, rank)};
        }
        Moments whole = merged(part, of_rank(at + 1, 0), sum_of_team);
        if (rank != 0 || !exists) return;
        settled[column].moments = whole;
        settled[column].channel.mean = whole.mean();
        settled[column].channel.inv_std = inv_std_of(whole, a.finish.eps);
    });
    // No block may be gone while others read its part.
    arrive_at_cluster();
    __syncthreads();

    const Column behind(shape, first_channel, columns, column_from_behind());
    if (behind.exists && is_written_here(behind.column)) {
        const Settled& column = settled[behind.column];
        store_moments(a.finish, behind.channel, column.moments, column.channel.inv_std);
        update_running(a.finish, behind.channel, column.running, column.moments);
    }
    // The way once more, rather than to keep all of where it began.
    const typename Columns::Walk way(n.shape, share);
    const Coefficients coefficients(n.shape, way, settled);
    const auto lanes = coefficients.lanes();
    if (!by_units<T>(lanes)) {
        const Settled* first = coefficients.settled;
        normalize_values<T, U, typename Columns::Walk>(n, share, [first](const NormalizeArguments<T>&, u32 i) {
            return first[i * Coefficients::STEP].channel;
        });
    } else if (n.epilogue == EPILOGUE_NONE) {
        normalize_kept<EPILOGUE_NONE>(n, kept, way, lanes);
    } else if (n.epilogue == EPILOGUE_RELU) {
        normalize_kept<EPILOGUE_RELU>(n, kept, way, lanes);
    } else {
        normalize_kept<EPILOGUE_ADD_RELU>(n, kept, way, lanes);
    }
    wait_for_cluster();
}

// Backward: sums and dx of a part.
template <class T, u32 U, bool IS_GATED, class Columns, class Coefficients>
__device__ void differentiate_part(const DifferentiateArguments<T>& a, const Share& share, u64 first_channel,
                                   u32 columns) {
    const typename Columns::Walk walk(a.sums.shape, share);
    // What tells which values passed takes registers too.
    constexpr u32 PAIRS = IS_GATED ? 1 : PAIRS_OF_PLAIN;
    const GradientArguments<T>& g = a.gradient;
    GradientSums* parts = parts_of<GradientSums>(a.residence);
    SettledSums* settled = settled_of<SettledSums>(a.residence);
    const Raw<T>* const from[2] = {a.sums.dy, a.sums.x};
    const Kept<T, U, 2> kept(a.residence, walk.steps, from);
    Columns found(a.sums, share, walk);
    kept.begin(walk);
    const Column own(g.shape, first_channel, columns, threadIdx.x);
    if (threadIdx.x < columns) parts[threadIdx.x] = {0.0, 0.0};
    if (own.exists) settled[own.column].slopes = slopes_of(g, share.group, own.channel, {0.0, 0.0});
    const Gated<T, U, true, IS_GATED> gated = {g.dy, g.gate, g.shape};
    found.begin();
    auto pass = [&](auto& places, auto& dy) {
#pragma unroll
        for (u32 b = 0; b < PAIRS; ++b) dy[b] = gated.let_through(places[b], dy[b]);
    };
    kept.template each<PAIRS, true>(walk, [&](auto& places, auto& units) {
        pass(places, units[0]);
        found.add(places, units[0], units[1]);
    });
    found.hand_over([&](u32 column, const GradientSums& sums) { parts[column] = sums; });
    meet_cluster();

    each_column(columns, [&](u32 column, bool exists) {
        u32 rank = threadIdx.x % TEAM;
        const double* at = (const double*)(parts + column);
        Pair sum = {0.0, 0.0};
        if (rank < blocks_of_cluster()) {
            sum.first += of_rank(at, rank);
            sum.second += of_rank(at + 1, rank);
        }
        sum = sum_of_team(sum);
        if (rank != 0 || !exists) return;
        settled[column].sums = {sum.first, sum.second};
        settled[column].slopes.mean_dy = sum.first / g.count;
        settled[column].slopes.mean_dy_xhat = sum.second / g.count;
    });
    // No block may be gone while others read its part.
    arrive_at_cluster();
    __syncthreads();

    const Column behind(g.shape, first_channel, columns, column_from_behind());
    if (behind.exists && is_written_here(behind.column)) {
        store_parameters(a.finish, behind.channel, settled[behind.column].sums);
    }
    const typename Columns::Walk way(g.shape, share);
    const Coefficients coefficients(g.shape, way, settled);
    const auto lanes = coefficients.lanes();
    if (!by_units<T>(lanes)) {
        typename Columns::Walk walk = way;
        const SettledSums* first = coefficients.settled;
        gradient_values<T, U>(g, walk, [first](u32 i) { return first[i * Coefficients::STEP].slopes; });
    } else {
        kept.template each<PAIRS, false>(way, [&](auto& places, auto& units) {
            const u32 depends[PAIRS] = {};
            pass(places, units[0]);
            gradient_batch<T, U, true, true>(g, places, units[0], units[1], depends, lanes);
        });
    }
    wait_for_cluster();
}
