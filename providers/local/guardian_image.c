/* The guardian's program as bytes, so that the worker needs no second file beside it. */
#include "providers/local/guardian_image.h"

__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".globl sp_guardian_image\n"
        "sp_guardian_image:\n"
        ".incbin \"" SP_GUARDIAN_FILE "\"\n"
        ".globl sp_guardian_image_end\n"
        "sp_guardian_image_end:\n"
        ".byte 0\n"
        ".popsection\n");
