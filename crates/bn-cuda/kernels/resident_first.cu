// Channels-first in one launch: a cluster of blocks has a channel, each a part of it.
#include "entries.cuh"
#include "residence.cuh"

template <class T, u32 U> __device__ void train_first(const TrainArguments<T>& a) {
    Share share = share_of_cluster();
    using Coefficients = SettledChannel<T, U, SettledMoments<Param<T>>, Affine<T>>;
    train_part<T, U, ChannelMoments<T, U, true>, Coefficients>(a, share, share.tile, 1);
}

template <class T, u32 U> __device__ void differentiate_first(const DifferentiateArguments<T>& a) {
    Share share = share_of_cluster();
    using Coefficients = SettledChannel<T, U, SettledSums, Slope<T>>;
    if (is_gated(a.sums.gate)) {
        differentiate_part<T, U, true, ChannelSums<T, U>, Coefficients>(a, share, share.tile, 1);
    } else {
        differentiate_part<T, U, false, ChannelSums<T, U>, Coefficients>(a, share, share.tile, 1);
    }
}

RESIDENT_ENTRIES_FIRST(4, train_first, TrainArguments)
RESIDENT_ENTRIES_FIRST(4, differentiate_first, DifferentiateArguments)
