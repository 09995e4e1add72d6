// What is left of a reduction once its parts are there: a block for each channel.
#include "entries.cuh"
#include "finish.cuh"

template <class P> __device__ void finish_moments(const FinishMomentsArguments<P>& a) {
    for (u64 channel = blockIdx.x; channel < a.channels; channel += gridDim.x) {
        finish_channel(a, channel);
    }
}

template <class P> __device__ void finish_sums(const FinishSumsArguments<P>& a) {
    for (u64 channel = blockIdx.x; channel < a.channels; channel += gridDim.x) finish_channel(a, channel);
}

// What backward through running statistics needs: a thread for each channel.
template <class P> __device__ void fixed_statistics(const FixedStatisticsArguments<P>& a) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 c = (u64)blockIdx.x * blockDim.x + threadIdx.x; c < a.channels; c += step) {
        a.mean[c] = a.scale * (double)a.running_mean[c];
        a.inv_std[c] = 1.0 / sqrt(a.scale * (double)a.running_var[c] + a.eps);
    }
}

__device__ inline void store_numbers(const StoreNumbersArguments& a) {
    for (u64 i = threadIdx.x; i < a.count; i += blockDim.x) a.to[i] = a.numbers[i];
}

PARAMETER_ENTRIES(finish_moments, FinishMomentsArguments)
PARAMETER_ENTRIES(finish_sums, FinishSumsArguments)
PARAMETER_ENTRIES(fixed_statistics, FixedStatisticsArguments)
ENTRY(2) store_numbers_f64(ARGUMENT StoreNumbersArguments a) { store_numbers(a); }
