// The entry points: one for each element type, called by its plain name. Two blocks of 256 threads fit on a
// multiprocessor, which bounds the registers.
#pragma once

#ifndef ENTRY
#define ENTRY extern "C" __global__ void __launch_bounds__(256, 2)
#define ARGUMENT const __grid_constant__
#endif

#define ENTRIES(name, Arguments)                                             \
    ENTRY name##_f32(ARGUMENT Arguments<float> a) { name<float>(a); }        \
    ENTRY name##_f64(ARGUMENT Arguments<double> a) { name<double>(a); }      \
    ENTRY name##_f16(ARGUMENT Arguments<f16> a) { name<f16>(a); }            \
    ENTRY name##_bf16(ARGUMENT Arguments<bf16> a) { name<bf16>(a); }

#define PARAMETER_ENTRIES(name, Arguments)                                   \
    ENTRY name##_f32(ARGUMENT Arguments<float> a) { name<float>(a); }        \
    ENTRY name##_f64(ARGUMENT Arguments<double> a) { name<double>(a); }
