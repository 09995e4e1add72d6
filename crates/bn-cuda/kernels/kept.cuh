// What a block keeps in shared memory of its part of one or two tensors, between a reduction and the pass that writes.
#pragma once

#include "cluster.cuh"
#include "reduction.cuh"

// Copies into shared memory are waited for in so many groups, so that the first are summed while others arrive.
constexpr u32 COPY_GROUPS = 4;

// A block's units of N tensors. Those of its last steps are kept in shared memory; those of the first, `again`, are
// read a second time: they are summed while the others arrive.
template <class T, u32 U, u32 N> struct Kept {
    Unit<T, U>* units;      // [step][tensor][thread]
    u32 again;
    u32 kept;               // steps
    const Raw<T>* const (&from)[N];

    __device__ Kept(const Residence& residence, u32 steps, const Raw<T>* const (&tensors)[N])
        : units((Unit<T, U>*)((u8*)shared + residence.units_at)), again((u32)min(residence.again, (u64)steps)),
          kept(steps - again), from(tensors) {}

    __device__ Unit<T, U>& at(u32 step, u32 tensor) const {
        return units[(step * N + tensor) * blockDim.x + threadIdx.x];
    }

    // The kept step behind a group's last one: groups are of whole batches, so that a batch is of one group.
    __device__ u32 end_of(u32 group) const {
        u32 steps = (kept + COPY_GROUPS * BATCH_OF_PLAIN - 1) / (COPY_GROUPS * BATCH_OF_PLAIN) * BATCH_OF_PLAIN;
        return min(kept, steps * (group + 1));
    }

    // Begins the copies of what is kept.
    template <class Walk> __device__ void begin(Walk walk) const {
        for (u32 step = 0; step < again; ++step) walk.next();
        u32 step = 0;
#pragma unroll 1
        for (u32 group = 0; group < COPY_GROUPS; ++group) {
            for (u32 end = end_of(group); step < end; ++step) {
                Place place = walk.next();
#pragma unroll
                for (u32 tensor = 0; tensor < N; ++tensor) {
                    const Raw<T>* unit = from[tensor] + (place.exists ? place.offset : 0);
                    if constexpr (sizeof(Unit<T, U>) >= 4) {
                        copy_async<sizeof(Unit<T, U>)>(&at(step, tensor), unit, place.exists);
                    } else {
                        at(step, tensor) = load<T, U, true>(unit, place.exists);
                    }
                }
            }
            commit_copies();
        }
    }

    // Calls `visit` with batches of units in the order of the walk, the first time (ARRIVE) as they come.
    template <u32 BATCH, bool ARRIVE, class Walk, class Visit> __device__ void each(Walk walk, Visit visit) const {
        static_assert(BATCH_OF_PLAIN % BATCH == 0, "the host rounds `again` to batches of a plain launch");
        for (u32 step = 0; step < again; step += BATCH) {
            Place places[BATCH];
            Unit<T, U> batch[N][BATCH];
#pragma unroll
            for (u32 b = 0; b < BATCH; ++b) {
                places[b] = walk.next();
#pragma unroll
                for (u32 n = 0; n < N; ++n) {
                    batch[n][b] = load<T, U, true>(from[n] + places[b].offset, places[b].exists);
                }
            }
            visit(places, batch);
        }
        u32 step = 0;
#pragma unroll 1
        for (u32 group = 0; group < COPY_GROUPS; ++group) {
            if (ARRIVE) wait_for_copies(COPY_GROUPS - 1 - group);
            u32 end = end_of(group);
#pragma unroll 1
            for (; step < end; step += BATCH) {
                Place places[BATCH];
                Unit<T, U> batch[N][BATCH];
#pragma unroll
                for (u32 b = 0; b < BATCH; ++b) {
                    places[b] = walk.next();
#pragma unroll
                    for (u32 n = 0; n < N; ++n) {
                        batch[n][b] = {};
                        if (step + b < end) batch[n][b] = at(step + b, n);
                    }
                }
                visit(places, batch);
            }
        }
    }
};
