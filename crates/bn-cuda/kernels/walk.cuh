// The way of a thread through its block's share of a tensor, unit by unit.
//
// Both walks yield the same number of units in every thread of a block, some of them empty, so that
// barriers and shuffles stand in uniform code.
#pragma once

#include "arguments.cuh"

constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xFFFFFFFFu;

// Where a unit lies.
struct Place {
    u64 offset;     // of its first value, in the tensor
    u64 position;   // of its first value, among the N·S of a mask
    u64 byte;       // of its activation bits
    u32 count;      // how many of its values there are
};

// The part, tile and group of a block. A tile is one channel in channels-first.
struct Share {
    u64 part, tile, group;
};

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
template <class T> struct ChannelWalk {
    static constexpr bool FOLLOWS_POSITIONS = true;     // along a unit
    const Shape& shape;
    u64 channel, first_sample;
    u64 step, steps;
    u64 sample, unit;       // in the group, in the row
    u64 left;               // units from here to the part's end

    __device__ ChannelWalk(const Shape& s, const Share& share)
        : shape(s), channel(share.tile), first_sample(share.group * s.samples), step(0) {
        u64 all = s.samples * s.row_units;
        u64 begin = share.part * s.part_length;
        u64 length = min(s.part_length, all - begin);
        steps = (length + blockDim.x - 1) / blockDim.x;
        u64 first = begin + threadIdx.x;
        sample = first / s.row_units;
        unit = first % s.row_units;
        left = length > threadIdx.x ? length - threadIdx.x : 0;
    }

    __device__ bool is_done() const { return step >= steps; }

    __device__ Place next() {
        u64 column = unit * LANES<T>;
        bool is_in = left > 0 && column < shape.spatial;
        u64 n = first_sample + sample;
        u64 row = n * shape.channels + channel;
        Place place;
        place.offset = row * shape.spatial + column;
        place.position = n * shape.spatial + column;
        place.byte = row * shape.row_bytes + column / 8;
        place.count = is_in ? (u32)min((u64)LANES<T>, shape.spatial - column) : 0;
        step += 1;
        left = left > blockDim.x ? left - blockDim.x : 0;
        sample += shape.step_rows;
        unit += shape.step_units;
        if (unit >= shape.row_units) {
            unit -= shape.row_units;
            sample += 1;
        }
        return place;
    }
};

// Channels-last: a part is a run of rows, of which a block takes a tile of channels. A thread keeps to
// its own channels.
template <class T> struct RowWalk {
    static constexpr bool FOLLOWS_POSITIONS = false;
    const Shape& shape;
    u64 first_channel;      // of this thread
    u32 count;              // of its channels
    u64 row, end, step;
    u64 left;               // steps from here to the part's end

    __device__ RowWalk(const Shape& s, const Share& share) : shape(s) {
        u64 rows = s.samples * s.spatial;
        u64 begin = share.part * s.part_length;
        u64 first = share.group * rows;
        step = blockDim.x / s.tile_units;
        // All threads take as many steps: `end` is this thread's last row and `row` may lie behind it.
        row = first + begin + threadIdx.x / s.tile_units;
        end = first + min(begin + s.part_length, rows);
        left = (min(s.part_length, rows - begin) + step - 1) / step;
        first_channel = (share.tile * s.tile_units + threadIdx.x % s.tile_units) * LANES<T>;
        count = first_channel < s.channels ? (u32)min((u64)LANES<T>, s.channels - first_channel) : 0;
    }

    __device__ bool is_done() const { return left == 0; }

    __device__ Place next() {
        Place place;
        place.offset = row * shape.channels + first_channel;
        place.position = row;
        place.byte = row * shape.row_bytes + first_channel / 8;
        place.count = left > 0 && row < end ? count : 0;
        row += step;
        left = left > 0 ? left - 1 : 0;
        return place;
    }

};

// All lanes of a unit have the block's one channel.
template <class T, class K> struct OneChannel {
    const K& coefficients;
    u64 of;

    __device__ const K& at(u32) const { return coefficients; }
    __device__ u64 channel(u32) const { return of; }
    __device__ bool are_narrow() const { return coefficients.is_narrow; }
};

// Each lane of a unit has a channel of its own, the same in every row.
template <class T, class K> struct OwnChannels {
    const K (&coefficients)[LANES<T>];
    u64 first;

    __device__ const K& at(u32 i) const { return coefficients[i]; }
    __device__ u64 channel(u32 i) const { return first + i; }
    __device__ bool are_narrow() const {
        bool all = true;
#pragma unroll
        for (u32 i = 0; i < LANES<T>; ++i) all = all && coefficients[i].is_narrow;
        return all;
    }
};

// Which values of a unit a mask leaves in, one bit each; without a mask, those that there are.
template <class T, class Walk> __device__ u32 valid_lanes(const u8* mask, const Place& place) {
    u32 all = (1u << place.count) - 1;
    if (mask == nullptr) return all;
    if (!Walk::FOLLOWS_POSITIONS) return place.count > 0 && mask[place.position] != 0 ? all : 0;
    u32 valid = 0;
#pragma unroll 1
    for (u32 i = 0; i < place.count; ++i) valid |= (u32)(mask[place.position + i] != 0) << i;
    return valid;
}

// The number of units that make a byte of activation bits; they lie in neighbouring lanes.
template <class T> constexpr u32 PER_BYTE = 8 / LANES<T>;

// The bits of this thread's unit.
template <class T> __device__ u32 load_bits(const u8* bits, const Place& place) {
    u32 byte = place.count > 0 ? bits[place.byte] : 0;
    return byte >> (threadIdx.x % PER_BYTE<T> * LANES<T>);
}

// Writes the bits of this thread's unit together with its neighbours'. Every lane of the warp calls it.
template <class T> __device__ void store_bits(u8* bits, const Place& place, u32 own) {
    u32 byte = own << (threadIdx.x % PER_BYTE<T> * LANES<T>);
    for (u32 offset = 1; offset < PER_BYTE<T>; offset *= 2) {
        byte |= __shfl_xor_sync(ALL_LANES, byte, offset);
    }
    if (threadIdx.x % PER_BYTE<T> == 0 && place.count > 0) bits[place.byte] = (u8)byte;
}
