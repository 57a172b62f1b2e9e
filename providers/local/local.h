/* The provider `local`: child processes of the worker. For registry.c only. */
#pragma once

#include "providers/provider.h"

extern const struct sp_provider_ops sp_provider_local;
