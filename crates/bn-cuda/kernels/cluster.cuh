// Blocks that run together: a cluster, whose blocks wait for each other and look into each other's shared memory;
// and copies into shared memory that go on while a thread does something else. From sm_90 on.
//
// The instructions stand here alone. An emulation has its own.
#pragma once

#include "walk.cuh"

#ifndef EMULATION

__device__ inline u32 rank_in_cluster() {
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// The number of the cluster among all.
__device__ inline u32 cluster() {
    u32 cluster;
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(cluster));
    return cluster;
}

__device__ inline u32 blocks_of_cluster() {
    u32 blocks;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
}

// A barrier of the cluster in two halves, release and acquire: what blocks wrote before they arrived is seen by those
// that have waited for them, and what they read before it stays as it was until then. In between a block does what
// needs no other. All lanes of a warp come together.
__device__ inline void arrive_at_cluster() {
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ inline void wait_for_cluster() {
    __syncwarp();
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// What lies at the place of `own` in the shared memory of another block of the cluster.
__device__ inline double of_rank(const double* own, u32 rank) {
    double value;
    asm volatile("{\n\t.reg .u32 there;\n\t"
                 "mapa.shared::cluster.u32 there, %1, %2;\n\t"
                 "ld.shared::cluster.f64 %0, [there];\n\t}"
                 : "=d"(value)
                 : "r"((u32)__cvta_generic_to_shared(own)), "r"(rank)
                 : "memory");
    return value;
}

// Begins to copy 4, 8 or 16 bytes into shared memory; zeros where there are none.
template <u32 BYTES> __device__ void copy_async(void* to, const void* from, bool exists) {
    u32 place = (u32)__cvta_generic_to_shared(to), size = exists ? BYTES : 0;
    if constexpr (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(size) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(place), "l"(from), "n"(BYTES), "r"(size)
                     : "memory");
    }
}

// Ends a group of copies.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all of this thread's groups but the last so many, of at most three.
__device__ inline void wait_for_copies(u32 groups) {
    switch (groups) {
    case 3: asm volatile("cp.async.wait_group 3;" ::: "memory"); break;
    case 2: asm volatile("cp.async.wait_group 2;" ::: "memory"); break;
    case 1: asm volatile("cp.async.wait_group 1;" ::: "memory"); break;
    default: asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
}

#endif

__device__ inline void meet_cluster() {
    arrive_at_cluster();
    wait_for_cluster();
}
