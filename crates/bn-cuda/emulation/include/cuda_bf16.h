// Its types and conversions are in emulation.h.
