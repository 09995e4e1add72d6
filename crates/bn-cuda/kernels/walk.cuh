// The way of a thread through its block's share of a tensor, unit by unit.
//
// Both walks yield the same number of units in every thread of a block, some of which do not exist, so that
// barriers and shuffles stand in uniform code.
#pragma once

#include "arguments.cuh"

constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xFFFFFFFFu;

// How many units a thread of a plain launch reads before it computes, so that enough bytes are on their way, and
// half as many where each needs more registers.
constexpr u32 BATCH_OF_PLAIN = 4;

// Where a unit lies. What a kernel does not ask for costs it nothing.
struct Place {
    u64 offset;     // of its first value, in the tensor
    u64 row;        // of the tensor in memory order
    u64 column;     // of its first value, in the row
    u64 position;   // of its first value, among the N·S of a mask
    bool exists;
};

constexpr u64 NOWHERE = ~0ull;

// The part, tile and group of a block. A tile is one channel in channels-first.
struct Share {
    u64 part, tile, group;
};

// Calls `visit` with each of the problem's blocks that falls to this one: its own, and where a launch has fewer than
// the problem, further ones.
template <class Visit> __device__ void each_block(const Shape& shape, Visit visit) {
    for (u64 block = blockIdx.x; block < shape.blocks; block += gridDim.x) visit(block);
}

// Channels-first: blocks go through the parts of a channel, then to the next one.
__device__ inline Share share_of_channel(const Shape& shape, u64 block) {
    u64 rest = block / shape.parts;
    return {block % shape.parts, rest % shape.tiles, rest / shape.tiles};
}

// Channels-last: blocks go through the tiles side by side, then to the next rows.
__device__ inline Share share_of_rows(const Shape& shape, u64 block) {
    u64 rest = block / shape.tiles;
    return {rest % shape.parts, block % shape.tiles, rest / shape.parts};
}

// Channels-first: a part is a run of units of one channel, which go on from sample to sample.
template <u32 U> struct ChannelWalk {
    static constexpr u32 POSITIONS = U;     // of a unit
    const Shape& shape;
    u64 channel, first_row, first_unit;     // of the part
    bool is_in_last_row;                    // that first unit
    u32 left;       // units from this thread's to the part's end
    u32 steps;      // of the whole block
    Place place;    // of the next unit

    __device__ ChannelWalk(const Shape& s, const Share& share) : shape(s), channel(share.tile) {
        u64 begin = share.part * s.part_length;
        u32 length = (u32)min(s.part_length, s.samples * s.row_units - begin);
        steps = (length + blockDim.x - 1) / blockDim.x;
        left = length > threadIdx.x ? length - threadIdx.x : 0;
        u64 sample = begin / s.row_units;
        first_row = share.group * s.samples + sample;
        first_unit = begin % s.row_units;
        is_in_last_row = sample + 1 == s.samples;
        // This thread's unit, that many units later.
        u32 row_units = (u32)min(s.row_units, (u64)blockDim.x);
        u64 unit = first_unit + threadIdx.x % row_units;
        u64 n = first_row + threadIdx.x / row_units;
        if (unit >= s.row_units) {
            unit -= s.row_units;
            n += 1;
        }
        place = at_sample(n, unit * U, false);
    }

    __device__ Place at_sample(u64 n, u64 column, bool exists) const {
        u64 row = n * shape.channels + channel;
        return {row * shape.spatial + column, row, column, n * shape.spatial + column, exists};
    }

    // The part's first unit; it may begin in what rounds up a row.
    __device__ Place first() const {
        u64 column = first_unit * U;
        bool is_behind = column >= shape.spatial;
        return is_behind ? at_sample(first_row + 1, 0, !is_in_last_row) : at_sample(first_row, column, true);
    }

    // A position of the part.
    __device__ Place at(u64 position) const {
        return at_sample(position / shape.spatial, position % shape.spatial, position != NOWHERE);
    }

    // The next position of the same row.
    __device__ Place after(const Place& here) const {
        Place next = {here.offset + 1, here.row, here.column + 1, here.position + 1, false};
        next.exists = here.exists && next.column < shape.spatial;
        return next;
    }

    __device__ bool is_done() const { return steps == 0; }

    __device__ Place next() {
        Place here = place;
        here.exists = left > 0 && here.column < shape.spatial;
        steps -= steps > 0;
        left -= min(left, blockDim.x);
        place.column += shape.step_columns;
        place.offset += shape.step_offset;
        place.row += shape.step_rows * shape.channels;
        place.position += shape.step_rows * shape.spatial + shape.step_columns;
        if (place.column >= shape.row_width) {
            place.column -= shape.row_width;
            place.offset += shape.wrap_offset;
            place.row += shape.channels;
            place.position += shape.spatial - shape.row_width;
        }
        return here;
    }
};

