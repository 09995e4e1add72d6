// Channels-last in one launch: a cluster of blocks has a tile of channels, each a part of its rows.
#include "entries.cuh"
#include "residence.cuh"

template <class T, u32 U> __device__ void train_last(const TrainArguments<T>& a) {
    Share share = share_of_cluster();
    u32 columns = (u32)a.moments.shape.tile_units * U;
    using Coefficients = SettledTile<T, U, SettledMoments<Param<T>>, Affine<T>>;
    train_part<T, U, TileMoments<T, U, true>, Coefficients>(a, share, share.tile * columns, columns);
}

template <class T, u32 U> __device__ void differentiate_last(const DifferentiateArguments<T>& a) {
    Share share = share_of_cluster();
    u32 columns = (u32)a.sums.shape.tile_units * U;
    using Coefficients = SettledTile<T, U, SettledSums, Slope<T>>;
    if (is_gated(a.sums.gate)) {
        differentiate_part<T, U, true, TileSums<T, U>, Coefficients>(a, share, share.tile * columns, columns);
    } else {
        differentiate_part<T, U, false, TileSums<T, U>, Coefficients>(a, share, share.tile * columns, columns);
    }
}

// Backward needs more registers: a thread has sums and coefficients of several channels, and units of two tensors.
RESIDENT_ENTRIES_LAST(3, train_last, TrainArguments)
RESIDENT_ENTRIES_LAST(2, differentiate_last, DifferentiateArguments)
