/* Included before everything that is compiled of llama.cpp. gcc 12's _tile_loadconfig tells the optimiser of 8 of the 64
   bytes that it reads: the others need never be stored then, and the processor refuses what it finds in their place. */
#ifdef __AMX_TILE__
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(config)))
#endif
