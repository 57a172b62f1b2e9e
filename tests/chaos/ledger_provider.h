/*
 * The provider `ledger`, registered by the chaos worker only: it carries out the words of
 * ledger_words.h inside the worker and notes the begin and the end of every execution in the ledger
 * that its settings name. While the file `outage` exists it is unavailable, for checks and for
 * jobs.
 */
#pragma once

#include "providers/provider.h"

extern const struct sp_provider_ops ledger_provider;