// Channels-last: a part is a run of rows, of which a block takes a tile of channels. A thread keeps to
// its own channels.
template <u32 U> struct RowWalk {
    static constexpr u32 POSITIONS = 1;
    const Shape& shape;
    u64 first_row, end_row;     // of the part
    u64 first_column;           // of the tile
    bool has_channels;
    u32 step;       // rows that the block's threads stand on side by side
    u32 steps;      // of the whole block
    u32 left;       // rows from this thread's to the part's end
    Place place;

    __device__ RowWalk(const Shape& s, const Share& share) : shape(s) {
        u64 rows = s.samples * s.spatial, begin = share.part * s.part_length;
        u32 length = (u32)min(s.part_length, rows - begin);
        step = blockDim.x / (u32)s.tile_units;
        steps = (length + step - 1) / step;
        u32 row = threadIdx.x / (u32)s.tile_units;
        first_column = share.tile * s.tile_units * U;
        place.column = first_column + threadIdx.x % (u32)s.tile_units * U;
        has_channels = place.column < s.channels;
        left = has_channels && length > row ? length - row : 0;
        first_row = share.group * rows + begin;
        end_row = first_row + length;
        place.row = first_row + row;
        place.offset = place.row * s.channels + place.column;
        place.position = 0;
        place.exists = false;
    }

    __device__ Place first() const { return at(first_row); }

    __device__ Place at(u64 row) const {
        return {row * shape.channels + place.column, row, place.column, row, has_channels && row != NOWHERE};
    }

    __device__ Place after(const Place& here) const {
        Place next = {here.offset + shape.channels, here.row + 1, here.column, here.position + 1, false};
        next.exists = here.exists && next.row < end_row;
        return next;
    }

    __device__ bool is_done() const { return steps == 0; }

    __device__ Place next() {
        Place here = place;
        here.exists = left > 0;
        here.position = here.row;
        steps -= steps > 0;
        left -= min(left, step);
        place.row += step;
        place.offset += step * shape.channels;
        return here;
    }

    // The first channel of this thread, and that of the tile.
    __device__ u64 first_channel() const { return place.column; }
    __device__ u64 tile_channel() const { return first_column; }
};

// All values of a unit have the block's one channel.
template <class K> struct OneChannel {
    static constexpr u32 STEP = 0;      // from a value's channel to the next one's
    const K& coefficients;
    u64 first;

    __device__ const K& at(u32) const { return coefficients; }
    __device__ bool are_narrow() const { return coefficients.is_narrow; }
};

// Each value of a unit has a channel of its own, the same in every row.
template <u32 U, class K> struct OwnChannels {
    static constexpr u32 STEP = 1;
    const K (&coefficients)[U];
    u64 first;

    __device__ const K& at(u32 i) const { return coefficients[i]; }
    __device__ bool are_narrow() const {
        bool all = true;
#pragma unroll
        for (u32 i = 0; i < U; ++i) all = all && coefficients[i].is_narrow;
        return all;
    }
};

// A launch is plain where every tensor is aligned to its units and there is no mask: then all values of a unit are
// treated alike. Each kernel is there both ways, and the host knows which one it needs.

template <u32 U> constexpr u32 ALL_VALUES = (1u << U) - 1;

// Which values of a unit count, one bit each.
template <u32 U, class Walk, bool IS_PLAIN>
__device__ u32 valid_values(const u8* mask, const Place& place) {
    u32 all = place.exists ? ALL_VALUES<U> : 0;
    if (IS_PLAIN || mask == nullptr || !place.exists) return all;
    if (Walk::POSITIONS == 1) return mask[place.position] != 0 ? all : 0;
    u32 valid = 0;
#pragma unroll 1
    for (u32 i = 0; i < U; ++i) valid |= (u32)(mask[place.position + i] != 0) << i;
    return valid;
}

// Calls `visit` with the number of each value that counts.
template <u32 U, bool IS_PLAIN, class Visit> __device__ void each_value(u32 valid, Visit visit) {
    if (IS_PLAIN && valid == 0) return;
#pragma unroll
    for (u32 i = 0; i < U; ++i) {
        if (IS_PLAIN || valid >> i & 1) visit(i);
    }
}

// The number of units that make a byte of activation bits; they lie in neighbouring lanes.
template <u32 U> constexpr u32 PER_BYTE = 8 / U;

__device__ inline u64 byte_of(const Shape& shape, const Place& place) {
    return place.row * shape.row_bytes + place.column / 8;
}

// The bits of this thread's unit.
template <u32 U> __device__ u32 load_bits(const u8* bits, const Shape& shape, const Place& place) {
    u32 byte = place.exists ? bits[byte_of(shape, place)] : 0;
    return byte >> (threadIdx.x % PER_BYTE<U> * U);
}

// Writes the bits of this thread's unit together with its neighbours'. Every lane of the warp calls it.
template <u32 U>
__device__ void store_bits(u8* bits, const Shape& shape, const Place& place, u32 own) {
    u32 byte = own << (threadIdx.x % PER_BYTE<U> * U);
    for (u32 offset = 1; offset < PER_BYTE<U>; offset *= 2) {
        byte |= __shfl_xor_sync(ALL_LANES, byte, offset);
    }
    if (threadIdx.x % PER_BYTE<U> == 0 && place.exists) bits[byte_of(shape, place)] = (u8)byte;
}
