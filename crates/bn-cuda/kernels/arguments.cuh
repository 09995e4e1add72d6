// What a kernel is launched with. The structs of src/arguments.rs have the same fields in the same order.
//
// Every number of values is 64 bits wide: N·C·S may pass 2³¹. Tensors are in memory order; statistics
// are G·C doubles, group by group; parameters are C values.
#pragma once

#include "element.cuh"

// The problem, cut into blocks. The host computes it, from the problem alone.
struct Shape {
    u64 groups;         // G
    u64 samples;        // N/G
    u64 channels;       // C
    u64 spatial;        // S
    u64 row_units;      // channels-first: units of a row, rounded up to whole bytes of bits
    u64 row_bytes;      // bytes of a row of activation bits
    u64 row_width;      // channels-first: values of so many units
    u64 step_rows;      // channels-first: rows of the channel that a step of the whole block moves on,
    u64 step_columns;   // and the values beside them
    u64 step_offset;    // both in the tensor,
    u64 wrap_offset;    // and from the end of a row to the channel's next one
    u64 tile_units;     // channels-last: units side by side in a block, a power of two; else 1
    u64 tiles;          // channels-last: tiles that cover a row; channels-first: C
    u64 part_length;    // units (channels-first) or rows (channels-last) of a part
    u64 parts;          // parts of the values of one group and channel
    u64 blocks;         // groups · tiles · parts
};

template <class T> struct MomentsArguments {
    Shape shape;
    const Raw<T>* x;
    const u8* mask;     // N·S bytes, or null: all positions count
    double* partials;   // written: the `Moments` of each part, [G][C][parts]
};

// Where normalisation takes mean and 1/sqrt(var + eps) from: one pair of pointers is null.
template <class T> struct Statistics {
    const double* mean;
    const double* inv_std;
    const Param<T>* running_mean;
    const Param<T>* running_var;
    double scale;       // of running statistics: 1, or 1 over Caffe's factor
    double eps;
};

enum Epilogue { EPILOGUE_NONE = 0, EPILOGUE_RELU = 1, EPILOGUE_ADD_RELU = 2 };

template <class T> struct NormalizeArguments {
    Shape shape;
    const Raw<T>* x;
    Raw<T>* y;          // may be x
    Statistics<T> statistics;
    const Param<T>* gamma;      // or null: 1
    const Param<T>* beta;       // or null: 0
    const Raw<T>* residual;     // or null
    u8* bits;                   // or null
    u64 epilogue;
};

// What tells which elements a ReLU let through: y, bits, or neither.
template <class T> struct Gate {
    const Raw<T>* y;
    const u8* bits;
};

template <class T> struct SumsArguments {
    Shape shape;
    const Raw<T>* dy;
    const Raw<T>* x;        // x, or x̂ where is_normalized
    Gate<T> gate;
    const double* mean;
    const double* inv_std;
    double* partials;       // written: (Σdy, Σdy·x̂) of each part, [G][C][parts]
    u64 is_normalized;
};

template <class T> struct GradientArguments {
    Shape shape;
    const Raw<T>* dy;
    Raw<T>* dx;             // may be dy
    const Raw<T>* x;        // x, or x̂ where is_normalized; null where statistics were fixed
    Gate<T> gate;
    Raw<T>* dresidual;      // or null
    const double* mean;
    const double* inv_std;
    const Param<T>* gamma;  // or null: 1
    const double* sum_dy;
    const double* sum_dy_xhat;
    const double* counts;   // G counts, or null: `count` for every group
    double count;
    const u8* mask;         // N·S bytes, or null
    u64 is_normalized;
};

template <class P> struct FinishMomentsArguments {
    u64 groups;
    u64 channels;
    u64 parts;
    const double* partials;
    double* mean;           // written
    double* m2;             // written, or null
    double* inv_std;        // written, or null
    double eps;
    P* running_mean;        // updated, or null
    P* running_var;
    double keep;
    double add;
    u64 rounds_product;
    u64 is_unbiased;
};

template <class P> struct FinishSumsArguments {
    u64 groups;
    u64 channels;
    u64 parts;
    const double* partials;
    double* sum_dy;         // written
    double* sum_dy_xhat;    // written
    P* dgamma;              // written, or null
    P* dbeta;               // written, or null
};

// How a share of a cluster's block stays on the chip.
struct Residence {
    u64 again;          // steps of a part, the first ones, that are read twice: whole batches, or all
    u64 parts_at;       // bytes into shared memory: results of the part for each column,
    u64 settled_at;     // results of all parts,
    u64 units_at;       // and units
};

// Forward in one launch: what the three take; there are no partials.
template <class T> struct TrainArguments {
    MomentsArguments<T> moments;
    FinishMomentsArguments<Param<T>> finish;
    NormalizeArguments<T> normalize;    // its statistics are not read
    Residence residence;
};

// Backward in one launch; neither partials nor sums are read or written.
template <class T> struct DifferentiateArguments {
    SumsArguments<T> sums;
    FinishSumsArguments<Param<T>> finish;
    GradientArguments<T> gradient;
    Residence residence;
};

template <class P> struct FixedStatisticsArguments {
    u64 channels;
    const P* running_mean;
    const P* running_var;
    double scale;
    double eps;
    double* mean;           // written
    double* inv_std;        // written
};

// Numbers that only the host knows, written to device memory by value: no copy, and so no wait.
constexpr u64 NUMBERS = 256;

struct StoreNumbersArguments {
    double* to;             // written
    u64 count;              // at most NUMBERS
    double numbers[NUMBERS];
};
