// The entry points: for each element type and width of units a plain one, and one for any launch (`_any`).
#pragma once

// At least so many blocks of 256 threads fit on a multiprocessor, which bounds the registers of a thread.
#ifndef ENTRY
#define ENTRY(blocks) extern "C" __global__ void __launch_bounds__(256, blocks)
#define ARGUMENT const __grid_constant__
#endif

// PTX has a file for each element type, so that a driver compiles no more than is used: with ONE_TYPE defined,
// only that type's entries stay.
#if !defined(ONE_TYPE) || defined(ONLY_F32)
#define FOR_F32(...) __VA_ARGS__
#else
#define FOR_F32(...)
#endif
#if !defined(ONE_TYPE) || defined(ONLY_F64)
#define FOR_F64(...) __VA_ARGS__
#else
#define FOR_F64(...)
#endif
#if !defined(ONE_TYPE) || defined(ONLY_F16)
#define FOR_F16(...) __VA_ARGS__
#else
#define FOR_F16(...)
#endif
#if !defined(ONE_TYPE) || defined(ONLY_BF16)
#define FOR_BF16(...) __VA_ARGS__
#else
#define FOR_BF16(...)
#endif

// A plain launch, and any.
#define ENTRIES_OF(blocks, name, Arguments, type, Type, U)                                              \
    ENTRY(blocks) name##_##type##x##U(ARGUMENT Arguments<Type> a) { name<Type, U, true>(a); }           \
    ENTRY(2) name##_##type##x##U##_any(ARGUMENT Arguments<Type> a) { name<Type, U, false>(a); }

// Launches of clusters are plain always.
#define RESIDENT_ENTRY_OF(blocks, name, Arguments, type, Type, U)                                       \
    ENTRY(blocks) name##_##type##x##U(ARGUMENT Arguments<Type> a) { name<Type, U>(a); }

// For each element type and width of units. In channels-last a thread keeps sums for each value of a unit, and eight
// are too many.
#define EACH_LAST(entry_of, blocks, name, Arguments)                                                    \
    FOR_F32(entry_of(blocks, name, Arguments, f32, float, 4))                                           \
    FOR_F32(entry_of(blocks, name, Arguments, f32, float, 1))                                           \
    FOR_F64(entry_of(blocks, name, Arguments, f64, double, 2))                                          \
    FOR_F64(entry_of(blocks, name, Arguments, f64, double, 1))                                          \
    FOR_F16(entry_of(blocks, name, Arguments, f16, f16, 4))                                             \
    FOR_F16(entry_of(blocks, name, Arguments, f16, f16, 1))                                             \
    FOR_BF16(entry_of(blocks, name, Arguments, bf16, bf16, 4))                                          \
    FOR_BF16(entry_of(blocks, name, Arguments, bf16, bf16, 1))

#define EACH_FIRST(entry_of, blocks, name, Arguments)                                                   \
    EACH_LAST(entry_of, blocks, name, Arguments)                                                        \
    FOR_F16(entry_of(blocks, name, Arguments, f16, f16, 8))                                             \
    FOR_BF16(entry_of(blocks, name, Arguments, bf16, bf16, 8))

#define ENTRIES_LAST(blocks, name, Arguments) EACH_LAST(ENTRIES_OF, blocks, name, Arguments)
#define ENTRIES_FIRST(blocks, name, Arguments) EACH_FIRST(ENTRIES_OF, blocks, name, Arguments)
#define RESIDENT_ENTRIES_LAST(blocks, name, Arguments) EACH_LAST(RESIDENT_ENTRY_OF, blocks, name, Arguments)
#define RESIDENT_ENTRIES_FIRST(blocks, name, Arguments) EACH_FIRST(RESIDENT_ENTRY_OF, blocks, name, Arguments)

#define PARAMETER_ENTRIES(name, Arguments)                                                              \
    ENTRY(2) name##_f32(ARGUMENT Arguments<float> a) { name<float>(a); }                                \
    ENTRY(2) name##_f64(ARGUMENT Arguments<double> a) { name<double>(a); }
