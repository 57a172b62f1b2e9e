/* The guardian's program as bytes (an ELF file). */
#pragma once

extern const char sp_guardian_image[], sp_guardian_image_end[];
